import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { createSlots, type Acquired } from '../../../src/admission/slots.js';

const never = () => new AbortController().signal;

/** What has become of each call so far, without waiting for it. */
function track(answer: Promise<Acquired>) {
  const call: { acquired: Acquired | null } = { acquired: null };
  void answer.then((acquired) => {
    call.acquired = acquired;
  });
  return call;
}

const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

function release(acquired: Acquired | null): void {
  assert.ok(acquired?.ok);
  acquired.release();
}

describe('slots', () => {
  it('run as many as may run, and let the next in when one is released', async () => {
    const slots = createSlots({ maxRunning: 2, maxWaiting: 5 });
    const first = await slots.acquire('a', never());
    await slots.acquire('a', never());
    const third = track(slots.acquire('a', never()));
    await settled();
    assert.deepEqual([slots.running, slots.waiting, third.acquired], [2, 1, null]);
    release(first);
    await settled();
    assert.ok(third.acquired?.ok);
    assert.deepEqual([slots.running, slots.waiting], [2, 0]);
  });

  it('are full when the queue is full, at once', async () => {
    const slots = createSlots({ maxRunning: 1, maxWaiting: 1 });
    await slots.acquire('a', never());
    void slots.acquire('a', never());
    assert.deepEqual(await slots.acquire('a', never()), { ok: false, why: 'full' });
    const none = createSlots({ maxRunning: 1, maxWaiting: 0 });
    await none.acquire('a', never());
    assert.deepEqual(await none.acquire('b', never()), { ok: false, why: 'full' });
  });

  it('are not gained by a second release', async () => {
    const slots = createSlots({ maxRunning: 1, maxWaiting: 5 });
    const first = await slots.acquire('a', never());
    const second = track(slots.acquire('a', never()));
    const third = track(slots.acquire('a', never()));
    release(first);
    release(first);
    await settled();
    assert.ok(second.acquired?.ok);
    assert.equal(third.acquired, null);
    assert.equal(slots.running, 1);
  });

  it('go round the owners, and to the calls of one in their order', async () => {
    const slots = createSlots({ maxRunning: 1, maxWaiting: 20 });
    const holder = await slots.acquire('a', never());
    const order: string[] = [];
    const calls = ['a1', 'a2', 'a3', 'b1', 'c1', 'b2'].map(async (name) => {
      const acquired = await slots.acquire(name.charAt(0), never());
      order.push(name);
      release(acquired);
    });
    release(holder);
    await Promise.all(calls);
    assert.deepEqual(order, ['a1', 'b1', 'c1', 'a2', 'b2', 'a3']);
  });

  it('do not let one owner fill the queue against another', async () => {
    const slots = createSlots({ maxRunning: 1, maxWaiting: 4 });
    await slots.acquire('greedy', never());
    const greedy = [1, 2, 3, 4].map(() => track(slots.acquire('greedy', never())));
    const modest = [1, 2, 3].map(() => track(slots.acquire('modest', never())));
    await settled();
    assert.deepEqual(
      greedy.map(({ acquired }) => acquired),
      [null, null, { ok: false, why: 'full' }, { ok: false, why: 'full' }],
    );
    assert.deepEqual(
      modest.map(({ acquired }) => acquired),
      [null, null, { ok: false, why: 'full' }],
    );
    assert.equal(slots.waiting, 4);
  });

  it('are not waited for once the signal is aborted', async () => {
    const slots = createSlots({ maxRunning: 1, maxWaiting: 5 });
    const gone = AbortSignal.abort();
    assert.deepEqual(await slots.acquire('a', gone), { ok: false, why: 'aborted' });
    const first = await slots.acquire('a', never());
    const controller = new AbortController();
    const second = track(slots.acquire('a', controller.signal));
    const third = track(slots.acquire('a', never()));
    controller.abort();
    await settled();
    assert.deepEqual(second.acquired, { ok: false, why: 'aborted' });
    assert.equal(slots.waiting, 1);
    release(first);
    await settled();
    assert.ok(third.acquired?.ok);
  });

  it('leave no listener on a signal, and an abort after the grant changes nothing', async () => {
    const slots = createSlots({ maxRunning: 1, maxWaiting: 5 });
    const first = await slots.acquire('a', never());
    const controller = new AbortController();
    const waiting = slots.acquire('a', controller.signal);
    release(first);
    const second = await waiting;
    assert.equal(getEventListeners(controller.signal, 'abort').length, 0);
    controller.abort();
    assert.equal(slots.running, 1);
    release(second);
    assert.equal(slots.running, 0);
  });

  it('can be made more while calls wait, and fewer while calls run', async () => {
    const slots = createSlots({ maxRunning: 1, maxWaiting: 5 });
    const first = await slots.acquire('a', never());
    const others = [1, 2, 3].map(() => track(slots.acquire('a', never())));
    slots.resize({ maxRunning: 3, maxWaiting: 5 });
    await settled();
    assert.deepEqual([slots.running, slots.waiting], [3, 1]);
    slots.resize({ maxRunning: 1, maxWaiting: 0 });
    release(first);
    await settled();
    assert.deepEqual([slots.running, slots.waiting, others[2]?.acquired], [2, 1, null]);
    release(others[0]?.acquired ?? null);
    release(others[1]?.acquired ?? null);
    await settled();
    assert.ok(others[2]?.acquired?.ok);
  });

  for (const bounds of [
    { maxRunning: 0, maxWaiting: 1 },
    { maxRunning: Number.NaN, maxWaiting: 1 },
    { maxRunning: 1, maxWaiting: -1 },
    { maxRunning: 1.5, maxWaiting: 1 },
  ]) {
    it(`cannot be made of ${JSON.stringify(bounds)}`, () => {
      assert.throws(() => createSlots(bounds), RangeError);
    });
  }

  it('are never more than there are, and lose nobody, whatever happens in whatever order', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 4 }),
        fc.nat(6),
        fc.array(fc.tuple(fc.constantFrom('acquire', 'release', 'abort'), fc.nat(30)), { maxLength: 120 }),
        async (maxRunning, maxWaiting, steps) => {
          const slots = createSlots({ maxRunning, maxWaiting });
          const calls: { controller: AbortController; call: ReturnType<typeof track> }[] = [];
          for (const [what, which] of steps) {
            if (what === 'acquire') {
              const controller = new AbortController();
              calls.push({ controller, call: track(slots.acquire(`owner ${which % 3}`, controller.signal)) });
            } else {
              const chosen = calls[which % Math.max(1, calls.length)];
              if (what === 'abort') chosen?.controller.abort();
              else if (chosen?.call.acquired?.ok === true) chosen.call.acquired.release();
            }
            await Promise.resolve();
            assert.ok(slots.running <= maxRunning && slots.waiting <= maxWaiting);
            assert.ok(slots.waiting === 0 || slots.running === maxRunning);
          }
          // Once everybody who got a slot releases it, everybody has an answer.
          for (let round = 0; round < calls.length + 1; round += 1) {
            await settled();
            for (const { call } of calls) if (call.acquired?.ok === true) call.acquired.release();
          }
          await settled();
          assert.ok(calls.every(({ call }) => call.acquired !== null));
          assert.deepEqual([slots.running, slots.waiting], [0, 0]);
        },
      ),
      { numRuns: 60 },
    );
  });
});
