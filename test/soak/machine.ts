/** What could be left of servers on this machine, and what one of them holds. */

import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Counted on the whole machine, but only what is Cordon's, and below `parent` where that can be told. */
export interface Traces {
  readonly processes: number;
  readonly mounts: number;
  readonly cgroups: number;
  readonly directories: number;
}

/** Processes of sandboxes that descend from this one, or from nobody any more. */
export function traces(): Traces {
  const parents = new Map<number, { parent: number; command: string }>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'latin1');
      const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (state === 'Z' || state === 'X') continue;
      const command = readFileSync(`/proc/${name}/cmdline`, 'latin1').replaceAll('\0', ' ');
      parents.set(Number(name), { parent: Number(parent), command });
    } catch {
      // It ended while we looked.
    }
  }
  const isOurs = (pid: number): boolean => {
    for (let at = pid; at > 1; at = parents.get(at)?.parent ?? 0) if (at === process.pid) return true;
    return false;
  };
  const isOrphan = (pid: number): boolean => {
    for (let at = pid; at > 1; at = parents.get(at)?.parent ?? 0) {
      if (!(parents.get(at)?.command ?? '').includes('zygote.py') && at !== pid) return false;
    }
    return true;
  };
  const sandboxes = [...parents].filter(([, { command }]) => command.includes('zygote.py'));
  return {
    processes: sandboxes.filter(([pid]) => isOurs(pid) || isOrphan(pid)).length,
    mounts: readFileSync('/proc/self/mountinfo', 'latin1')
      .split('\n')
      .filter((line) => line.includes('/cordon-')).length,
    cgroups: cgroups('/sys/fs/cgroup', 6),
    directories: readdirSync(tmpdir()).filter((name) => name.startsWith('cordon-')).length,
  };
}

function cgroups(directory: string, depth: number): number {
  if (depth === 0 || !existsSync(directory)) return 0;
  return readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .reduce(
      (sum, { name }) => sum + (name.startsWith('cordon') ? 1 : 0) + cgroups(`${directory}/${name}`, depth - 1),
      0,
    );
}

/** Resident memory in units of 2^20 bytes, and open descriptors, of one process. */
export function holds(pid: number): { residentMb: number; descriptors: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  return {
    residentMb: Math.round(Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0) / 1024),
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
  };
}

/** What a server keeps of the files that programs left (src/files/directory.ts): their number, and units of 2^20 bytes. */
export function heldFiles(temporary: string, pid: number): { files: number; megabytes: number } {
  const sizes = readdirSync(temporary)
    .filter((name) => name.startsWith('cordon-files-') && name.split('-')[3] === String(pid))
    .flatMap((directory) =>
      readdirSync(join(temporary, directory)).map((name) => statSync(join(temporary, directory, name)).size),
    );
  return {
    files: sizes.length,
    megabytes: Math.round((sizes.reduce((sum, bytes) => sum + bytes, 0) / 2 ** 20) * 10) / 10,
  };
}

/** What there is of servers, for people to look at: processes with their command, and everything below their directories. */
export function whatIsThere(temporary: string): string[] {
  const commands = readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const command = readFileSync(`/proc/${name}/cmdline`, 'latin1').replaceAll('\0', ' ');
      return command.includes('zygote.py') ? [`process ${name}: ${command}`] : [];
    } catch {
      return []; // it ended while we looked
    }
  });
  const directories = readdirSync(temporary, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.startsWith('cordon-'),
  );
  return [...commands, ...directories.slice(0, 50)];
}
