/**
 * The embedded state: one SQLite file that all servers of a user share.
 *
 * Theory of operation. The file is in WAL mode with synchronous=NORMAL: a committed transaction is in the kernel's hands,
 * so killing a process loses nothing; a power cut may lose the last transactions, but never tears one or the file. Every
 * piece of work is one IMMEDIATE transaction, so what it reads is still so when it writes. Waiting for another process's
 * turn does not block the event loop for longer than BUSY_BLOCKING_MS at a time.
 *
 * Nothing is ever overwritten. A file that is missing is created when a process first wants it, complete under another
 * name and then linked into place; any file that is there and is not a sound database of ours (empty, torn, another
 * program's, a newer version's) is refused, and stays as it is. A file that disappears while it is in use is refused too,
 * not created anew: counters that vanish must not be a full budget. Each transaction looks whether the file is still the
 * one that was opened, so one that comes back is used again.
 *
 * libsql (better-sqlite3's interface over prebuilt binaries) is loaded on first use: it takes longer than all the rest.
 * Using a closed handle of it aborts the process, so no handle outlives its connection's closing here.
 */
import { randomUUID } from 'node:crypto';
import {
  closeSync,
  existsSync,
  linkSync,
  mkdirSync,
  openSync,
  readSync,
  statSync,
  unlinkSync,
  type BigIntStats,
} from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type Libsql from 'libsql';
import { createTurns } from './turns.js';

export type SqlValue = string | number | bigint | null | Uint8Array;
export type Row = Record<string, unknown>;

/** SQL inside a transaction; statements are prepared once per connection. Only to be used until `work` returns. */
export interface Sql {
  get(sql: string, ...values: readonly SqlValue[]): Row | undefined;
  all(sql: string, ...values: readonly SqlValue[]): Row[];
  /** @returns how many rows it changed */
  run(sql: string, ...values: readonly SqlValue[]): number;
}

export interface Database {
  /** Absolute, or MEMORY. */
  readonly path: string;
  /**
   * Have a table of one's own. Each owner names its tables (and indexes) once, before the first transaction.
   * @param sql `CREATE TABLE IF NOT EXISTS …`, run whenever the file is opened; a change of an existing table's columns
   *   needs a new SCHEMA_VERSION and a migration here
   */
  table(sql: string): void;
  /**
   * One IMMEDIATE transaction, after those asked for before in this process: all of it happens, or nothing, and nobody
   * else's work in between. It is committed when this resolves.
   * @param work synchronous; what it throws rolls back and is passed on
   * @throws StateError where the state can't be had; nothing was changed then
   */
  transaction<T>(work: (sql: Sql) => T): Promise<T>;
  /**
   * The same, for work whose result does not depend on what is stored: it resolves when `work` has returned, and `afterwards` and the commit follow
   * when that has been acted upon. If they fail, nothing was changed, and the next transaction is told.
   */
  transactionAhead<T>(work: (sql: Sql) => T, afterwards: (sql: Sql) => void): Promise<T>;
  /** Let go of the file, after the transactions under way. It is opened again if it is wanted again. */
  close(): Promise<void>;
}

/** The state can't be used now. The message says which file, why, and what would help. */
export class StateError extends Error {
  override readonly name = 'StateError';
}

/** The path of a database that is in this process's memory only. */
export const MEMORY = ':memory:';

/** `PRAGMA application_id` of our files: "Crdn". */
const APPLICATION_ID = 0x4372646e;
/** `PRAGMA user_version`: the shape of all tables together. */
const SCHEMA_VERSION = 1;
/** SQLite itself waits for a lock so long, and holds up everything else in this process. */
const BUSY_BLOCKING_MS = 20;
/** Then we wait, and others go on; after so long whoever holds the lock is taken to be stuck. */
const BUSY_MAX_MS = 5_000;
const HEADER_BYTES = 100;

interface Connection {
  readonly handle: Libsql.Database;
  readonly statements: Map<string, Libsql.Statement>;
  /** The file as it was when last looked at; null in memory. */
  file: BigIntStats | null;
}

/**
 * Connections to files that were replaced or damaged under them. Closing one would let SQLite tidy up (copy its log into
 * the file, delete `-wal` by name) at a path that is no longer its own, so they are kept as they are.
 */
const abandoned: Connection[] = [];

/**
 * A database at a path. Nothing is opened, created or loaded before the first transaction.
 * @param path absolute, or MEMORY
 */
