/** Counting on paper: limits are reserved and settled as ever, and nothing of it is written down. */
import { createTurns } from '../state/turns.js';
import type { CounterStore } from './store.js';

/**
 * A store that begins with what another one holds and keeps every change to itself. It never forgets a key, because the
 * time in it is that of the calls and not the clock's; it is made for one question, and thrown away.
 * @param base what has been counted already; null: nothing
 */
export function dryRun(base: CounterStore | null): CounterStore {
  const inTurn = createTurns();
  const sums = new Map<string, number>();

  async function sumsOf(nowMs: number, keys: readonly string[]): Promise<number[]> {
    const unknown = [...new Set(keys.filter((key) => !sums.has(key)))];
    if (unknown.length > 0) {
      const found = (await base?.transact(nowMs, unknown, (read) => ({ result: read, changes: {} }))) ?? [];
      for (const [index, key] of unknown.entries()) sums.set(key, found[index] ?? 0);
    }
    return keys.map((key) => sums.get(key) ?? 0);
  }

  return {
    lasting: false,
    transact: (nowMs, keys, decide) =>
      inTurn(async () => {
        const { result, changes } = decide(await sumsOf(nowMs, keys));
        for (const { key, points } of changes.add ?? []) {
          const [sum = 0] = await sumsOf(nowMs, [key]);
          sums.set(key, Math.max(0, sum + points));
        }
        return result;
      }),
  };
}
