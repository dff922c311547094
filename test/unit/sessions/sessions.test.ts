import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import type { Job } from '../../../src/sandbox.js';
import { digestOf } from '../../../src/sessions/handle.js';
import { createSessions, type SessionCaps, type SessionState, type Stepped } from '../../../src/sessions/sessions.js';
import { fakeSessions } from '../../support/session-sandbox.js';

const GRANT = 'local';
const never = new AbortController().signal;
const jobOf = (code: string) => ({ code }) as Job;

function bench(changes: Partial<SessionCaps> = {}) {
  let nowMs = 1_000_000;
  const caps = { max: 4, idleSeconds: 60, ageSeconds: 600, memoryMb: 100, diskMb: 50, keepSteps: 10, maxWaiting: 8 };
  const sandboxes = fakeSessions();
  const sessions = createSessions({ ...caps, ...changes }, () => nowMs);

  /** Begin a session with a first step. */
  async function begin(code = '+a', grant = GRANT, signal = never): Promise<Stepped> {
    const opened = sessions.open(grant);
    assert.ok(opened.ok, opened.ok ? '' : opened.refusal.message);
    try {
      return await opened.opening.step(sandboxes, jobOf(code), signal, {});
    } finally {
      opened.opening.leave();
    }
  }

  async function turn<T>(handle: string, work: (turn: TurnOf) => T | Promise<T>, signal = never): Promise<T> {
    const entered = await sessions.enter(GRANT, handle, signal);
    if (!entered.ok) throw new Error(entered.why === 'refused' ? entered.refusal.message : entered.why);
    try {
      return await work(entered.turn);
    } finally {
      entered.turn.leave();
    }
  }

  return {
    sessions,
    sandboxes,
    caps: { ...caps, ...changes },
    begin,
    turn,
    id: async (code?: string, grant?: string) => idOf(await begin(code, grant)),
    step: (handle: string, code: string, signal = never) =>
      turn(handle, (one) => one.step(jobOf(code), signal, {}), signal),
    /** The text that a session stands at. */
    text: (handle: string) =>
      turn(handle, async (one) => (await one.step(jobOf('timeout'), never, {})).outcome.stdout.text),
    pass: (seconds: number) => void (nowMs += seconds * 1000),
    why: (handle: string, grant = GRANT) => {
      const found = sessions.stand(grant, handle);
      return found.ok ? null : found.refusal.message;
    },
  };
}

type TurnOf = Extract<Awaited<ReturnType<ReturnType<typeof createSessions>['enter']>>, { ok: true }>['turn'];

function idOf({ session }: Stepped): string {
  assert.ok(session !== null);
  return session.id;
}

function state(found: SessionState | { code: string; message: string }): SessionState {
  assert.ok(!('code' in found), 'message' in found ? found.message : '');
  return found;
}

test('a session goes from step to step, each beginning where the last one ended', async () => {
  const { begin, step, text } = bench();
  const first = await begin('+a');
  assert.equal(first.session?.step, 1);
  const handle = idOf(first);
  assert.match(handle, /^s_[0-9a-f]{32}$/);
  assert.equal((await step(handle, '+b')).session?.step, 2);
  assert.equal((await step(handle, '+c')).outcome.stdout.text, 'ab');
  assert.equal(await text(handle), 'abc');
});

test('a step that raises holds; one that is ended leaves no trace, and costs the session nothing', async () => {
  const { id, step, text } = bench();
  const handle = await id('+a');
  assert.deepEqual(await moved(step(handle, 'raise')), ['error', 2, false]);
  for (const end of ['timeout', 'memory', 'killed']) {
    assert.deepEqual(await moved(step(handle, end)), [end, 2, true]);
  }
  assert.equal(await text(handle), 'a!');
});

async function moved(stepping: Promise<Stepped>) {
  const { outcome, session, undone } = await stepping;
  return [outcome.status, session?.step, undone];
}

