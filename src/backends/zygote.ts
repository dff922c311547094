/**
 * The zygote, seen from Node: starting it, connecting to it (each connection is one sandbox), and its end. The line protocol is the
 * first part of sandbox/PROTOCOL.md.
 */

import { createConnection, type Socket } from 'node:net';
import { availableParallelism } from 'node:os';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import * as z from 'zod';
import { sandboxDirectory } from '../package.js';
import type { Mount } from '../sandbox.js';
import { terminalSafe } from '../terminal.js';
import type { Tier } from '../sandbox.js';
import type { Layer } from './layers.js';
import { createWorkspace } from './workspace.js';

/** What the zygote is started with; a change of any means another zygote. */
export interface ZygoteOptions {
  /** The real interpreter, no shim. */
  readonly executable: string;
  readonly preload: readonly string[];
  /** Size of each sandbox's writable file system, in units of 2^20 bytes, and its inodes. */
  readonly diskMb: number;
  readonly diskInodes: number;
  /** Directories of the host that every sandbox shows. */
  readonly mounts: readonly Mount[];
  readonly tier: Tier;
  /** Layers that are switched off. */
  readonly without: readonly Layer[];
}

/** The zygote ended, or (not `certain`) something ended as if it had: another one may do what was asked. */
export class ZygoteGone extends Error {
  override name = 'ZygoteGone';
  constructor(
    message: string,
    readonly certain: boolean,
  ) {
    super(message);
  }
}

export interface Zygote {
  /** Connect: a new sandbox is made for this connection and goes with it. Rejects with ZygoteGone. */
  connect(): Promise<Socket>;
  /** Kill one sandbox by the PID its warden said, for when closing its connection is not enough. */
  kill(pid: number): void;
  /** Modules that could not be preloaded, with the reason. */
  readonly preloadFailed: Readonly<Record<string, string>>;
  /** Process id of the launcher, which lives as long as the zygote. */
  readonly pid: number;
  /** Resolves with a sentence when it has ended, for whatever reason. */
  readonly ended: Promise<string>;
  /** End it, and with it every sandbox. Resolves when it is gone. */
  close(): Promise<void>;
}

const event = z.discriminatedUnion('event', [
  z.strictObject({ event: z.literal('importing'), module: z.string() }),
  z.strictObject({ event: z.literal('ready'), preload_failed: z.record(z.string(), z.string()) }),
  z.strictObject({ event: z.literal('failed'), layer: z.string(), message: z.string() }),
]);

/** The end of stderr that goes into an error message, in characters. */
const STDERR_CHARS = 2000;
/** How long the zygote may be silent while it starts: the longest import of one module. Milliseconds. */
const SILENCE_MS = 60_000;
/** How long it may take to end when its stdin does. Milliseconds. */
const CLOSE_GRACE_MS = 2_000;

/**
 * Start a zygote and wait until it is ready. A module whose import hangs is left out and named. Rejects with the layer and the reason, and when
 * `signal` is aborted before it is ready.
 */
export async function startZygote(options: ZygoteOptions, signal: AbortSignal): Promise<Zygote> {
  const hung: Record<string, string> = {};
  for (;;) {
    const preload = options.preload.filter((name) => !(name in hung));
    const launched = await launch({ ...options, preload }, signal);
    if ('zygote' in launched)
      return { ...launched.zygote, preloadFailed: { ...launched.zygote.preloadFailed, ...hung } };
    hung[launched.hungImporting] = `the import did not finish within ${SILENCE_MS / 1000} s`;
  }
}

