/**
 * Limits, reserved all together or not at all, before a call runs. What is known beforehand (a call, an argument) is
 * charged at once; what only the run tells is charged when it is settled, and until then a call is let in while anything
 * is left of that budget.
 *
 * A server that is killed leaves what it had charged beforehand charged. For what it never came to measure there is a
 * hold in a store that lasts: as long as the server is there it puts the hold off; LEASE_MS after it was last heard of,
 * whoever comes next charges the most that the call could have cost, in the window it was let in. So no death makes a
 * call free, and nothing is lost for longer than a window. A server that was only asleep takes that back when it settles.
 *
 * Counters hold whole points, a thousandth of what is counted where that can be a fraction; every cost is rounded up, so
 * that none is free. Where the store fails, calls are denied; a cost that could not be written down is kept and written
 * with the next call, before it is let in.
 */
import { randomUUID } from 'node:crypto';
import { denial, type Denial } from '../policy/denial.js';
import type { LimitDemand } from '../policy/decide.js';
import { createTurns } from '../state/turns.js';
import type { Changes, Charge, CounterStore, Hold } from './store.js';
import { bucketsAt, type WindowBuckets } from './windows.js';

/** A server that was not heard of for so long is dead. */
const LEASE_MS = 60_000;

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
  /** The call never ran: give back what was charged. Never rejects. */
  refund(): Promise<void>;
  /** What is left now, without the limits in shadow mode. Where the store fails, what was left when last it answered. */
  left(): Promise<readonly LimitState[]>;
}

export interface Limits {
  /**
   * Make room for a call under all these limits, or say which one has none. Never rejects.
   * @param atMost what the call can cost, to be charged should this server be killed; left out: all that there is
   */
  reserve(
    demands: readonly LimitDemand[],
    who: { readonly grant: string },
    now: Date,
    atMost?: Measured,
  ): Promise<{ ok: true; reservation: Reservation } | { ok: false; denial: Denial }>;
}

/** Told that the store fails, and that it answers again (null): for who runs the server, not for who calls. */
export type OnStore = (failure: Error | null) => void;

/**
 * Limits whose counters live in a store.
 * @param clock milliseconds since the epoch, for when a call is settled
 * @param onStore called when the store fails in another way than before, and when it works again
 * @param leaseMs see LEASE_MS
 */
