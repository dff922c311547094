/**
 * The audit log: one JSON line a call, denied ones too, never the code itself; and a line for what else an owner must be
 * able to find later (an edit of the policy that was refused).
 *
 * Lines are chained by hash (audit/chain.ts) and written by one server at a time (audit/head.ts), so that
 * `cordon audit verify` finds what was changed, removed, inserted or put elsewhere. Who can write all files of the log can
 * write a new one that verifies: keep the last hash elsewhere, if that is to be found too.
 *
 * Fails closed: `openAudit` rejects when the file can't be written, so that nothing starts, and `ready` rejects before a
 * call spawns anything. A line that could not be written is kept and written before anything else runs again, so a
 * disk that was full for a while leaves no hole. The file is opened anew for each line: one that was moved away or
 * deleted is made again, and no line goes to a file that is no longer there. Lines are in the kernel's hands when `write`
 * resolves: killing the server loses none, a power cut may lose or tear the last.
 *
 * A file that would grow over CORDON_AUDIT_MAX_MB is put away under the number of its last line, and removed
 * CORDON_AUDIT_KEEP_DAYS after that.
 */
import { closeSync, constants, fstatSync, ftruncateSync, mkdirSync, openSync, realpathSync, writeSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { chain, readChained } from './audit/chain.js';
import { linesOf, prune, rotate } from './audit/files.js';
import { openHead, type Head, type HeadStore } from './audit/head.js';
import type { Status, Tier, Usage } from './sandbox.js';
import { sha256 } from './sha256.js';
import { stateDirectory } from './state/choice.js';
import { StateError } from './state/database.js';

/** Files, without their names and contents. */
interface FilesOnRecord {
  readonly count: number;
  readonly bytes: number;
  /** Of one line a file, in order: its name, a NUL, the SHA-256 of its content in hexadecimal, a newline. */
  readonly sha256: string;
}

/** What is said of a call. Strings that came from outside may be cut, `time` is ISO 8601 in UTC. */
export interface AuditRecord {
  readonly kind: 'call';
  readonly time: string;
  readonly runId: string;
  readonly grant: string;
  readonly client: { readonly name: string; readonly version: string };
  readonly tool: string;
  /** `refused`: our own fault came before any decision. `ask`: the call ended before anybody had answered. */
  readonly decision: {
    readonly verdict: 'allow' | 'deny' | 'ask' | 'refused';
    /** JSON pointer into the policy. */
    readonly rule: string | null;
    readonly code: string | null;
  };
  /** The question that was put to a person, and who answered it how; null where none was. */
  readonly approval: {
    readonly id: string;
    /** null: nobody has. */
    readonly via: 'form' | 'cli' | 'terminal' | 'remembered' | null;
    readonly by: string | null;
  } | null;
  /** What rules in shadow mode would have said, had they been enforced. */
  readonly shadowed: readonly { readonly rule: string; readonly code: string }[];
  readonly policyHash: string;
  readonly codeSha256: string | null;
  readonly codeBytes: number | null;
  /** What was put into the working directory; null: nothing, or it never came to that. */
  readonly filesIn: FilesOnRecord | null;
  /** What the program left there and can be fetched. */
  readonly filesOut: FilesOnRecord | null;
  readonly status: Status;
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly usage: (Usage & { readonly outputBytes: number }) | null;
  readonly tier: Tier | null;
  /** The session that the call was about; null where it was about none. */
  readonly session: {
    /** The first 12 hexadecimal digits of the SHA-256 of its handle: who has the handle can go on with the session. */
    readonly digest: string;
    /** Where it stood afterwards; null where the call did not get that far. */
    readonly step: number | null;
    readonly undone: boolean | null;
    /** The digest of the session that was forked from it. */
    readonly forkedTo: string | null;
  } | null;
}

/** What is on record besides calls. */
export interface AuditNote {
  /** An edit of the policy that is not valid; the old one holds. */
  readonly kind: 'policy_refused';
  /** The file. */
  readonly source: string;
  /** Of the policy that still holds. */
  readonly policyHash: string;
  /** What is wrong with it, a sentence each. */
  readonly problems: readonly string[];
}

export interface Audit {
  /** Where the lines go, or null where the owner wants none. */
  readonly path: string | null;
  /** Rejects with `AuditError` unless a line could be written now and none is owed. Called before anything is spawned. */
  ready(): Promise<void>;
  /** Do ahead of the first line what is done but once, and takes as long as a whole call: SQLite syncs its log when it begins one. Never rejects. */
  prime(): Promise<void>;
  /** Write a call's line. Rejects with `AuditError` when it can't be; the line is then owed. */
  write(record: AuditRecord): Promise<void>;
  /** Write another line. Never rejects: one that can't be written is owed, and `ready` says so. */
  note(note: AuditNote): Promise<void>;
  /** Let go of the files. */
  close(): Promise<void>;
}

/** Lines kept while the file can't be written. Each belongs to a refused call, so more say nothing new. */
const OWED_LINES_MAX = 1000;
const TEXT_MAX_CHARACTERS = 200;

const DEFAULT_MAX_MB = 64;
const DEFAULT_KEEP_DAYS = 90;

/**
 * Open the audit log.
 * @param choice a file, `off`, or undefined for `audit.jsonl` in Cordon's state directory
 * @param env `CORDON_AUDIT_MAX_MB`: the size a file is put away at, in units of 2^20 bytes (64); `CORDON_AUDIT_KEEP_DAYS`:
 *   how long files that were put away are kept (90; 0: for ever)
 * @throws AuditError when the file can't be appended to, or the environment says what can't be understood
 */
export async function openAudit(choice: string | undefined, env: NodeJS.ProcessEnv): Promise<Audit> {
  if (choice === 'off')
    return { path: null, ready: nothing, prime: nothing, write: nothing, note: nothing, close: nothing };
  const path = auditPath(choice, env);
  const maxBytes = numberFrom(env, 'CORDON_AUDIT_MAX_MB', DEFAULT_MAX_MB, 0.001) * 2 ** 20;
  const keepDays = numberFrom(env, 'CORDON_AUDIT_KEEP_DAYS', DEFAULT_KEEP_DAYS, 0);
  const file = realPath(path);
  const owed: object[] = [];

  /** Append the lines that are owed; with none, find out whether one could be. */
  async function flush(store: HeadStore): Promise<void> {
    if (owed.length === 0) {
      closeSync(openLog(file));
      await store.usable();
      return;
    }
    await store.exclusively((head, save) => {
      let descriptor = openLog(file);
      try {
        let now = catchUp(descriptor, head);
        for (let said = owed[0]; said !== undefined; said = owed[0]) {
          const { line, link } = chain(now.last, said);
          const bytes = Buffer.from(`${line}\n`);
          if (now.bytes > 0 && now.bytes + bytes.length > maxBytes && rotate(file, now.last.seq)) {
            closeSync(descriptor);
            descriptor = openLog(file);
            now = { ...withoutOld(now), bytes: 0, inode: fstatSync(descriptor).ino };
          }
          appendWhole(descriptor, bytes, now.bytes);
          // From here on it is on record, whatever becomes of the transaction: catching up finds it.
          owed.shift();
          now = { ...now, last: link, bytes: now.bytes + bytes.length };
        }
        save(now);
      } finally {
        closeSync(descriptor);
      }
    });
  }

  function withoutOld(head: Head): Head {
    const last = keepDays === 0 ? null : prune(file, keepDays, Date.now());
    return last === null ? head : { ...head, firstSeq: Math.max(head.firstSeq, last + 1) };
  }

  async function failingAloud<T>(work: () => T | Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      const what = error instanceof StateError ? `the database that chains its lines can't be had: ${why}` : `${why}.`;
      throw new AuditError(
        `the audit log ${path} can't be written: ${what} Make it writable, choose another with --audit FILE, ` +
          'or do without with --audit off.',
        { cause: error },
      );
    }
  }

  // Before anything is made beside it.
  await failingAloud(() => {
    closeSync(openLog(file));
  });
  const store = openHead(file);
  await failingAloud(() =>
    store.exclusively((head, save) => {
      const kept = withoutOld(head);
      if (kept !== head) save(kept);
    }),
  );

  async function write(said: AuditRecord | AuditNote): Promise<void> {
    const line = cut({ time: new Date().toISOString(), ...said }) as object;
    owed.push(line);
    try {
      await failingAloud(() => flush(store));
    } catch (error) {
      if (owed.length > OWED_LINES_MAX) owed.splice(owed.indexOf(line), 1);
      throw error;
    }
  }

  return {
    path,
    ready: () => failingAloud(() => flush(store)),
    prime: () =>
      store
        .exclusively((head, save) => {
          save(head);
        })
        .catch(() => undefined), // `ready` says so
    write,
    note: (said) => write(said).catch(() => undefined),
    close: () => store.close(),
  };
}

