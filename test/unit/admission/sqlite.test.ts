import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, it, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { createLimits, leftUnder } from '../../../src/admission/limits.js';
import { createDatabaseStore } from '../../../src/admission/sqlite.js';
import type { LimitDemand } from '../../../src/policy/decide.js';
import { MEMORY, openDatabase } from '../../../src/state/database.js';
import { promisesOfAStore, promisesOfHolds, sumsOf, type StorePair } from './store-promises.js';

const CALLER = fileURLToPath(new URL('../../support/limited-caller.js', import.meta.url));

function fresh(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'cordon-test-'));
  t.after(() => {
    rmSync(directory, { recursive: true, force: true });
  });
  return join(directory, 'state.db');
}

/** Two connections to one file, as two servers have them. */
function pair(t: TestContext): Promise<StorePair> {
  const path = fresh(t);
  const [one, other] = [openDatabase(path), openDatabase(path)];
  t.after(async () => {
    await one.close();
    await other.close();
  });
  return Promise.resolve({ one: createDatabaseStore(one), other: createDatabaseStore(other) });
}

promisesOfAStore('counters in the embedded state', pair);
promisesOfHolds('holds in the embedded state', pair);

const cpu: LimitDemand = {
  rule: '/all_tools/limits/0',
  counter: 'cpu',
  window: 'day',
  align: 'calendar',
  scope: 'server',
  charge: 'cpu_seconds',
  max: 10_000,
  cost: null,
  onDeny: null,
  shadow: false,
};
const calls: LimitDemand = { ...cpu, counter: 'calls', charge: 'calls', max: 1e9, cost: 1 };

