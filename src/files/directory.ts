/**
 * Where files are kept: a directory of this server's own, mode 0700, flat, with names of ours. Removed at the end. What a killed server
 * left is swept by the next one, one entry at a time, so that no link is ever followed.
 */
import { readlinkSync } from 'node:fs';
import { lstat, readdir, rmdir, unlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dirSync } from 'tmp-promise';

const PREFIX = 'cordon-files-';
/** One of another process namespace can't be asked whether it lives: nobody keeps files for longer than the policy allows. */
const STRANGER_MAX_AGE_MS = 8 * 24 * 60 * 60_000;

/** Make the directory, for this user alone. Throws where it can't be made. */
export function createDirectory(): string {
  // tmp-promise puts the process id and twelve random characters behind the prefix. Its own removal follows no rule of ours, and is not used.
  return dirSync({ mode: 0o700, prefix: `${PREFIX}${processNamespace()}`, tmpdir: tmpdir() }).name;
}

/** Remove a directory of ours with all that is in it. Never rejects. */
export async function removeDirectory(path: string): Promise<void> {
  const names = await readdir(path).catch(() => []);
  for (const name of names) await unlink(join(path, name)).catch(() => undefined);
  await rmdir(path).catch(() => undefined);
}

/** Remove the directories of servers that are gone: ours by owner, their process dead. Never rejects. */
export async function sweep(): Promise<void> {
  const parent = tmpdir();
  const names = await readdir(parent).catch(() => []);
  for (const name of names) {
    const [, namespace, pid] = new RegExp(`^${PREFIX}(\\d+)-(\\d+)-`).exec(name) ?? [];
    if (namespace === undefined || pid === undefined) continue;
    const path = join(parent, name);
    const found = await lstat(path).catch(() => null);
    if (found?.isDirectory() !== true || found.uid !== process.getuid?.()) continue;
    const isDead =
      namespace === processNamespace() ? !isAlive(Number(pid)) : Date.now() - found.mtimeMs > STRANGER_MAX_AGE_MS;
    if (isDead) await removeDirectory(path);
  }
}

/** Containers may share the temporary directory and not the process ids: the number of the namespace tells them apart. */
function processNamespace(): string {
  try {
    return /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '0';
  } catch {
    return '0';
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}
