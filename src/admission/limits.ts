/**
 * Limits, reserved all together or not at all, before a call runs. What is known beforehand (a call, an argument) is
 * charged at once; what only the run tells is charged when it is settled, and until then a call is let in while anything
 * is left of that budget.
 *
 * Counters hold whole points, a thousandth of what is counted where that can be a fraction; every cost is rounded up, so
 * that none is free. Where the store fails, calls are denied; a cost that could not be written down is kept and written
 * before the next call is let in.
 */
import { denial, type Denial } from '../policy/denial.js';
import type { LimitDemand } from '../policy/decide.js';
import type { Counters, CounterStore } from './store.js';
import { bucketsAt, type WindowBuckets } from './windows.js';

/** What is left of a limit, in the unit it is charged in. */
export interface LimitState {
  readonly counter: string;
  readonly scope: string;
  readonly window: string;
  readonly max: number;
  readonly left: number;
  /** Until what is used comes back: all of it (calendar), or the oldest part (sliding; 0 where nothing is used). */
  readonly resetsInMs: number;
}

export interface Measured {
  readonly cpuSeconds: number;
  readonly wallSeconds: number;
  readonly outputBytes: number;
}

/** A call's place under its limits. Ends once, by `settle` or `refund`; what comes after that does nothing. */
interface Reservation {
  /** What limits in shadow mode would have said. */
  readonly shadowed: readonly Denial[];
  /** The call ran: charge what it cost. Never rejects. */
  settle(measured: Measured): Promise<void>;
  /** The call never ran: give back what was charged. Never rejects; what a failing store cannot give back stays used. */
  refund(): Promise<void>;
  /** What is left now, without the limits in shadow mode. Where the store fails, what was left when last it answered. */
  left(): Promise<readonly LimitState[]>;
}

export interface Limits {
  /** Make room for a call under all these limits, or say which one has none. Never rejects. */
  reserve(
    demands: readonly LimitDemand[],
    who: { readonly grant: string },
    now: Date,
  ): Promise<{ ok: true; reservation: Reservation } | { ok: false; denial: Denial }>;
}

interface Account {
  readonly demand: LimitDemand;
  readonly buckets: WindowBuckets;
  /** Points used in each counted bucket. */
  readonly used: readonly number[];
}

interface Entry {
  readonly key: string;
  readonly points: number;
  readonly ttlSeconds: number;
}

/**
 * Limits whose counters live in a store.
 * @param clock milliseconds since the epoch, for when a call is settled
 */
export function createLimits(store: CounterStore, clock: () => number = Date.now): Limits {
  /** Costs that the store did not take. */
  let debts: Entry[] = [];

  async function writeDebts(counters: Counters): Promise<void> {
    for (let debt = debts[0]; debt !== undefined; debt = debts[0]) {
      await counters.add(debt.key, debt.points, debt.ttlSeconds);
      debts = debts.slice(1);
    }
  }

  return {
    async reserve(demands, { grant }, now) {
      const nowMs = now.getTime();
      try {
        if (!Number.isFinite(nowMs)) throw new RangeError('the time of the call is not a time');
        return await store.exclusively(async (counters) => {
          await writeDebts(counters);
          const accounts = await readAccounts(counters, demands, grant, nowMs);
          const shadowed: Denial[] = [];
          const refusals: Denial[] = [];
          for (const account of accounts) {
            const refusal = refusalOf(account, nowMs);
            if (refusal !== null) (account.demand.shadow ? shadowed : refusals).push(refusal);
          }
          const refused = longestWait(refusals);
          if (refused !== null) return { ok: false, denial: refused };

          const entries = entriesOf(accounts, prepaidPoints);
          const overtaken = await addAll(counters, entries, accounts, nowMs);
          if (overtaken !== null) return { ok: false, denial: overtaken };
          return { ok: true, reservation: reservation(demands, grant, nowMs, entries, shadowed) };
        });
      } catch {
        const rule = demands[0]?.rule ?? '';
        return { ok: false, denial: denial('limiter_unavailable', rule, 'What is left of the limits cannot be told') };
      }
    },
  };

  function reservation(
    demands: readonly LimitDemand[],
    grant: string,
    reservedAtMs: number,
    charged: readonly Entry[],
    shadowed: readonly Denial[],
  ): Reservation {
    let ended = false;
    let lastSeen: readonly LimitState[] = [];
    // A clock that is set back must not charge a window that is over.
    const nowMs = () => Math.max(reservedAtMs, clock());
    return {
      shadowed,
      async settle(measured) {
        if (ended) return;
        ended = true;
        const atMs = nowMs();
        const accounts = demands
          .filter(({ cost }) => cost === null)
          .map((demand) => ({ demand, buckets: bucketsAt(demand, grant, atMs), used: [] }));
        // As debts first, so that a store failing half-way leaves exactly what it did not take.
        debts = [...debts, ...entriesOf(accounts, (demand) => measuredPoints(demand, measured))];
        await store.exclusively(writeDebts).catch(() => undefined);
      },
      async refund() {
        if (ended) return;
        ended = true;
        await store.exclusively((counters) => takeBack(counters, charged)).catch(() => undefined);
      },
      async left() {
        try {
          const atMs = nowMs();
          const enforced = demands.filter(({ shadow }) => !shadow);
          const accounts = await store.exclusively((counters) => readAccounts(counters, enforced, grant, atMs));
          lastSeen = accounts.map((account) => stateOf(account, atMs));
        } catch {
          // Telling what is left is a courtesy; the next reservation fails aloud.
        }
        return lastSeen;
      },
    };
  }
}

