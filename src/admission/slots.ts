/**
 * Slots: how many jobs run at the same time, and who is next. Bounded on both sides. Owners take turns, and each owner's
 * calls run in the order they came. When the queue is full, the owner with the most calls waiting gives way to one with
 * fewer, so that nobody can fill it against the others; the call that gives way is told `full`, none is ever forgotten.
 */

export type Acquired = { ok: true; release(): void } | { ok: false; why: 'full' | 'aborted' };

export interface SlotBounds {
  /** At least 1. */
  readonly maxRunning: number;
  /** At least 0. */
  readonly maxWaiting: number;
}

export interface Slots {
  /**
   * Wait for a slot. Never rejects. Who gets one must release it, also where the signal was aborted meanwhile; a second
   * release does nothing.
   */
  acquire(owner: string, signal: AbortSignal): Promise<Acquired>;
  /** Take new bounds. What runs goes on, who waits keeps waiting; more room is used at once. */
  resize(bounds: SlotBounds): void;
  readonly running: number;
  readonly waiting: number;
}

interface Waiter {
  readonly answer: (acquired: Acquired) => void;
  /** Stop listening to the signal. */
  readonly forget: () => void;
}

/** @throws RangeError for bounds that are not whole numbers, at least 1 running and 0 waiting */
export function createSlots(bounds: SlotBounds): Slots {
  let { maxRunning, maxWaiting } = checked(bounds);
  let running = 0;
  let waiting = 0;
  /** Waiting calls by owner; an owner is here only while one waits. The first owner's turn is next. */
  const queues = new Map<string, Waiter[]>();

  function occupy(): Acquired {
    running += 1;
    let held = true;
    return {
      ok: true,
      release() {
        if (!held) return;
        held = false;
        running -= 1;
        startNext();
      },
    };
  }

  function startNext(): void {
    while (running < maxRunning) {
      const next = queues.entries().next();
      if (next.done === true) return;
      const [owner, queue] = next.value;
      // To the end of the round, or out of it.
      queues.delete(owner);
      const waiter = queue.shift();
      if (queue.length > 0) queues.set(owner, queue);
      if (waiter === undefined) continue;
      waiting -= 1;
      waiter.forget();
      waiter.answer(occupy());
    }
  }

  function remove(owner: string, waiter: Waiter): void {
    const queue = queues.get(owner);
    const index = queue?.indexOf(waiter) ?? -1;
    if (queue === undefined || index === -1) return;
    queue.splice(index, 1);
    if (queue.length === 0) queues.delete(owner);
    waiting -= 1;
    waiter.forget();
  }

  /** Make room for a call of `owner` in a full queue, where that makes it fairer. */
  function giveWay(owner: string): boolean {
    let longest: [string, Waiter[]] | undefined;
    for (const entry of queues) if (longest === undefined || entry[1].length > longest[1].length) longest = entry;
    const last = longest?.[1].at(-1);
    if (longest === undefined || last === undefined) return false;
    // Only if the one who gives way still has as many waiting as the one who comes will have.
    if (longest[1].length - 1 < (queues.get(owner)?.length ?? 0) + 1) return false;
    remove(longest[0], last);
    last.answer({ ok: false, why: 'full' });
    return true;
  }

  return {
    acquire(owner, signal) {
      if (signal.aborted) return Promise.resolve({ ok: false, why: 'aborted' });
      if (running < maxRunning) return Promise.resolve(occupy());
      if (waiting >= maxWaiting && !giveWay(owner)) return Promise.resolve({ ok: false, why: 'full' });
      return new Promise((resolve) => {
        const abort = () => {
          remove(owner, waiter);
          resolve({ ok: false, why: 'aborted' });
        };
        const waiter: Waiter = {
          answer: resolve,
          forget: () => {
            signal.removeEventListener('abort', abort);
          },
        };
        signal.addEventListener('abort', abort, { once: true });
        const queue = queues.get(owner);
        if (queue === undefined) queues.set(owner, [waiter]);
        else queue.push(waiter);
        waiting += 1;
      });
    },
    resize(next) {
      ({ maxRunning, maxWaiting } = checked(next));
      startNext();
    },
    get running() {
      return running;
    },
    get waiting() {
      return waiting;
    },
  };
}

function checked(bounds: SlotBounds): SlotBounds {
  const { maxRunning, maxWaiting } = bounds;
  if (!Number.isSafeInteger(maxRunning) || maxRunning < 1 || !Number.isSafeInteger(maxWaiting) || maxWaiting < 0) {
    throw new RangeError(
      `expected whole numbers, maxRunning >= 1 and maxWaiting >= 0, got ${maxRunning} and ${maxWaiting}`,
    );
  }
  return bounds;
}
