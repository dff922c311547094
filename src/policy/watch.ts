/**
 * A policy that may be edited while it holds: the edit counts from the next call on, and one that can't be used is refused,
 * aloud, while the policy before it stays.
 *
 * Each call asks the file system whether the file is the one that was read: one `stat`, two microseconds, and nothing at all
 * while nobody calls. Watching (fs.watch) would be worse in every way that counts here: its events come some time after the
 * edit, so that a call could still slip through under the old policy; they are lost on network file systems and where the
 * system runs out of watches; and each way of writing needs another watch (a file that is replaced, one that is truncated and
 * rewritten, a Kubernetes volume where `..data` is pointed elsewhere). `stat` follows all links, and what it says of device,
 * inode, size and times changes with every one of those. Two writes within one tick of the file system's clock can leave the
 * times as they were: as long as the last change is that recent, the file is read again and its hash compared.
 *
 * A file that is caught half-written is an edit like any other that can't be used; the rest of the writing changes its times,
 * and the next call reads it again.
 */
import { statSync } from 'node:fs';
import { loadPolicy, PolicyError, type LoadedPolicy } from './load.js';

/** The coarsest clock of a file system in use is that of FAT. */
const CLOCK_TICK_MS = 2_000;

export interface WatchedPolicy {
  /** The policy that holds for a call made now. Never rejects. */
  current(): Promise<LoadedPolicy>;
}

export interface WatchOptions {
  /**
   * Make everything that depends on the policy fit a new one, before it holds for anybody. Throwing refuses the edit.
   */
  readonly adopt: (next: LoadedPolicy) => Promise<void>;
  /** An edit was refused: told once for each, with a `PolicyError` or what `adopt` threw. */
  readonly onRefused: (error: Error) => void;
  /** Milliseconds since the epoch. */
  readonly clock?: () => number;
}

/** Keep up with a policy's file (`loaded.source`), from the policy that was read from it. */
export function watchPolicy(loaded: LoadedPolicy, { adopt, onRefused, clock = Date.now }: WatchOptions): WatchedPolicy {
  const path = loaded.source;
  let current = loaded;
  /** The file as it was when last read and long unchanged; null: read it. */
  let known: string | null = null;
  /** What was refused last, so that it is told of once. */
  let refused: string | null = null;
  /** The look that is under way: calls made meanwhile wait for the next, which sees all that was written before them. */
  let looking: Promise<void> = Promise.resolve();

  async function look(): Promise<void> {
    const file = stateOf(path, clock());
    if (file.settled && file.mark === known) return;
    known = null;
    let next: LoadedPolicy;
    try {
      next = await loadPolicy(path);
    } catch (error) {
      if (!(error instanceof PolicyError)) throw error;
      refuse(error.message, error);
      if (file.settled) known = file.mark;
      return;
    }
    if (next.hash === current.hash) refused = null;
    else if (next.hash !== refused) {
      try {
        await adopt(next);
        current = next;
        refused = null;
      } catch (error) {
        refuse(next.hash, error instanceof Error ? error : new Error(String(error)));
      }
    }
    if (file.settled) known = file.mark;
  }

  function refuse(what: string, error: Error): void {
    if (what === refused) return;
    refused = what;
    onRefused(error);
  }

  return {
    async current() {
      looking = looking.then(look).catch((error: unknown) => {
        refuse(String(error), error instanceof Error ? error : new Error(String(error)));
      });
      await looking;
      return current;
    },
  };
}

/** What tells one state of a file from another, and whether the next change is sure to tell. */
function stateOf(path: string, nowMs: number): { mark: string; settled: boolean } {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
    const ageMs = nowMs - Number((mtimeNs > ctimeNs ? mtimeNs : ctimeNs) / 1_000_000n);
    return { mark: [dev, ino, size, mtimeNs, ctimeNs].join(' '), settled: ageMs > CLOCK_TICK_MS };
  } catch (error) {
    // Reading it says what is wrong.
    return { mark: String(error), settled: false };
  }
}
