/** What became of a call: one shape for success, failure and denial. */
import type { LimitState } from './admission/limits.js';
import type { Denial, DenialCode } from './policy/denial.js';
import type { Captured, JobOutcome, Status, Tier, Usage } from './sandbox.js';
import type { SessionRefusal, SessionState } from './sessions/sessions.js';

/**
 * Refusals that no rule had to speak about:
 * - `invalid_arguments`: an argument that does not exist, is missing or of the wrong type
 * - `code_too_large`, `stdin_too_large`, `files_too_large`, `too_many_files`: over what the policy's `sandbox` section takes
 * - `unknown_tool`: the policy would allow it, but there is no such tool
 * - those of the sessions
 */
type RefusalCode =
  | DenialCode
  | SessionRefusal['code']
  | 'invalid_arguments'
  | 'code_too_large'
  | 'stdin_too_large'
  | 'files_too_large'
  | 'too_many_files'
  | 'unknown_tool';

/** Why a call was denied. `rule` is empty where it is not the policy that said so. */
export interface Refusal extends Omit<Denial, 'code'> {
  readonly code: RefusalCode;
}

/** A file that can be fetched for a time. */
export interface OutcomeFile {
  /** Relative to the working directory. */
  readonly name: string;
  readonly bytes: number;
  readonly mimeType: string;
  /** `cordon://files/…`; where its content can be read. */
  readonly uri: string;
}

/** Where a session stands after a step. */
export interface OutcomeSession {
  /** The handle for the next step. */
  readonly id: string;
  /** Steps that hold: those that were undone or rewound don't count. */
  readonly step: number;
  /** Whether this call left no trace in the session: it stands where it stood before. */
  readonly undone: boolean;
  /** The earliest step that it can be rewound to. */
  readonly earliestStep: number;
}

export interface Outcome extends Omit<JobOutcome, 'status' | 'usage'> {
  readonly runId: string;
  readonly status: Status;
  /** Null where no program ran. */
  readonly usage: Usage | null;
  /** What confined it; null where no sandbox was reached. */
  readonly tier: Tier | null;
  /** What the program left in its working directory and can be fetched; see `filesLeftOut` for the rest. */
  readonly files: readonly OutcomeFile[];
  /** The session that the call was a step of; null where it was a single call. */
  readonly session: OutcomeSession | null;
  /** What a tool that is about sessions tells of them. */
  readonly sessions: readonly SessionState[];
  /** What is left of each limit that the call falls under. */
  readonly limits: readonly LimitState[];
  /** Why it was refused, for the status `denied`; null otherwise. */
  readonly policy: Refusal | null;
}

/** An outcome before the call knows what it has in common with all others. */
export type Ending = Omit<Outcome, 'runId' | 'tier' | 'limits' | 'files' | 'session' | 'sessions'>;

const silence: Captured = { text: '', totalBytes: 0, omittedBytes: 0 };

const nothingRan = {
  stdout: silence,
  stderr: silence,
  result: null,
  error: null,
  filesLeftOut: { count: 0, examples: [] },
  exitCode: null,
  signal: null,
  usage: null,
} as const;

/** A call that runs no program did what it was to do. */
export function answered(what: string): Ending {
  return { ...nothingRan, status: 'ok', reason: what, retryable: false, policy: null };
}

/** The call was refused before anything was spawned. */
export function denied(refusal: Refusal): Ending {
  return { ...nothingRan, status: 'denied', reason: refusal.message, retryable: refusal.retryable, policy: refusal };
}

/** Our fault, never the program's. */
export function unavailable(reason: string, retryable: boolean): Ending {
  return { ...nothingRan, status: 'unavailable', reason, retryable, policy: null };
}

/** The caller gave up before its program was started. */
export function cancelledWaiting(): Ending {
  const reason = 'the call was cancelled while it waited; nothing was run';
  return { ...nothingRan, status: 'cancelled', reason, retryable: false, policy: null };
}
