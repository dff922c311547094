/**
 * Where a zygote listens and keeps what its sandboxes need: a directory that it makes, locks and takes away itself, and where it sweeps what others left
 * that were killed (sandbox/workspace.py). Here it gets its name.
 */

import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** sockaddr_un holds 108 bytes with the final NUL: unix(7). */
const MAX_SOCKET_PATH_BYTES = 107;

export interface Workspace {
  /** An absolute path, of nothing yet. */
  readonly directory: string;
  /** Where the zygote will listen. */
  readonly socket: string;
}

/** A new name in the system's temporary directory. Throws when a socket in it would have too long a path. */
export function nameWorkspace(): Workspace {
  // The number is for people who look; nothing depends on it.
  const directory = join(tmpdir(), `cordon-${process.pid}-${randomBytes(8).toString('hex')}`);
  const socket = join(directory, 'zygote.sock');
  if (Buffer.byteLength(socket) > MAX_SOCKET_PATH_BYTES) {
    throw new Error(
      `the path of a socket may be ${MAX_SOCKET_PATH_BYTES} bytes long, ${socket} is longer: set TMPDIR to a shorter directory`,
    );
  }
  return { directory, socket };
}