test('a first step that is ended leaves a session at step 0 to go on in', async () => {
  const { begin, step, sandboxes } = bench();
  const first = await begin('timeout');
  assert.deepEqual([first.session?.step, first.undone], [0, true]);
  assert.equal((await step(idOf(first), '+a')).session?.step, 1);
  assert.equal(sandboxes.opened.length, 1);
});

test('steps that come at the same time run one after the other, in the order they came', async () => {
  const { id, step, sandboxes, text } = bench();
  const handle = await id('+a');
  const [sandbox] = sandboxes.opened;
  const waits = step(handle, 'wait');
  const after = ['+b', '+c', '+d'].map((code) => step(handle, code));
  await sandbox?.waiting();
  sandbox?.finish();
  await waits;
  assert.deepEqual(
    (await Promise.all(after)).map(({ session, outcome }) => [session?.step, outcome.stdout.text]),
    [
      [3, 'aw'],
      [4, 'awb'],
      [5, 'awbc'],
    ],
  );
  assert.equal(await text(handle), 'awbcd');
});

test('as many calls wait for their turn as the policy lets wait, and a call that gives up leaves its place', async () => {
  const { id, step, sessions, sandboxes } = bench({ maxWaiting: 1 });
  const handle = await id();
  const waits = step(handle, 'wait');
  await sandboxes.opened[0]?.waiting();
  const stop = new AbortController();
  const second = sessions.enter(GRANT, handle, stop.signal);
  assert.deepEqual(await sessions.enter(GRANT, handle, never), { ok: false, why: 'full' });
  stop.abort();
  assert.deepEqual(await second, { ok: false, why: 'aborted' });
  const third = step(handle, '+b');
  sandboxes.opened[0]?.finish();
  assert.equal((await waits).session?.step, 2);
  assert.equal((await third).session?.step, 3);
});

test('a cancelled step is undone, and the session stands', async () => {
  const { id, step, sandboxes, text } = bench();
  const handle = await id();
  const stop = new AbortController();
  const waits = step(handle, 'wait', stop.signal);
  await sandboxes.opened[0]?.waiting();
  stop.abort();
  assert.deepEqual(await moved(waits), ['cancelled', 1, true]);
  assert.equal(await text(handle), 'a');
});

test('a session whose first call is cancelled is not kept: nobody has its handle', async () => {
  const { begin, sessions, sandboxes } = bench();
  const stop = new AbortController();
  const begun = begin('wait', GRANT, stop.signal);
  await new Promise(setImmediate);
  await sandboxes.opened[0]?.waiting();
  stop.abort();
  assert.equal((await begun).session, null);
  assert.deepEqual(sessions.list(GRANT), []);
  assert.equal(sandboxes.opened[0]?.closed, true);
});

test('a fork goes its own way from the same state, in the same sandbox', async () => {
  const { id, step, turn, text, sandboxes } = bench();
  const one = await id('+a');
  await step(one, '+b');
  const fork = state(await turn(one, (at) => at.fork()));
  assert.notEqual(fork.id, one);
  assert.deepEqual([fork.step, fork.forkedFrom], [2, one]);
  await step(one, '+x');
  await step(fork.id, '+y');
  assert.deepEqual([await text(one), await text(fork.id)], ['abx', 'aby']);
  assert.equal(sandboxes.opened.length, 1);
});

test('going back restores the state of then, by number of steps or by step, and what came after is let go of', async () => {
  const { id, step, turn, text, sandboxes } = bench();
  const handle = await id('+a');
  for (const code of ['+b', '+c', '+d']) await step(handle, code);
  assert.equal(state(await turn(handle, (at) => at.rewind({ steps: 1 }))).step, 3);
  assert.equal(await text(handle), 'abc');
  assert.equal(state(await turn(handle, (at) => at.rewind({ toStep: 1 }))).step, 1);
  assert.deepEqual([...(sandboxes.opened[0]?.states.values() ?? [])], ['', 'a']);
  assert.equal((await step(handle, '+z')).session?.step, 2);
  assert.equal(await text(handle), 'az');
  assert.equal(state(await turn(handle, (at) => at.rewind({ toStep: 0 }))).step, 0);
  assert.equal(await text(handle), '');
});

