/**
 * Where counters live. Limits need two things of a store, and this seam is all they see of it: sums that several servers
 * share, and the right to read and add with nobody in between. rate-limiter-flexible keeps the sums (memory now; its
 * SQLite and Redis limiters have the same three methods); its own limiting is not used, for a rejected consume still
 * counts there, a reward can go below zero, and windows begin at the first hit.
 */
import type { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';

export interface Counters {
  /** What has been counted under each key: whole numbers of 0 or more, in the order of the keys. */
  read(keys: readonly string[]): Promise<readonly number[]>;
  /**
   * Add points to a key, or take them back (less than 0, never below a sum of 0).
   * @param ttlSeconds after which a key that is new is forgotten
   * @returns the sum after it
   */
  add(key: string, points: number, ttlSeconds: number): Promise<number>;
}

export interface CounterStore {
  /**
   * Do some work on the counters while no other work on them happens, in this process and, as far as the store can, in
   * others. Rejects with what the work rejects with, or with the store's failure.
   */
  exclusively<T>(work: (counters: Counters) => Promise<T>): Promise<T>;
}

/** The part of a limiter of rate-limiter-flexible that is used; all of its stores have it. */
export type Limiter = Pick<RateLimiterMemory, 'get' | 'penalty' | 'reward'>;

/** Counters over a limiter, which must have been made with no key prefix of meaning and the most points there can be. */
export function limiterCounters(limiter: Limiter): Counters {
  return {
    read: (keys) => Promise.all(keys.map(async (key) => Math.max(0, sumOf(await limiter.get(key))))),
    async add(key, points, ttlSeconds) {
      if (!Number.isSafeInteger(points)) throw new RangeError(`expected a whole number of points, got ${points}`);
      const options = { customDuration: ttlSeconds };
      if (points >= 0) return sumOf(await limiter.penalty(key, points, options));
      const taken = Math.min(-points, sumOf(await limiter.get(key)));
      if (taken <= 0) return 0;
      const sum = sumOf(await limiter.reward(key, taken, options));
      // The key expired between the two: a sum below zero would be free calls.
      return sum < 0 ? sumOf(await limiter.penalty(key, -sum, options)) : sum;
    },
  };
}

function sumOf(result: RateLimiterRes | null): number {
  const sum = result?.consumedPoints ?? 0;
  if (!Number.isFinite(sum)) throw new Error(`the counter store answered ${sum} where a number was expected`);
  return sum;
}

/** Work one after the other, in the order it came; a failure does not hold up the next. */
export function createTurns(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const turn = last.then(work);
    last = turn.catch(() => undefined);
    return turn;
  };
}

/** Counters in this process's memory: gone with it, shared with nobody. */
export function createMemoryStore(): CounterStore {
  const inTurn = createTurns();
  let counters: Counters | undefined;
  return {
    exclusively: (work) =>
      inTurn(async () => {
        if (counters === undefined) {
          const { RateLimiterMemory } = await import('rate-limiter-flexible');
          // Every key brings its own duration; this one is never used.
          counters = limiterCounters(
            new RateLimiterMemory({ points: Number.MAX_SAFE_INTEGER, duration: 60, keyPrefix: '' }),
          );
        }
        return work(counters);
      }),
  };
}
