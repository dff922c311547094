/**
 * Questions that wait for a person, and the answers: a table of the state that all servers of a user share.
 *
 * A request is pending until a person settles it or it expires, and is then allowed or denied. It is bound to the exact
 * call, to the policy and to the grant; nothing else can ever use it. An approval to be used once is used by the call
 * that waits for it; where that has stopped waiting, by the next same call, in one transaction that only one can win.
 */
import { randomInt } from 'node:crypto';
import type { Remember } from '../policy/schema.js';
import type { Database, Row, Sql } from '../state/database.js';
import { callHash, type ExactCall } from './call-hash.js';

/** A person is asked whether a call may run. */
export interface Question {
  readonly call: ExactCall;
  readonly grant: string;
  /** What the client says of itself. */
  readonly client: string;
  /** One connection of a client: what `remember: session` holds for. */
  readonly session: string;
  readonly policyHash: string;
  /** JSON pointer of the rule that asks. */
  readonly rule: string;
  /** The owner's words. */
  readonly message: string;
  readonly timeoutSeconds: number;
  readonly remember: Remember;
}

/** How an answer came. */
export type Via = 'form' | 'cli' | 'terminal';

export interface Answer {
  readonly allow: boolean;
  readonly via: Via;
  /** Who gave it, as far as that is known. */
  readonly by: string;
  /** Of a no, in the person's words. */
  readonly reason: string | null;
}

type RequestState = 'pending' | 'allowed' | 'denied' | 'used';

/** A request as it is stored. */
export interface StoredRequest extends Omit<Question, 'timeoutSeconds'> {
  readonly id: string;
  readonly callHash: string;
  readonly state: RequestState;
  readonly createdMs: number;
  /** Until then a call waits for the answer. */
  readonly waitingUntilMs: number;
  readonly expiresMs: number;
  /** null while it is pending. */
  readonly answer: Answer | null;
}

type Opened =
  /** A person has said yes to this before. */
  | { readonly kind: 'allowed'; readonly request: StoredRequest }
  /** It waits for an answer now. */
  | { readonly kind: 'pending'; readonly request: StoredRequest }
  /** So many are waiting already. */
  | { readonly kind: 'full'; readonly pending: number };

export interface Requests {
  /** Use what stands already for this call; else take over a question that nobody waits for any more; else ask anew. */
  open(question: Question): Promise<Opened>;
  /** Answer a pending request. @returns what it is afterwards; undefined: there is none, or it has expired */
  settle(id: string, answer: Answer): Promise<{ settled: boolean; request: StoredRequest } | undefined>;
  /** How the request stands for the call that waits for it; an approval for once is used up by this. */
  take(id: string): Promise<StoredRequest | undefined>;
  /** The call stops waiting. The question stays, and can be answered until it expires. */
  leave(id: string): Promise<void>;
  /** Nobody could ever answer. */
  remove(id: string): Promise<void>;
  /** All that have not expired, oldest first. */
  list(): Promise<StoredRequest[]>;
}

/** How long a question can be answered at least; longer where a call waits longer. */
const ANSWERABLE_MS = 60 * 60_000;
/** How long an approval waits for its call to be made again, and how long one holds that is remembered. */
const USABLE_MS: Readonly<Record<Remember, number>> = {
  once: 15 * 60_000,
  same_code: 24 * 60 * 60_000,
  session: 24 * 60 * 60_000,
};
/** A person who is asked more than that at a time reads none of it. */
const PENDING_MAX = 32;

const TABLE =
  'CREATE TABLE IF NOT EXISTS approvals (id TEXT PRIMARY KEY, call_hash TEXT NOT NULL, policy_hash TEXT NOT NULL, ' +
  'grant_name TEXT NOT NULL, client TEXT NOT NULL, session TEXT NOT NULL, rule TEXT NOT NULL, message TEXT NOT NULL, ' +
  'remember TEXT NOT NULL, call TEXT NOT NULL, state TEXT NOT NULL, created_ms INTEGER NOT NULL, ' +
  'waiting_until_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL, answer TEXT) STRICT';

