/**
 * A real sandbox for tests, and the same code without one: an attack that gets nothing inside proves something only if it gets
 * something outside.
 */

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { BackendUnavailable, selectBackend, type BackendSettings } from '../../src/backends/select.js';
import { TIERS } from '../../src/backends/tiers.js';
import type { Backend, InputFile, JobLimits, JobOutcome, JobSinks, Tier } from '../../src/sandbox.js';

/** The interpreter of the tests: Debian's own where there is one, for a shim in front of it is a test of its own. */
export const PYTHON = existsSync('/usr/bin/python3') ? '/usr/bin/python3' : 'python3';

/** Small enough that a bomb is over soon, large enough for every ordinary program. */
export const LIMITS: JobLimits = {
  timeoutSeconds: 20,
  cpuSeconds: 20,
  memoryMb: 256,
  processes: 64,
  openFiles: 256,
  fileSizeMb: 16,
  outputMb: 4,
  outputKeptKb: 64,
  filesOut: 100,
  filesOutMb: 16,
};

export interface RunOptions extends JobSinks {
  readonly stdin?: string;
  readonly files?: readonly InputFile[];
  readonly limits?: Partial<JobLimits>;
  readonly signal?: AbortSignal;
}

export interface TestSandbox {
  /** What this machine lacks for it, for a test's `skip`; false when nothing. */
  readonly missing: string | false;
  readonly backend: Backend;
  readonly run: (code: string, options?: RunOptions) => Promise<JobOutcome>;
}

/**
 * What tier strict is made of and this machine does not have, asked of the kernel without any code of ours: a probe of ours that is
 * wrong must fail the tests, not skip them.
 */
function machineLacks(): string | null {
  if (process.platform !== 'linux') return 'Linux';
  const asked = spawnSync(PYTHON, ['-I', '-c', ASK_KERNEL], { encoding: 'utf8' });
  if (asked.error !== undefined) return 'python3';
  return asked.stdout.trim() === '' ? null : asked.stdout.trim();
}

// CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}, MS_REC | MS_PRIVATE, landlock_create_ruleset(VERSION), PR_GET_SECCOMP
const ASK_KERNEL = `
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
if libc.syscall(444, None, 0, 1) < 1: print("landlock")
elif libc.prctl(21, 0, 0, 0, 0) < 0: print("seccomp")
elif libc.unshare(0x7E020000) != 0: print("user namespaces")
elif libc.mount(None, b"/", None, 0x44000, None) != 0: print("mounts in user namespaces")
`;

/** The tier to test: the strongest, or, by the environment, another one: `CORDON_TEST_TIER=confined`. */
export const TIER = tierToTest(process.env.CORDON_TEST_TIER ?? 'strict');

function tierToTest(name: string): Tier {
  const tier = TIERS.find((one) => one === name);
  if (tier === undefined) throw new Error(`CORDON_TEST_TIER is ${name}, expected one of ${TIERS.join(', ')}`);
  return tier;
}

/** Open a backend; it is closed after the tests of the file. Throws whatever is not the machine's lack. */
export async function openSandbox(settings: Partial<BackendSettings> = {}): Promise<TestSandbox> {
  let backend: Backend;
  try {
    backend = await selectBackend({
      python: PYTHON,
      preload: [],
      warm: 1,
      diskMb: 32,
      diskInodes: 1024,
      mounts: [],
      ...settings,
      minimum: TIER,
      weaken: { tier: TIER, ...settings.weaken },
    });
  } catch (error) {
    const lack = machineLacks();
    if (!(error instanceof BackendUnavailable) || lack === null) throw error;
    const missing = `needs ${lack}`;
    return {
      missing,
      get backend(): Backend {
        throw new Error(missing);
      },
      run: () => Promise.reject(new Error(missing)),
    };
  }
  after(() => backend.close());
  return {
    missing: false,
    backend,
    run: (code, options = {}) =>
      backend.run(
        {
          runId: randomUUID(),
          code,
          stdin: options.stdin ?? '',
          files: options.files ?? [],
          limits: { ...LIMITS, ...options.limits },
        },
        options.signal ?? new AbortController().signal,
        options,
      ),
  };
}

