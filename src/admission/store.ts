/**
 * Where counters live. Limits need one thing of a store: to read some sums, decide, and write, with nobody else's change in
 * between, all of it or nothing. The time is in the keys, so nothing rests on when a store forgets one.
 *
 * The store in memory is rate-limiter-flexible's. The lasting ones are statements of our own: that package's take a key at a time, where
 * one statement reads and writes them all (50 limits in SQLite: 0.1 ms instead of 0.55), and its windows begin at the first hit.
 */
import type { RateLimiterMemory } from 'rate-limiter-flexible';
import { createTurns } from '../state/turns.js';

/** Points to add to what has been counted under a key, or, if negative, to take back: never below a sum of 0. */
export interface Charge {
  readonly key: string;
  /** A whole number. */
  readonly points: number;
  /** How long the key has to be remembered. */
  readonly ttlSeconds: number;
}

/**
 * What a call costs if nothing is heard of it any more, because its server was killed. Whoever uses the store after
 * `untilMs` charges it, once.
 */
export interface Hold {
  readonly id: string;
  readonly charges: readonly Charge[];
  /** Milliseconds since the epoch. */
  readonly untilMs: number;
}

/** Made in this order. */
export interface Changes {
  /** Holds that end, by id. One that was charged meanwhile is taken back. */
  readonly release?: readonly string[];
  readonly add?: readonly Charge[];
  /** To be kept; one of this id that is kept already is put off. */
  readonly hold?: Hold;
}

/** What was decided, and what is to be written. */
interface Verdict<T> {
  readonly result: T;
  readonly changes: Changes;
}

export interface CounterStore {
  /** Whether counters outlive this process: only then is there a use in holds, and others do not keep any. */
  readonly lasting: boolean;
  /**
   * Read, decide and write as one. Rejects where the store fails; nothing was written then, or (only where the way to the
   * store broke at that moment) nobody can tell.
   * @param nowMs milliseconds since the epoch
   * @param keys whose sums to read
   * @param decide from the sums, whole numbers of 0 or more in the order of the keys, to what is to be written. It must
   *   change nothing itself, for it runs again where others were faster.
   */
  transact<T>(nowMs: number, keys: readonly string[], decide: (sums: readonly number[]) => Verdict<T>): Promise<T>;
}

/** Sums as a store keeps them, made sure of. @throws where one is not a whole number of 0 or more */
export function checkSums(keys: readonly string[], sums: readonly unknown[]): number[] {
  return keys.map((key, index) => {
    const sum = sums[index];
    if (typeof sum !== 'number' || !Number.isFinite(sum) || sum < 0) {
      throw new Error(`the counter store gave ${String(sum)} for ${key}, where a number of 0 or more was expected`);
    }
    return sum;
  });
}

/** How often what has been over for long is thrown away; by then it was read by nobody. */
export const SWEEP_INTERVAL_MS = 300_000;

/** A timer of Node can't be longer than 2^31 - 1 ms (24.8 days), and a key that was to live longer would never be counted. */
const LONGEST_TTL_SECONDS = 24 * 86_400;

/** Counters in this process's memory: gone with it, shared with nobody. */
export function createMemoryStore(): CounterStore {
  const inTurn = createTurns();
  let limiter: Promise<RateLimiterMemory> | undefined;
  const sumOf = async (limits: RateLimiterMemory, key: string) => (await limits.get(key))?.consumedPoints ?? 0;

  return {
    lasting: false,
    transact: (_nowMs, keys, decide) =>
      inTurn(async () => {
        const limits = await (limiter ??= newLimiter());
        const sums = await Promise.all(keys.map((key) => sumOf(limits, key)));
        const { result, changes } = decide(checkSums(keys, sums));
        for (const { key, points, ttlSeconds } of changes.add ?? []) {
          const kept = await limits.get(key);
          const leftSeconds = Math.ceil((kept?.msBeforeNext ?? 0) / 1000);
          const sum = Math.max(0, (kept?.consumedPoints ?? 0) + points);
          await limits.set(key, sum, Math.min(LONGEST_TTL_SECONDS, Math.max(leftSeconds, ttlSeconds)));
        }
        return result;
      }),
  };
}

/** Loaded at the first call that counts: not everybody's policy has limits, and not everybody's state is memory. */
async function newLimiter(): Promise<RateLimiterMemory> {
  const { RateLimiterMemory } = await import('rate-limiter-flexible');
  // What a key may reach is decided by whoever counts, and every key brings its own time.
  return new RateLimiterMemory({ points: Number.MAX_SAFE_INTEGER, duration: 60, keyPrefix: '' });
}
