/** Many calls at once: a bounded queue, none lost, and a full one says so. */
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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
    const host = realpathSync(mkdtempSync(join(tmpdir(), 'cordon-test-')));
    chmodSync(host, 0o755); // a program is another user
    const mounts = [{ host, inside: '/data' }];
    const session = await connect({ ...OPEN_POLICY, sandbox: { max_running: 2, max_waiting: 20, mounts } });
    try {
      // No program ends before the last call was turned away.
      const code = "import os, time\nwhile not os.path.exists('/data/go'): time.sleep(0.01)";
      const turnedAway: Answer[] = [];
      const calls = Array.from({ length: CALLS }, () => execute(session.client, { code }));
      await new Promise<void>((resolve) => {
        for (const call of calls) {
          void call.then((answer) => {
            if (turnedAway.push(answer) === CALLS - 22) resolve();
          });
        }
      });
      for (const { text, isError, structured } of turnedAway) {
        assert.equal(structured.status, 'unavailable');
        assert.ok(isError);
        assert.match(text, /^unavailable: too many calls are running and waiting already; nothing was run/);
        assert.match(text, /may succeed in a moment/);
      }
      writeFileSync(join(host, 'go'), '');
      const answers = await Promise.all(calls);
      assert.equal(answers.filter(({ structured }) => structured.status === 'ok').length, 22);
    } finally {
      await session.close();
      rmSync(host, { recursive: true });
    }
  },
);
