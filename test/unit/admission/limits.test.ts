import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { createLimits, type Limits, type Measured } from '../../../src/admission/limits.js';
import { createMemoryStore, type CounterStore } from '../../../src/admission/store.js';
import type { LimitDemand } from '../../../src/policy/decide.js';

/** 2026-03-04 15:30:00 UTC, the first moment of a minute. */
const start = Date.UTC(2026, 2, 4, 15, 30);
const none: Measured = { cpuSeconds: 0, wallSeconds: 0, outputBytes: 0 };
const lengthMs = { second: 1000, minute: 60_000, hour: 3_600_000, day: 86_400_000 };

function demandOf(changes: Partial<LimitDemand> = {}): LimitDemand {
  return {
    rule: '/tools/code_execute/limits/0',
    counter: 'calls',
    window: 'minute',
    align: 'calendar',
    scope: 'grant',
    charge: 'calls',
    max: 3,
    cost: 1,
    onDeny: null,
    shadow: false,
    ...changes,
  };
}

/** Limits on a clock of the test's own. */
function limitsAt(store: CounterStore = createMemoryStore()) {
  const clock = { now: start };
  const limits = createLimits(store, () => clock.now);
  const reserve = (demands: readonly LimitDemand[], grant = 'local') =>
    limits.reserve(demands, { grant }, new Date(clock.now));
  return { clock, limits, reserve };
}

async function granted(answer: ReturnType<Limits['reserve']>) {
  const reserved = await answer;
  assert.ok(reserved.ok, JSON.stringify(reserved));
  return reserved.reservation;
}

async function denied(answer: ReturnType<Limits['reserve']>) {
  const reserved = await answer;
  assert.ok(!reserved.ok);
  return reserved.denial;
}

describe('a limit on calls', () => {
  it('lets max calls through in a window, and says when the next one begins', async () => {
    const { clock, reserve } = limitsAt();
    clock.now += 15_000;
    for (let call = 0; call < 3; call += 1) await granted(reserve([demandOf()]));
    const denial = await denied(reserve([demandOf()]));
    assert.equal(denial.code, 'limit_reached');
    assert.equal(denial.rule, '/tools/code_execute/limits/0');
    assert.equal(denial.retryable, true);
    assert.equal(denial.retryAfterMs, 45_000);
    assert.match(denial.message, /3 calls a minute.*again in 45 s/);
    clock.now += 44_999;
    await denied(reserve([demandOf()]));
    clock.now += 1;
    await granted(reserve([demandOf()]));
  });

  it('does not count a call that was denied', async () => {
    const { clock, reserve } = limitsAt();
    for (let call = 0; call < 50; call += 1) await reserve([demandOf({ max: 1, align: 'sliding' })]);
    clock.now += 63_000;
    await granted(reserve([demandOf({ max: 1, align: 'sliding' })]));
  });

  for (const window of ['second', 'minute', 'hour', 'day'] as const) {
    it(`holds for exactly one calendar ${window}, in UTC`, async () => {
      const { clock, reserve } = limitsAt();
      const demand = demandOf({ window, max: 1 });
      clock.now = Math.floor(start / lengthMs[window]) * lengthMs[window];
      await granted(reserve([demand]));
      clock.now += lengthMs[window] - 1;
      assert.equal((await denied(reserve([demand]))).retryAfterMs, 1);
      clock.now += 1;
      await granted(reserve([demand]));
    });
  }

  it('counts each grant by itself, or everybody together', async () => {
    const { reserve } = limitsAt();
    const own = demandOf({ max: 1 });
    await granted(reserve([own], 'a'));
    await granted(reserve([own], 'b'));
    await denied(reserve([own], 'a'));
    const shared = demandOf({ max: 1, scope: 'server', counter: 'shared' });
    await granted(reserve([shared], 'a'));
    await denied(reserve([shared], 'b'));
  });

  it('does not mix up names that look like each other', async () => {
    const { reserve } = limitsAt();
    for (const [counter, grant] of [
      ['a', 'b","c'],
      ['a","b', 'c'],
      ['a', 'b'],
      ['a', '\ud800'],
      ['a', '\ud801'],
      ['a', ''],
      ['', 'a'],
    ] as const) {
      await granted(reserve([demandOf({ counter, max: 1 })], grant));
    }
  });

  it('counts a counter that several limits share once a call, against each max', async () => {
    const { reserve } = limitsAt();
    const demands = [demandOf({ max: 2 }), demandOf({ max: 5, rule: '/all_tools/limits/0' })];
    await granted(reserve(demands));
    const reservation = await granted(reserve(demands));
    assert.deepEqual(
      (await reservation.left()).map(({ left }) => left),
      [0, 3],
    );
    assert.equal((await denied(reserve(demands))).rule, '/tools/code_execute/limits/0');
  });

  it('in shadow mode counts and denies nothing', async () => {
    const { reserve } = limitsAt();
    const demand = demandOf({ max: 1, shadow: true });
    assert.deepEqual((await granted(reserve([demand]))).shadowed, []);
    const reservation = await granted(reserve([demand]));
    assert.deepEqual(
      reservation.shadowed.map(({ code }) => code),
      ['limit_reached'],
    );
    assert.deepEqual(await reservation.left(), []);
  });

  it('speaks in the words of its owner', async () => {
    const { reserve } = limitsAt();
    const demand = demandOf({ max: 1, onDeny: 'Slow down' });
    await granted(reserve([demand]));
    assert.match((await denied(reserve([demand]))).message, /^Slow down\. The same call can be made again in 60 s\. /);
  });
});