test('going back to what is not there is refused, says how far one can go, and changes nothing', async () => {
  const { id, step, turn, text } = bench({ keepSteps: 2 });
  const handle = await id('+a');
  for (const code of ['+b', '+c', '+d']) await step(handle, code);
  const refused = await turn(handle, (at) => at.rewind({ toStep: 1 }));
  assert.ok('code' in refused);
  assert.equal(refused.code, 'no_such_step');
  assert.match(refused.message, /stands at step 4, and can go back to step 2 or any after it/);
  assert.ok('code' in (await turn(handle, (at) => at.rewind({ steps: 3 }))));
  assert.ok('code' in (await turn(handle, (at) => at.rewind({ toStep: 5 }))));
  assert.equal(await text(handle), 'abcd');
});

test('no more states are kept than the policy says, but those that a fork can still reach', async () => {
  const { id, step, turn, sandboxes } = bench({ keepSteps: 1 });
  const one = await id('+a');
  await step(one, '+b');
  const fork = state(await turn(one, (at) => at.fork())).id;
  for (const code of ['+c', '+d']) await step(one, code);
  const texts = () => [...(sandboxes.opened[0]?.states.values() ?? [])];
  assert.deepEqual(texts(), ['a', 'ab', 'abc', 'abcd']);
  await step(fork, '+y');
  assert.deepEqual(texts(), ['ab', 'abc', 'abcd', 'aby']);
});

test('before the memory is full, the older half of the states goes, and the answer says how far one can go back', async () => {
  const { id, step, sandboxes } = bench({ memoryMb: 100 });
  const handle = await id('+a');
  for (const code of ['+b', '+c', '+d']) await step(handle, code);
  sandboxes.opened[0]?.setMemoryBytes(76 * 2 ** 20);
  const { session } = await step(handle, '+e');
  assert.deepEqual([session?.step, session?.earliestStep], [5, 3]);
  assert.equal(sandboxes.opened[0]?.states.size, 3);
});

test('the same before the disk is full, and before there are too many states for one sandbox', async () => {
  const { id, step, turn, sandboxes } = bench({ diskMb: 50, keepSteps: 40 });
  const handle = await id('+a');
  for (const code of ['+b', '+c', '+d']) await step(handle, code);
  const fork = state(await turn(handle, (at) => at.fork())).id;
  sandboxes.opened[0]?.setDiskBytes(38 * 2 ** 20);
  assert.equal((await step(handle, '+e')).session?.earliestStep, 3);
  sandboxes.opened[0]?.setDiskBytes(0);
  for (let n = 0; n < 40; n += 1) {
    await step(handle, '+x');
    await step(fork, '+y');
    assert.ok((sandboxes.opened[0]?.states.size ?? 99) <= 57);
  }
});

test('as many sessions as the policy allows; one more is refused, with those that could be ended, the idlest first', async () => {
  const { id, sessions, pass, step } = bench({ max: 2 });
  const [one, two] = [await id('+a'), await id('+a')];
  pass(30);
  await step(one, '+b');
  const refused = sessions.open(GRANT);
  assert.ok(!refused.ok);
  assert.equal(refused.refusal.code, 'too_many_sessions');
  assert.match(
    refused.refusal.message,
    new RegExp(`allows no more.*${two} \\(step 1, unused for 30 s\\), ${one} \\(step 2, unused for 0 s\\)`),
  );
  assert.equal(sessions.end(GRANT, two).ok, true);
  assert.equal(sessions.full(GRANT), null);
});

test('a fork counts like any session', async () => {
  const { id, turn, sessions } = bench({ max: 1 });
  const handle = await id();
  const refused = await turn(handle, (at) => at.fork());
  assert.ok('code' in refused && refused.code === 'too_many_sessions');
  assert.equal(sessions.list(GRANT).length, 1);
});