export function openDatabase(path: string): Database {
  const inTurn = createTurns();
  const tables: string[] = [];
  let connection: Connection | null = null;
  /** Whether this process has had the file: from then on one that is missing was taken away. */
  let seen = false;

  function abandon(): void {
    if (connection !== null) abandoned.push(connection);
    connection = null;
  }

  async function connect(): Promise<Connection> {
    const was = connection?.file;
    if (was != null) {
      const file = look(path);
      const same = file !== null && file.ino === was.ino && file.dev === was.dev && file.size >= was.size;
      if (!same) abandon();
      else if (connection !== null) connection.file = file;
    }
    connection ??= await connectTo(path, tables, seen);
    seen = true;
    return connection;
  }

  /** What a transaction died of after it had resolved. */
  let untold: { readonly error: unknown } | null = null;

  async function transact<T>(work: (sql: Sql) => T, beforeCommit?: (result: T, sql: Sql) => Promise<void>): Promise<T> {
    if (untold !== null) {
      const { error } = untold;
      untold = null;
      throw error;
    }
    try {
      const { handle, statements } = await connect();
      await retryWhileBusy(() => handle.exec('BEGIN IMMEDIATE'));
      try {
        const sql = sqlOf(handle, statements);
        const result = work(sql);
        if (result instanceof Promise) throw new TypeError('the work of a transaction must be synchronous');
        await beforeCommit?.(result, sql);
        handle.exec('COMMIT');
        return result;
      } catch (error) {
        rollBack(handle);
        throw error;
      }
    } catch (error) {
      const code = sqliteCode(error);
      if (code === null) throw error;
      // What is busy or full may be better next time as it is; after anything else the file is looked at afresh.
      if (!/^SQLITE_(BUSY|FULL|CONSTRAINT|ERROR)/.test(code)) abandon();
      throw stateError(path, error);
    }
  }

  return {
    path,
    table(sql) {
      if (connection !== null) throw new Error('a table must be named before the first transaction');
      if (!tables.includes(sql)) tables.push(sql);
    },
    transaction: (work) => inTurn(() => transact(work)),
    transactionAhead<T>(work: (sql: Sql) => T, afterwards: (sql: Sql) => void) {
      let answered = false;
      let answer: (result: T) => void;
      const ahead = new Promise<T>((resolve) => (answer = resolve));
      const done = inTurn(() =>
        transact(work, async (result, sql) => {
          answered = true;
          answer(result);
          await new Promise((next) => setImmediate(next));
          afterwards(sql);
        }),
      );
      done.catch((error: unknown) => {
        if (answered) untold = { error };
      });
      return Promise.race([ahead, done]);
    },
    close: () =>
      inTurn(() => {
        if (connection === null) return Promise.resolve();
        const { handle, statements, file } = connection;
        connection = null;
        // libsql closes the file some time after the last statement is forgotten; what was logged is put into it now.
        if (file !== null) checkpoint(handle, path, file);
        statements.clear();
        handle.close();
        return Promise.resolve();
      }),
  };
}

/** Open a file that is there, or create it where it never was. @throws StateError or libsql's own error */
async function connectTo(path: string, tables: readonly string[], seen: boolean): Promise<Connection> {
  const { default: Constructor } = await load(path);
  if (path !== MEMORY) {
    if (look(path) === null) {
      if (seen) {
        throw new StateError(
          `the state ${path} is gone. Put it back; or, to begin with empty counters, start the server again.`,
        );
      }
      create(Constructor, path);
    }
    checkFile(path);
  }
  const handle = new Constructor(path, { timeout: BUSY_BLOCKING_MS });
  try {
    if (path !== MEMORY)
      await retryWhileBusy(() => {
        checkContents(handle, path);
      });
    handle.exec('PRAGMA synchronous = NORMAL');
    if (tables.length > 0) await retryWhileBusy(() => handle.exec(`BEGIN IMMEDIATE; ${tables.join(';\n')}; COMMIT`));
  } catch (error) {
    rollBack(handle);
    handle.close();
    throw error;
  }
  return { handle, statements: new Map(), file: look(path) };
}

async function load(path: string): Promise<{ default: typeof Libsql }> {
  try {
    return await import('libsql');
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new StateError(
      `the state ${path} can't be opened: there is no SQLite for this platform (${why}). ` +
        'Install cordon again on this machine, or choose --state memory.',
      { cause },
    );
  }
}

/** Put an empty database there, complete from its first moment, unless somebody else was faster. */
function create(Constructor: typeof Libsql, path: string): void {
  if (existsSync(`${path}-wal`)) {
    throw new StateError(
      `the state ${path} is gone, and its log ${path}-wal is still there. Put the file back, or remove both.`,
    );
  }
  const draft = `${path}.${randomUUID()}.new`;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    closeSync(openSync(draft, 'wx', 0o600));
    const handle = new Constructor(draft);
    try {
      handle.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${SCHEMA_VERSION}`);
      handle.exec('PRAGMA journal_mode = WAL');
    } finally {
      handle.close();
    }
    linkSync(draft, path);
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw stateError(path, error);
  } finally {
    for (const name of [draft, `${draft}-wal`, `${draft}-shm`]) if (existsSync(name)) unlinkSync(name);
  }
}

/**
 * What can be said of a file before SQLite touches it, which would take an empty file for its own, and tidy up after
 * another program. The places in the header are those of https://www.sqlite.org/fileformat2.html#the_database_header.
 */
function checkFile(path: string): void {
  const file = look(path);
  if (file === null) throw new StateError(`the state ${path} is gone: put it back`);
  if (!file.isFile()) throw new StateError(`the state ${path} is not a regular file: choose another with --state FILE`);
  if (process.platform !== 'win32' && (file.mode & 0o022n) !== 0n) {
    throw new StateError(`the state ${path} can be written by others: chmod 600 it after making sure it is as it was`);
  }
  const header = readHeader(path);
  if (header.length < HEADER_BYTES) throw damaged(path, `it is ${file.size} bytes long`);
  if (header.toString('latin1', 0, 16) !== 'SQLite format 3\0')
    throw damaged(path, 'it does not begin like a database');
  if (header.readUInt32BE(68) !== APPLICATION_ID) {
    throw new StateError(`${path} is a database, but not one of cordon's: choose another with --state FILE`);
  }
  const version = header.readUInt32BE(60);
  if (version !== SCHEMA_VERSION) {
    throw new StateError(
      `the state ${path} has version ${version}, and this cordon knows version ${SCHEMA_VERSION}: ` +
        'use the cordon that wrote it, or choose another with --state FILE',
    );
  }
}

