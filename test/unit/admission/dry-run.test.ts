import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { dryRun } from '../../../src/admission/dry-run.js';
import { createLimits, leftUnder } from '../../../src/admission/limits.js';
import { createMemoryStore } from '../../../src/admission/store.js';
import type { LimitDemand } from '../../../src/policy/decide.js';

const demand: LimitDemand = {
  rule: '/all_tools/limits/0',
  counter: 'c',
  window: 'day',
  align: 'calendar',
  scope: 'grant',
  charge: 'calls',
  max: 3,
  cost: 1,
  onDeny: null,
  shadow: false,
};
const who = { grant: 'local' };
const now = new Date('2026-03-04T15:30:00Z');

describe('a dry run', () => {
  it('begins with what the store has counted, and leaves the store as it was', async () => {
    const store = createMemoryStore();
    const real = createLimits(store, () => now.getTime());
    assert.ok((await real.reserve([demand], who, now)).ok);

    const limits = createLimits(dryRun(store), () => now.getTime());
    assert.ok((await limits.reserve([demand], who, now)).ok);
    assert.ok((await limits.reserve([demand], who, now)).ok);
    assert.equal((await limits.reserve([demand], who, now)).ok, false);

    assert.deepEqual(
      (await leftUnder(store, [demand], who, now)).map(({ left }) => left),
      [2],
    );
    assert.ok((await real.reserve([demand], who, now)).ok);
  });

  it('tells what is left without counting', async () => {
    const store = dryRun(null);
    for (let time = 0; time < 5; time += 1) {
      assert.deepEqual(
        (await leftUnder(store, [demand], who, now)).map(({ left }) => left),
        [3],
      );
    }
  });

  it('never lets a sum go below zero', async () => {
    const store = dryRun(null);
    const add = (points: number) =>
      store.transact(0, [], () => ({ result: null, changes: { add: [{ key: 'k', points, ttlSeconds: 60 }] } }));
    const sum = () => store.transact(0, ['k'], (sums) => ({ result: sums, changes: {} }));
    await add(-5);
    assert.deepEqual(await sum(), [0]);
    await add(2);
    assert.deepEqual(await sum(), [2]);
  });

  it('fails where the store fails', async () => {
    const failing = dryRun({ lasting: true, transact: () => Promise.reject(new Error('gone')) });
    const reserved = await createLimits(failing).reserve([demand], who, now);
    assert.ok(!reserved.ok);
    assert.equal(reserved.denial.code, 'limiter_unavailable');
  });
});
