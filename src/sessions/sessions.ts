/**
 * Sessions: handles, each of which stands at a state of a sandbox that several calls use.
 *
 * Every call on a session takes a turn first, and has it until it has ended: a step, a fork and a rewind that come at the same time
 * happen in the order they came, each on what the one before left. A step begins in the state that the session stands at; only one
 * that made a new state moves it, so whatever happens to a step, the session is where it was or one further.
 *
 * A session belongs to the grant that began it; for any other there is no such session. It ends when it is told to, when it was not used
 * for too long, when it is too old, and when its sandbox is gone; for a while it is remembered why. Nothing of it is on disk: the end of the
 * server is the end of its sessions.
 */
import { setImmediate } from 'node:timers/promises';
import type { Backend, Job, JobOutcome, JobSinks } from '../sandbox.js';
import { createEnded } from './ended.js';
import { createFamily, type Family } from './family.js';
import { digestOf, newHandle } from './handle.js';
import { advance, BEGINNING, rewind, stateOf, stepOf, type History } from './history.js';

/** What sessions may use; from the policy. */
export interface SessionCaps {
  /** Sessions of a grant at the same time; 0: none. */
  readonly max: number;
  /** A session that is not used for so long ends. */
  readonly idleSeconds: number;
  /** No session gets older. A fork is as old as what it was forked from. */
  readonly ageSeconds: number;
  /** Memory of a sandbox with all its states, in units of 2^20 bytes. */
  readonly memoryMb: number;
  /** Disk of a sandbox with all its states, in units of 2^20 bytes. */
  readonly diskMb: number;
  /** How many steps one can go back. */
  readonly keepSteps: number;
  /** Calls that may wait for their turn at one sandbox. */
  readonly maxWaiting: number;
}

/** A session, for its owner to look at. */
export interface SessionState {
  /** The handle. */
  readonly id: string;
  /** Steps that hold: those that were undone or rewound don't count. */
  readonly step: number;
  /** The earliest step that one can go back to. */
  readonly earliestStep: number;
  /** The handle it was forked from, whether that is still there or not. */
  readonly forkedFrom: string | null;
  /** Whether a call is under way in it. */
  readonly busy: boolean;
  readonly ageSeconds: number;
  readonly idleSeconds: number;
  /** Until it ends, should nobody use it. */
  readonly endsInSeconds: number;
  /** Memory of the sandbox with all its states, forks together, when its last step had ended. */
  readonly memoryBytes: number;
}

/** Exactly which state a session stands at; a session that was moved in any way stands at another. */
export interface SessionPlace {
  /** Stands for the handle where that is not to be seen. */
  readonly digest: string;
  readonly step: number;
  readonly state: number;
}

/**
 * - `no_such_session`: there is none by that handle, or no more
 * - `too_many_sessions`: as many as the policy allows are there already
 * - `no_sessions`: the policy allows none at all
 * - `no_such_step`: a rewind to a step that is not kept, or was never made
 */
export interface SessionRefusal {
  readonly code: 'no_such_session' | 'too_many_sessions' | 'no_sessions' | 'no_such_step';
  /** What is so, and what to do. */
  readonly message: string;
}

/** Why a call got no turn. */
type NoTurn =
  | { readonly ok: false; readonly why: 'full' | 'aborted' }
  | { readonly ok: false; readonly why: 'refused'; readonly refusal: SessionRefusal };

/** What a step came to. */
export interface Stepped {
  readonly outcome: JobOutcome;
  /** Where the session stands now; null where it has ended, which the reason then says. */
  readonly session: SessionState | null;
  /** Whether the step left no trace. */
  readonly undone: boolean;
}

/** A call's turn at a session. Must be ended with `leave`. */
export interface Turn {
  /** Where it stands, and will until the turn is used. */
  readonly place: SessionPlace;
  /** Run one step. Never rejects. */
  step(job: Job, signal: AbortSignal, sinks: JobSinks): Promise<Stepped>;
  /** Make a second session that stands where this one does. */
  fork(): SessionState | SessionRefusal;
  /** Go back to an earlier step. */
  rewind(target: { readonly steps: number } | { readonly toStep: number }): SessionState | SessionRefusal;
  /** Let the next one have its turn. */
  leave(): void;
}

/** No session can be had; the message says why. */
export class NoSession extends Error {
  override readonly name = 'NoSession';
}

