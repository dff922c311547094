/**
 * The files that programs left, kept for a time: on disk, in a private directory, under names of our own. The program's names are only ever
 * keys of a map. A file is written as it comes, no more than a piece of it in memory.
 *
 * What is kept has an end in time (each run's files together) and in size (of all runs; the oldest runs go first). It belongs to the
 * grant that the call was made under: for any other it is not there.
 */
import { createHash, type Hash } from 'node:crypto';
import { closeSync, constants, openSync, unlinkSync, writeSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { OutcomeFile } from '../outcome.js';
import type { FileSink, FilesLeftOut, LeftFile } from '../sandbox.js';
import { sha256 } from '../sha256.js';
import { createDirectory, removeDirectory, sweep } from './directory.js';
import { mimeType } from './mime.js';
import { fileUri, parseFileUri, type FileAddress } from './uri.js';

/** One run whose files are to be kept. */
interface Keeping {
  readonly runId: string;
  readonly grant: string;
  /** For how long. */
  readonly keptSeconds: number;
  /** How much of all runs together, in units of 2^20 bytes. */
  readonly keptMb: number;
}

/** What became of the files of one run. */
export interface Kept {
  readonly files: readonly OutcomeFile[];
  /** Those that the sandbox brought out and that were not kept. */
  readonly leftOut: FilesLeftOut;
  /** SHA-256 over the names and the SHA-256 of all files; null where there are none. */
  readonly sha256: string | null;
}

/** Takes the files of one run. */
interface Receiving {
  readonly onFile: (file: LeftFile) => FileSink;
  /** All have come: from here on they can be read. */
  finish(): Kept;
}

export interface StoredFile extends OutcomeFile {
  /** Where it stands in the list; opaque, and stays the same. */
  readonly position: string;
}

/** A part of a file. */
export interface Excerpt {
  readonly file: StoredFile;
  /** Where it begins, bytes. */
  readonly from: number;
  readonly content: Buffer;
}

/** There is no such file; one sentence for all reasons there may be, so that nobody learns which. */
export class NoSuchFile extends Error {
  override readonly name = 'NoSuchFile';
}

export interface FileStore {
  receive(keeping: Keeping): Receiving;
  /** Forget the files of a run. */
  drop(runId: string): void;
  /** The files of a grant, the newest run first, each run's by name. @param after a `position`: only those behind it */
  list(grant: string, after?: string): readonly StoredFile[];
  /**
   * Read a file, or the part of it that the address asks for.
   * @param atMostBytes a cap on the part
   * @throws NoSuchFile
   */
  read(uri: string, grant: string, atMostBytes?: number): Promise<Excerpt>;
  /** Called whenever the list of a grant has changed. @returns what ends that */
  onChange(listener: (grant: string) => void): () => void;
  /** Remove everything. Idempotent. */
  close(): Promise<void>;
}

interface Entry extends OutcomeFile {
  readonly path: string;
  readonly sha256: string;
}

interface Run {
  readonly grant: string;
  readonly sequence: number;
  readonly expiresMs: number;
  readonly files: Map<string, Entry>;
  /** On disk, with what a file takes there at least. */
  diskBytes: number;
  ready: boolean;
}

/** A block of the usual file systems: what the smallest file takes. It also bounds how many there can be. */
const BLOCK_BYTES = 4096;
const EXAMPLES_MAX = 10;

/** @param clock milliseconds since the epoch */
export function createFileStore(clock: () => number = Date.now): FileStore {
  /** By run id, oldest first. */
  const runs = new Map<string, Run>();
  const listeners = new Set<(grant: string) => void>();
  let directory: string | null = null;
  let sequence = 0;
  let diskBytes = 0;
  let timer: NodeJS.Timeout | undefined;
  void sweep();

  const tell = (grant: string): void => {
    for (const listener of listeners) listener(grant);
  };
  const remove = (entry: Entry): void => {
    try {
      unlinkSync(entry.path);
    } catch {
      // Somebody else was quicker: it is gone, which is what was wanted.
    }
  };
  const drop = (runId: string): void => {
    const run = runs.get(runId);
    if (run === undefined) return;
    runs.delete(runId);
    diskBytes -= run.diskBytes;
    for (const entry of run.files.values()) remove(entry);
    if (run.ready && run.files.size > 0) tell(run.grant);
  };
  /** Forget what has had its time, and wake up when the next has. */
  const expire = (): void => {
    const nowMs = clock();
    for (const [runId, run] of runs) if (run.ready && run.expiresMs <= nowMs) drop(runId);
    clearTimeout(timer);
    const next = Math.min(...[...runs.values()].filter(({ ready }) => ready).map(({ expiresMs }) => expiresMs));
    if (next !== Infinity) timer = setTimeout(expire, Math.max(0, next - nowMs) + 1).unref();
  };
  /** Make room by letting the oldest runs go. @returns whether there is room now */
  const makeRoom = (wanted: number, capBytes: number, not: Run): boolean => {
    for (const [runId, run] of runs) {
      if (diskBytes + wanted <= capBytes) break;
      if (run !== not && run.ready) drop(runId);
    }
    return diskBytes + wanted <= capBytes;
  };
  const find = (address: FileAddress, grant: string): { run: Run; entry: Entry } | null => {
    expire();
    const run = runs.get(address.runId);
    const entry = run?.ready === true && run.grant === grant ? run.files.get(address.name) : undefined;
    return run === undefined || entry === undefined ? null : { run, entry };
  };

  function receive({ runId, grant, keptSeconds, keptMb }: Keeping): Receiving {
    const run: Run = {
      grant,
      sequence: (sequence += 1),
      expiresMs: clock() + keptSeconds * 1000,
      files: new Map(),
      diskBytes: 0,
      ready: false,
    };
    const examples: { name: string; why: string }[] = [];
    let leftOut = 0;
    const leave = (name: string, why: string): void => {
      leftOut += 1;
      if (examples.length < EXAMPLES_MAX) examples.push({ name: name.slice(0, 100), why });
    };
    const reserve = (bytes: number): void => {
      diskBytes += bytes;
      run.diskBytes += bytes;
    };

    return {
      onFile({ name, bytes }) {
        const wanted = Math.max(1, Math.ceil(bytes / BLOCK_BYTES)) * BLOCK_BYTES;
        if (run.files.has(name) || !makeRoom(wanted, keptMb * 2 ** 20, run)) {
          leave(name, run.files.has(name) ? 'it came twice' : `at most ${keptMb} MB of files are kept, of all runs`);
          return NOWHERE;
        }
        let path: string;
        let descriptor: number;
        try {
          directory ??= createDirectory();
          path = join(directory, String((sequence += 1)));
          descriptor = openSync(path, 'wx', 0o600);
        } catch (error) {
          leave(name, `it could not be kept: ${wordsOf(error)}`);
          return NOWHERE;
        }
        if (!runs.has(runId)) runs.set(runId, run);
        reserve(wanted);
        return writing(path, descriptor, bytes, (kept) => {
          if ('why' in kept) {
            reserve(-wanted);
            leave(name, kept.why);
          } else {
            const type = mimeType(name, kept.beginning);
            run.files.set(name, { name, bytes, mimeType: type, uri: fileUri(runId, name), path, sha256: kept.sha256 });
          }
        });
      },
      finish() {
        run.ready = true;
        if (run.files.size === 0) drop(runId);
        else {
          expire();
          tell(grant);
        }
        const entries = [...run.files.values()];
        const lines = entries.map(({ name, sha256 }) => `${name}\0${sha256}\n`);
        return {
          files: entries.map(outcomeFile),
          leftOut: { count: leftOut, examples },
          sha256: entries.length === 0 ? null : sha256(lines.join('')),
        };
      },
    };
  }

  return {
    receive,
    drop,
    list(grant, after) {
      expire();
      const [runAfter = Infinity, fileAfter = -1] = after?.split('.').map(Number) ?? [];
      return [...runs.values()]
        .filter((run) => run.ready && run.grant === grant && run.sequence <= runAfter)
        .reverse()
        .flatMap((run) =>
          [...run.files.values()]
            .map((entry, index) => ({ ...outcomeFile(entry), position: `${run.sequence}.${index}` }))
            .slice(run.sequence === runAfter ? fileAfter + 1 : 0),
        );
    },
    async read(uri, grant, atMostBytes = Infinity) {
      const address = parseFileUri(uri);
      if ('problem' in address) throw new NoSuchFile(address.problem);
      const found = find(address, grant);
      if (found === null) throw noSuchFile(uri);
      const { entry, run } = found;
      const from = Math.min(address.from ?? 0, entry.bytes);
      const content = Buffer.alloc(Math.min(address.bytes ?? Infinity, atMostBytes, entry.bytes - from));
      try {
        const file = await open(entry.path, constants.O_RDONLY | constants.O_NOFOLLOW);
        try {
          for (let filled = 0; filled < content.length;) {
            const { bytesRead } = await file.read(content, filled, content.length - filled, from + filled);
            if (bytesRead === 0) throw noSuchFile(uri);
            filled += bytesRead;
          }
        } finally {
          await file.close();
        }
      } catch (error) {
        throw error instanceof NoSuchFile ? error : noSuchFile(uri);
      }
      const position = `${run.sequence}.${[...run.files.keys()].indexOf(entry.name)}`;
      return { file: { ...outcomeFile(entry), position }, from, content };
    },
    onChange(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    async close() {
      clearTimeout(timer);
      runs.clear();
      listeners.clear();
      const made = directory;
      directory = null;
      if (made !== null) await removeDirectory(made);
    },
  };
}

/** For a file that is not kept: its content goes nowhere. */
const NOWHERE: FileSink = { write: () => undefined, end: () => undefined };

/** Writes one file as it comes. `done` is called once. */
function writing(
  path: string,
  descriptor: number,
  bytes: number,
  done: (kept: { sha256: string; beginning: Uint8Array } | { why: string }) => void,
): FileSink {
  const hash: Hash = createHash('sha256');
  let beginning: Uint8Array = new Uint8Array();
  let written = 0;
  let failure: string | null = null;
  return {
    write(piece) {
      if (failure !== null) return;
      try {
        for (let at = 0; at < piece.length;) at += writeSync(descriptor, piece, at);
      } catch (error) {
        failure = `it could not be kept: ${wordsOf(error)}`;
        return;
      }
      if (written === 0) beginning = Uint8Array.from(piece); // a copy: the piece is a view of a network buffer
      written += piece.length;
      hash.update(piece);
    },
    end(whole) {
      closeSync(descriptor);
      if (failure === null && (!whole || written !== bytes)) failure = 'it was lost on the way';
      if (failure === null) {
        done({ sha256: hash.digest('hex'), beginning });
        return;
      }
      try {
        unlinkSync(path);
      } catch {
        // It is gone with its directory at the latest.
      }
      done({ why: failure });
    },
  };
}

function outcomeFile({ name, bytes, mimeType: type, uri }: Entry): OutcomeFile {
  return { name, bytes, mimeType: type, uri };
}

function noSuchFile(uri: string): NoSuchFile {
  const shown = JSON.stringify(uri.slice(0, 300));
  return new NoSuchFile(
    `there is no file ${shown}: files are kept for a time and up to a total size, and only for the grant that made them. Run the program again to have it again.`,
  );
}

/** "no space left on device", without paths of this machine. */
function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code } = error as NodeJS.ErrnoException;
  return code === undefined ? error.message : (/^[A-Z0-9]+: ([^,]*)/.exec(error.message)?.[1] ?? code);
}
