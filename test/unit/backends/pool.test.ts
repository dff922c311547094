import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createPool } from '../../../src/backends/pool.js';

interface Item {
  readonly number: number;
  gone: () => void;
  discarded: boolean;
}

function create(options: { size?: number; roomy?: () => boolean } = {}) {
  const made: Item[] = [];
  const pool = createPool<Item>({
    size: options.size ?? 2,
    make: () => {
      const item: Item = { number: made.length, gone: () => undefined, discarded: false };
      made.push(item);
      return Promise.resolve(item);
    },
    discard: (item) => {
      item.discarded = true;
    },
    onGone: (item, callback) => {
      item.gone = callback;
    },
    idleMs: 1000,
    roomy: options.roomy ?? (() => true),
  });
  return { pool, made };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

test('the oldest is taken, each once, and none is made again before a refill', async () => {
  const { pool, made } = create();
  pool.refill();
  assert.equal((await pool.take()).number, 0);
  assert.equal((await pool.take()).number, 1);
  assert.equal(made.length, 2);
  assert.equal(pool.waiting, 0);
  pool.refill();
  assert.equal(pool.waiting, 2);
});

test('with none ready, one is made for whoever asks', async () => {
  const { pool } = create({ size: 0 });
  pool.refill();
  assert.equal((await pool.take()).number, 0);
});

test('one that is gone while it waits is not handed out', async () => {
  const { pool, made } = create();
  pool.refill();
  await settled();
  made[0]?.gone();
  assert.equal((await pool.take()).number, 1);
});

test('after a time without a take all are given back, and a refill makes new ones', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { pool, made } = create();
  pool.refill();
  t.mock.timers.tick(999);
  assert.equal(pool.waiting, 2);
  t.mock.timers.tick(1);
  await Promise.resolve();
  assert.equal(pool.waiting, 0);
  assert.deepEqual(
    made.map(({ discarded }) => discarded),
    [true, true],
  );
  pool.refill();
  assert.equal(pool.waiting, 2);
});

test('while memory is short none is kept, and those that waited are given back', async () => {
  let roomy = true;
  const { pool, made } = create({ roomy: () => roomy });
  pool.refill();
  roomy = false;
  pool.refill();
  await settled();
  assert.equal(pool.waiting, 0);
  assert.ok(made.every(({ discarded }) => discarded));
});