function readHeader(path: string): Buffer {
  try {
    const descriptor = openSync(path, 'r');
    try {
      const header = Buffer.alloc(HEADER_BYTES);
      return header.subarray(0, readSync(descriptor, header));
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    throw stateError(path, error);
  }
}

function checkContents(handle: Libsql.Database, path: string): void {
  const verdict = (handle.prepare('PRAGMA quick_check(1)').get([]) as Row | undefined)?.quick_check;
  if (verdict !== 'ok') throw damaged(path, String(verdict));
}

function sqlOf(handle: Libsql.Database, statements: Map<string, Libsql.Statement>): Sql {
  const prepared = (sql: string): Libsql.Statement => {
    let statement = statements.get(sql);
    if (statement === undefined) statements.set(sql, (statement = handle.prepare(sql)));
    return statement;
  };
  return {
    get(sql, ...values) {
      const row = prepared(sql).get(values) as Row | undefined;
      // Timings of libsql's own, in among the columns.
      if (row !== undefined) delete row._metadata;
      return row;
    },
    all: (sql, ...values) => prepared(sql).all(values) as Row[],
    run: (sql, ...values) => prepared(sql).run(values).changes,
  };
}

async function retryWhileBusy(attempt: () => void): Promise<void> {
  const deadline = performance.now() + BUSY_MAX_MS;
  for (;;) {
    try {
      attempt();
      return;
    } catch (error) {
      if (!(sqliteCode(error) ?? '').startsWith('SQLITE_BUSY') || performance.now() > deadline) throw error;
    }
    // At random, so that two processes don't keep meeting.
    await delay(1 + Math.random() * BUSY_BLOCKING_MS);
  }
}

/** Have all that was committed in the file itself, so that a copy of it is whole. Another server may be in the way. */
function checkpoint(handle: Libsql.Database, path: string, file: BigIntStats): void {
  try {
    if (look(path)?.ino === file.ino) handle.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  } catch {
    // The log has it, and whoever opens the file next reads the log.
  }
}

function rollBack(handle: Libsql.Database): void {
  try {
    if (handle.inTransaction) handle.exec('ROLLBACK');
  } catch {
    // SQLite has rolled back by itself.
  }
}

function look(path: string): BigIntStats | null {
  if (path === MEMORY) return null;
  try {
    return statSync(path, { bigint: true, throwIfNoEntry: false }) ?? null;
  } catch (error) {
    throw stateError(path, error);
  }
}

function damaged(path: string, what: string): StateError {
  return new StateError(
    `the state ${path} is damaged: ${what}. It was left as it is: put a sound copy in its place, or move it away ` +
      'and start the server again with empty counters.',
  );
}

/** One of SQLite's or the system's errors in our words. */
function stateError(path: string, cause: unknown): StateError {
  if (cause instanceof StateError) return cause;
  const code = sqliteCode(cause) ?? errorCode(cause) ?? '';
  const why = cause instanceof Error ? cause.message : String(cause);
  if (/^SQLITE_(NOTADB|CORRUPT)/.test(code)) return damaged(path, why);
  if (code.startsWith('SQLITE_BUSY')) {
    return new StateError(
      `the state ${path} has been locked by another process for ${BUSY_MAX_MS / 1000} s: is one stopped?`,
      { cause },
    );
  }
  return new StateError(
    `the state ${path} can't be used: ${why}. Make it and its directory writable, choose another with --state FILE, ` +
      'or do with counters that end with the server by --state memory.',
    { cause },
  );
}

/** SQLite's own word for what went wrong; null where it is not one of SQLite's errors. */
function sqliteCode(error: unknown): string | null {
  const code = errorCode(error);
  if (code?.startsWith('SQLITE_') === true) return code;
  // Failing to open comes without a code.
  return error instanceof Error && /ConnectionFailed|SQLite/.test(error.message) ? 'SQLITE_CANTOPEN' : null;
}

function errorCode(error: unknown): string | null {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : null;
}
