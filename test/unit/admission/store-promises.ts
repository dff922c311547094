/** What every store of counters promises, wherever it keeps them. */
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import type { Changes, CounterStore } from '../../../src/admission/store.js';

/** A store, and the same one as another server has it. */
export interface StorePair {
  readonly one: CounterStore;
  readonly other: CounterStore;
}

const NOW = Date.UTC(2026, 2, 4, 15, 30);

export function sumsOf(store: CounterStore, keys: readonly string[], nowMs = NOW): Promise<readonly number[]> {
  return store.transact(nowMs, keys, (sums) => ({ result: sums, changes: {} }));
}

function change(store: CounterStore, changes: Changes, nowMs = NOW): Promise<null> {
  return store.transact(nowMs, [], () => ({ result: null, changes }));
}

function charge(key: string, points: number) {
  return { key, points, ttlSeconds: 7_200 };
}

/** @param open a fresh, empty store; the test's context is for cleaning up after it, and for skipping */
export function promisesOfAStore(name: string, open: (t: TestContext) => Promise<StorePair | null>): void {
  const promise = (title: string, check: (pair: StorePair) => Promise<void>): void => {
    it(title, async (t) => {
      const pair = await open(t);
      if (pair !== null) await check(pair);
    });
  };

  describe(name, () => {
    promise('counts what is added, each key by itself, for everybody', async ({ one, other }) => {
      await change(one, { add: [charge('a', 2), charge('b', 1)] });
      await change(other, { add: [charge('a', 3)] });
      assert.deepEqual(await sumsOf(one, ['a', 'c', 'b']), [5, 0, 1]);
      assert.deepEqual(await sumsOf(other, ['b', 'a']), [1, 5]);
      assert.deepEqual(await sumsOf(one, []), []);
    });

    promise('never goes below zero, whatever is taken back', async ({ one }) => {
      await change(one, { add: [charge('gone', -5), charge('a', 2)] });
      await change(one, { add: [charge('a', -5)] });
      await change(one, { add: [charge('a', 1)] });
      assert.deepEqual(await sumsOf(one, ['gone', 'a']), [0, 1]);
    });

    promise('keeps numbers exact, and keys apart that look alike', async ({ one }) => {
      const keys = ['a', 'A', 'a ', 'a"', "a'", 'ä', 'a\u0308', '["a",["\\ud800"]]', '%', 'a*', 'a:b'];
      await change(one, { add: keys.map((key, index) => charge(key, 2 ** 50 + index)) });
      assert.deepEqual(
        await sumsOf(one, keys),
        keys.map((_, index) => 2 ** 50 + index),
      );
    });

    promise('writes nothing where the decision fails', async ({ one }) => {
      await change(one, { add: [charge('a', 2)] });
      const failing = one.transact(NOW, ['a'], () => {
        throw new Error('no decision');
      });
      await assert.rejects(failing, /no decision/);
      assert.deepEqual(await sumsOf(one, ['a']), [2]);
    });

    promise('lets nobody in between reading and writing', async ({ one, other }) => {
      const increment = (store: CounterStore) =>
        store.transact(NOW, ['a', 'b'], ([a = 0, b = 0]) => {
          assert.equal(a, b);
          return { result: a, changes: { add: [charge('a', 1), charge('b', 1)] } };
        });
      const before = await Promise.all(Array.from({ length: 50 }, (_, index) => increment(index % 2 ? one : other)));
      assert.deepEqual(
        before.sort((x, y) => x - y),
        Array.from({ length: 50 }, (_, index) => index),
      );
    });
  });
}

/** What a store that lasts promises of holds. */
export function promisesOfHolds(name: string, open: (t: TestContext) => Promise<StorePair | null>): void {
  const promise = (title: string, check: (pair: StorePair) => Promise<void>): void => {
    it(title, async (t) => {
      const pair = await open(t);
      if (pair !== null) await check(pair);
    });
  };
  const hold = (untilMs: number, id = 'h') => ({ id, untilMs, charges: [charge('a', 7), charge('b', 1)] });

  describe(name, () => {
    promise('charges a hold that nobody released in time, once', async ({ one, other }) => {
      await change(one, { hold: hold(NOW + 1000) });
      assert.deepEqual(await sumsOf(other, ['a', 'b'], NOW + 1000), [0, 0]);
      assert.deepEqual(await sumsOf(other, ['a', 'b'], NOW + 1001), [7, 1]);
      assert.deepEqual(await sumsOf(one, ['a', 'b'], NOW + 9000), [7, 1]);
    });

    promise('charges nothing for a hold that was released', async ({ one, other }) => {
      await change(one, { hold: hold(NOW + 1000) });
      await change(one, { release: ['h'], add: [charge('a', 2)] });
      assert.deepEqual(await sumsOf(other, ['a', 'b'], NOW + 9000), [2, 0]);
    });

    promise('puts a hold off', async ({ one, other }) => {
      await change(one, { hold: hold(NOW + 1000) });
      await change(one, { hold: hold(NOW + 5000) });
      assert.deepEqual(await sumsOf(other, ['a'], NOW + 4000), [0]);
      assert.deepEqual(await sumsOf(other, ['a'], NOW + 5001), [7]);
    });

    promise('takes back a hold that is released after it was charged', async ({ one, other }) => {
      await change(other, { add: [charge('a', 1)] });
      await change(one, { hold: hold(NOW + 1000) });
      assert.deepEqual(await sumsOf(other, ['a', 'b'], NOW + 2000), [8, 1]);
      await change(one, { hold: hold(NOW + 60_000) }, NOW + 3000);
      await change(one, { release: ['h'], add: [charge('a', 2)] }, NOW + 4000);
      assert.deepEqual(await sumsOf(other, ['a', 'b'], NOW + 99_000), [3, 0]);
    });

    promise('keeps holds apart', async ({ one, other }) => {
      await change(one, { hold: hold(NOW + 1000, 'x') });
      await change(other, { hold: hold(NOW + 1000, 'y') });
      await change(one, { release: ['x', 'never was'] });
      assert.deepEqual(await sumsOf(one, ['a'], NOW + 2000), [7]);
    });
  });
}