export class AuditError extends Error {
  override readonly name = 'AuditError';
}

/** Where the log is: what was chosen, else `audit.jsonl` in Cordon's state directory. */
export function auditPath(choice: string | undefined, env: NodeJS.ProcessEnv): string {
  return choice === undefined ? join(stateDirectory(env), 'audit.jsonl') : resolve(choice);
}

/** By whatever name a log is called, it has one chain. */
function realPath(path: string): string {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  } catch {
    // Opening the log says what is wrong.
    return path;
  }
  try {
    return realpathSync(path);
  } catch {
    return join(realpathSync(dirname(path)), basename(path));
  }
}

function numberFrom(env: NodeJS.ProcessEnv, name: string, preset: number, least: number): number {
  const text = env[name];
  if (text === undefined || text === '') return preset;
  const number = Number(text);
  if (text.trim() !== '' && Number.isFinite(number) && number >= least) return number;
  throw new AuditError(`$${name}: expected a number of at least ${least}, got ${JSON.stringify(text.slice(0, 80))}`);
}

/** One descriptor for one append: O_APPEND, so that what others write meanwhile is never written over. */
function openLog(path: string): number {
  const { O_APPEND, O_CREAT, O_RDWR, O_NONBLOCK } = constants;
  // O_NONBLOCK: opening a named pipe that nobody reads would otherwise wait for ever.
  const open = (): number => openSync(path, O_APPEND | O_CREAT | O_RDWR | O_NONBLOCK, 0o600);
  let descriptor: number;
  try {
    descriptor = open();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    descriptor = open();
  }
  if (!fstatSync(descriptor).isFile()) {
    closeSync(descriptor);
    throw new Error('it is not a regular file');
  }
  return descriptor;
}