describe('a sliding limit', () => {
  it('has no double burst where a calendar minute ends', async () => {
    const { clock, reserve } = limitsAt();
    const demand = demandOf({ align: 'sliding', max: 3 });
    clock.now += 59_900;
    for (let call = 0; call < 3; call += 1) await granted(reserve([demand]));
    clock.now += 200;
    const denial = await denied(reserve([demand]));
    assert.ok(denial.retryAfterMs !== null && denial.retryAfterMs > 56_000 && denial.retryAfterMs <= 63_000);
    clock.now += denial.retryAfterMs - 1;
    await denied(reserve([demand]));
    clock.now += 1;
    await granted(reserve([demand]));
  });

  it('gives uses back in the order they were made', async () => {
    const { clock, reserve } = limitsAt();
    const demand = demandOf({ align: 'sliding', max: 2 });
    await granted(reserve([demand]));
    clock.now += 30_000;
    await granted(reserve([demand]));
    clock.now += 33_000;
    await granted(reserve([demand]));
    await denied(reserve([demand]));
  });
});

describe('several limits', () => {
  it('are reserved all or none', async () => {
    const { clock, reserve } = limitsAt();
    const wide = demandOf({ counter: 'wide', max: 10 });
    const narrow = demandOf({ counter: 'narrow', max: 1, window: 'hour', rule: '/all_tools/limits/0' });
    await granted(reserve([wide, narrow]));
    for (let call = 0; call < 5; call += 1) await denied(reserve([wide, narrow]));
    const reservation = await granted(reserve([wide]));
    const [state] = await reservation.left();
    assert.equal(state?.left, 8);
    clock.now += 1;
  });

  it('tell of the one that holds longest', async () => {
    const { reserve } = limitsAt();
    const demands = [
      demandOf({ counter: 'a', max: 1, window: 'minute', rule: '/a' }),
      demandOf({ counter: 'b', max: 1, window: 'day', rule: '/b' }),
      demandOf({ counter: 'c', max: 1, window: 'hour', rule: '/c' }),
    ];
    await granted(reserve(demands));
    assert.equal((await denied(reserve(demands))).rule, '/b');
  });
});

