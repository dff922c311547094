/** A state file that was damaged: it works, or it is refused in our words and left as it is; never a crash, a hang, or a fresh start. */
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openDatabase, StateError } from '../../../src/state/database.js';
import type { FuzzTarget } from '../target.js';

const TABLE = 'CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL)';

async function use(path: string): Promise<number> {
  const database = openDatabase(path);
  database.table(TABLE);
  try {
    return await database.transaction((sql) => {
      sql.run('INSERT INTO counters VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET value = value + 1', 'calls');
      return sql.all('SELECT * FROM counters').length;
    });
  } finally {
    await database.close();
  }
}

async function soundFile(rows: number): Promise<Buffer> {
  const directory = mkdtempSync(join(tmpdir(), 'fuzz-'));
  try {
    const path = join(directory, 'state.db');
    const database = openDatabase(path);
    database.table(TABLE);
    await database.transaction((sql) => {
      for (let row = 0; row < rows; row += 1) sql.run('INSERT INTO counters VALUES (?, ?)', `name ${row}`, row);
    });
    await database.close();
    return readFileSync(path);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const sound = await soundFile(3);

export const state: FuzzTarget = {
  name: 'state',
  seeds: [sound, await soundFile(500), sound.subarray(0, 4096), sound.subarray(0, 100), 'SQLite format 3\0'],
  words: ['CREATE TABLE counters', 'SQLite format 3\0', 'counters', '\r\0\0\0', '\u0005\0\0\0', 'Crdn'],
  maxBytes: 64 << 10,
  cases: 120,
  async run(input) {
    const directory = mkdtempSync(join(tmpdir(), 'fuzz-'));
    try {
      const path = join(directory, 'state.db');
      writeFileSync(path, input);
      chmodSync(path, 0o600);
      try {
        assert.ok((await use(path)) >= 1);
      } catch (error) {
        assert.ok(
          error instanceof StateError,
          `${String(error)}\n${error instanceof Error ? (error.stack ?? '') : ''}`,
        );
        assert.ok(error.message.includes(path));
        // Refused at the door, it was not touched; found out later, it may have been written to as a database may.
        if (/does not begin|bytes long|not one of/.test(error.message))
          assert.deepEqual(readFileSync(path), Buffer.from(input));
      }
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  },
};
