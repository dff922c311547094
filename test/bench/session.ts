/** What a step of a session costs beside a single call, at the backend: with a small state, and with a large array in it. */

import { randomUUID } from 'node:crypto';
import { selectBackend } from '../../src/backends/select.js';
import type { Job, JobLimits, SessionSandbox } from '../../src/sandbox.js';
import { alternate, type Summary } from './measure.js';

const LIMITS: JobLimits = {
  timeoutSeconds: 30,
  cpuSeconds: 30,
  memoryMb: 1024,
  processes: 64,
  openFiles: 256,
  fileSizeMb: 16,
  outputMb: 4,
  outputKeptKb: 64,
  filesOut: 100,
  filesOutMb: 16,
};
const SESSION_LIMITS = { memoryMb: 4096, diskMb: 64 };
const LARGE_MB = 500;
const SMALL_STATE = 'kept = {"a": 1}';
/** Not zeros, which would be no memory. */
const LARGE_STATE = `kept = bytes(${LARGE_MB} << 20) + b"x"`;

export interface SessionFigures {
  readonly single: Summary;
  readonly first: Summary;
  readonly small: Summary;
  readonly large: Summary;
  /** Memory that one more step on the large state took, MB: a copy of it would be 500. */
  readonly largeGrowthMb: number;
}

/** Measure, alternating; `pauseMs` between two, as between an agent's calls. */
export async function sessionFigures(python: string, rounds: number, pauseMs: number): Promise<SessionFigures> {
  const backend = await selectBackend({
    minimum: 'strict',
    python,
    preload: [],
    mounts: [],
    warm: 4,
    diskMb: 64,
    diskInodes: 4096,
  });
  const never = new AbortController().signal;
  const job = (code: string): Job => ({ runId: randomUUID(), code, stdin: '', files: [], limits: LIMITS });

  /** A session whose next step begins where the last one ended, and that keeps only that state. */
  const chain = async (setUp: string) => {
    const session = await backend.openSession(SESSION_LIMITS);
    let at = await made(session, 0, setUp);
    return {
      step: async () => {
        const next = await made(session, at, 'print(1)');
        session.drop([at]);
        at = next;
      },
    };
  };
  const made = async (session: SessionSandbox, from: number, code: string): Promise<number> => {
    const outcome = await session.step(job(code), from, never);
    if (outcome.state === null) throw new Error(`the step was undone: ${outcome.reason}`);
    return outcome.state;
  };

  try {
    const small = await chain(SMALL_STATE);
    const large = await chain(LARGE_STATE);
    const figures = await alternate(
      rounds,
      {
        single: () => backend.run(job('print(1)'), never),
        first: async () => {
          const session = await backend.openSession(SESSION_LIMITS);
          await made(session, 0, 'print(1)');
          session.close();
        },
        small: small.step,
        large: large.step,
      },
      pauseMs,
    );
    // A cap that two states exceed by their sums makes the warden tell the exact sum of shares: with a copy it would be twice the array.
    const exact = await backend.openSession({ memoryMb: LARGE_MB + 100, diskMb: 64 });
    const from = await made(exact, 0, LARGE_STATE);
    const held = exact.memoryBytes;
    await made(exact, from, 'print(1)');
    return { ...figures, largeGrowthMb: (exact.memoryBytes - held) / 2 ** 20 };
  } finally {
    await backend.close();
  }
}
