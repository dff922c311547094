/**
 * Counters in the embedded state: shared by all servers of a user, there after a restart. A transaction of the store is
 * one of the database; all keys are read by one statement, and written by one.
 */
import type { Database, Sql } from '../state/database.js';
import { checkSums, SWEEP_INTERVAL_MS, type Charge, type Changes, type CounterStore } from './store.js';

const COUNTERS = `CREATE TABLE IF NOT EXISTS counters (
  key TEXT PRIMARY KEY,
  points INTEGER NOT NULL CHECK (points >= 0),
  expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID`;

/** `charges` is a JSON list of [key, points, expires_ms]; a hold that was charged stays until it can't be released. */
const HOLDS = `CREATE TABLE IF NOT EXISTS holds (
  id TEXT PRIMARY KEY,
  until_ms INTEGER NOT NULL,
  charged INTEGER NOT NULL,
  charges TEXT NOT NULL,
  expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID`;

const HOLDS_BY_TIME = 'CREATE INDEX IF NOT EXISTS holds_by_time ON holds (until_ms) WHERE charged = 0';

const READ = `SELECT json_group_array(points) AS sums FROM (
  SELECT coalesce(counters.points, 0) AS points
  FROM json_each(?) AS wanted LEFT JOIN counters ON counters.key = wanted.value
  ORDER BY wanted.key)`;

const ADD = `INSERT INTO counters (key, points, expires_ms)
  SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?) WHERE true
  ON CONFLICT (key) DO UPDATE SET
    points = points + excluded.points,
    expires_ms = max(expires_ms, excluded.expires_ms)`;

const TAKE_BACK = `UPDATE counters SET points = max(0, counters.points - taken.points)
  FROM (SELECT value ->> 0 AS key, value ->> 1 AS points FROM json_each(?)) AS taken
  WHERE counters.key = taken.key`;

/** Counters in a database; it gets its tables here. */
export function createDatabaseStore(database: Database): CounterStore {
  for (const table of [COUNTERS, HOLDS, HOLDS_BY_TIME]) database.table(table);
  let sweptMs = Number.NEGATIVE_INFINITY;

  return {
    lasting: true,
    transact: (nowMs, keys, decide) =>
      database.transaction((sql) => {
        chargeLapsed(sql, nowMs);
        const { result, changes } = decide(read(sql, keys));
        write(sql, nowMs, changes);
        if (nowMs - sweptMs > SWEEP_INTERVAL_MS) {
          sql.run('DELETE FROM counters WHERE expires_ms < ?', nowMs);
          sql.run('DELETE FROM holds WHERE charged = 1 AND expires_ms < ?', nowMs);
          sweptMs = nowMs;
        }
        return result;
      }),
  };
}

function read(sql: Sql, keys: readonly string[]): number[] {
  if (keys.length === 0) return [];
  const sums: unknown = JSON.parse(String(sql.get(READ, JSON.stringify(keys))?.sums));
  return checkSums(keys, Array.isArray(sums) ? sums : []);
}

function write(sql: Sql, nowMs: number, { release = [], add = [], hold }: Changes): void {
  for (const id of release) {
    const held = sql.get('DELETE FROM holds WHERE id = ? RETURNING charged, charges', id);
    if (held?.charged === 1) sql.run(TAKE_BACK, String(held.charges));
  }
  const more = add.filter(({ points }) => points > 0);
  if (more.length > 0) sql.run(ADD, rowsOf(more, nowMs));
  const less = add.filter(({ points }) => points < 0).map((charge) => ({ ...charge, points: -charge.points }));
  if (less.length > 0) sql.run(TAKE_BACK, rowsOf(less, nowMs));
  if (hold !== undefined) {
    const latest = Math.max(0, ...hold.charges.map(({ ttlSeconds }) => ttlSeconds)) * 1000;
    sql.run(
      `INSERT INTO holds (id, until_ms, charged, charges, expires_ms) VALUES (?, ?, 0, ?, ?)
       ON CONFLICT (id) DO UPDATE SET until_ms = excluded.until_ms`,
      hold.id,
      Math.ceil(hold.untilMs),
      rowsOf(hold.charges, nowMs),
      Math.ceil(nowMs + latest),
    );
  }
}

function chargeLapsed(sql: Sql, nowMs: number): void {
  const lapsed = 'UPDATE holds SET charged = 1 WHERE charged = 0 AND until_ms < ? RETURNING charges';
  for (const { charges } of sql.all(lapsed, nowMs)) sql.run(ADD, String(charges));
}

function rowsOf(charges: readonly Charge[], nowMs: number): string {
  return JSON.stringify(
    charges.map(({ key, points, ttlSeconds }) => [key, points, Math.ceil(nowMs + ttlSeconds * 1000)]),
  );
}