test('sessions that are being made count already, and not any more when that came to nothing', async () => {
  const { sessions, sandboxes } = bench({ max: 1 });
  const first = sessions.open(GRANT);
  assert.ok(first.ok);
  assert.equal(sessions.open(GRANT).ok, false);
  sandboxes.refuse('this machine has no room');
  await assert.rejects(first.opening.step(sandboxes, jobOf('+a'), never, {}), /no room/);
  first.opening.leave();
  first.opening.leave();
  assert.equal(sessions.open(GRANT).ok, true);
  assert.equal(sessions.open(GRANT).ok, false);
});

test('a session that is not used ends, its sandbox is closed, and the answer says why', async () => {
  const { id, step, pass, why, sandboxes } = bench({ idleSeconds: 60 });
  const handle = await id();
  pass(59);
  await step(handle, '+b');
  pass(59);
  assert.equal(why(handle), null);
  pass(1);
  assert.match(why(handle) ?? '', /has ended: it was not used for 60 s. Begin another with session: "new"/);
  assert.equal(sandboxes.opened[0]?.closed, true);
});

test('a session that nobody asks for again ends by itself', async () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    const { id, pass, sandboxes } = bench({ idleSeconds: 60 });
    await id();
    pass(60);
    mock.timers.tick(60_000);
    assert.equal(sandboxes.opened[0]?.closed, true);
  } finally {
    mock.timers.reset();
  }
});

test('a call that runs is no idleness, and age ends even a session that is in use, after its step', async () => {
  const { id, step, pass, why, sandboxes, sessions } = bench({ idleSeconds: 60, ageSeconds: 600 });
  const handle = await id();
  const waits = step(handle, 'wait');
  const [sandbox] = sandboxes.opened;
  assert.ok(sandbox !== undefined);
  await sandbox.waiting();
  pass(500);
  assert.equal(why(handle), null);
  assert.equal(sessions.list(GRANT)[0]?.busy, true);
  pass(100);
  assert.match(why(handle) ?? '', /older than 600 s/);
  assert.equal(sandbox.closed, false);
  sandbox.finish();
  const { outcome, session } = await waits;
  assert.equal(session, null);
  assert.match(outcome.reason, /its session has ended: it was older than 600 s/);
  assert.equal(sandbox.closed, true);
});

test('a fork is as old as what it was forked from', async () => {
  const { id, turn, pass, why } = bench({ idleSeconds: 500, ageSeconds: 600 });
  const handle = await id();
  pass(400);
  const fork = state(await turn(handle, (at) => at.fork()));
  assert.equal(fork.ageSeconds, 400);
  assert.equal(fork.endsInSeconds, 200);
  pass(200);
  assert.match(why(fork.id) ?? '', /older than/);
});

test('session_end ends at once, and the step that runs with it; the fork lives on', async () => {
  const { id, step, turn, text, sessions, sandboxes, why } = bench();
  const handle = await id('+a');
  const fork = state(await turn(handle, (at) => at.fork())).id;
  const waits = step(handle, 'wait');
  await sandboxes.opened[0]?.waiting();
  assert.deepEqual(sessions.end(GRANT, handle), { ok: true, step: 1 });
  const { outcome, session } = await waits;
  assert.equal(outcome.status, 'cancelled');
  assert.equal(session, null);
  assert.match(why(handle) ?? '', /has ended: session_end was called/);
  assert.equal(await text(fork), 'a');
  assert.equal(sandboxes.opened[0]?.closed, false);
  sessions.end(GRANT, fork);
  assert.equal(sandboxes.opened[0].closed, true);
});

test('a call that waited while its session ended is told so', async () => {
  const { id, step, sessions, sandboxes } = bench();
  const handle = await id();
  const waits = step(handle, 'wait');
  await sandboxes.opened[0]?.waiting();
  const next = step(handle, '+b');
  sessions.end(GRANT, handle);
  await waits;
  await assert.rejects(next, /session_end was called/);
});

