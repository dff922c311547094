/**
 * The Linux backend: a zygote, and a pool of ready sandboxes, each used once.
 *
 * Nothing is started before it is wanted (`warm`, or the first run). If the zygote ends, the jobs in its sandboxes are `unavailable`, and
 * the next run starts another. A ready sandbox is replaced after a job was answered, not while one waits for its answer.
 */

import { totalmem } from 'node:os';
import type { Backend, Guarantees, Job, JobOutcome, JobSinks, Mount } from '../sandbox.js';
import { safeLine } from '../terminal.js';
import { openSandbox, type ReadySandbox } from './connection.js';
import { ANSWER_MS, runJob, unavailable } from './job.js';
import type { Layer } from './layers.js';
import { createPool } from './pool.js';
import { createSession } from './session.js';
import { residentBytes } from './footprint.js';
import { startZygote, ZygoteGone, type Zygote } from './zygote.js';

/** Ready sandboxes are given back after so long without a call. */
const IDLE_MS = 10 * 60_000;
/** None are kept while less than this share of the machine's memory is available. */
const SCARCE_SHARE = 0.05;

/** How often a sandbox is asked for when the zygote ends meanwhile. */
const MAX_ATTEMPTS = 3;

/** A job lost sooner than this was given to a sandbox that was dying already. */
const LOST_AT_ONCE_MS = 1000;

export interface LinuxOptions {
  readonly guarantees: Guarantees;
  readonly preload: readonly string[];
  readonly warm: number;
  readonly diskMb: number;
  readonly diskInodes: number;
  readonly mounts: readonly Mount[];
  /** Layers that are switched off. */
  readonly without: readonly Layer[];
}

/**
 * Whether a job was lost because its ready sandbox was on its way out when it was taken: at once, and without a word. Then it
 * may run again in another: what it did, if anything, was done to a sandbox that is gone.
 */
function wasDyingAlready({ status, usage, stdout, stderr }: JobOutcome): boolean {
  const silent = stdout.totalBytes + stderr.totalBytes === 0;
  return status === 'unavailable' && silent && usage.durationMs < LOST_AT_ONCE_MS;
}

/** See Backend; the settings are those of `selectBackend`. */
export function createLinuxBackend(options: LinuxOptions): Backend {
  let zygote: Promise<Zygote> | null = null;
  let jobsStarted = 0;
  let closed = false;
  const closing = new AbortController();
  /** As it is now, and not as it was before an await. */
  const isClosed = () => closed;
  const running = new Set<Promise<unknown>>();

  const theZygote = (): Promise<Zygote> => {
    if (zygote !== null) return zygote;
    const settings = {
      executable: options.guarantees.interpreter.executable,
      preload: options.preload,
      diskMb: options.diskMb,
      diskInodes: options.diskInodes,
      mounts: options.mounts,
      tier: options.guarantees.tier,
      without: options.without,
    };
    const starting = startZygote(settings, closing.signal);
    zygote = starting;
    starting.then(
      (started) => {
        for (const [name, reason] of Object.entries(started.preloadFailed)) {
          process.stderr.write(`cordon: sandbox.preload: ${name} could not be imported: ${safeLine(reason)}\n`);
        }
        void started.ended.then(() => {
          forget(starting);
        });
      },
      () => {
        forget(starting);
      },
    );
    return starting;
  };

  const forget = (ended: Promise<Zygote>) => {
    if (zygote !== ended) return;
    zygote = null;
    pool.drain();
  };

  /** A new sandbox; from another zygote, if the one there was has just ended. Nothing of a job has been sent yet. */
  const make = async (): Promise<ReadySandbox> => {
    for (let attempt = 1; ; attempt += 1) {
      const asked = theZygote();
      try {
        return await openSandbox(await asked);
      } catch (error) {
        // What closed the backend ended the zygote, too: that is no reason to start another.
        if (!(error instanceof ZygoteGone) || closed || attempt === MAX_ATTEMPTS) throw error;
        if (error.certain) forget(asked);
      }
    }
  };

  const pool = createPool({
    size: options.warm,
    make,
    discard: (sandbox) => {
      sandbox.destroy();
    },
    onGone: (sandbox, callback) => {
      sandbox.onGone(callback);
    },
    idleMs: IDLE_MS,
    roomy: () => process.availableMemory() > totalmem() * SCARCE_SHARE,
  });

  const refill = () => {
    if (!isClosed()) pool.refill();
  };

  const run = async (job: Job, signal: AbortSignal, sinks: JobSinks = {}): Promise<JobOutcome> => {
    if (closed) return unavailable('the server is shutting down', true);
    let sandbox: ReadySandbox;
    try {
      sandbox = await pool.take();
    } catch (error) {
      return unavailable(`no sandbox could be made: ${error instanceof Error ? error.message : String(error)}`, true);
    }
    jobsStarted += 1;
    const left = { files: false };
    const onFile = sinks.onFile;
    const heard: JobSinks = {
      ...sinks,
      ...(onFile && {
        onFile: (file) => {
          left.files = true;
          return onFile(file);
        },
      }),
    };
    const outcome = await runJob(sandbox, job, signal, heard);
    if (isClosed() || left.files || !wasDyingAlready(outcome)) return outcome;
    try {
      return await runJob(await make(), job, signal, sinks);
    } catch {
      return outcome;
    }
  };

  return {
    guarantees: options.guarantees,
    get jobsStarted() {
      return jobsStarted;
    },
    warm() {
      if (closed) return;
      theZygote().then(
        () => {
          // Who waits already makes one for himself, and is not to wait for these, too: they come after his.
          if (running.size === 0) refill();
        },
        () => undefined,
      );
    },
    async run(job, signal, sinks) {
      const outcome = run(job, signal, sinks);
      running.add(outcome);
      try {
        return await outcome;
      } finally {
        running.delete(outcome);
        setTimeout(refill, ANSWER_MS);
      }
    },
    async openSession(limits) {
      if (closed) throw new Error('the server is shutting down');
      const { tier, sessions } = options.guarantees;
      if (!sessions) {
        throw new Error(
          `sessions need isolation "strict", and what is to be had here is "${tier}" (cordon doctor says why)`,
        );
      }
      const session = createSession(await pool.take(), limits, {
        onStart() {
          jobsStarted += 1;
        },
        onEnd() {
          setImmediate(refill);
        },
      });
      running.add(session.ended);
      void session.ended.then(() => running.delete(session.ended));
      return session;
    },
    async footprintBytes() {
      const started = await zygote?.catch(() => null);
      return started ? residentBytes(started.pid) : 0;
    },
    async close() {
      closed = true;
      closing.abort();
      pool.drain();
      // With the zygote every sandbox ends; the jobs in them settle when their connections do.
      await zygote?.then(
        (started) => started.close(),
        () => undefined,
      );
      await Promise.allSettled(running);
    },
  };
}
