/**
 * A few things made ahead of need, each taken once. Whoever takes one decides when more are made (`refill`), so that
 * making never competes with the use it was made for. They are given back when nobody came for a time, and none is kept
 * while memory is short.
 */

export interface PoolOptions<Item> {
  /** How many are kept. */
  readonly size: number;
  readonly make: () => Promise<Item>;
  /** Throw one away. */
  readonly discard: (item: Item) => void;
  /** Call back when an item is of no use any more while it waits. */
  readonly onGone: (item: Item, callback: () => void) => void;
  /** Without a take for so long, all are given back. */
  readonly idleMs: number;
  /** Whether there is memory to keep any. */
  readonly roomy: () => boolean;
}

export interface Pool<Item> {
  /** The oldest one, or else one made now. Rejects when that can't be made. */
  readonly take: () => Promise<Item>;
  /** Make what is missing. */
  readonly refill: () => void;
  /** Give all back, and make no more until the next refill. */
  readonly drain: () => void;
  /** How many wait or are being made. */
  readonly waiting: number;
}

export function createPool<Item>(options: PoolOptions<Item>): Pool<Item> {
  let ready: Promise<Item>[] = [];
  let idle: NodeJS.Timeout | undefined;

  const drain = () => {
    clearTimeout(idle);
    const given = ready;
    ready = [];
    for (const one of given) one.then(options.discard, () => undefined);
  };
  const touch = () => {
    clearTimeout(idle);
    idle = setTimeout(drain, options.idleMs);
    idle.unref(); // no reason to keep a process alive
  };

  return {
    get waiting() {
      return ready.length;
    },
    take() {
      touch();
      return ready.shift() ?? options.make();
    },
    refill() {
      if (!options.roomy()) {
        drain();
        return;
      }
      touch();
      while (ready.length < options.size) {
        const one = options.make();
        ready.push(one);
        const drop = () => {
          ready = ready.filter((other) => other !== one);
        };
        one.then((item) => {
          options.onGone(item, drop);
        }, drop);
      }
    },
    drain,
  };
}