export function createLimits(
  store: CounterStore,
  clock: () => number = Date.now,
  { onStore = () => undefined, leaseMs = LEASE_MS }: { readonly onStore?: OnStore; readonly leaseMs?: number } = {},
): Limits {
  const inTurn = createTurns();
  /** Changes that the store did not take. Looked at and written in turn only, so that none is made twice. */
  let debts: readonly Changes[] = [];
  let failure: string | null = null;

  /** As the store's `transact`, with all debts written in the same transaction, or none. */
  function transact<T>(
    nowMs: number,
    keys: readonly string[],
    decide: (sums: readonly number[]) => { readonly result: T; readonly changes: Changes },
  ): Promise<T> {
    return inTurn(async () => {
      const owed = debts;
      try {
        const result = await store.transact(nowMs, keys, (sums) => {
          const added = new Map<string, number>();
          for (const { key, points } of owed.flatMap(({ add = [] }) => add)) {
            added.set(key, (added.get(key) ?? 0) + points);
          }
          const verdict = decide(keys.map((key, index) => Math.max(0, sumAt(sums, index) + (added.get(key) ?? 0))));
          return { result: verdict.result, changes: joined(owed, verdict.changes) };
        });
        debts = debts.filter((debt) => !owed.includes(debt));
        if (failure !== null) onStore(null);
        failure = null;
        return result;
      } catch (error) {
        const now = error instanceof Error ? error : new Error(String(error));
        if (now.message !== failure) onStore(now);
        failure = now.message;
        throw error;
      }
    });
  }

  /** Make changes now, or before the next call is let in. */
  async function write(nowMs: number, changes: Changes): Promise<void> {
    debts = [...debts, changes];
    await transact(nowMs, [], () => ({ result: undefined, changes: {} })).catch(() => undefined);
  }

  return {
    async reserve(demands, { grant }, now, atMost) {
      const nowMs = now.getTime();
      try {
        if (!Number.isFinite(nowMs)) throw new RangeError('the time of the call is not a time');
        // What is not limited does not depend on the store.
        if (demands.length === 0 && debts.length === 0) {
          return { ok: true, reservation: reservation([], grant, nowMs, [], null, []) };
        }
        const { placed, keys } = place(demands, grant, nowMs);
        const held = store.lasting
          ? entriesOf(placed, (demand) => (demand.cost === null ? measuredPoints(demand, atMost ?? UNKNOWN) : null))
          : [];
        const hold = held.length === 0 ? null : { id: randomUUID(), charges: held, untilMs: nowMs + leaseMs };
        const charged = entriesOf(placed, prepaidPoints);
        const { refused, shadowed } = await transact<Judged>(nowMs, keys, (sums) => {
          const judged = judge(accountsOf(placed, keys, sums), nowMs);
          if (judged.refused !== null) return { result: judged, changes: {} };
          return { result: judged, changes: { add: charged, ...(hold === null ? {} : { hold }) } };
        });
        if (refused !== null) return { ok: false, denial: refused };
        return { ok: true, reservation: reservation(demands, grant, nowMs, charged, hold, shadowed) };
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
    charged: readonly Charge[],
    hold: Hold | null,
    shadowed: readonly Denial[],
  ): Reservation {
    let ended = false;
    let lastSeen: readonly LimitState[] = [];
    // A clock that is set back must not charge a window that is over.
    const nowMs = () => Math.max(reservedAtMs, clock());
    const release = hold === null ? [] : [hold.id];

    let renewal: NodeJS.Timeout | null = null;
    function renewLater(): void {
      if (hold === null || ended) return;
      renewal = setTimeout(() => {
        const changes = { hold: { ...hold, untilMs: nowMs() + leaseMs } };
        transact(nowMs(), [], () => ({ result: undefined, changes: ended ? {} : changes }))
          .catch(() => undefined)
          .finally(renewLater);
      }, leaseMs / 3).unref();
    }
    renewLater();

    async function end(changes: () => Changes): Promise<void> {
      if (ended) return;
      ended = true;
      if (renewal !== null) clearTimeout(renewal);
      const last = changes();
      if ((last.add ?? []).length > 0 || (last.release ?? []).length > 0) await write(nowMs(), last);
    }

    return {
      shadowed,
      settle: (measured) =>
        end(() => {
          const { placed } = place(demands, grant, nowMs());
          const cost = (demand: LimitDemand) => (demand.cost === null ? measuredPoints(demand, measured) : null);
          return { release, add: entriesOf(placed, cost) };
        }),
      refund: () => end(() => ({ release, add: charged.map((entry) => ({ ...entry, points: -entry.points })) })),
      async left() {
        const enforced = demands.filter(({ shadow }) => !shadow);
        if (enforced.length === 0) return [];
        try {
          const atMs = nowMs();
          const { placed, keys } = place(enforced, grant, atMs);
          const sums = await transact(atMs, keys, (result) => ({ result, changes: {} }));
          lastSeen = accountsOf(placed, keys, sums).map((account) => stateOf(account, atMs));
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
  const { placed, keys } = place(demands, who.grant, nowMs);
  const sums = await store.transact(nowMs, keys, (result) => ({ result, changes: {} }));
  return accountsOf(placed, keys, sums).map((account) => stateOf(account, nowMs));
}

interface Placed {
  readonly demand: LimitDemand;
  readonly buckets: WindowBuckets;
}

/** A limit with what has been used of it. */
interface Account extends Placed {
  /** Points used in each counted bucket. */
  readonly used: readonly number[];
}

/** Nothing that could be measured: takes whole limits, see `pointsOf`. */
const UNKNOWN: Measured = { cpuSeconds: Number.NaN, wallSeconds: Number.NaN, outputBytes: Number.NaN };

/** Limits at a moment, and all keys that count for them. */
function place(demands: readonly LimitDemand[], grant: string, nowMs: number): { placed: Placed[]; keys: string[] } {
  const placed = demands.map((demand) => ({ demand, buckets: bucketsAt(demand, grant, nowMs) }));
  return { placed, keys: [...new Set(placed.flatMap(({ buckets }) => buckets.counted.map(({ key }) => key)))] };
}

function accountsOf(placed: readonly Placed[], keys: readonly string[], sums: readonly number[]): Account[] {
  const usedByKey = new Map(keys.map((key, index) => [key, sumAt(sums, index)]));
  return placed.map(({ demand, buckets }) => ({
    demand,
    buckets,
    used: buckets.counted.map(({ key }) => usedByKey.get(key) ?? 0),
  }));
}

function sumAt(sums: readonly number[], index: number): number {
  const sum = sums[index];
  if (sum === undefined || !(sum >= 0)) throw new Error('the counter store gave no number where one was expected');
  return sum;
}

function joined(changes: readonly Changes[], last: Changes): Changes {
  const release = [...changes, last].flatMap((one) => one.release ?? []);
  return { ...last, release, add: [...changes, last].flatMap((one) => one.add ?? []) };
}

interface Judged {
  /** Of all refusals the one that holds longest; null where there is room. */
  readonly refused: Denial | null;
  /** Those of limits in shadow mode. */
  readonly shadowed: readonly Denial[];
}

function judge(accounts: readonly Account[], nowMs: number): Judged {
  const shadowed: Denial[] = [];
  const refusals: Denial[] = [];
  for (const account of accounts) {
    const refusal = refusalOf(account, nowMs);
    if (refusal !== null) (account.demand.shadow ? shadowed : refusals).push(refusal);
  }
  return { refused: longestWait(refusals), shadowed };
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

/** What to add to which key: each key once, however many limits share it. */
function entriesOf(placed: readonly Placed[], pointsFor: (demand: LimitDemand) => number | null): Charge[] {
  const byKey = new Map<string, Charge>();
  for (const { demand, buckets } of placed) {
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
