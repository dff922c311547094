/** Sessions that are no more: for a while it is known what became of each, so that a lost handle is answered plainly. */

/** As long as a conversation is likely to come back to one. */
const REMEMBERED_MS = 24 * 60 * 60_000;
/** The oldest are forgotten first. */
const REMEMBERED_MAX = 1_000;

export interface Ended {
  remember(handle: string, grant: string, why: string): void;
  /** Why it ended; null where it is not known, or was somebody else's. */
  why(handle: string, grant: string): string | null;
}

/** @param clock milliseconds since the epoch */
export function createEnded(clock: () => number): Ended {
  const ended = new Map<string, { readonly grant: string; readonly why: string; readonly atMs: number }>();

  /** A map keeps the order of its entries, which is that of time. */
  function forget(): void {
    const sinceMs = clock() - REMEMBERED_MS;
    for (const [handle, { atMs }] of ended) {
      if (atMs > sinceMs && ended.size <= REMEMBERED_MAX) return;
      ended.delete(handle);
    }
  }

  return {
    remember(handle, grant, why) {
      ended.set(handle, { grant, why, atMs: clock() });
      forget();
    },
    why(handle, grant) {
      forget();
      const found = ended.get(handle);
      return found?.grant === grant ? found.why : null;
    },
  };
}