/** How a program ended that ran without any sandbox. */
export interface Unconfined {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
}

/**
 * The positive control: the same code run by a bare `python3 -I -c` under the same user, in a session and a temporary directory of its
 * own. What it started is killed at its end.
 */
export async function unconfined(
  code: string,
  options: { env?: NodeJS.ProcessEnv; stdin?: string; parent?: string } = {},
): Promise<Unconfined> {
  const directory = mkdtempSync(join(options.parent ?? tmpdir(), 'control-'));
  try {
    const child = spawn(PYTHON, ['-I', '-c', code], {
      cwd: directory,
      detached: true,
      env: options.env ?? process.env,
      timeout: CONTROL_TIMEOUT_MS,
      killSignal: 'SIGKILL',
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (piece: string) => (stdout += piece));
    child.stderr.setEncoding('utf8').on('data', (piece: string) => (stderr += piece));
    child.stdin.on('error', () => undefined); // a program need not read
    child.stdin.end(options.stdin ?? '');
    return await new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', () => {
        if (child.pid !== undefined) killGroup(child.pid);
      });
      child.once('close', (exitCode, signal) => {
        resolve({ stdout, stderr, exitCode, signal });
      });
    });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const CONTROL_TIMEOUT_MS = 60_000;

function killGroup(leader: number): void {
  try {
    process.kill(-leader, 'SIGKILL');
  } catch {
    // Everything in it is gone already.
  }
}

/** The processes that descend from `pid`, zombies left out: what a sandbox started is among them, however it detached itself. */
export function descendants(pid: number = process.pid): number[] {
  const children = new Map<number, number[]>();
  for (const { id, parent } of processes()) children.set(parent, [...(children.get(parent) ?? []), id]);
  const found: number[] = [];
  const pending = [pid];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const own = children.get(next) ?? [];
    found.push(...own);
    pending.push(...own);
  }
  return found.sort((one, other) => one - other);
}

/** Every process of this machine that we may see, but zombies: number, parent, command line with spaces. */
export function processes(): { id: number; parent: number; command: string }[] {
  const found: { id: number; parent: number; command: string }[] = [];
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'latin1');
      // The name in parentheses is the process's to choose: count from the last one (proc(5)).
      const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (state === 'Z' || state === 'X') continue;
      const command = readFileSync(`/proc/${name}/cmdline`, 'latin1').replaceAll('\0', ' ').trim();
      found.push({ id: Number(name), parent: Number(parent), command });
    } catch {
      // It ended while we looked.
    }
  }
  return found;
}

/** Wait until `condition` holds, for what no event tells (other processes' state); fails, saying what never came, after 10 s. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!condition()) {
    if (performance.now() > deadline) assert.fail(`never came: ${what}`);
    await sleep(5);
  }
}

/** Start `code` and wait until it has printed `text` on stdout; what it ends as is still to come. Rejects if it ends without. */
export async function runUntil(
  text: string,
  run: TestSandbox['run'],
  code: string,
  options: RunOptions = {},
): Promise<{ outcome: Promise<JobOutcome> }> {
  let seen = '';
  let tell: () => void = () => undefined;
  const printed = new Promise<void>((resolve) => (tell = resolve));
  const outcome = run(code, {
    ...options,
    onOutput(stream, bytes) {
      if (stream === 'stdout') seen += Buffer.from(bytes).toString('latin1');
      if (seen.includes(text)) tell();
    },
  });
  const early = outcome.then((ended) => {
    if (!seen.includes(text))
      assert.fail(`it ended without printing ${JSON.stringify(text)}: ${ended.reason}\n${ended.stderr.text}`);
  });
  await Promise.race([printed, early]);
  return { outcome };
}
