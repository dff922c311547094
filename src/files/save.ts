/** Writing the files of an outcome into a directory of a person's. */
import { lstat, mkdir, open, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { OutcomeFile } from '../outcome.js';
import { nameProblem } from './name.js';
import type { FileStore } from './store.js';

/** What became of one file: where it is now, or why it is not. */
export interface Saved {
  readonly file: OutcomeFile;
  /** Null where it was not written. */
  readonly path: string | null;
  readonly problem: string | null;
}

/** How much of a file is held in memory on its way, bytes. */
const PIECE_BYTES = 2 ** 20;

/**
 * Write `files` below `directory`, which is made where it is not there. Nothing is overwritten, no link below it is followed, and nothing
 * is written outside. Never rejects for a single file: each says what became of it.
 */
export async function saveFiles(
  store: FileStore,
  grant: string,
  files: readonly OutcomeFile[],
  directory: string,
): Promise<Saved[]> {
  await mkdir(directory, { recursive: true });
  const saved: Saved[] = [];
  for (const file of files) {
    try {
      saved.push({ file, path: await save(store, grant, file, directory), problem: null });
    } catch (error) {
      saved.push({ file, path: null, problem: error instanceof Error ? error.message : String(error) });
    }
  }
  return saved;
}

async function save(store: FileStore, grant: string, file: OutcomeFile, directory: string): Promise<string> {
  const problem = nameProblem(file.name);
  if (problem !== null) throw new Error(`its name ${problem}`);
  const parts = file.name.split('/');
  for (let depth = 1; depth < parts.length; depth += 1) await makeReal(join(directory, ...parts.slice(0, depth)));
  const path = join(directory, ...parts);
  // x: O_EXCL, which neither overwrites nor follows a link in the last part (open(2)).
  const out = await open(path, 'wx').catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST')
      throw new Error(`${path} is there already; not overwritten`);
    throw error;
  });
  try {
    for (let from = 0; from < file.bytes; from += PIECE_BYTES) {
      const { content } = await store.read(`${file.uri}?from=${from}`, grant, PIECE_BYTES);
      await out.writeFile(content);
    }
  } catch (error) {
    await unlink(path).catch(() => undefined); // better none than a part of it
    throw error;
  } finally {
    await out.close();
  }
  return path;
}

/** Make a directory, or see that it is one and no link to one. */
async function makeReal(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    if (!(await lstat(path)).isDirectory())
      throw new Error(`${path} is there already and is no directory; not followed`);
  }
}
