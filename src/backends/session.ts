/** A sandbox that several jobs use: each begins in a state that an earlier one left (sandbox/session.py is the other end). */

import { frameHeader } from '../frames.js';
import type { Job, JobSinks, SessionLimits, SessionSandbox, StepOutcome } from '../sandbox.js';
import { failedFrame, type ReadySandbox } from './connection.js';
import type { StepReport } from './ending.js';
import { runJob, unavailable } from './job.js';

/** Called around each step that is handed to the sandbox. */
export interface StepHooks {
  readonly onStart: () => void;
  readonly onEnd: () => void;
}

/** Make a session of a ready sandbox, which gets ready for its first step at once. */
export function createSession(sandbox: ReadySandbox, limits: SessionLimits, hooks: StepHooks): SessionSandbox {
  let memoryBytes = 0;
  let diskBytes = 0;
  let gone: string | null = null;
  let tell: (why: string) => void = () => undefined;
  const ended = new Promise<string>((resolve) => (tell = resolve));
  /** As it is now, and not as it was before an await. */
  const isGone = () => gone;
  /** Steps run one after the other, and nothing else is sent while one does. */
  let turn: Promise<unknown> = Promise.resolve();

  const finish = (why: string) => {
    if (gone !== null) return;
    gone = why;
    sandbox.destroy();
    tell(why);
  };
  const inTurn = <T>(work: () => T | Promise<T>): Promise<T> => {
    const done = turn.then(work);
    turn = done.catch(() => undefined);
    return done;
  };
  const send = (kind: 'S' | 'K', content: object) => {
    const payload = Buffer.from(JSON.stringify(content));
    sandbox.socket.write(Buffer.concat([frameHeader(kind, payload.length), payload]));
  };
  const listenBetweenSteps = () => {
    sandbox.listen((kind, payload) => {
      if (kind !== 'F') throw new Error(`a frame ${kind} between two steps`);
      finish(failedFrame.parse(JSON.parse(payload.toString('utf8'))).message);
    }, finish);
  };

  const run = async (job: Job, from: number, signal: AbortSignal, sinks?: JobSinks): Promise<StepOutcome> => {
    if (gone !== null) return { ...unavailable(`the session has ended: ${gone}`, false), state: null };
    if (signal.aborted) {
      const reason = 'cancelled by the caller before it began';
      return { ...unavailable(reason, false), status: 'cancelled', state: null };
    }
    hooks.onStart();
    const told: { report?: StepReport } = {};
    const outcome = await runJob(sandbox, job, signal, sinks, {
      from,
      onReport(report) {
        told.report = report;
        memoryBytes = report.memory_bytes;
        diskBytes = report.disk_bytes;
        listenBetweenSteps();
      },
      onGivenUp: finish,
    });
    hooks.onEnd();
    // A step without a report has lost the sandbox, or has destroyed it.
    if (told.report === undefined) finish(outcome.reason);
    return { ...outcome, state: told.report?.state ?? null };
  };

  send('S', { memory_mb: limits.memoryMb, disk_mb: limits.diskMb });
  listenBetweenSteps();
  return {
    get memoryBytes() {
      return memoryBytes;
    },
    get diskBytes() {
      return diskBytes;
    },
    ended,
    step: (job, state, signal, sinks) => inTurn(() => run(job, state, signal, sinks)),
    drop(states) {
      if (states.length === 0) return;
      void inTurn(() => {
        if (isGone() === null) send('K', { drop: states });
      });
    },
    close() {
      finish('it was closed');
    },
  };
}
