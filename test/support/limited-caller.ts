/**
 * A server's accounting without the server, as a process of its own, for tests of the state that several share.
 *
 *   limited-caller STATE calls CALLS MAX      so many calls at the same time; prints how many were let through
 *   limited-caller STATE spend MAX            calls without end, each costs a quarter of a CPU second; prints a line for each
 */
import { createLimits } from '../../src/admission/limits.js';
import { createRedisStore } from '../../src/admission/redis.js';
import { createDatabaseStore } from '../../src/admission/sqlite.js';
import type { LimitDemand } from '../../src/policy/decide.js';
import { chooseState } from '../../src/state/choice.js';
import { openDatabase } from '../../src/state/database.js';
import { openRedis } from '../../src/state/redis.js';

const [state, mode, ...numbers] = process.argv.slice(2);
const [first = 0, second = 0] = numbers.map(Number);
const choice = chooseState(state, {});
if (choice.kind === 'memory') throw new Error('expected a state that can be shared');
const database = choice.kind === 'file' ? openDatabase(choice.path) : null;
const redis = choice.kind === 'redis' ? openRedis(choice.url, choice.shown) : null;
const store = database !== null ? createDatabaseStore(database) : redis !== null ? createRedisStore(redis) : null;
if (store === null) throw new Error('expected a state');
const limits = createLimits(store, Date.now, {
  onStore: (failure) => void process.stderr.write(`${failure?.message ?? 'again'}\n`),
});

function demand(changes: Partial<LimitDemand>): LimitDemand {
  return {
    rule: '/all_tools/limits/0',
    counter: 'calls',
    window: 'day',
    align: 'calendar',
    scope: 'server',
    charge: 'calls',
    max: first,
    cost: 1,
    onDeny: null,
    shadow: false,
    ...changes,
  };
}

// The day of the test does not end while it runs.
const now = new Date('2026-03-04T12:00:00Z');
if (mode === 'calls') {
  const demands = [demand({ max: second }), demand({ counter: 'sliding', align: 'sliding', max: second })];
  const answers = await Promise.all(
    Array.from({ length: first }, () => limits.reserve(demands, { grant: 'local' }, now)),
  );
  const failed = answers.filter((answer) => !answer.ok && answer.denial.code !== 'limit_reached').length;
  process.stdout.write(`${JSON.stringify({ through: answers.filter(({ ok }) => ok).length, failed })}\n`);
} else if (mode === 'spend') {
  const demands = [
    demand({ counter: 'cpu', charge: 'cpu_seconds', max: first, cost: null }),
    demand({ counter: 'calls', max: 1e9 }),
  ];
  const atMost = { cpuSeconds: 1, wallSeconds: 1, outputBytes: 1 };
  for (;;) {
    const answer = await limits.reserve(demands, { grant: 'local' }, new Date(), atMost);
    if (!answer.ok) throw new Error(answer.denial.message);
    await answer.reservation.settle({ cpuSeconds: 0.25, wallSeconds: 0, outputBytes: 0 });
    process.stdout.write('settled\n');
  }
} else throw new Error(`no such mode: ${mode ?? 'none'}`);
await database?.close();
await redis?.close();
