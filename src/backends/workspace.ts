/**
 * The server's own temporary directory: mode 0700, one socket and one empty directory in it, named after the process, removed at
 * the end. What a killed server left is swept by the next one, by name and one entry at a time, so that no link is ever followed.
 */

import { lstat, mkdir, readdir, rmdir, unlink } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dir } from 'tmp-promise';

const PREFIX = 'cordon-';
const SOCKET = 'zygote.sock';
const ROOT = 'root';
/** sockaddr_un holds 108 bytes with the final NUL: unix(7). */
const MAX_SOCKET_PATH_BYTES = 107;

/** A place for one zygote. */
export interface Workspace {
  readonly socket: string;
  readonly root: string;
  /** Idempotent. */
  remove(): Promise<void>;
}

/** Make a workspace under the system's temporary directory. Rejects when its path would be too long for a socket. */
export async function createWorkspace(): Promise<Workspace> {
  await sweep(tmpdir());
  const made = await dir({ mode: 0o700, prefix: `${PREFIX}${process.pid}`, tmpdir: tmpdir() });
  const socket = join(made.path, SOCKET);
  const root = join(made.path, ROOT);
  const remove = () => empty(made.path);
  if (Buffer.byteLength(socket) > MAX_SOCKET_PATH_BYTES) {
    await remove();
    throw new Error(
      `the path of a socket may be ${MAX_SOCKET_PATH_BYTES} bytes long, ${socket} is longer: set TMPDIR to a shorter directory`,
    );
  }
  await mkdir(root, { mode: 0o700 });
  return { socket, root, remove };
}

async function empty(path: string): Promise<void> {
  await unlink(join(path, SOCKET)).catch(() => undefined);
  await rmdir(join(path, ROOT)).catch(() => undefined);
  await rmdir(path).catch(() => undefined);
}

/** Remove the workspaces of servers that are gone: ours by owner, their process dead, and no one listening. */
async function sweep(parent: string): Promise<void> {
  const names = await readdir(parent).catch(() => []);
  for (const name of names) {
    const pid = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1];
    if (pid === undefined || isAlive(Number(pid))) continue;
    const path = join(parent, name);
    const found = await lstat(path).catch(() => null);
    if (found?.isDirectory() !== true || found.uid !== process.getuid?.()) continue;
    // Another container may share the directory but not the process ids: whoever still listens is alive.
    if (await isListening(join(path, SOCKET))) continue;
    await empty(path);
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

function isListening(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => {
      resolve(false);
    });
  });
}