describe('a charge by argument', () => {
  const spend = (cost: number) => demandOf({ charge: 'args.amount', max: 10, cost, counter: 'spent' });

  it('takes what the call asks for, to the last thousandth', async () => {
    const { reserve } = limitsAt();
    await granted(reserve([spend(9.5)]));
    await denied(reserve([spend(0.501)]));
    const reservation = await granted(reserve([spend(0.5)]));
    assert.equal((await reservation.left())[0]?.left, 0);
    await granted(reserve([spend(0)]));
  });

  it('never counts a cost above nothing as nothing', async () => {
    const { reserve } = limitsAt();
    const reservation = await granted(reserve([spend(Number.MIN_VALUE)]));
    assert.equal((await reservation.left())[0]?.left, 9.999);
  });

  it('above the whole limit is refused for good', async () => {
    const { reserve } = limitsAt();
    for (const cost of [10.01, Number.MAX_VALUE]) {
      const denial = await denied(reserve([spend(cost)]));
      assert.equal(denial.code, 'limit_reached');
      assert.equal(denial.retryable, false);
      assert.equal(denial.retryAfterMs, null);
    }
  });

  it('that is not a number takes the whole limit rather than none of it', async () => {
    for (const cost of [Number.NaN, -5, -Infinity]) {
      const { reserve } = limitsAt();
      await granted(reserve([spend(cost)]));
      await denied(reserve([spend(1)]));
    }
  });
});

describe('a budget of measured cost', () => {
  const cpu = demandOf({ charge: 'cpu_seconds', max: 2, cost: null, counter: 'cpu', window: 'hour' });

  it('lets calls in until it is spent, and charges what they cost', async () => {
    const { reserve } = limitsAt();
    const first = await granted(reserve([cpu]));
    assert.equal((await first.left())[0]?.left, 2);
    await first.settle({ ...none, cpuSeconds: 1.2345 });
    assert.equal((await first.left())[0]?.left, 0.765);
    const second = await granted(reserve([cpu]));
    await second.settle({ ...none, cpuSeconds: 30 });
    assert.equal((await second.left())[0]?.left, 0);
    const denial = await denied(reserve([cpu]));
    assert.equal(denial.code, 'budget_spent');
    assert.equal(denial.retryAfterMs, 1_800_000);
  });

  it('is charged in the window the call ended in', async () => {
    const { clock, reserve } = limitsAt();
    const perMinute = { ...cpu, window: 'minute' as const };
    const reservation = await granted(reserve([perMinute]));
    clock.now += 60_000;
    await reservation.settle({ ...none, cpuSeconds: 2 });
    await denied(reserve([perMinute]));
    clock.now += 60_000;
    await granted(reserve([perMinute]));
  });

  it('charges wall time and output as well', async () => {
    const { reserve } = limitsAt();
    const demands = [
      demandOf({ charge: 'wall_seconds', max: 100, cost: null, counter: 'wall' }),
      demandOf({ charge: 'output_bytes', max: 5000, cost: null, counter: 'out' }),
    ];
    const reservation = await granted(reserve(demands));
    await reservation.settle({ cpuSeconds: 9, wallSeconds: 2.5, outputBytes: 1234 });
    assert.deepEqual(
      (await reservation.left()).map(({ left }) => left),
      [97.5, 3766],
    );
  });

  for (const bad of [Number.NaN, -1, Infinity, -Infinity]) {
    it(`is not refunded or left alone by a measurement of ${bad}`, async () => {
      const { reserve } = limitsAt();
      const reservation = await granted(reserve([cpu]));
      await reservation.settle({ ...none, cpuSeconds: bad });
      await denied(reserve([cpu]));
    });
  }
});

