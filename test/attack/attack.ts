/**
 * What an attack is, and how it is judged.
 *
 * An attack is the body of a Python function that returns what it got; nothing, or an exception, is a failure. The same text runs twice:
 * in a sandbox, where it has to get nothing, and without one under the same user (the control), where it has to succeed against
 * the canaries; else it would prove nothing. Where the machine can't let it succeed, the control is skipped and says why.
 */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { createSocket } from 'node:dgram';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { PYTHON, TIER, unconfined, type RunOptions, type TestSandbox, type Unconfined } from '../support/sandbox.js';
import type { JobOutcome, Tier } from '../../src/sandbox.js';

/** Python source as it is: backslashes are Python's. */
export const py = String.raw;

export interface Attack {
  readonly name: string;
  /** The body of a function; what it returns is what it got. `C` has the canaries, by name. */
  readonly code: string;
  /** Runs before the body, in the control only: what a sandbox is said not to have. */
  readonly controlPrelude?: string;
  /**
   * What the control needs: `root`; or `kernel`, where the machine may not have what is attacked, and the control is skipped if it
   * gets nothing outside either.
   */
  readonly needs?: 'root' | 'kernel';
  /** The tiers that promise to stop it; every one that confines, when left out. Without a file tree the names and sizes of files can be seen, say. */
  readonly promisedIn?: readonly Tier[];
  /** The control has to print the secret, not just anything. */
  readonly wants?: 'secret';
  readonly options?: RunOptions;
  /** The body of an earlier run, which leaves something for the attack to find. */
  readonly first?: string;
  /** In the control, the earlier run is one process with the attack, as it would be in an interpreter that is shared. */
  readonly sameProcess?: boolean;
  /** Run in the control when all is over: takes away what was left on the machine. */
  readonly undo?: string;
  /** How the attacking program may end inside; it may just fail by default. */
  readonly ends?: readonly JobOutcome['status'][];
  /** More to check of what became of it inside. */
  readonly check?: (outcome: JobOutcome) => void;
}

/** What attacks are after. All of it is real, and reachable for any process of this user. */
export interface Canaries {
  /** Never in the text of an attack: it can only come from where it was put. */
  readonly secret: string;
  /** What attacks are told. */
  readonly told: Record<string, unknown>;
  close(): Promise<void>;
}

const ENVIRONMENT_NAME = 'CORDON_TEST_TOKEN';

