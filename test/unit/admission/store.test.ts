import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import { createMemoryStore, createTurns, limiterCounters, type Limiter } from '../../../src/admission/store.js';

describe('counters over a limiter', () => {
  const limiter = () => new RateLimiterMemory({ points: Number.MAX_SAFE_INTEGER, duration: 60, keyPrefix: '' });

  it('count what is added, each key by itself', async () => {
    const counters = limiterCounters(limiter());
    assert.equal(await counters.add('a', 2, 60), 2);
    assert.equal(await counters.add('a', 3, 60), 5);
    assert.deepEqual(await counters.read(['a', 'b']), [5, 0]);
    assert.deepEqual(await counters.read([]), []);
  });

  it('never go below zero, whatever is taken back', async () => {
    const counters = limiterCounters(limiter());
    assert.equal(await counters.add('gone', -5, 60), 0);
    await counters.add('a', 2, 60);
    assert.equal(await counters.add('a', -5, 60), 0);
    assert.equal(await counters.add('a', 1, 60), 1);
    assert.deepEqual(await counters.read(['gone', 'a']), [0, 1]);
  });

  it('make good for a key that expires while points are taken back', async () => {
    const memory = limiter();
    const racing: Limiter = {
      get: (key) => memory.get(key),
      penalty: (key, points, options) => memory.penalty(key, points, options),
      reward: async (key, points, options) => {
        await memory.delete(key);
        return memory.reward(key, points, options);
      },
    };
    const counters = limiterCounters(racing);
    await counters.add('a', 3, 60);
    assert.equal(await counters.add('a', -2, 60), 0);
    assert.deepEqual(await counters.read(['a']), [0]);
  });

  it('do not take a fraction or no number for points', async () => {
    const counters = limiterCounters(limiter());
    for (const points of [0.5, Number.NaN, Infinity]) await assert.rejects(counters.add('a', points, 60), RangeError);
  });

  it('reject where the limiter answers no number', async () => {
    const answer = Promise.resolve(new RateLimiterRes(0, 0, Number.NaN));
    const counters = limiterCounters({ get: () => answer, penalty: () => answer, reward: () => answer });
    await assert.rejects(counters.read(['a']), /NaN/);
    await assert.rejects(counters.add('a', 1, 60), /NaN/);
  });
});

describe('the memory store', () => {
  it('keeps others out while some work is done', async () => {
    const store = createMemoryStore();
    await Promise.all(
      Array.from({ length: 50 }, () =>
        store.exclusively(async (counters) => {
          const [sum = 0] = await counters.read(['a']);
          await new Promise((resolve) => setImmediate(resolve));
          assert.equal(await counters.add('a', 1, 60), sum + 1);
        }),
      ),
    );
    assert.deepEqual(await store.exclusively((counters) => counters.read(['a'])), [50]);
  });
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
