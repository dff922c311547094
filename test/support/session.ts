/** A session in a real sandbox, for tests: steps go on from where the last good one ended, unless they say where. */

import { randomUUID } from 'node:crypto';
import type { SessionLimits, SessionSandbox, StepOutcome } from '../../src/sandbox.js';
import { LIMITS, type RunOptions, type TestSandbox } from './sandbox.js';

interface StepOptions extends RunOptions {
  /** The state to begin in. */
  readonly from?: number;
}

export interface TestSession {
  readonly sandbox: SessionSandbox;
  readonly step: (code: string, options?: StepOptions) => Promise<StepOutcome>;
  /** The state that the last good step made. */
  readonly at: number;
}

const SESSION_LIMITS: SessionLimits = { memoryMb: 2048, diskMb: 64 };

/** Open one; the caller closes it, or leaves it to the end of the backend. */
export async function openTestSession(
  { backend }: TestSandbox,
  limits: Partial<SessionLimits> = {},
): Promise<TestSession> {
  const sandbox = await backend.openSession({ ...SESSION_LIMITS, ...limits });
  let at = 0;
  return {
    sandbox,
    get at() {
      return at;
    },
    async step(code, options = {}) {
      const job = {
        runId: randomUUID(),
        code,
        stdin: options.stdin ?? '',
        files: options.files ?? [],
        limits: { ...LIMITS, ...options.limits },
      };
      const signal = options.signal ?? new AbortController().signal;
      const outcome = await sandbox.step(job, options.from ?? at, signal, options);
      if (outcome.state !== null) at = outcome.state;
      return outcome;
    },
  };
}

/** The same sandbox, but what it runs is the second step of a session made for it: after a first one that left the usual things behind. */
export function inSessions(sandbox: TestSandbox): TestSandbox {
  return {
    missing: sandbox.missing,
    get backend() {
      return sandbox.backend;
    },
    async run(code, options) {
      const session = await openTestSession(sandbox);
      try {
        await session.step('import threading\nkept = [1]\nopen("kept.txt", "w").write("kept")');
        return await session.step(code, options);
      } finally {
        session.sandbox.close();
        await session.sandbox.ended;
      }
    },
  };
}
