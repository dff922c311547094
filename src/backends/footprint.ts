/** What a process and those below it hold in memory now. A look for people: no limit is kept by it. */

import { readFile } from 'node:fs/promises';

/** Resident memory of `pid` and all its descendants, in bytes; pages that they share count in each. */
export async function residentBytes(pid: number): Promise<number> {
  const { default: pidusage } = await import('pidusage');
  // Its types don't say so, but one that has ended meanwhile is null.
  const used: Record<string, { memory: number } | null> = await pidusage(await family(pid)).catch(() => ({}));
  return Object.values(used).reduce((total, one) => total + (one?.memory ?? 0), 0);
}

async function family(pid: number): Promise<number[]> {
  // Not every kernel has this file (CONFIG_PROC_CHILDREN); then it is the process alone.
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  const below = await Promise.all(children.split(' ').filter(Boolean).map(Number).map(family));
  return [pid, ...below.flat()];
}
