import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import {
  createApprovals,
  type Approval,
  type Asking,
  type Form,
  type FormAnswer,
} from '../../../src/approval/approvals.js';
import { openRequests, type Question } from '../../../src/approval/requests.js';
import { MEMORY, openDatabase, type Database } from '../../../src/state/database.js';

const question: Question = {
  call: { tool: 'code_execute', code: 'print(1)', stdin: '', files: [], timeoutSeconds: null, session: null },
  grant: 'local',
  client: 'test',
  session: 'one',
  policyHash: 'policy',
  rule: '/tools/code_execute/require_approval/0',
  message: 'Really?',
  timeoutSeconds: 60,
  remember: 'once',
};

let home: string;
let databases: Database[];
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'cordon-approval-test-'));
  databases = [];
});
afterEach(async () => {
  for (const database of databases) await database.close();
  rmSync(home, { recursive: true, force: true });
});

function open(path = join(home, 'state.db')): Database {
  const database = openDatabase(path);
  databases.push(database);
  return database;
}

function deferred<T>() {
  let settle: { resolve: (value: T) => void; reject: (error: Error) => void } | undefined;
  const promise = new Promise<T>((resolve, reject) => {
    settle = { resolve, reject };
  });
  // What a test rejects on purpose is not looked at by everybody.
  promise.catch(() => undefined);
  return {
    promise,
    resolve: (value: T) => settle?.resolve(value),
    reject: (error: Error) => settle?.reject(error),
  };
}

interface Shown {
  readonly form: Form;
  readonly answer: (answer: FormAnswer) => void;
  readonly fail: (error: Error) => void;
  /** Resolves when the form is taken away. */
  readonly away: Promise<unknown>;
}

function form(): Shown {
  const answers = deferred<FormAnswer>();
  const away = deferred<null>();
  return {
    form: {
      via: 'form',
      by: 'the user',
      show(_request, signal) {
        signal.addEventListener('abort', () => {
          away.resolve(null);
        });
        return answers.promise;
      },
    },
    answer: answers.resolve,
    fail: answers.reject,
    away: away.promise,
  };
}

/** Ask, and tell the id once it waits. */
function ask(database: Database, asking: Partial<Asking> = {}): { id: Promise<string>; end: Promise<Approval> } {
  const waiting = deferred<string>();
  const end = createApprovals(database).ask({
    question,
    form: null,
    signal: new AbortController().signal,
    onWaiting: (howTo) => {
      waiting.resolve(/cordon approve show (\w+)/.exec(howTo)?.[1] ?? '');
    },
    ...asking,
  });
  return { id: waiting.promise, end };
}

test('a yes in the form allows, whoever else was asked', async () => {
  const shown = form();
  const { end, id } = ask(open(), { form: shown.form });
  await id;
  shown.answer({ kind: 'yes' });
  assert.deepEqual(await end, { kind: 'allowed', id: await id, via: 'form', by: 'the user' });
});

test('a no in the form denies', async () => {
  const shown = form();
  const { end, id } = ask(open(), { form: shown.form });
  await id;
  shown.answer({ kind: 'no', reason: 'declined' });
  assert.deepEqual(await end, { kind: 'denied', id: await id, via: 'form', by: 'the user', reason: 'declined' });
});

for (const [allow, kind] of [
  [true, 'allowed'],
  [false, 'denied'],
] as const) {
  test(`another process answers while a form hangs: ${kind}, and the form is taken away`, async () => {
    const shown = form();
    const { end, id } = ask(open(), { form: shown.form });
    await openRequests(open()).settle(await id, { allow, via: 'cli', by: 'ann', reason: null });
    const approval = await end;
    assert.equal(approval.kind, kind);
    await shown.away;
    // Too late: the yes of a form that was taken away changes nothing.
    shown.answer({ kind: 'yes' });
    assert.equal((await openRequests(open()).list()).filter(({ state }) => state === 'allowed').length, 0);
  });
}

test('a form that fails leaves the question to others; one that nobody answers in time is a no', async () => {
  const shown = form();
  const { end, id } = ask(open(), { form: shown.form, question: { ...question, timeoutSeconds: 0.2 } });
  await id;
  shown.fail(new Error('the client has no idea what this is'));
  const approval = await end;
  assert.equal(approval.kind, 'timeout');
  assert.match(approval.howTo ?? '', new RegExp(`cordon approve allow ${approval.id}`));
});

test('in memory, where nobody else can answer: no form, or one that fails, is an answer at once', async () => {
  const alone = await ask(open(MEMORY)).end;
  assert.equal(alone.kind, 'nobody');
  assert.match(alone.why, /state is in memory/);
  const shown = form();
  const { end } = ask(open(MEMORY), { form: shown.form });
  shown.fail(new Error('broken'));
  assert.deepEqual(await end, { kind: 'nobody', why: 'broken' });
});

test('in memory, a form answers all the same', async () => {
  const shown = form();
  const { end } = ask(open(MEMORY), { form: shown.form });
  shown.answer({ kind: 'yes' });
  assert.equal((await end).kind, 'allowed');
});

test('a caller that gives up is not waited for; the question stays, and an answer counts for the call made again', async () => {
  const stop = new AbortController();
  const shown = form();
  const { end, id } = ask(open(), { signal: stop.signal, form: shown.form });
  await id;
  stop.abort();
  assert.deepEqual(await end, { kind: 'cancelled', id: await id });
  await shown.away;
  await openRequests(open()).settle(await id, { allow: true, via: 'cli', by: 'ann', reason: null });
  assert.deepEqual(await ask(open()).end, { kind: 'allowed', id: await id, via: 'cli', by: 'ann' });
});

test('two same calls that wait need two answers', async () => {
  const database = open();
  const [one, other] = [ask(database), ask(database)];
  const requests = openRequests(open());
  await requests.settle(await one.id, { allow: true, via: 'cli', by: 'ann', reason: null });
  assert.equal((await one.end).kind, 'allowed');
  await requests.settle(await other.id, { allow: false, via: 'cli', by: 'ann', reason: null });
  assert.equal((await other.end).kind, 'denied');
});

test('a state that fails is no yes', async () => {
  const path = join(home, 'no', 'such');
  const approval = await ask(open(`/dev/null${path}`)).end;
  assert.equal(approval.kind, 'unavailable');
});

test('what is remembered is on record as that', async () => {
  const remembered: Question = { ...question, remember: 'same_code' };
  const shown = form();
  const first = ask(open(), { form: shown.form, question: remembered });
  shown.answer({ kind: 'yes' });
  assert.equal((await first.end).kind, 'allowed');
  const again = await ask(open(), { question: remembered }).end;
  assert.deepEqual(again, { kind: 'allowed', id: await first.id, via: 'remembered', by: 'the user' });
});
