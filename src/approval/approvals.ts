/**
 * Asking a person whether a call may run, and waiting for the answer.
 *
 * The question is written into the shared state, where `cordon approve` finds it, and shown to the client's user at the
 * same time where the client can show a form: some clients say they can and never answer. The first answer counts, and
 * whatever is no clear yes is a no: declining, dismissing, silence, a fault.
 *
 * What the model can reach can't answer: programs can't get at the state, no argument of a tool is looked at, and the
 * answer to a form comes from the client. Knowing a request's id helps nobody.
 */
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { stateDirectory } from '../state/choice.js';
import { MEMORY, StateError, type Database } from '../state/database.js';
import { onChange } from './changes.js';
import { openRequests, type Question, type StoredRequest, type Via } from './requests.js';

/** What became of a form. */
export type FormAnswer =
  | { readonly kind: 'yes' }
  /** @param reason in a few words: how it was said */
  | { readonly kind: 'no'; readonly reason: string }
  /** It was not answered, and will not be. */
  | { readonly kind: 'none'; readonly why: string };

/** A way to ask that answers by itself: the client's form, or a terminal. */
export interface Form {
  readonly via: Exclude<Via, 'cli'>;
  /** Who answers. */
  readonly by: string;
  /** Show the question until it is answered. Aborting the signal takes it away: it was answered elsewhere, or time is up. */
  show(request: StoredRequest, signal: AbortSignal): Promise<FormAnswer>;
}

export interface Asking {
  readonly question: Question;
  /** null: only `cordon approve` can answer. */
  readonly form: Form | null;
  /** Aborted: the caller gave up. */
  readonly signal: AbortSignal;
  /** Told once the question waits: how it can be answered. */
  readonly onWaiting: (howTo: string) => void;
}

export type Approval =
  | { readonly kind: 'allowed'; readonly id: string; readonly via: Via | 'remembered'; readonly by: string }
  | {
      readonly kind: 'denied';
      readonly id: string;
      readonly via: Via;
      readonly by: string;
      readonly reason: string | null;
    }
  /** Nobody answered in time; `howTo`: what a person can still do, null where nothing. */
  | { readonly kind: 'timeout'; readonly id: string; readonly howTo: string | null }
  | { readonly kind: 'cancelled'; readonly id: string }
  /** There is nobody who could be asked. */
  | { readonly kind: 'nobody'; readonly why: string }
  /** Our fault, or too many questions at once. */
  | { readonly kind: 'unavailable'; readonly why: string };

export interface Approvals {
  /** Ask, and wait. Never rejects. */
  ask(asking: Asking): Promise<Approval>;
}

/**
 * @param database where questions wait; in memory, only forms can answer
 * @param clock milliseconds since the epoch
 */
export function createApprovals(database: Database, clock: () => number = Date.now): Approvals {
  const requests = openRequests(database, clock);
  const shared = database.path !== MEMORY;

  async function ask({ question, form, signal, onWaiting }: Asking): Promise<Approval> {
    const opened = await requests.open(question);
    if (opened.kind === 'full') {
      return { kind: 'unavailable', why: `${opened.pending} calls wait for a person already` };
    }
    const { request } = opened;
    const { id } = request;
    if (opened.kind === 'allowed') return allowed(request, question.remember !== 'once');
    if (!shared && form === null) {
      await requests.remove(id);
      const why =
        'this client shows no forms, and the state is in memory, where cordon approve can not see it. ' +
        'The owner of this server can start it with a state file, or use a client that shows forms';
      return { kind: 'nobody', why };
    }
    const howTo = shared ? howToAnswer(id, database.path) : null;
    onWaiting(howTo === null ? 'in the form that the client shows' : `in another terminal: ${howTo}`);

    const ended = new AbortController();
    const shown = form === null ? null : showForm(form, request, ended.signal);
    try {
      const end = await firstOf(request, question.timeoutSeconds, shown, signal, ended.signal);
      if (typeof end !== 'string') return end;
      // An answer that came at the same moment counts.
      const now = answered(await requests.take(id));
      if (now !== null && end === 'timeout') return now;
      await requests.leave(id);
      return end === 'cancelled' ? { kind: 'cancelled', id } : { kind: 'timeout', id, howTo };
    } finally {
      ended.abort();
    }
  }

  /** The first of: an answer, the end of the time, the caller giving up. Rejects where the state fails. */
  function firstOf(
    { id }: StoredRequest,
    timeoutSeconds: number,
    shown: Promise<FormAnswer> | null,
    given: AbortSignal,
    ended: AbortSignal,
  ): Promise<Approval | 'timeout' | 'cancelled'> {
    return new Promise((resolve, reject) => {
      const look = async (): Promise<void> => {
        try {
          if (ended.aborted) return;
          const now = answered(await requests.take(id));
          if (now !== null) resolve(now);
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
      };
      const stop = onChange(database.path, look);
      const timer = setTimeout(() => {
        resolve('timeout');
      }, timeoutSeconds * 1000);
      const giveUp = (): void => {
        resolve('cancelled');
      };
      given.addEventListener('abort', giveUp, { once: true });
      ended.addEventListener('abort', () => {
        stop();
        clearTimeout(timer);
        given.removeEventListener('abort', giveUp);
      });
      if (given.aborted) giveUp();
      void shown?.then(async (answer) => {
        if (ended.aborted) return;
        // Where the form was the only way, there is nobody left who could answer.
        if (answer.kind === 'none' && !shared) resolve({ kind: 'nobody', why: answer.why });
        else if (answer.kind !== 'none') await look();
      });
    });
  }

  /** Show the form and write down what it says; who was faster with `cordon approve` stays so. */
  async function showForm(form: Form, request: StoredRequest, signal: AbortSignal): Promise<FormAnswer> {
    try {
      const answer = await form.show(request, signal);
      if (answer.kind === 'none' || signal.aborted) return answer;
      const allow = answer.kind === 'yes';
      const reason = answer.kind === 'no' ? answer.reason : null;
      await requests.settle(request.id, { allow, via: form.via, by: form.by, reason });
      return answer;
    } catch (error) {
      return { kind: 'none', why: error instanceof Error ? error.message : String(error) };
    }
  }

  return {
    async ask(asking) {
      try {
        return await ask(asking);
      } catch (error) {
        if (!(error instanceof StateError)) process.stderr.write(`cordon: approval: ${String(error)}\n`);
        return { kind: 'unavailable', why: error instanceof Error ? error.message : String(error) };
      }
    },
  };
}

/** What a person types, wherever the state is. */
function howToAnswer(id: string, path: string): string {
  const isDefault = path === join(stateDirectory(process.env), 'state.db');
  const state = isDefault ? '' : ` --state '${path.replaceAll("'", "'\\''")}'`;
  return `cordon approve show ${id}${state}, then cordon approve allow ${id}${state}`;
}

function allowed({ id, answer }: StoredRequest, remembered: boolean): Approval {
  return { kind: 'allowed', id, via: remembered ? 'remembered' : (answer?.via ?? 'cli'), by: answer?.by ?? '' };
}

/** What a request that was waited for says; null while it says nothing. */
function answered(request: StoredRequest | undefined): Approval | null {
  if (request === undefined) return null;
  if (request.state === 'allowed') return allowed(request, false);
  if (request.state !== 'denied') return null;
  const { id, answer } = request;
  return { kind: 'denied', id, via: answer?.via ?? 'cli', by: answer?.by ?? '', reason: answer?.reason ?? null };
}

/** The name of the user that runs this process, for the record. */
export function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return `uid ${process.getuid?.() ?? 'unknown'}`;
  }
}
