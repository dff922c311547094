/**
 * Counters in a Redis, for servers on several machines.
 *
 * A transaction is optimistic: read the sums, decide, then one script writes, unless a sum is no longer what was read; then
 * all is done again. There is no lock that could run out or be left behind by a server that dies, and always somebody gets
 * ahead. Within a process transactions take turns, so only other servers can be in the way. The clocks of the machines have
 * to agree to within a few seconds, as for all windows.
 *
 * Whether counters survive the Redis is up to its owner: turn its persistence on, and let it evict nothing (`maxmemory-policy
 * noeviction`).
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from '../state/redis.js';
import { createTurns } from '../state/turns.js';
import { checkSums, type Charge, type CounterStore } from './store.js';

/** One hash tag, so that all keys are on one node of a cluster; the number is the version of their shape. */
const PREFIX = '{cordon}:1:';
const PENDING_HOLDS = `${PREFIX}holds`;
const RETRY_MAX_MS = 5_000;

/** Numbers go through `%.0f`: Lua would write a large one as 1e+15. */
const SHARED_LUA = `
local prefix, pending = '${PREFIX}', '${PENDING_HOLDS}'
local function whole(number) return string.format('%.0f', number) end
local function add(charge, sign)
  local key, points, ttl = prefix .. 'counter:' .. charge[1], charge[2] * sign, whole(charge[3])
  if points < 0 and redis.call('EXISTS', key) == 0 then return end
  if redis.call('INCRBY', key, whole(points)) < 0 then redis.call('INCRBY', key, whole(-redis.call('GET', key))) end
  if redis.call('PTTL', key) < 0 then redis.call('PEXPIRE', key, ttl) end
end
local function addAll(charges, sign)
  for _, charge in ipairs(charges) do add(charge, sign) end
end`;

/** ARGV: now, then the counters to read. Holds that lapsed are charged first. */
const READ = `${SHARED_LUA}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', pending, '-inf', '(' .. ARGV[1])) do
  redis.call('ZREM', pending, id)
  local hold = prefix .. 'hold:' .. id
  local charges = redis.call('HGET', hold, 'charges')
  if charges then
    redis.call('HSET', hold, 'charged', '1')
    addAll(cjson.decode(charges), 1)
  end
end
local sums = {}
for index = 2, #ARGV do sums[index - 1] = redis.call('GET', prefix .. 'counter:' .. ARGV[index]) or '' end
return sums`;

/** ARGV: what was read [key, sum], holds to release, charges, and a hold, as JSON each. Answers 0 where others were faster. */
const WRITE = `${SHARED_LUA}
for _, seen in ipairs(cjson.decode(ARGV[1])) do
  if (redis.call('GET', prefix .. 'counter:' .. seen[1]) or '') ~= seen[2] then return 0 end
end
for _, id in ipairs(cjson.decode(ARGV[2])) do
  local hold = prefix .. 'hold:' .. id
  if redis.call('HGET', hold, 'charged') == '1' then addAll(cjson.decode(redis.call('HGET', hold, 'charges')), -1) end
  redis.call('ZREM', pending, id)
  redis.call('DEL', hold)
end
addAll(cjson.decode(ARGV[3]), 1)
if ARGV[4] ~= '' then
  local wanted = cjson.decode(ARGV[4])
  local hold = prefix .. 'hold:' .. wanted.id
  if redis.call('HGET', hold, 'charged') ~= '1' then
    redis.call('HSET', hold, 'charges', wanted.charges)
    redis.call('PEXPIRE', hold, whole(wanted.ttl))
    redis.call('ZADD', pending, whole(wanted.untilMs), wanted.id)
  end
end
return 1`;

export function createRedisStore(redis: Redis): CounterStore {
  const inTurn = createTurns();
  return {
    lasting: true,
    transact: (nowMs, keys, decide) =>
      inTurn(async () => {
        const deadline = performance.now() + RETRY_MAX_MS;
        for (let attempt = 0; ; attempt += 1) {
          const seen = await redis.run(READ, [PENDING_HOLDS], [String(Math.floor(nowMs)), ...keys]);
          const texts = Array.isArray(seen) ? seen.map(String) : [];
          const sums = checkSums(
            keys,
            texts.map((text) => (/^\d*$/.test(text) ? Number(text) : text)),
          );
          const { result, changes } = decide(sums);
          const { release = [], add = [], hold } = changes;
          if (release.length === 0 && add.length === 0 && hold === undefined) return result;
          const written = await redis.run(
            WRITE,
            [PENDING_HOLDS],
            [
              JSON.stringify(keys.map((key, index) => [key, texts[index]])),
              JSON.stringify(release),
              JSON.stringify(rowsOf(add)),
              hold === undefined
                ? ''
                : JSON.stringify({
                    id: hold.id,
                    untilMs: Math.ceil(hold.untilMs),
                    charges: JSON.stringify(rowsOf(hold.charges)),
                    // Kept for as long as its server may come back and release it.
                    ttl: Math.max(0, hold.untilMs - nowMs) + longestMs(hold.charges),
                  }),
            ],
          );
          if (written === 1) return result;
          if (performance.now() > deadline) throw new Error(`others were always faster for ${RETRY_MAX_MS / 1000} s`);
          // At random, so that two servers don't keep meeting.
          if (attempt > 1) await delay(Math.random() * 10);
        }
      }),
  };
}

/** [key, points, milliseconds to live] */
function rowsOf(charges: readonly Charge[]): [string, number, number][] {
  return charges.map(({ key, points, ttlSeconds }) => [key, points, Math.ceil(ttlSeconds * 1000)]);
}

function longestMs(charges: readonly Charge[]): number {
  return Math.ceil(Math.max(0, ...charges.map(({ ttlSeconds }) => ttlSeconds)) * 1000);
}
