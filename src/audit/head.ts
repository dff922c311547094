/**
 * Where the chain stands: beside the log `audit.jsonl` lies `audit.jsonl.chain`, a database with one row. Its
 * transactions are what lets several servers write to one log (SQLite's lock dies with its owner), and what it remembers
 * of the last line is how lines that are cut off the end are missed.
 *
 * A line is appended before its row is saved, so a server that is killed in between leaves a log that is one line ahead:
 * whoever writes next finds the line and takes it over.
 */
import { openDatabase, StateError, type Database, type Row, type Sql } from '../state/database.js';
import { ORIGIN, type Link } from './chain.js';

export interface Head {
  /** The last line. */
  readonly last: Link;
  /** Number of the oldest line that is kept. */
  readonly firstSeq: number;
  /** The written file as it was left. */
  readonly bytes: number;
  readonly inode: number;
}

export interface HeadStore {
  /**
   * Do some work on the log while nobody else writes to it.
   * Resolves when the work is done. What it saved is stored a moment later: until then the log is ahead, as if the server had been killed.
   * @param work gets the head as it stands, and may save another one; what it throws is passed on, and nothing is saved
   * @throws StateError where the database can't be had
   */
  exclusively<T>(work: (head: Head, save: (head: Head) => void) => T): Promise<T>;
  /** Find out whether work could be done now. @throws StateError */
  usable(): Promise<void>;
  close(): Promise<void>;
}

const START: Head = { last: ORIGIN, firstSeq: 1, bytes: 0, inode: 0 };

/** Where the head of a log is kept. */
export function headPath(log: string): string {
  return `${log}.chain`;
}

/** @param log path of the log */
export function openHead(log: string): HeadStore {
  const database: Database = openDatabase(headPath(log));
  database.table(
    'CREATE TABLE IF NOT EXISTS audit_head (id INTEGER PRIMARY KEY CHECK (id = 1), seq INTEGER NOT NULL, ' +
      'hash TEXT NOT NULL, first_seq INTEGER NOT NULL, bytes INTEGER NOT NULL, inode INTEGER NOT NULL) STRICT',
  );
  return {
    async exclusively(work) {
      let saved: Head | null = null;
      return await database.transactionAhead(
        (sql) => {
          const row = sql.get('SELECT seq, hash, first_seq, bytes, inode FROM audit_head');
          return work(row === undefined ? START : headOf(row), (head) => {
            saved = head;
          });
        },
        (sql) => {
          if (saved !== null) store(sql, saved);
        },
      );
    },
    usable: () => database.transaction(() => undefined),
    close: () => database.close(),
  };
}

function store(sql: Sql, { last, firstSeq, bytes, inode }: Head): void {
  sql.run(
    'INSERT INTO audit_head (id, seq, hash, first_seq, bytes, inode) VALUES (1, ?, ?, ?, ?, ?) ' +
      'ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, hash = excluded.hash, ' +
      'first_seq = excluded.first_seq, bytes = excluded.bytes, inode = excluded.inode',
    ...[last.seq, last.hash, firstSeq, bytes, inode],
  );
}

function headOf(row: Row): Head {
  const { seq, hash, first_seq: firstSeq, bytes, inode } = row;
  if (
    typeof seq !== 'number' ||
    typeof hash !== 'string' ||
    typeof firstSeq !== 'number' ||
    typeof bytes !== 'number' ||
    typeof inode !== 'number'
  ) {
    throw new StateError('the row of the audit log’s chain is not as it was written');
  }
  return { last: { seq, hash }, firstSeq, bytes, inode };
}