/** The right to make one more session. Must be ended with `leave`. */
interface Opening {
  /** Make it, and run its first step. Rejects with `NoSession` where there can be none. */
  step(backend: Pick<Backend, 'openSession'>, job: Job, signal: AbortSignal, sinks: JobSinks): Promise<Stepped>;
  leave(): void;
}

export interface Sessions {
  /** Why one more session can't be had now; null: it can. */
  full(grant: string): SessionRefusal | null;
  /** One more session. */
  open(grant: string): { ok: true; opening: Opening } | { ok: false; refusal: SessionRefusal };
  /** Where a session stands, or that it is not there. */
  stand(grant: string, handle: string): { ok: true; place: SessionPlace } | { ok: false; refusal: SessionRefusal };
  /** Wait for a turn. Never rejects. */
  enter(grant: string, handle: string, signal: AbortSignal): Promise<{ ok: true; turn: Turn } | NoTurn>;
  /** All sessions of a grant, the oldest first. */
  list(grant: string): readonly SessionState[];
  /** End a session; a step that runs in it is ended with it. @returns the step it stood at */
  end(grant: string, handle: string): { ok: true; step: number } | { ok: false; refusal: SessionRefusal };
  /** Take other caps, from the next call on. What a sandbox may use was fixed when it was made. */
  resize(caps: SessionCaps): void;
  /** End all sessions; steps that run come to their own end. @param why completes "session x has ended: …" */
  endAll(why: string): void;
  /** End everything at once. */
  close(): void;
}

/** As far as `setTimeout` can count. */
const TIMER_MAX_MS = 2 ** 31 - 1;

const BEGIN_ANEW = 'Begin another with session: "new"; what this one held has to be made again';

interface Session {
  readonly handle: string;
  readonly grant: string;
  readonly family: Family;
  readonly forkedFrom: string | null;
  readonly bornMs: number;
  history: History;
  usedMs: number;
  /** Calls that have their turn or wait for it. */
  calls: number;
  /** Why it has ended; null while it is there. */
  ended: string | null;
  /** Ends the step that runs. */
  readonly stop: AbortController;
}