describe('a reservation', () => {
  it('of a call that never ran is given back, once', async () => {
    const { reserve } = limitsAt();
    const demand = demandOf({ max: 2 });
    const first = await granted(reserve([demand]));
    const second = await granted(reserve([demand]));
    await Promise.all([first.refund(), first.refund()]);
    await first.settle({ ...none, cpuSeconds: 5 });
    assert.equal((await second.left())[0]?.left, 1);
    await granted(reserve([demand]));
    await denied(reserve([demand]));
  });

  it('that was settled is not given back', async () => {
    const { reserve } = limitsAt();
    const reservation = await granted(reserve([demandOf({ max: 1 })]));
    await reservation.settle(none);
    await reservation.refund();
    await denied(reserve([demandOf({ max: 1 })]));
  });

  it('is given back to the window it was made in', async () => {
    const { clock, reserve } = limitsAt();
    const demand = demandOf({ max: 1 });
    const old = await granted(reserve([demand]));
    clock.now += 60_000;
    await granted(reserve([demand]));
    await old.refund();
    await denied(reserve([demand]));
  });

  it('says what is left of each limit', async () => {
    const { clock, reserve } = limitsAt();
    clock.now += 10_000;
    const reservation = await granted(
      reserve([demandOf(), demandOf({ align: 'sliding', window: 'hour', scope: 'server', counter: 's' })]),
    );
    assert.deepEqual(await reservation.left(), [
      { counter: 'calls', scope: 'grant', window: 'minute', max: 3, left: 2, resetsInMs: 50_000 },
      { counter: 's', scope: 'server', window: 'hour', max: 3, left: 2, resetsInMs: 21 * 180_000 - 10_000 },
    ]);
  });
});

describe('where the store fails', () => {
  function failing(when: () => boolean): CounterStore {
    const memory = createMemoryStore();
    return {
      lasting: false,
      transact: (nowMs, keys, decide) =>
        when() ? Promise.reject(new Error('disk on fire')) : memory.transact(nowMs, keys, decide),
    };
  }

  it('calls are denied', async () => {
    const { reserve } = limitsAt(failing(() => true));
    const denial = await denied(reserve([demandOf()]));
    assert.equal(denial.code, 'limiter_unavailable');
    assert.equal(denial.retryable, true);
    assert.equal(denial.retryAfterMs, null);
  });

  it('a call that is under no limit does not depend on it', async () => {
    const { reserve } = limitsAt(failing(() => true));
    const reservation = await granted(reserve([]));
    await reservation.settle(none);
    assert.deepEqual(await reservation.left(), []);
  });

  it('who runs the server is told once of each failure, and when it is over', async () => {
    let broken = true;
    const said: (string | null)[] = [];
    const onStore = (failure: Error | null) => said.push(failure?.message ?? null);
    const limits = createLimits(
      failing(() => broken),
      () => start,
      { onStore },
    );
    const reserve = () => limits.reserve([demandOf()], { grant: 'local' }, new Date(start));
    for (let call = 0; call < 3; call += 1) await denied(reserve());
    broken = false;
    await granted(reserve());
    await granted(reserve());
    assert.deepEqual(said, ['disk on fire', null]);
  });

  it('a call that never ran gives back what it had when the store is there again', async () => {
    let broken = false;
    const { reserve } = limitsAt(failing(() => broken));
    const reservation = await granted(reserve([demandOf({ max: 1 })]));
    broken = true;
    await reservation.refund();
    await denied(reserve([demandOf({ max: 1 })]));
    broken = false;
    await granted(reserve([demandOf({ max: 1 })]));
    await denied(reserve([demandOf({ max: 1 })]));
  });

  it('while a call is settled, its cost is kept and charged before the next call', async () => {
    let broken = false;
    const { reserve } = limitsAt(failing(() => broken));
    const cpu = demandOf({ charge: 'cpu_seconds', max: 2, cost: null });
    const reservation = await granted(reserve([cpu]));
    broken = true;
    await reservation.settle({ ...none, cpuSeconds: 2 });
    assert.equal((await denied(reserve([cpu]))).code, 'limiter_unavailable');
    broken = false;
    assert.equal((await denied(reserve([cpu]))).code, 'budget_spent');
  });

  it('what is left is what was left when it last answered', async () => {
    let broken = false;
    const { reserve } = limitsAt(failing(() => broken));
    const reservation = await granted(reserve([demandOf()]));
    const before = await reservation.left();
    broken = true;
    assert.deepEqual(await reservation.left(), before);
    await reservation.refund();
  });

  for (const answer of [Number.NaN, -1]) {
    it(`by answering ${answer}, calls are denied`, async () => {
      const store: CounterStore = {
        lasting: false,
        transact: (_nowMs, keys, decide) =>
          new Promise((resolve) => {
            resolve(decide(keys.map(() => answer)).result);
          }),
      };
      assert.equal((await denied(limitsAt(store).reserve([demandOf()]))).code, 'limiter_unavailable');
    });
  }

  it('a decision that a store makes again, because others were faster, counts once', async () => {
    const memory = createMemoryStore();
    const twice: CounterStore = {
      lasting: false,
      transact: (nowMs, keys, decide) =>
        memory.transact(nowMs, keys, (sums) => {
          decide(sums.map((sum) => sum + 1));
          return decide(sums);
        }),
    };
    const { reserve } = limitsAt(twice);
    for (let call = 0; call < 3; call += 1) await granted(reserve([demandOf()]));
    await denied(reserve([demandOf()]));
  });

  it('a call at no time is denied', async () => {
    const { limits } = limitsAt();
    assert.equal(
      (await denied(limits.reserve([demandOf()], { grant: 'a' }, new Date(Number.NaN)))).code,
      'limiter_unavailable',
    );
  });
});