/**
 * What is left under each of these limits, in their order; nothing is counted.
 * Rejects where the store fails.
 */
export async function leftUnder(
  store: CounterStore,
  demands: readonly LimitDemand[],
  who: { readonly grant: string },
  now: Date,
): Promise<readonly LimitState[]> {
  const nowMs = now.getTime();
  const accounts = await store.exclusively((counters) => readAccounts(counters, demands, who.grant, nowMs));
  return accounts.map((account) => stateOf(account, nowMs));
}

async function readAccounts(
  counters: Counters,
  demands: readonly LimitDemand[],
  grant: string,
  nowMs: number,
): Promise<Account[]> {
  const placed = demands.map((demand) => ({ demand, buckets: bucketsAt(demand, grant, nowMs) }));
  const keys = [...new Set(placed.flatMap(({ buckets }) => buckets.counted.map(({ key }) => key)))];
  const sums = await counters.read(keys);
  const usedByKey = new Map(keys.map((key, index) => [key, sums[index] ?? Number.NaN]));
  return placed.map(({ demand, buckets }) => ({
    demand,
    buckets,
    used: buckets.counted.map(({ key }) => {
      const used = usedByKey.get(key);
      if (used === undefined || !(used >= 0)) throw new Error(`the counter store gave no number for ${key}`);
      return used;
    }),
  }));
}

/** Why there is no room under a limit, or null where there is. */
function refusalOf({ demand, buckets, used }: Account, nowMs: number): Denial | null {
  const max = pointsOf(demand, demand.max);
  // Of a budget that is charged afterwards, anything at all must be left.
  const wanted = prepaidPoints(demand) ?? 1;
  if (wanted > max) {
    const what = `This call alone would use ${demand.cost ?? 0}, and the limit is ${describeLimit(demand)}`;
    return denial('limit_reached', demand.rule, what, demand.onDeny);
  }
  let missing = sum(used) + wanted - max;
  if (missing <= 0) return null;
  let freedAtMs = nowMs;
  for (const [index, bucket] of buckets.counted.entries()) {
    freedAtMs = bucket.freedAtMs;
    missing -= used[index] ?? 0;
    if (missing <= 0) break;
  }
  const retryAfterMs = Math.max(1, Math.ceil(freedAtMs - nowMs));
  return demand.cost === null
    ? denial('budget_spent', demand.rule, `Spent: ${describeLimit(demand)}`, demand.onDeny, retryAfterMs)
    : denial('limit_reached', demand.rule, `Used up: ${describeLimit(demand)}`, demand.onDeny, retryAfterMs);
}

/** Of several refusals the one that holds longest: who waits for less is refused again. */
function longestWait(refusals: readonly Denial[]): Denial | null {
  const waitOf = (refusal: Denial) => refusal.retryAfterMs ?? Number.POSITIVE_INFINITY;
  return refusals.reduce<Denial | null>(
    (longest, refusal) => (longest === null || waitOf(refusal) > waitOf(longest) ? refusal : longest),
    null,
  );
}

