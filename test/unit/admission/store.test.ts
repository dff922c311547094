import assert from 'node:assert/strict';
import { it } from 'node:test';
import { createMemoryStore } from '../../../src/admission/store.js';
import { createTurns } from '../../../src/state/turns.js';
import { promisesOfAStore, sumsOf } from './store-promises.js';

promisesOfAStore('the memory store', () => {
  const store = createMemoryStore();
  return Promise.resolve({ one: store, other: store });
});

it('the memory store forgets what has been over for long', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  const store = createMemoryStore();
  const add = (key: string, ttlSeconds: number) =>
    store.transact(Date.now(), [], () => ({ result: null, changes: { add: [{ key, points: 1, ttlSeconds }] } }));
  await add('old', 60);
  await add('new', 3600);
  assert.deepEqual(await sumsOf(store, ['old', 'new']), [1, 1]);
  t.mock.timers.tick(61_000);
  assert.deepEqual(await sumsOf(store, ['old', 'new']), [0, 1]);
});

it('turns come in order, and a failure does not hold up the next', async () => {
  const inTurn = createTurns();
  const order: number[] = [];
  const failed = inTurn(() => {
    order.push(1);
    return Promise.reject(new Error('no'));
  });
  const next = inTurn(() => {
    order.push(2);
    return Promise.resolve('yes');
  });
  await assert.rejects(failed, /no/);
  assert.equal(await next, 'yes');
  assert.deepEqual(order, [1, 2]);
});
