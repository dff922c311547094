/**
 * Whether the directories that a policy opens (`sandbox.mounts`) are there, and none of them is one that must stay closed: asked at
 * start and at each edit, because the policy itself can't know. What can change afterwards is checked again by the far side as it
 * mounts (sandbox/confine/mounts.py).
 */
import { realpathSync, statSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { packageDirectory } from './package.js';
import type { Mount } from './sandbox.js';

/** A directory can't be opened, for a reason that the owner can do something about. */
export class MountRefused extends Error {
  override readonly name = 'MountRefused';
}

/** What must not be reachable from a program, besides what this file knows by itself. */
export interface OwnFiles {
  /** Read by programs these would tell of other calls: state, audit log. */
  readonly secret: readonly string[];
  /** Written by programs these would change what holds: the policy. */
  readonly fixed: readonly string[];
}

/** @throws MountRefused naming the first directory that can't be opened, why, and what to do */
export function checkMounts(mounts: readonly Mount[], own: OwnFiles): void {
  for (const [index, { host, mode }] of mounts.entries()) {
    const refuse = (expected: string, what: string): never => {
      throw new MountRefused(`the policy's /sandbox/mounts/${index}/host: expected ${expected}, got ${host}: ${what}`);
    };
    let real: string;
    try {
      real = realpathSync(host);
      if (!statSync(real).isDirectory()) refuse('a directory', 'it is none');
    } catch (error) {
      if (error instanceof MountRefused) throw error;
      const code = (error as NodeJS.ErrnoException).code;
      return refuse('a directory', code === 'ENOENT' ? 'there is none: make it, or correct the path' : String(error));
    }
    if (real !== host) refuse('a path without symbolic links', `write ${real}, if that is meant`);

    const contains = (path: string): boolean => isWithin(realOf(path), host);
    const home = homedir();
    if (contains(home)) refuse('a directory with data', `it holds the home directory ${home}: name one in it`);
    if (contains(tmpdir()))
      refuse('a directory with data', 'it holds the directory for temporary files: name one in it');
    const secret = own.secret.find((path) => contains(path) || isWithin(host, realOf(path)));
    if (secret !== undefined) refuse("a directory without Cordon's own files", `it is or holds ${secret}`);
    if (mode === 'ro') continue;
    const fixed = [...own.fixed, packageDirectory].find(contains);
    if (fixed !== undefined) refuse('for "rw" a directory that decides nothing', `${fixed} is in it: open it "ro"`);
    if (isWithin(host, realOf(packageDirectory))) refuse('for "rw" a directory outside of Cordon', 'it is part of it');
  }
}

/** A path with links resolved as far as it exists. */
function realOf(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    const parent = dirname(path);
    return parent === path ? path : join(realOf(parent), basename(path));
  }
}

function isWithin(path: string, directory: string): boolean {
  return path === directory || path.startsWith(`${directory}/`);
}
