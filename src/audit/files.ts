/**
 * The files of one log: `audit.jsonl`, which is written, and `audit.jsonl.000000001234`, each full one by the number of
 * its last line. A file is renamed once and never again, and names sort in the order of the lines.
 */
import { existsSync, readdirSync, readSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

const DIGITS = 12;
const CHUNK_BYTES = 65_536;
const NEWLINE = 0x0a;
const DAY_MS = 86_400_000;

export interface RotatedFile {
  readonly path: string;
  /** Number of its last line. */
  readonly lastSeq: number;
}

/** Full files that are still here, oldest first. */
export function rotatedFiles(path: string): RotatedFile[] {
  const prefix = `${basename(path)}.`;
  return readdirSync(dirname(path))
    .filter((name) => name.startsWith(prefix) && /^\d{12}$/.test(name.slice(prefix.length)))
    .sort()
    .map((name) => ({ path: join(dirname(path), name), lastSeq: Number(name.slice(prefix.length)) }));
}

/** Put the written file away under the number of its last line. @returns false where a file of that name is there already */
export function rotate(path: string, lastSeq: number): boolean {
  const target = `${path}.${String(lastSeq).padStart(DIGITS, '0')}`;
  if (existsSync(target)) return false;
  renameSync(path, target);
  return true;
}

/**
 * Remove full files that were last written to more than `keepDays` days ago.
 * @returns the number of the last line that was removed; null where none was
 */
export function prune(path: string, keepDays: number, nowMs: number): number | null {
  let last: number | null = null;
  for (const file of rotatedFiles(path)) {
    if (statSync(file.path).mtimeMs >= nowMs - keepDays * DAY_MS) break;
    rmSync(file.path);
    last = file.lastSeq;
  }
  return last;
}

export interface FileLine {
  /** Without the newline. */
  readonly bytes: Uint8Array;
  /** Counted from 1. */
  readonly number: number;
  /** False for a last line without a newline. */
  readonly ended: boolean;
}

/** The lines of an open file between two offsets. */
export function* linesOf(descriptor: number, fromByte = 0, toByte = Number.POSITIVE_INFINITY): Generator<FileLine> {
  let pending: Buffer[] = [];
  let number = 1;
  for (let position = fromByte; position < toByte;) {
    const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, toByte - position));
    const count = readSync(descriptor, chunk, 0, chunk.length, position);
    if (count === 0) break;
    position += count;
    let begin = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1 && end < count; end = chunk.indexOf(NEWLINE, begin)) {
      const bytes = Buffer.concat([...pending, chunk.subarray(begin, end)]);
      pending = [];
      yield { bytes, number, ended: true };
      number += 1;
      begin = end + 1;
    }
    if (begin < count) pending.push(chunk.subarray(begin, count));
  }
  const rest = Buffer.concat(pending);
  if (rest.length > 0) yield { bytes: rest, number, ended: false };
}
