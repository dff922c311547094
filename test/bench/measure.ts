/** Taking times: alternating samples, and what is said of them. All times in milliseconds. */

import { readdirSync, readFileSync } from 'node:fs';

export interface Summary {
  readonly medianMs: number;
  readonly p95Ms: number;
  readonly samples: number;
}

/** Median and 95th percentile (nearest rank). */
function summarize(samplesMs: readonly number[]): Summary {
  const sorted = [...samplesMs].sort((a, b) => a - b);
  const rank = (share: number) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? NaN;
  return { medianMs: rank(0.5), p95Ms: rank(0.95), samples: sorted.length };
}

/** How long it took; work that ends later than what is asked about returns its own time. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  const own = await work();
  return typeof own === 'number' ? own : performance.now() - begin;
}

/** One sample of each, in turn (A B C A B C ...), so that what disturbs the machine disturbs all alike. The first round is not counted. */
export async function alternate<Name extends string>(
  rounds: number,
  contestants: Readonly<Record<Name, () => Promise<unknown>>>,
  pauseMs = 0,
): Promise<Record<Name, Summary>> {
  const names = Object.keys(contestants) as Name[];
  const samples = new Map<Name, number[]>(names.map((name) => [name, []]));
  for (let round = 0; round <= rounds; round += 1) {
    for (const name of names) {
      if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
      const ms = await timed(contestants[name]);
      if (round > 0) samples.get(name)?.push(ms);
    }
  }
  return Object.fromEntries(names.map((name) => [name, summarize(samples.get(name) ?? [])])) as Record<Name, Summary>;
}

/** `total` pieces of work, `callers` at a time. Returns how many a second, and each one's time. */
export async function throughput(
  callers: number,
  total: number,
  work: () => Promise<unknown>,
): Promise<{ perSecond: number; each: Summary }> {
  const samples: number[] = [];
  let begun = 0;
  const begin = performance.now();
  await Promise.all(
    Array.from({ length: callers }, async () => {
      while (begun < total) {
        begun += 1;
        samples.push(await timed(work));
      }
    }),
  );
  return { perSecond: (total / (performance.now() - begin)) * 1000, each: summarize(samples) };
}

const TICK_MS = 10; // USER_HZ is 100 on every Linux this runs on (proc(5), /proc/stat)

/** CPU time that the whole machine has used, kernel threads included: nothing that a call causes is left out. */
export function machineCpuMs(): number {
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = (
    /^cpu +(.*)$/m.exec(readFileSync('/proc/stat', 'utf8'))?.[1] ?? ''
  )
    .split(' ')
    .map(Number);
  return (user + nice + system + irq + softirq) * TICK_MS;
}

/** CPU time of the named processes so far, to the nanosecond (proc(5) knows ticks of 10 ms only; schedstat is in Documentation/scheduler/sched-stats.rst). */
export function processesCpuMs(pids: readonly number[]): number {
  let ns = 0;
  for (const pid of pids) {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      ns += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ', 1)[0]);
    }
  }
  return ns / 1e6;
}

/** Memory of a process, in MB: its own share of what is shared (PSS), and what only it has. */
export function memoryMb(pid: number): { pss: number; own: number; resident: number } {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const kb = (name: string) => Number(new RegExp(`^${name}: +(\\d+)`, 'm').exec(rollup)?.[1] ?? 0);
  return {
    pss: kb('Pss') / 1024,
    own: (kb('Private_Clean') + kb('Private_Dirty')) / 1024,
    resident: kb('Rss') / 1024,
  };
}
