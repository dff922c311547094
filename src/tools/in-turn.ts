/** A call that has its turn at a session, and what the sessions refuse, as the ending of a call. */
import type { ExactCall } from '../approval/call-hash.js';
import { cancelledWaiting, denied, unavailable, type Refusal } from '../outcome.js';
import type { Guarantees } from '../sandbox.js';
import type { SessionPlace, SessionRefusal, Turn } from '../sessions/sessions.js';
import { nothingDone, refusal, type Performed, type Performing } from './tool.js';

export const QUEUE_FULL = 'too many calls are running and waiting already; nothing was run';

/** Wait for a turn, and do `work` in it: on the very state that a person has approved the call for, where one was asked. */
export async function inTurn(
  { sessions, grant, signal, approved }: Performing,
  handle: string,
  work: (turn: Turn) => Performed | Promise<Performed>,
): Promise<Performed> {
  const entered = await sessions.enter(grant, handle, signal);
  if (!entered.ok) {
    if (entered.why === 'refused') return nothingDone(denied(refusedBySessions(entered.refusal)));
    return nothingDone(entered.why === 'full' ? unavailable(QUEUE_FULL, true) : cancelledWaiting());
  }
  const { turn } = entered;
  try {
    if (approved !== null && !sameState(approved.session, turn.place)) return nothingDone(denied(MOVED_ON));
    return await work(turn);
  } finally {
    turn.leave();
  }
}

export function refusedBySessions({ code, message }: SessionRefusal): Refusal {
  // Once a session is ended, the same call may succeed.
  return { code, rule: RULES[code], message, retryable: code === 'too_many_sessions', retryAfterMs: null };
}

const RULES: Readonly<Record<SessionRefusal['code'], string>> = {
  no_such_session: '',
  too_many_sessions: '/sandbox/sessions/max',
  no_sessions: '/sandbox/sessions/max',
  no_such_step: '',
};

/** What speaks against sessions where programs are confined so; null where they can be had. */
export function notInTier({ sessions, tier }: Guarantees): Refusal | null {
  if (sessions) return null;
  const message =
    `Sessions need isolation "strict", and what is to be had here is "${tier}" (the owner finds out why with cordon doctor). ` +
    'Leave "session" out, and put all that a program needs into one call';
  return refusal('no_sessions', '', message);
}

function sameState(approved: ExactCall['session'], now: SessionPlace): boolean {
  if (approved === null || approved === 'new') return false;
  return approved.digest === now.digest && approved.state === now.state;
}

const MOVED_ON = refusal(
  'approval_required',
  '',
  'The session went on while this call waited for a person, so the yes is void: it was for the state as it was. ' +
    'Make the call again if it still fits',
);