describe('servers that share the embedded state', () => {
  it('never let one call more than max through, and never lose one, with 50 calls at once in each of 4', async (t) => {
    const path = fresh(t);
    const run = promisify(execFile);
    const outputs = await Promise.all(
      Array.from({ length: 4 }, () => run(process.execPath, [CALLER, path, 'calls', '50', '137'])),
    );
    const answers = outputs.map(({ stdout }) => JSON.parse(stdout) as { through: number; failed: number });
    assert.equal(
      answers.reduce((sum, { failed }) => sum + failed, 0),
      0,
      outputs.map(({ stderr }) => stderr).join(''),
    );
    assert.equal(
      answers.reduce((sum, { through }) => sum + through, 0),
      137,
    );
  });

  it('leave a state that is sound, nothing free and nothing lost when one is killed while it settles', async (t) => {
    for (const lines of [1, 2, 5, 9, 14]) {
      const path = fresh(t);
      const victim = spawn(process.execPath, [CALLER, path, 'spend', '10000'], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let settled = 0;
      const reader = createInterface({ input: victim.stdout }).on('line', () => {
        settled += 1;
        if (settled === lines) victim.kill('SIGKILL');
      });
      await Promise.all([once(victim, 'exit'), once(reader, 'close')]);

      // A minute later, somebody else comes.
      const database = openDatabase(path);
      const store = createDatabaseStore(database);
      const later = new Date(Date.now() + 61_000);
      const left = await leftUnder(store, [cpu, calls], { grant: 'local' }, later);
      const [seconds = 0, made = 0] = left.map(({ left: rest, max }) => max - rest);
      // Each call was charged what it cost; the one that was under way, if any, the most it could have cost.
      const whole = Math.round((seconds - 0.25 * settled) * 1000) / 1000;
      assert.ok([0, 0.25, 1, 1.25].includes(whole), `${settled} settled, ${seconds} s charged`);
      assert.ok(made >= settled && made <= settled + 2, `${settled} settled, ${made} counted`);
      const check = await database.transaction((sql) => [
        sql.get('PRAGMA integrity_check')?.integrity_check,
        sql.get('SELECT count(*) AS open FROM holds WHERE charged = 0')?.open,
        sql.get('SELECT count(*) AS negative FROM counters WHERE points < 0')?.negative,
      ]);
      assert.deepEqual(check, ['ok', 0, 0]);
      await database.close();
    }
  });

  it('are in no way held up by one that died in the middle of a call, nor is its budget gone for good', async (t) => {
    const { one, other } = await pair(t);
    let now = Date.UTC(2026, 2, 4, 23, 0);
    const dying = createLimits(one, () => now);
    const limits = createLimits(other, () => now);
    const budget = { ...cpu, max: 10 };
    const who = { grant: 'local' };
    const atMost = { cpuSeconds: 4, wallSeconds: 9, outputBytes: 9 };
    const answer = await dying.reserve([budget], who, new Date(now), atMost);
    assert.ok(answer.ok);
    const left = async () => (await leftUnder(other, [budget], who, new Date(now)))[0]?.left;
    assert.equal(await left(), 10);
    now += 61_000;
    assert.equal(await left(), 6);
    assert.ok((await limits.reserve([budget], who, new Date(now), atMost)).ok);
    now += 3_600_000;
    assert.equal(await left(), 10);
    // It was not dead, only asleep for long: then what it cost is charged, and no more.
    await answer.reservation.settle({ ...atMost, cpuSeconds: 1 });
    assert.equal(await left(), 9);
  });

  it('agree on every sum after any order of calls, settlements, refunds and deaths', async () => {
    const step = fc.record({
      server: fc.nat(1),
      kind: fc.constantFrom('reserve', 'reserve', 'settle', 'refund', 'die', 'wait'),
      cost: fc.integer({ min: 0, max: 3 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        const database = openDatabase(MEMORY);
        const store = createDatabaseStore(database);
        let now = Date.UTC(2026, 2, 4, 1, 0);
        const servers = [0, 1].map(() => createLimits(store, () => now));
        const limited = { ...calls, max: 6 };
        const budget = { ...cpu, max: 20 };
        const atMost = { cpuSeconds: 3, wallSeconds: 0, outputBytes: 0 };
        const open: { end: 'settle' | 'refund' | null; reservation: Parameters<typeof finish>[1] }[] = [];
        let expectedCalls = 0;
        let expectedCpu = 0;
        const finish = async (
          kind: 'settle' | 'refund',
          reservation: { settle(measured: typeof atMost): Promise<void>; refund(): Promise<void> },
          cost: number,
        ) => {
          if (kind === 'refund') {
            expectedCalls -= 1;
            await reservation.refund();
          } else {
            expectedCpu += cost;
            await reservation.settle({ ...atMost, cpuSeconds: cost });
          }
        };
        let dead = 0;
        for (const { server, kind, cost } of steps) {
          if (kind === 'wait') now += 20_000;
          else if (kind === 'reserve') {
            const answer = await servers[server]?.reserve([limited, budget], { grant: 'a' }, new Date(now), atMost);
            assert.ok(answer !== undefined);
            if (!answer.ok) continue;
            expectedCalls += 1;
            assert.ok(expectedCalls <= 6);
            open.push({ end: null, reservation: answer.reservation });
          } else {
            const one = open.shift();
            if (one === undefined) continue;
            if (kind === 'die') dead += 1;
            else await finish(kind, one.reservation, cost);
          }
        }
        // The rest died as well; their holds run out.
        dead += open.length;
        now += 100_000;
        const left = await leftUnder(store, [limited, { ...budget, max: 1000 }], { grant: 'a' }, new Date(now));
        assert.deepEqual(
          left.map(({ max, left: rest }) => max - rest),
          [expectedCalls, expectedCpu + 3 * dead],
        );
        await database.close();
      }),
      { numRuns: 60 },
    );
  });
});

it('the embedded state forgets what has been over for long', async (t) => {
  const { one, other } = await pair(t);
  const add = (key: string, nowMs: number) =>
    one.transact(nowMs, [], () => ({ result: null, changes: { add: [{ key, points: 1, ttlSeconds: 60 }] } }));
  await add('old', 0);
  await add('new', 3_600_000);
  assert.deepEqual(await sumsOf(other, ['old', 'new']), [0, 1]);
});