describe('under concurrency', () => {
  it('exactly max of 200 calls at the same time get through', async () => {
    const { reserve } = limitsAt();
    const demands = [demandOf({ max: 37 }), demandOf({ counter: 'b', max: 50, align: 'sliding' })];
    const answers = await Promise.all(Array.from({ length: 200 }, () => reserve(demands)));
    assert.equal(answers.filter(({ ok }) => ok).length, 37);
  });

  it('no window of any length of time ever lets more than max through, aligned or sliding', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('calendar' as const, 'sliding' as const),
        fc.constantFrom('second' as const, 'minute' as const, 'hour' as const),
        fc.integer({ min: 1, max: 6 }),
        fc.array(
          fc.record({ afterPermille: fc.nat(700), calls: fc.integer({ min: 1, max: 4 }), refund: fc.boolean() }),
          {
            minLength: 5,
            maxLength: 30,
          },
        ),
        async (align, window, max, steps) => {
          const { clock, reserve } = limitsAt();
          const demand = demandOf({ align, window, max });
          const length = lengthMs[window];
          const throughAt: number[] = [];
          for (const { afterPermille, calls, refund } of steps) {
            clock.now += Math.floor((afterPermille * length) / 1000);
            const answers = await Promise.all(Array.from({ length: calls }, () => reserve([demand])));
            for (const answer of answers) {
              if (!answer.ok) continue;
              if (refund) await answer.reservation.refund();
              else throughAt.push(clock.now);
            }
          }
          for (const begin of throughAt) {
            const from = align === 'sliding' ? begin : Math.floor(begin / length) * length;
            assert.ok(throughAt.filter((at) => at >= from && at < from + length).length <= max);
          }
        },
      ),
      { numRuns: 150 },
    );
  });

  it('who waits as long as a denial says gets through, where nobody else calls', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('calendar' as const, 'sliding' as const),
        fc.constantFrom('second' as const, 'minute' as const, 'day' as const),
        fc.array(fc.nat(400), { minLength: 1, maxLength: 20 }),
        async (align, window, steps) => {
          const { clock, reserve } = limitsAt();
          const demand = demandOf({ align, window, max: 4, charge: 'args.n', cost: 1.5 });
          for (const permille of steps) {
            clock.now += Math.floor((permille * lengthMs[window]) / 1000);
            const answer = await reserve([demand]);
            if (answer.ok) continue;
            const wait = answer.denial.retryAfterMs;
            assert.ok(wait !== null && wait > 0 && wait <= 1.05 * lengthMs[window]);
            clock.now += wait;
            await granted(reserve([demand]));
          }
        },
      ),
      { numRuns: 100 },
    );
  });
});