/** @param clock milliseconds since the epoch */
export function createSessions(first: SessionCaps, clock: () => number = Date.now): Sessions {
  let caps = first;
  /** In the order they were begun. */
  const sessions = new Map<string, Session>();
  const ended = createEnded(clock);
  /** Sessions that are about to be made, by grant. */
  const reserved = new Map<string, number>();
  let timer: NodeJS.Timeout | undefined;

  /** End what is due, and come back for the next, so that what nobody uses is not kept until somebody calls. */
  function sweep(): void {
    const nowMs = clock();
    let nextMs = Number.POSITIVE_INFINITY;
    for (const session of [...sessions.values()]) {
      const { ageMs, idleMs } = leftOf(session, nowMs);
      if (ageMs <= 0) end(session, `it was older than ${caps.ageSeconds} s, the most that the policy allows`);
      else if (idleMs <= 0) end(session, `it was not used for ${caps.idleSeconds} s`);
      else nextMs = Math.min(nextMs, ageMs, idleMs);
    }
    clearTimeout(timer);
    timer = nextMs === Number.POSITIVE_INFINITY ? undefined : setTimeout(sweep, Math.min(nextMs, TIMER_MAX_MS)).unref();
  }

  /** Milliseconds until it is too old, and until it was idle for too long. */
  function leftOf({ bornMs, usedMs, calls }: Session, nowMs: number): { ageMs: number; idleMs: number } {
    return {
      ageMs: bornMs + caps.ageSeconds * 1000 - nowMs,
      idleMs: (calls > 0 ? nowMs : usedMs) + caps.idleSeconds * 1000 - nowMs,
    };
  }

  function end(session: Session, why: string): void {
    if (session.ended !== null) return;
    session.ended = why;
    sessions.delete(session.handle);
    ended.remember(session.handle, session.grant, why);
    session.family.members.delete(session);
    // Who has the turn tidies at its end.
    if (session.family.turns.running === 0) session.family.tidy();
  }

  function begin(grant: string, family: Family, from: Session | null): Session {
    const nowMs = clock();
    const session: Session = {
      handle: newHandle(),
      grant,
      family,
      forkedFrom: from?.handle ?? null,
      bornMs: from?.bornMs ?? nowMs,
      history: from?.history ?? BEGINNING,
      usedMs: nowMs,
      calls: 0,
      ended: null,
      stop: new AbortController(),
    };
    sessions.set(session.handle, session);
    family.members.add(session);
    return session;
  }

  function find(grant: string, handle: string): Session | SessionRefusal {
    sweep();
    const session = sessions.get(handle);
    return session?.grant === grant ? session : { code: 'no_such_session', message: goneWords(grant, handle) };
  }

  function goneWords(grant: string, handle: string): string {
    const name = JSON.stringify(handle.slice(0, 80));
    const why = ended.why(handle, grant);
    if (why !== null) return `session ${name} has ended: ${why}. ${BEGIN_ANEW}`;
    return `there is no session ${name} here: it was ended, or the server was restarted. ${BEGIN_ANEW}`;
  }

  /** Whether one more can be had. */
  function tooMany(grant: string): SessionRefusal | null {
    sweep();
    if (caps.max === 0) {
      return {
        code: 'no_sessions',
        message: 'The policy allows no sessions. Put all that a program needs into one call',
      };
    }
    const own = ownOf(grant);
    if (own.length + (reserved.get(grant) ?? 0) < caps.max) return null;
    // The one that was not used for longest is most likely the one to do without.
    const open = [...own]
      .sort((one, other) => one.usedMs - other.usedMs)
      .map((session) => {
        const { id, step, idleSeconds, busy } = stateOfSession(session);
        return `${id} (step ${step}, ${busy ? 'running now' : `unused for ${idleSeconds} s`})`;
      });
    const message =
      `${own.length === 1 ? '1 session is' : `${own.length} sessions are`} open, and the policy allows no more at a time. End one that is not needed with session_end, ` +
      `or go on in it: ${open.join(', ')}`;
    return { code: 'too_many_sessions', message };
  }

  function ownOf(grant: string): Session[] {
    return [...sessions.values()].filter((session) => session.grant === grant);
  }

  function stateOfSession(session: Session): SessionState {
    const nowMs = clock();
    const { ageMs, idleMs } = leftOf(session, nowMs);
    return {
      id: session.handle,
      step: stepOf(session.history),
      earliestStep: session.history.earliestStep,
      forkedFrom: session.forkedFrom,
      busy: session.calls > 0,
      ageSeconds: Math.floor((nowMs - session.bornMs) / 1000),
      idleSeconds: session.calls > 0 ? 0 : Math.floor((nowMs - session.usedMs) / 1000),
      endsInSeconds: Math.max(0, Math.ceil(Math.min(ageMs, idleMs) / 1000)),
      memoryBytes: session.family.sandbox.memoryBytes,
    };
  }

  /** The turn of a call at a session that is there. */
  async function take(
    grant: string,
    handle: string,
    signal: AbortSignal,
  ): Promise<{ ok: true; session: Session; leave: () => void } | NoTurn> {
    const found = find(grant, handle);
    if ('code' in found) return { ok: false, why: 'refused', refusal: found };
    const session = found;
    session.calls += 1;
    const got = await session.family.turns.acquire(grant, signal);
    const done = (): void => {
      session.calls -= 1;
      session.usedMs = clock();
    };
    if (!got.ok) {
      done();
      sweep();
      return got;
    }
    let left = false;
    const leave = (): void => {
      if (left) return;
      left = true;
      done();
      // Before the next one has its turn.
      session.family.tidy();
      got.release();
      sweep();
    };
    // Much can happen to a session while a call waits.
    const still = find(grant, handle);
    if (!('code' in still)) return { ok: true, session, leave };
    leave();
    return { ok: false, why: 'refused', refusal: still };
  }

  async function stepIn(session: Session, job: Job, signal: AbortSignal, sinks: JobSinks): Promise<Stepped> {
    const { family } = session;
    const either = AbortSignal.any([signal, session.stop.signal]);
    const { state, ...outcome } = await family.sandbox.step(job, stateOf(session.history), either, sinks);
    // A sandbox that is gone has said so by then.
    if (outcome.status === 'unavailable') await setImmediate();
    if (state !== null) {
      family.made(state);
      session.history = advance(session.history, state, caps.keepSteps);
    }
    family.makeRoom({ memoryBytes: caps.memoryMb * 2 ** 20, diskBytes: caps.diskMb * 2 ** 20 });
    if (session.ended === null) return { outcome, session: stateOfSession(session), undone: state === null };
    const reason = `${outcome.reason}; its session has ended: ${session.ended}`;
    return { outcome: { ...outcome, reason }, session: null, undone: true };
  }

  function openingFor(grant: string): Opening {
    reserved.set(grant, (reserved.get(grant) ?? 0) + 1);
    let holds = true;
    let leaveSession = (): void => undefined;
    const giveBack = (): void => {
      if (holds) reserved.set(grant, (reserved.get(grant) ?? 1) - 1);
      holds = false;
    };
    return {
      async step(backend, job, signal, sinks) {
        const { memoryMb, diskMb, maxWaiting } = caps;
        const sandbox = await backend.openSession({ memoryMb, diskMb }).catch((error: unknown) => {
          const why = error instanceof Error ? error.message : String(error);
          throw new NoSession(`a session can't be had here: ${why}`, { cause: error });
        });
        const family = createFamily(sandbox, maxWaiting);
        const session = begin(grant, family, null);
        giveBack();
        void sandbox.ended.then((why) => {
          for (const member of ownOf(grant).filter((one) => one.family === family)) {
            end(member, `its sandbox was lost (${why})`);
          }
        });
        const taken = await take(grant, session.handle, new AbortController().signal);
        if (!taken.ok) throw new NoSession(taken.why === 'refused' ? taken.refusal.message : 'nobody let it begin');
        leaveSession = taken.leave;
        const stepped = await stepIn(session, job, signal, sinks);
        // Who gives up gets no answer, so nobody would ever learn its handle.
        if (stepped.outcome.status !== 'cancelled' || !stepped.undone) return stepped;
        end(session, 'its first call was cancelled');
        return { ...stepped, session: null };
      },
      leave() {
        giveBack();
        leaveSession();
      },
    };
  }

  function turnAt(session: Session, leave: () => void): Turn {
    return {
      place: placeOf(session),
      step: (job, signal, sinks) => stepIn(session, job, signal, sinks),
      fork() {
        const refusal = tooMany(session.grant);
        return refusal ?? stateOfSession(begin(session.grant, session.family, session));
      },
      rewind(target) {
        const toStep = 'toStep' in target ? target.toStep : stepOf(session.history) - target.steps;
        const earlier = rewind(session.history, toStep);
        if (earlier === null) return noSuchStep(session.history, toStep);
        session.history = earlier;
        return stateOfSession(session);
      },
      leave,
    };
  }

  function endAll(why: string): void {
    for (const session of [...sessions.values()]) end(session, why);
    sweep();
  }

  return {
    full: tooMany,
    open(grant) {
      const refusal = tooMany(grant);
      return refusal === null ? { ok: true, opening: openingFor(grant) } : { ok: false, refusal };
    },
    stand(grant, handle) {
      const found = find(grant, handle);
      return 'code' in found ? { ok: false, refusal: found } : { ok: true, place: placeOf(found) };
    },
    async enter(grant, handle, signal) {
      const taken = await take(grant, handle, signal);
      return taken.ok ? { ok: true, turn: turnAt(taken.session, taken.leave) } : taken;
    },
    list(grant) {
      sweep();
      return ownOf(grant).map(stateOfSession);
    },
    end(grant, handle) {
      const found = find(grant, handle);
      if ('code' in found) return { ok: false, refusal: found };
      end(found, 'session_end was called');
      found.stop.abort();
      return { ok: true, step: stepOf(found.history) };
    },
    resize(next) {
      caps = next;
      for (const { family } of sessions.values()) family.turns.resize({ maxRunning: 1, maxWaiting: next.maxWaiting });
      if (next.max === 0) endAll('the policy was edited, and allows no sessions any more');
      sweep();
    },
    endAll,
    close() {
      for (const session of [...sessions.values()]) {
        end(session, 'the server has ended');
        session.stop.abort();
        session.family.sandbox.close();
      }
      clearTimeout(timer);
    },
  };
}

function placeOf({ handle, history }: Session): SessionPlace {
  return { digest: digestOf(handle), step: stepOf(history), state: stateOf(history) };
}

function noSuchStep(history: History, toStep: number): SessionRefusal {
  const [now, earliest] = [stepOf(history), history.earliestStep];
  const kept =
    earliest === now
      ? `and no earlier state is kept${now === 0 ? ', for there is none' : ''}`
      : `and can go back to step ${earliest}${earliest === now - 1 ? '' : ` or any after it`}`;
  return {
    code: 'no_such_step',
    message: `there is no step ${toStep} to go back to: the session stands at step ${now}, ${kept}`,
  };
}