/** Put the secret into a file, an environment, a process, and behind every kind of socket. */
export async function createCanaries(): Promise<Canaries> {
  const secret = `CORDON-SECRET-${randomBytes(16).toString('hex')}`;
  process.env[ENVIRONMENT_NAME] = secret;
  const directory = mkdtempSync(join(tmpdir(), 'canary-'));
  const open = join(directory, 'open');
  mkdirSync(join(open, 'home', '.ssh'), { recursive: true });
  mkdirSync(join(open, 'writable'));
  chmodSync(directory, 0o755);
  chmodSync(join(open, 'writable'), 0o777);
  const secretFile = join(open, 'secret.txt');
  for (const path of [secretFile, join(open, 'home', '.ssh', 'id_ed25519'), join(open, 'policy.json')])
    writeFileSync(path, secret);

  const servers: Server[] = [];
  const listen = async (...where: [string] | [number, string]) => {
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.end(secret);
    });
    server.listen(...(where as [number, string]));
    await once(server, 'listening');
    servers.push(server);
    return server.address();
  };
  const portOf = (address: ReturnType<Server['address']>) =>
    typeof address === 'object' && address !== null ? address.port : 0;
  const unixPath = join(open, 's.sock');
  await listen(unixPath);
  chmodSync(unixPath, 0o777);
  const abstractName = `cordon-test-${randomBytes(8).toString('hex')}`;
  const tcpPort = portOf(await listen(0, '127.0.0.1'));
  const tcp6Port = await listen(0, '::1').then(portOf, () => 0);
  const udp = createSocket('udp4', (_, from) => {
    udp.send(secret, from.port, from.address);
  });
  udp.bind(0, '127.0.0.1');
  await once(udp, 'listening');

  // A process like the server: the secret in its environment, its memory, its arguments and its working directory; and behind an
  // abstract socket, which Node can only name with 107 bytes.
  const code = `
import socket
kept = "${secret}" * 100
s = socket.socket(socket.AF_UNIX); s.bind("\\0${abstractName}"); s.listen()
print("up", flush=True)
while True:
    c, _ = s.accept(); c.sendall(b"${secret}"); c.close()`;
  const victim = spawn(PYTHON, ['-I', '-c', code], {
    cwd: open,
    env: { ...process.env, [ENVIRONMENT_NAME]: secret },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  await once(victim.stdout, 'data');

  const told = {
    env: ENVIRONMENT_NAME,
    secretFile,
    open,
    home: join(open, 'home'),
    writable: join(open, 'writable'),
    unixPath,
    abstractName,
    tcpPort,
    tcp6Port,
    udpPort: udp.address().port,
    victim: victim.pid,
    server: process.pid,
    tmpdir: tmpdir(),
  };
  return {
    secret,
    told,
    async close() {
      const gone = once(victim, 'exit');
      victim.kill('SIGKILL');
      await gone;
      udp.close();
      for (const server of servers) server.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** The whole program of an attack. */
export function programOf(attack: Attack, told: Record<string, unknown>, isControl: boolean): string {
  const body = `${isControl ? (attack.controlPrelude ?? '') : ''}\n${attack.code}`;
  const indented = body
    .split('\n')
    .map((line) => `    ${line}`)
    .join('\n');
  return `
import ctypes, errno, json, os, re, signal, socket, struct, sys, time
C = json.loads(${JSON.stringify(JSON.stringify({ ...told, inside: !isControl }))})
libc = ctypes.CDLL(None, use_errno=True)
def call(result):
    if result == -1: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
SECRET = re.compile(rb"CORDON" + rb"-SECRET-[0-9a-f]{32}")
def attack():
${indented}
try:
    got = attack()
    print("GOT", repr(got)) if got else print("NOTHING")
except BaseException as error:
    print("STOPPED", type(error).__name__, error)
`;
}

/** What an attack got inside: null for nothing, or a sentence. `secret`: what must not come out by any way. */
export function gotThrough(attack: Attack, outcome: JobOutcome, secret: string): string | null {
  const told = /^GOT.*$/m.exec(outcome.stdout.text);
  if (told !== null) return told[0].slice(0, 300);
  const all = JSON.stringify(outcome);
  if (all.includes(secret)) return `the secret came out: ${all}`;
  const ends = attack.ends ?? ['ok'];
  const said = `${outcome.stdout.text}${outcome.stderr.text}`;
  if (!ends.includes(outcome.status)) return `${outcome.status}: ${outcome.reason}\n${said}`;
  // An attack that ran to its end says what stopped it: one that never ran would prove nothing.
  if (outcome.status === 'ok' && !/^(STOPPED|NOTHING)/m.test(outcome.stdout.text)) return `it did not run: ${said}`;
  try {
    attack.check?.(outcome);
  } catch (error) {
    return String(error);
  }
  return null;
}

/** Run an attack in a sandbox, after the run that prepares it, where it has one. */
export async function runAttack(
  attack: Attack,
  told: Canaries['told'],
  run: TestSandbox['run'],
): Promise<{ outcome: JobOutcome; ran: string | null }> {
  let failed: string | null = null;
  if (attack.first !== undefined) {
    const first = await run(programOf({ ...attack, code: `${attack.first}\nreturn False` }, told, false));
    if (first.status !== 'ok')
      failed = `the run before it ended as ${first.status}: ${first.reason}${first.stderr.text}`;
  }
  return { outcome: await run(programOf(attack, told, false), attack.options), ran: failed };
}

/** The control: what the attack gets without a sandbox; its last line says so. */
export async function runControl(attack: Attack, told: Canaries['told']): Promise<Unconfined> {
  const { first, undo } = attack;
  if (first === undefined) return unconfined(programOf(attack, told, true));
  const alone = (code: string) => unconfined(programOf({ ...attack, code }, told, true));
  try {
    if (attack.sameProcess === true) return await alone(`${first}\n${attack.code}`);
    const before = await alone(`${first}\nreturn False`);
    const ran = await alone(attack.code);
    return { ...ran, stderr: `before: ${before.stdout}${before.stderr}\n${ran.stderr}` };
  } finally {
    if (undo !== undefined) await alone(undo);
  }
}

/** Two tests for each attack: that it gets nothing inside, and that it works outside. */
export function attackTests(goal: string, attacks: readonly Attack[], sandbox: TestSandbox): void {
  let canaries: Canaries | undefined;
  const ready = (): Canaries => {
    assert.ok(canaries !== undefined);
    return canaries;
  };
  before(async () => {
    if (sandbox.missing === false) canaries = await createCanaries();
  });
  after(() => canaries?.close());

  for (const attack of attacks) {
    const promised = attack.promisedIn?.includes(TIER) ?? true;
    const skip = sandbox.missing || (promised ? false : `tier ${TIER} does not promise it`);
    test(`${goal}: ${attack.name} gets nothing`, { skip }, async () => {
      const { secret, told } = ready();
      const { outcome, ran } = await runAttack(attack, told, sandbox.run);
      assert.equal(ran, null);
      assert.equal(gotThrough(attack, outcome, secret), null);
    });

    const needsRoot = attack.needs === 'root' && process.getuid?.() !== 0 ? 'needs root' : false;
    test(
      `${goal}, control: ${attack.name} succeeds without a sandbox`,
      { skip: sandbox.missing || needsRoot },
      async (t) => {
        // What one left must not be what another finds.
        const own = attack.first === undefined ? null : await createCanaries();
        t.after(() => own?.close());
        const { secret, told } = own ?? ready();
        const ran = await runControl(attack, told);
        if (attack.needs === 'kernel' && !/^GOT/m.test(ran.stdout)) {
          t.skip(`not to be had on this machine even without a sandbox: ${ran.stdout.trim()}`);
          return;
        }
        assert.match(ran.stdout, /^GOT/m, ran.stdout + ran.stderr);
        if (attack.wants === 'secret') assert.ok(ran.stdout.includes(secret), ran.stdout);
      },
    );
  }
}
