/** Outcomes to render: one that ended well, and what to change in it. */
import type { Outcome } from '../../../src/outcome.js';
import type { Captured } from '../../../src/sandbox.js';

export function captured(text: string, omittedBytes = 0): Captured {
  return { text, totalBytes: Buffer.byteLength(text) + omittedBytes, omittedBytes };
}

export function outcomeWith(changes: Partial<Outcome> = {}): Outcome {
  return {
    runId: 'the-run',
    status: 'ok',
    reason: 'the program ended normally',
    stdout: captured(''),
    stderr: captured(''),
    result: null,
    error: null,
    files: [],
    filesLeftOut: { count: 0, examples: [] },
    session: null,
    sessions: [],
    exitCode: 0,
    signal: null,
    usage: { durationMs: 52, cpuMs: 41, peakMemoryBytes: 12_500_000 },
    retryable: false,
    tier: 'strict',
    limits: [{ counter: 'code_execute_rate', scope: 'grant', window: 'minute', max: 10, left: 9, resetsInMs: 30_000 }],
    policy: null,
    ...changes,
  };
}

/** A denial, the way `call` makes one. */
export function deniedWith(policy: Partial<Outcome['policy'] & object> = {}): Outcome {
  const denial = {
    code: 'limit_reached' as const,
    rule: '/tools/code_execute/limits/0',
    message: 'At most 10 calls a minute.',
    retryable: true,
    retryAfterMs: 33_100,
    ...policy,
  };
  return outcomeWith({
    status: 'denied',
    reason: denial.message,
    usage: null,
    exitCode: null,
    tier: null,
    policy: denial,
  });
}
