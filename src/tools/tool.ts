/**
 * What a tool is to the straight line of a call (call.ts): a name, arguments that it checks, and what it does once everything has said
 * yes. Policy, limits, approval and the audit log are the same for all of them, and none of a tool's business.
 */
import type { Measured } from '../admission/limits.js';
import type { Slots } from '../admission/slots.js';
import type { ExactCall } from '../approval/call-hash.js';
import type { AuditRecord } from '../audit.js';
import type { FileStore, Kept } from '../files/store.js';
import type { Ending, OutcomeSession, Refusal } from '../outcome.js';
import type { SandboxSettings } from '../policy/schema.js';
import type { Backend, Guarantees, InputFile, OnOutput, Tier } from '../sandbox.js';
import type { SessionPlace, Sessions, SessionState } from '../sessions/sessions.js';

export interface Tool {
  readonly name: string;
  /** Check what a caller sent. Nothing is coerced; an argument that does not exist is an error. */
  check(args: unknown): Checked;
}

type Checked =
  | { readonly ok: true; readonly action: Action }
  /** `problems` is readable and complete: what is wrong, and what is taken instead. */
  | { readonly ok: false; readonly problems: readonly string[] };

/** What a call with these arguments comes to. */
export interface Action {
  /** What it puts into the working directory. */
  readonly files: readonly InputFile[];
  /** The handle of the session that it is about, as it was given. */
  readonly session: string | null;
  /** What speaks against it under these settings, whenever it is made: sizes, what is switched off. */
  excess(settings: SandboxSettings): Refusal | null;
  /** What speaks against it now, before anything is reserved and anybody is asked. */
  objection(sessions: Sessions, grant: string, guarantees: Guarantees): Refusal | null;
  /** The call as it would run now, for a person to approve. */
  exact(sessions: Sessions, grant: string): ExactCall;
  /** The most it can cost. */
  atMost(settings: SandboxSettings): Measured;
  /** Do it. May reject: that is our fault then. */
  perform(performing: Performing): Promise<Performed>;
}

/** What a tool has at hand. */
export interface Performing {
  readonly runId: string;
  readonly grant: string;
  /** Those of the decision. */
  readonly settings: SandboxSettings;
  /** What a person has approved; null where nobody was asked. */
  readonly approved: ExactCall | null;
  readonly signal: AbortSignal;
  readonly onOutput: OnOutput | undefined;
  readonly slots: Slots;
  readonly sessions: Sessions;
  readonly files: FileStore;
  readonly backend: () => Backend;
  readonly onStage: (stage: 'waiting' | 'running') => void;
}

/** What became of it. */
export interface Performed {
  readonly ending: Ending;
  /** What it cost; null: it did nothing, and gets its reservation back. */
  readonly measured: Measured | null;
  readonly tier: Tier | null;
  /** What of the files it left can be fetched; null where there was no program to leave any. */
  readonly kept: Kept | null;
  /** The session that it was a step of. */
  readonly session: OutcomeSession | null;
  /** The sessions that it tells of. */
  readonly sessions: readonly SessionState[];
  /** What the audit log says of its session; null: no more than which one was asked for. */
  readonly onRecord: AuditRecord['session'];
}

/** A call that did nothing. */
export function nothingDone(ending: Ending): Performed {
  return { ending, measured: null, tier: null, kept: null, session: null, sessions: [], onRecord: null };
}

/** Where a session stands; null where none is meant, or it is not there any more. */
export function placeIn(sessions: Sessions, grant: string, handle: string | null): SessionPlace | null {
  const found = handle === null ? null : sessions.stand(grant, handle);
  return found?.ok === true ? found.place : null;
}

/** A refusal that waiting does not lift. `rule`: JSON pointer into the policy, or empty. */
export function refusal(code: Refusal['code'], rule: string, message: string): Refusal {
  return { code, rule, message, retryable: false, retryAfterMs: null };
}
