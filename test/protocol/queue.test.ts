/** Many calls at once: a bounded queue, none lost, and a full one says so. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, execute, OPEN_POLICY, whyNoSandbox, type Answer } from '../support/server.js';

const skip = whyNoSandbox();
const CALLS = 200;

/** 200 calls at the same moment; call number n prints n. */
async function allAtOnce(sandbox: object): Promise<Answer[]> {
  const session = await connect({ ...OPEN_POLICY, sandbox });
  try {
    return await Promise.all(
      Array.from({ length: CALLS }, (_, number) => execute(session.client, { code: `print(${number})` })),
    );
  } finally {
    await session.close();
  }
}

test('200 calls at once with room to wait: each is answered, with its own output', { skip }, async () => {
  const answers = await allAtOnce({ max_running: 4, max_waiting: CALLS });
  assert.deepEqual(
    answers.map(({ structured }) => structured.stdout),
    answers.map((_, number) => `${number}\n`),
  );
});

test(
  '200 calls at once with little room: none is lost, and those turned away may be tried again',
  { skip },
  async () => {
    const answers = await allAtOnce({ max_running: 2, max_waiting: 20 });
    const ran = answers.filter(({ structured }) => structured.status === 'ok');
    const turnedAway = answers.filter(({ structured }) => structured.status === 'unavailable');
    assert.equal(ran.length + turnedAway.length, CALLS);
    assert.ok(ran.length >= 22, `${ran.length} ran, where 2 can run and 20 can wait at once`);
    assert.ok(turnedAway.length > 0);
    for (const { text, isError } of turnedAway) {
      assert.ok(isError);
      assert.match(text, /^unavailable: too many calls are running and waiting already; nothing was run/);
      assert.match(text, /may succeed in a moment/);
    }
  },
);
