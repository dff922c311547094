import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { callHash } from '../../../src/approval/call-hash.js';
import { openRequests, type Answer, type Question, type Requests } from '../../../src/approval/requests.js';
import { openDatabase, type Database } from '../../../src/state/database.js';

const MINUTE_MS = 60_000;
const question: Question = {
  call: { tool: 'code_execute', code: 'print(1)', stdin: '', files: [], timeoutSeconds: null, session: null },
  grant: 'local',
  client: 'test',
  session: 'one',
  policyHash: 'policy',
  rule: '/tools/code_execute/require_approval/0',
  message: 'Really?',
  timeoutSeconds: 120,
  remember: 'once',
};
const yes: Answer = { allow: true, via: 'cli', by: 'ann', reason: null };
const no: Answer = { allow: false, via: 'cli', by: 'ann', reason: 'not today' };

let home: string;
let databases: Database[];
let nowMs: number;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'cordon-approval-test-'));
  databases = [];
  nowMs = Date.UTC(2026, 0, 1);
});
afterEach(async () => {
  for (const database of databases) await database.close();
  rmSync(home, { recursive: true, force: true });
});

/** What one server sees: each has its own connection to the same file. */
function server(): Requests {
  const database = openDatabase(join(home, 'state.db'));
  databases.push(database);
  return openRequests(database, () => nowMs);
}

/** A call asked, and stopped waiting; then a person answered. */
async function answered(requests: Requests, answer: Answer, asked: Question = question): Promise<string> {
  const opened = await requests.open(asked);
  assert.equal(opened.kind, 'pending');
  nowMs += asked.timeoutSeconds * 1000;
  const settled = await requests.settle(opened.request.id, answer);
  assert.equal(settled?.settled, true);
  return opened.request.id;
}

test('an approval that came too late lets the same call through once, made again', async () => {
  const requests = server();
  const id = await answered(requests, yes);
  const again = await requests.open(question);
  assert.equal(again.kind, 'allowed');
  assert.equal(again.request.id, id);
  assert.deepEqual(again.request.answer, yes);
  assert.equal((await requests.open(question)).kind, 'pending');
});

const others: [string, Partial<Question>][] = [
  ['whose code differs in one byte', { call: { ...question.call, code: 'print(2)' } }],
  ['whose code has one space more', { call: { ...question.call, code: 'print(1) ' } }],
  ['with another input', { call: { ...question.call, stdin: 'x' } }],
  ['with another time limit', { call: { ...question.call, timeoutSeconds: 5 } }],
  ['of another tool', { call: { ...question.call, tool: 'other' } }],
  ['of another grant', { grant: 'other' }],
  ['after an edit of the policy', { policyHash: 'edited' }],
  ['that another rule asks about', { rule: '/tools/code_execute/require_approval/1' }],
  ['that something else is asked about', { message: 'Something else?' }],
];
for (const remember of ['once', 'same_code'] as const) {
  for (const [name, change] of others) {
    test(`an approval (${remember}) is of no use to a call ${name}`, async () => {
      const requests = server();
      const asked = { ...question, remember };
      await answered(requests, yes, asked);
      assert.equal((await requests.open({ ...asked, ...change })).kind, 'pending');
      assert.equal((await requests.open(asked)).kind, 'allowed');
    });
  }
}

test('code and stdin can not change places behind the same hash', () => {
  const { call } = question;
  assert.notEqual(callHash({ ...call, code: 'a', stdin: 'b' }), callHash({ ...call, code: 'b', stdin: 'a' }));
  assert.notEqual(callHash({ ...call, code: 'a","b', stdin: '' }), callHash({ ...call, code: 'a', stdin: 'b' }));
});

test('of two servers that want to use one approval at once, one gets it', async () => {
  const [one, other] = [server(), server()];
  await answered(one, yes);
  const opened = await Promise.all([
    one.open(question),
    other.open(question),
    one.open(question),
    other.open(question),
  ]);
  assert.equal(opened.filter(({ kind }) => kind === 'allowed').length, 1);
});

test('an approval belongs to the call that waits for it, not to another that is the same', async () => {
  const requests = server();
  const [first, second] = [await requests.open(question), await requests.open(question)];
  assert.ok(first.kind === 'pending' && second.kind === 'pending');
  assert.notEqual(first.request.id, second.request.id);
  await requests.settle(first.request.id, yes);
  assert.equal((await requests.open(question)).kind, 'pending');
  assert.equal((await requests.take(second.request.id))?.state, 'pending');
  assert.equal((await requests.take(first.request.id))?.state, 'allowed');
  assert.equal((await requests.take(first.request.id))?.state, 'used');
});

test('a question nobody waits for any more is taken up again by the same call, under the same id', async () => {
  const requests = server();
  const first = await requests.open(question);
  assert.ok(first.kind === 'pending');
  await requests.leave(first.request.id);
  const again = await requests.open(question);
  assert.ok(again.kind === 'pending');
  assert.equal(again.request.id, first.request.id);
  assert.equal((await requests.list()).length, 1);
});

test('an approval expires: after 15 minutes it is of no use', async () => {
  const requests = server();
  await answered(requests, yes);
  nowMs += 15 * MINUTE_MS;
  assert.equal((await requests.open(question)).kind, 'pending');
});

test('a question expires: after an hour it is gone, as when its server was killed', async () => {
  const requests = server();
  const opened = await requests.open(question);
  assert.ok(opened.kind === 'pending');
  nowMs += 60 * MINUTE_MS - 1;
  assert.equal((await server().list()).length, 1);
  nowMs += 1;
  assert.deepEqual(await server().list(), []);
  assert.equal(await requests.settle(opened.request.id, yes), undefined);
  assert.equal(await requests.take(opened.request.id), undefined);
});

test('the first answer counts, whatever comes after it', async () => {
  const requests = server();
  const id = await answered(requests, no);
  const late = await requests.settle(id, yes);
  assert.equal(late?.settled, false);
  assert.deepEqual(late.request.answer, no);
  assert.equal((await requests.open(question)).kind, 'pending');
});

test('same_code: the yes holds for that call again and again, in every session, for a day', async () => {
  const requests = server();
  const asked: Question = { ...question, remember: 'same_code' };
  await answered(requests, yes, asked);
  for (const session of ['one', 'two', 'three'])
    assert.equal((await requests.open({ ...asked, session })).kind, 'allowed');
  nowMs += 24 * 60 * MINUTE_MS;
  assert.equal((await requests.open(asked)).kind, 'pending');
});

test('session: the yes holds for what the rule asks about in that session, and in no other', async () => {
  const requests = server();
  const asked: Question = { ...question, remember: 'session' };
  await answered(requests, yes, asked);
  const other = { ...asked, call: { ...asked.call, code: 'print(2)' } };
  assert.equal((await requests.open(other)).kind, 'allowed');
  assert.equal((await requests.open({ ...other, rule: '/tools/code_execute/require_approval/1' })).kind, 'pending');
  assert.equal((await requests.open({ ...other, session: 'two' })).kind, 'pending');
});

test('what was remembered under a looser rule does not answer a stricter one', async () => {
  const requests = server();
  await answered(requests, yes, { ...question, remember: 'session' });
  assert.equal((await requests.open({ ...question, remember: 'once' })).kind, 'pending');
});

test('nobody is asked more than 32 things at a time', async () => {
  const requests = server();
  for (let n = 0; n < 32; n += 1) {
    const opened = await requests.open({ ...question, call: { ...question.call, code: `print(${n})` } });
    assert.equal(opened.kind, 'pending');
  }
  assert.deepEqual(await requests.open(question), { kind: 'full', pending: 32 });
});
