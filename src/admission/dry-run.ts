/** Counting on paper: limits are reserved and settled as ever, and nothing of it is written down. */
import { createTurns, type Counters, type CounterStore } from './store.js';

/**
 * A store that begins with what another one holds and keeps every change to itself. It never forgets a key, because the
 * time in it is that of the calls and not the clock's; it is made for one question, and thrown away.
 * @param base what has been counted already; null: nothing
 */
export function dryRun(base: CounterStore | null): CounterStore {
  const inTurn = createTurns();
  const sums = new Map<string, number>();

  async function sumOf(key: string): Promise<number> {
    const known = sums.get(key);
    if (known !== undefined) return known;
    const [sum] = base === null ? [0] : await base.exclusively((counters) => counters.read([key]));
    if (sum === undefined) throw new Error(`the counter store gave no number for ${key}`);
    sums.set(key, sum);
    return sum;
  }

  const counters: Counters = {
    async read(keys) {
      const found: number[] = [];
      for (const key of keys) found.push(await sumOf(key));
      return found;
    },
    async add(key, points) {
      const sum = Math.max(0, (await sumOf(key)) + points);
      sums.set(key, sum);
      return sum;
    },
  };
  return { exclusively: (work) => inTurn(() => work(counters)) };
}