async function launch(
  options: ZygoteOptions,
  signal: AbortSignal,
): Promise<{ zygote: Zygote } | { hungImporting: string }> {
  const { execa } = await import('execa');
  const workspace = await createWorkspace();
  const child = execa(options.executable, ['-I', '-S', 'zygote.py'], {
    cwd: sandboxDirectory,
    // The zygote's environment is what /proc/PID/environ shows of every process forked from it: nothing of ours.
    // LD_BIND_NOW: symbols are looked up once, here, and not in each process that is forked from it (ld.so(8)).
    env: { LANG: 'C.UTF-8', PATH: '/usr/bin:/bin', LD_BIND_NOW: '1', ...threadVariables() },
    extendEnv: false,
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: 'pipe',
    buffer: false,
    reject: false,
    cleanup: true,
  });
  let stderr = '';
  const safe = terminalSafe(); // packages print here while they are imported
  child.stderr.on('data', (piece: Buffer) => {
    stderr = (stderr + piece.toString()).slice(-STDERR_CHARS);
    process.stderr.write(safe(piece));
  });
  child.stdin.on('error', () => undefined); // it is gone: `ended` says so
  let removed = Promise.resolve();
  // Said at once: whoever waits for this is about to start another, which has a workspace of its own.
  const ended = child.then((result) => {
    removed = workspace.remove();
    const how = result.signal ?? `status ${result.exitCode ?? '?'}`;
    return `the zygote ended with ${how}${stderr === '' ? '' : `: ${stderr.trim()}`}`;
  });
  const close = async () => {
    child.stdin.end();
    const timer = setTimeout(() => child.kill('SIGKILL'), CLOSE_GRACE_MS);
    await ended;
    clearTimeout(timer);
    await removed;
  };

  child.stdin.write(
    JSON.stringify({
      socket: workspace.socket,
      root: workspace.root,
      disk_mb: options.diskMb,
      disk_inodes: options.diskInodes,
      mounts: options.mounts,
      tier: options.tier,
      without: options.without,
      preload: options.preload,
    }) + '\n',
  );
  // Nobody waits for it any more: with the launcher, all below it ends.
  const giveUp = () => child.kill('SIGKILL');
  if (signal.aborted) giveUp();
  signal.addEventListener('abort', giveUp);
  const begun = await beginning(child.stdout, ended);
  signal.removeEventListener('abort', giveUp);
  if (begun.event !== 'ready') {
    child.kill('SIGKILL');
    await ended;
    if (begun.event === 'importing') return { hungImporting: begun.module };
    throw new Error(`${begun.layer}: ${begun.message}`);
  }
  const zygote: Zygote = {
    pid: child.pid ?? 0,
    preloadFailed: begun.preload_failed,
    ended,
    close,
    kill(pid) {
      child.stdin.write(JSON.stringify({ kill: pid }) + '\n');
    },
    connect() {
      return new Promise((resolve, reject) => {
        const socket = createConnection(workspace.socket);
        const refused = (error: Error) => {
          reject(new ZygoteGone(`the zygote does not answer: ${error.message}`, true));
        };
        socket.once('error', refused);
        socket.once('connect', () => {
          socket.off('error', refused);
          resolve(socket);
        });
      });
    },
  };
  return { zygote };
}

type Event = z.infer<typeof event>;

/** What the zygote says last while it starts: `ready`, `failed`, or the `importing` after which it fell silent. */
function beginning(stdout: Readable, ended: Promise<string>): Promise<Event> {
  return new Promise((resolve) => {
    const lines = createInterface({ input: stdout });
    let last: Event = { event: 'failed', layer: 'zygote', message: `it said nothing for ${SILENCE_MS / 1000} s` };
    const finish = (said: Event) => {
      clearTimeout(timer);
      lines.close();
      resolve(said);
    };
    const timer = setTimeout(() => {
      finish(last);
    }, SILENCE_MS);
    lines.on('line', (line) => {
      try {
        last = event.parse(JSON.parse(line));
      } catch {
        const said = JSON.stringify(line.slice(0, 200));
        last = { event: 'failed', layer: 'zygote', message: `it said ${said}, expected a line of its protocol` };
      }
      if (last.event === 'importing') timer.refresh();
      else finish(last);
    });
    void ended.then((sentence) => {
      finish({ event: 'failed', layer: 'zygote', message: sentence });
    });
  });
}

/** Each thread of OpenBLAS reserves memory (sandbox/confine/limits.py counts with this many), and small jobs gain little from more. */
const MAX_NUMERIC_THREADS = 4;

/** BLAS and OpenMP start a thread for each processor they see unless they are told. */
function threadVariables(): Record<string, string> {
  const processors = Math.min(availableParallelism(), MAX_NUMERIC_THREADS);
  const names = ['OPENBLAS_NUM_THREADS', 'OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'NUMEXPR_NUM_THREADS'];
  return Object.fromEntries(names.map((name) => [name, String(processors)]));
}