/**
 * Charge all entries, or none. The sums that come back are checked once more: were the store not as exclusive as it
 * promises (a lock that ran out), the call is refused rather than let through above a limit.
 */
async function addAll(
  counters: Counters,
  entries: readonly Entry[],
  accounts: readonly Account[],
  nowMs: number,
): Promise<Denial | null> {
  const added: Entry[] = [];
  try {
    for (const entry of entries) {
      const total = await counters.add(entry.key, entry.points, entry.ttlSeconds);
      added.push(entry);
      for (const account of accounts) {
        if (account.demand.shadow || account.buckets.current.key !== entry.key) continue;
        const others = [...account.used.slice(0, -1), total - entry.points];
        const refusal = refusalOf({ ...account, used: others }, nowMs);
        if (refusal !== null) {
          await takeBack(counters, added);
          return refusal;
        }
      }
    }
    return null;
  } catch (error) {
    await takeBack(counters, added).catch(() => undefined);
    throw error;
  }
}

async function takeBack(counters: Counters, entries: readonly Entry[]): Promise<void> {
  for (const { key, points, ttlSeconds } of entries) await counters.add(key, -points, ttlSeconds);
}

/** What to add to which key: each key once, however many limits share it. */
function entriesOf(accounts: readonly Account[], pointsFor: (demand: LimitDemand) => number | null): Entry[] {
  const byKey = new Map<string, Entry>();
  for (const { demand, buckets } of accounts) {
    const { key } = buckets.current;
    const points = pointsFor(demand) ?? 0;
    if (points > (byKey.get(key)?.points ?? 0)) byKey.set(key, { key, points, ttlSeconds: buckets.ttlSeconds });
  }
  return [...byKey.values()];
}

function prepaidPoints(demand: LimitDemand): number | null {
  return demand.cost === null ? null : pointsOf(demand, demand.cost);
}

function measuredPoints(demand: LimitDemand, measured: Measured): number {
  switch (demand.charge) {
    case 'cpu_seconds':
      return pointsOf(demand, measured.cpuSeconds);
    case 'wall_seconds':
      return pointsOf(demand, measured.wallSeconds);
    case 'output_bytes':
      return pointsOf(demand, measured.outputBytes);
    default:
      return pointsOf(demand, Number.NaN);
  }
}

/**
 * An amount in whole points, rounded up. What is not a number of 0 or more is our own mistake by now, and takes the
 * whole limit: a wrong measurement must not be a free call.
 */
function pointsOf(demand: LimitDemand, amount: number): number {
  const perUnit = pointsPerUnit(demand);
  if (!(amount >= 0)) return demand.max * perUnit;
  if (amount === 0) return 0;
  // A billionth less, so that 1.1 * 1000 = 1100.0000000000002 is not rounded up to 1101.
  const points = Math.max(1, Math.ceil(amount * perUnit * (1 - 1e-9)));
  // A sum of a few of these must stay exact; it is above every limit all the same.
  return Math.min(points, 2 ** 51);
}

function pointsPerUnit({ charge }: LimitDemand): number {
  return charge === 'calls' || charge === 'output_bytes' ? 1 : 1000;
}

function stateOf({ demand, buckets, used }: Account, nowMs: number): LimitState {
  const perUnit = pointsPerUnit(demand);
  const oldest = buckets.counted.find((_, index) => demand.align === 'calendar' || (used[index] ?? 0) > 0);
  return {
    counter: demand.counter,
    scope: demand.scope,
    window: demand.window,
    max: demand.max,
    left: Math.max(0, pointsOf(demand, demand.max) - sum(used)) / perUnit,
    resetsInMs: oldest === undefined ? 0 : Math.max(0, Math.ceil(oldest.freedAtMs - nowMs)),
  };
}

function describeLimit({ counter, window, max, charge, scope, align }: LimitDemand): string {
  const period = align === 'sliding' ? `in any ${window}` : `a ${window}`.replace('a hour', 'an hour');
  const unit = charge === 'calls' && max === 1 ? 'call' : charge.replace('_', ' ');
  return `${max} ${unit} ${period}${scope === 'server' ? ' for everybody together' : ''} (counter ${JSON.stringify(counter)})`;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