/** @param clock milliseconds since the epoch */
export function openRequests(database: Database, clock: () => number = Date.now): Requests {
  database.table(TABLE);

  return {
    open: (question) =>
      database.transaction((sql) => {
        const nowMs = clock();
        sql.run('DELETE FROM approvals WHERE expires_ms <= ?', nowMs);
        const hash = callHash(question.call);
        const bound = [question.policyHash, question.grant, nowMs] as const;
        const BOUND = 'policy_hash = ? AND grant_name = ? AND expires_ms > ?';

        const standing = requestOf(
          sql.get(
            `SELECT * FROM approvals WHERE state = 'allowed' AND ${BOUND} AND ` +
              "((remember = 'once' AND call_hash = ? AND waiting_until_ms <= ?) OR (remember = 'same_code' AND call_hash = ?) " +
              "OR (remember = 'session' AND session = ?)) AND rule = ? AND message = ? AND remember = ? LIMIT 1",
            ...[...bound, hash, nowMs, hash, question.session, question.rule, question.message, question.remember],
          ),
        );
        if (standing !== undefined) return { kind: 'allowed', request: use(sql, standing) };

        const untilMs = nowMs + question.timeoutSeconds * 1000;
        const orphan = requestOf(
          sql.get(
            `SELECT * FROM approvals WHERE state = 'pending' AND ${BOUND} AND call_hash = ? AND waiting_until_ms <= ? ` +
              'AND session = ? AND rule = ? AND message = ? AND remember = ? LIMIT 1',
            ...[...bound, hash, nowMs, question.session, question.rule, question.message, question.remember],
          ),
        );
        if (orphan !== undefined) {
          const expiresMs = Math.max(orphan.expiresMs, untilMs);
          sql.run(
            'UPDATE approvals SET waiting_until_ms = ?, expires_ms = ? WHERE id = ?',
            untilMs,
            expiresMs,
            orphan.id,
          );
          return { kind: 'pending', request: { ...orphan, waitingUntilMs: untilMs, expiresMs } };
        }

        const pending = Number(sql.get("SELECT count(*) AS n FROM approvals WHERE state = 'pending'")?.n ?? 0);
        if (pending >= PENDING_MAX) return { kind: 'full', pending };
        const { call, grant, client, session, policyHash, rule, message, remember } = question;
        const request: StoredRequest = {
          ...{ call, grant, client, session, policyHash, rule, message, remember },
          id: newId(),
          callHash: hash,
          state: 'pending',
          createdMs: nowMs,
          waitingUntilMs: untilMs,
          expiresMs: Math.max(untilMs, nowMs + ANSWERABLE_MS),
          answer: null,
        };
        insert(sql, request);
        return { kind: 'pending', request };
      }),

    settle: (id, answer) =>
      database.transaction((sql) => {
        const nowMs = clock();
        const request = read(sql, id, nowMs);
        if (request?.state !== 'pending') return request === undefined ? undefined : { settled: false, request };
        const state = answer.allow ? 'allowed' : 'denied';
        // From the yes on, or from the end of the wait: the call that waits must find its answer.
        const expiresMs = answer.allow
          ? Math.max(nowMs + USABLE_MS[request.remember], request.waitingUntilMs)
          : request.expiresMs;
        sql.run(
          "UPDATE approvals SET state = ?, answer = ?, expires_ms = ? WHERE id = ? AND state = 'pending'",
          ...[state, JSON.stringify(answer), expiresMs, id],
        );
        return { settled: true, request: { ...request, state, answer, expiresMs } };
      }),

    take: (id) =>
      database.transaction((sql) => {
        const request = read(sql, id, clock());
        return request?.state === 'allowed' ? use(sql, request) : request;
      }),

    leave: (id) =>
      database.transaction((sql) => {
        sql.run('UPDATE approvals SET waiting_until_ms = ? WHERE id = ?', clock(), id);
      }),

    remove: (id) =>
      database.transaction((sql) => {
        sql.run('DELETE FROM approvals WHERE id = ?', id);
      }),

    list: () =>
      database.transaction((sql) =>
        sql
          .all('SELECT * FROM approvals WHERE expires_ms > ? ORDER BY created_ms, id', clock())
          .flatMap((row) => requestOf(row) ?? []),
      ),
  };
}

/** One that is for once is used up; a remembered one goes on. */
function use(sql: Sql, request: StoredRequest): StoredRequest {
  if (request.remember === 'once') {
    const changed = sql.run("UPDATE approvals SET state = 'used' WHERE id = ? AND state = 'allowed'", request.id);
    if (changed !== 1) throw new Error(`the approval ${request.id} was used twice`);
  }
  return request;
}

function read(sql: Sql, id: string, nowMs: number): StoredRequest | undefined {
  return requestOf(sql.get('SELECT * FROM approvals WHERE id = ? AND expires_ms > ?', id, nowMs));
}

function insert(sql: Sql, request: StoredRequest): void {
  sql.run(
    'INSERT INTO approvals (id, call_hash, policy_hash, grant_name, client, session, rule, message, remember, call, state, ' +
      'created_ms, waiting_until_ms, expires_ms, answer) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)',
    ...[request.id, request.callHash, request.policyHash, request.grant, request.client, request.session, request.rule],
    ...[request.message, request.remember, JSON.stringify(request.call), request.state],
    ...[request.createdMs, request.waitingUntilMs, request.expiresMs],
  );
}

function requestOf(row: Row | undefined): StoredRequest | undefined {
  if (row === undefined) return undefined;
  const text = (name: string): string => {
    const value = row[name];
    if (typeof value !== 'string') throw new Error(`approvals.${name}: expected a text`);
    return value;
  };
  // A question of a Cordon that knew no files and no sessions has none.
  const call = { files: [], session: null, ...(JSON.parse(text('call')) as object) } as unknown as ExactCall;
  // Whoever could write to the state could forge an approval anyway; this is against damage.
  if (callHash(call) !== text('call_hash')) throw new Error(`the approval ${text('id')} does not fit its call`);
  return {
    id: text('id'),
    callHash: text('call_hash'),
    policyHash: text('policy_hash'),
    grant: text('grant_name'),
    client: text('client'),
    session: text('session'),
    rule: text('rule'),
    message: text('message'),
    remember: text('remember') as Remember,
    call,
    state: text('state') as RequestState,
    createdMs: Number(row.created_ms),
    waitingUntilMs: Number(row.waiting_until_ms),
    expiresMs: Number(row.expires_ms),
    answer: row.answer === null ? null : (JSON.parse(text('answer')) as Answer),
  };
}

/** Easy to read out and to type: no vowels, nothing that looks like something else. About 37 bits. */
function newId(): string {
  const alphabet = 'bcdfghjkmnpqrstvwxz23456789';
  return Array.from({ length: 8 }, () => alphabet[randomInt(alphabet.length)]).join('');
}
