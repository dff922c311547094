/**
 * Windows, as the keys they are counted under. The time is in the key, so nothing rests on when a store forgets one.
 *
 * Calendar: one key a window, which begins on the clock in UTC.
 * Sliding: the window is cut into slices, each with its key. The sum of a window's slices and the one before them covers
 * at least the whole window, so no stretch of that length ever lets more than max through; the price is that a use comes
 * back up to one slice late. (The usual two-counter estimate is cheaper, and lets more than max through.)
 */
import type { LimitDemand } from '../policy/decide.js';

const lengthsMs: Record<LimitDemand['window'], number> = {
  second: 1000,
  minute: 60_000,
  hour: 3_600_000,
  day: 86_400_000,
};

/** A window is cut into so many slices; it divides every length into whole milliseconds. */
const slicesPerWindow = 20;

interface Bucket {
  readonly key: string;
  /** When what is counted in it no longer counts, in milliseconds since the epoch. */
  readonly freedAtMs: number;
}

export interface WindowBuckets {
  /** All that count now, oldest first. Never empty. */
  readonly counted: readonly Bucket[];
  /** The one that a use at this moment is counted in: the newest. */
  readonly current: Bucket;
  /** How long a key has to be remembered. Twice the window: the store's clock may not be ours. */
  readonly ttlSeconds: number;
}

/** The buckets of a limit for a grant at a moment (milliseconds since the epoch). */
export function bucketsAt(limit: LimitDemand, grant: string, nowMs: number): WindowBuckets {
  const lengthMs = lengthsMs[limit.window];
  const sliceMs = limit.align === 'calendar' ? lengthMs : lengthMs / slicesPerWindow;
  const before = limit.align === 'calendar' ? 0 : slicesPerWindow;
  // Everything that tells two counters apart; JSON, so that no name can be made to look like two parts.
  const name = JSON.stringify([limit.counter, limit.scope === 'grant' ? [grant] : [], limit.window, limit.align]);
  const bucket = (slice: number): Bucket => ({
    key: `${name}@${slice * sliceMs}`,
    freedAtMs: (slice + 1 + before) * sliceMs,
  });
  const now = Math.floor(nowMs / sliceMs);
  const current = bucket(now);
  const counted: Bucket[] = [];
  for (let slice = now - before; slice < now; slice += 1) counted.push(bucket(slice));
  counted.push(current);
  return { counted, current, ttlSeconds: (2 * lengthMs) / 1000 };
}