/**
 * Where the chain stands in the file as it is found. Usually just as it was left; else the file was moved away, a server
 * died between its line and its note of it, or somebody else has written to it.
 */
function catchUp(descriptor: number, head: Head): Head {
  const { size, ino } = fstatSync(descriptor);
  if (size === head.bytes && ino === head.inode) return head;
  const grown = ino === head.inode && size > head.bytes;
  let { last } = head;
  /** What follows the last newline, and whether it is a whole line that lacks only that. */
  let rest: { readonly bytes: Uint8Array; readonly whole: boolean } | null = null;
  for (const line of linesOf(descriptor, grown ? head.bytes : 0, size)) {
    const read = readChained(line.bytes);
    // With no head at all, what the file says of itself is all there is to go by.
    const adopted =
      read.intact && ((read.seq === last.seq + 1 && read.prev === last.hash) || (head.last.seq === 0 && line.ended));
    if (adopted) last = { seq: read.seq, hash: read.hash };
    if (!line.ended) rest = { bytes: line.bytes, whole: read.intact && read.hash === last.hash };
  }
  let bytes = size;
  if (rest !== null) {
    // A line of its own is what keeps the next one readable; what it says is how `verify` knows the torn one as that.
    const time = new Date().toISOString();
    const note = chain(last, { time, kind: 'torn_line', bytes: rest.bytes.length, sha256: sha256(rest.bytes) });
    const repair = Buffer.from(rest.whole ? '\n' : `\n${note.line}\n`);
    appendWhole(descriptor, repair, size);
    if (!rest.whole) last = note.link;
    bytes += repair.length;
  }
  return { ...head, last, bytes, inode: ino };
}

/** Write all of it, or leave the file as it was. */
function appendWhole(descriptor: number, bytes: Uint8Array, sizeBefore: number): void {
  let written = 0;
  try {
    written = writeSync(descriptor, bytes);
    if (written < bytes.length) throw new Error(`only ${written} of ${bytes.length} bytes were written: disk full?`);
  } catch (error) {
    if (written > 0) ftruncateSync(descriptor, sizeBefore);
    throw error;
  }
}

/** Texts that came from outside, short: nobody fills the log with a name. */
function cut(value: unknown): unknown {
  if (typeof value === 'string' && value.length > TEXT_MAX_CHARACTERS) return `${value.slice(0, TEXT_MAX_CHARACTERS)}…`;
  if (Array.isArray(value)) return value.map(cut);
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, inside]) => [key, cut(inside)]));
  }
  return value;
}

function nothing(): Promise<void> {
  // The owner wants no log.
  return Promise.resolve();
}