test('a sandbox that is lost ends its sessions, forks too, and the step that lost it says so', async () => {
  const { id, step, turn, why } = bench();
  const handle = await id('+a');
  const fork = state(await turn(handle, (at) => at.fork())).id;
  const { outcome, session } = await step(handle, 'die');
  assert.equal(outcome.status, 'unavailable');
  assert.equal(session, null);
  assert.match(outcome.reason, /its session has ended: its sandbox was lost \(it was killed from outside\)/);
  assert.match(why(fork) ?? '', /its sandbox was lost/);
});

test('the handle of another grant is answered as one that never was, and nothing of it is listed', async () => {
  const { id, sessions, why } = bench({ max: 1 });
  const theirs = await id('+a', 'other');
  const never = `s_${'0'.repeat(32)}`;
  assert.equal(why(theirs)?.replace(theirs, ''), why(never)?.replace(never, ''));
  assert.match(why(never) ?? '', /there is no session .* here: it was ended, or the server was restarted/);
  assert.deepEqual(sessions.list(GRANT), []);
  assert.equal(sessions.end(GRANT, theirs).ok, false);
  assert.equal(why(theirs, 'other'), null);
  // Nor does the number of the others' sessions show.
  assert.equal(sessions.full(GRANT), null);
  sessions.end('other', theirs);
  assert.match(why(theirs) ?? '', /there is no session/);
  assert.match(why(theirs, 'other') ?? '', /session_end was called/);
});

test('an edit of the caps holds from the next call on, and one that allows no sessions ends them', async () => {
  const { id, step, sessions, caps, pass, why, sandboxes } = bench({ keepSteps: 10 });
  const [one, two] = [await id('+a'), await id('+a')];
  for (const code of ['+b', '+c']) await step(one, code);
  sessions.resize({ ...caps, max: 1, keepSteps: 1, idleSeconds: 5 });
  assert.equal((await step(one, '+d')).session?.earliestStep, 3);
  assert.equal(sessions.open(GRANT).ok, false);
  pass(4);
  await step(one, '+e');
  pass(1);
  assert.match(why(two) ?? '', /not used for 5 s/);
  sessions.resize({ ...caps, max: 0 });
  assert.match(why(one) ?? '', /the policy was edited, and allows no sessions any more/);
  assert.ok(sandboxes.opened.every(({ closed }) => closed));
  const refused = sessions.open(GRANT);
  assert.ok(!refused.ok && refused.refusal.code === 'no_sessions');
});

test('where all end, a step that runs comes to its own end first', async () => {
  const { id, step, sessions, sandboxes } = bench();
  const handle = await id();
  const waits = step(handle, 'wait');
  const [sandbox] = sandboxes.opened;
  assert.ok(sandbox !== undefined);
  await sandbox.waiting();
  sessions.endAll('the policy was edited');
  assert.equal(sandbox.closed, false);
  sandbox.finish();
  const { outcome } = await waits;
  assert.equal(outcome.status, 'ok');
  assert.match(outcome.reason, /its session has ended: the policy was edited/);
  assert.equal(sandbox.closed, true);
});

test('what became of a session is known for a day, of a thousand at most', async () => {
  const { id, sessions, pass, why } = bench({ max: 1 });
  const first = await id();
  sessions.end(GRANT, first);
  pass(24 * 3600 - 1);
  assert.match(why(first) ?? '', /session_end/);
  pass(1);
  assert.match(why(first) ?? '', /there is no session/);
  const second = await id();
  sessions.end(GRANT, second);
  for (let n = 0; n < 1000; n += 1) sessions.end(GRANT, await id());
  assert.match(why(second) ?? '', /there is no session/);
});

test('the place of a session changes with every step that holds, and with none that is undone', async () => {
  const { id, step, sessions } = bench();
  const handle = await id();
  const place = () => {
    const found = sessions.stand(GRANT, handle);
    return found.ok ? found.place : null;
  };
  const before = place();
  assert.equal(before?.digest, digestOf(handle));
  await step(handle, 'timeout');
  assert.deepEqual(place(), before);
  await step(handle, '+b');
  assert.notDeepEqual(place(), before);
});
