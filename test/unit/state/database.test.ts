import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { MEMORY, openDatabase, StateError, type Database } from '../../../src/state/database.js';

const TABLE = 'CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, number INTEGER NOT NULL) STRICT';

function fresh(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'cordon-test-'));
  t.after(() => {
    rmSync(directory, { recursive: true, force: true });
  });
  return join(directory, 'state', 'state.db');
}

function open(path: string): Database {
  const database = openDatabase(path);
  database.table(TABLE);
  return database;
}

function add(database: Database, name: string): Promise<number> {
  return database.transaction((sql) => sql.run('INSERT INTO notes VALUES (?, 1)', name));
}

function names(database: Database): Promise<unknown[]> {
  return database.transaction((sql) => sql.all('SELECT name FROM notes ORDER BY name').map(({ name }) => name));
}

/** Files beside the database that are not SQLite's. */
function strangers(path: string): string[] {
  return readdirSync(dirname(path)).filter((name) => !/^state\.db(-wal|-shm)?$/.test(name));
}

async function refusal(database: Database): Promise<string> {
  const error: unknown = await names(database).then(
    () => null,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof StateError, String(error));
  return error.message;
}

describe('the embedded state', () => {
  it('is not there before it is wanted, and then for its owner only', async (t) => {
    const path = fresh(t);
    const database = open(path);
    assert.equal(statSync(dirname(path), { throwIfNoEntry: false }), undefined);
    await add(database, 'a');
    assert.equal(statSync(dirname(path)).mode & 0o777, 0o700);
    for (const name of readdirSync(dirname(path))) {
      assert.equal(statSync(join(dirname(path), name)).mode & 0o777, 0o600, name);
    }
    await database.close();
    assert.deepEqual(strangers(path), []);
  });

  it('keeps what was committed, and nothing of what was not', async (t) => {
    const path = fresh(t);
    const database = open(path);
    await add(database, 'a');
    const failing = database.transaction((sql) => {
      sql.run('INSERT INTO notes VALUES (?, 1)', 'b');
      throw new Error('changed my mind');
    });
    await assert.rejects(failing, /changed my mind/);
    await assert.rejects(
      database.transaction(() => Promise.resolve()),
      /synchronous/,
    );
    await assert.rejects(add(database, 'a'), /UNIQUE/);
    await add(database, 'c');
    await database.close();
    assert.deepEqual(await names(database), ['a', 'c']);
    await database.close();
  });

  it('is one file for two that come at the same time', async (t) => {
    const path = fresh(t);
    const several = Array.from({ length: 8 }, () => open(path));
    await Promise.all(several.map((database, index) => add(database, `n${index}`)));
    for (const database of several) assert.equal((await names(database)).length, 8);
    await Promise.all(several.map((database) => database.close()));
    assert.deepEqual(strangers(path), []);
  });

  it('that was taken away is missed, not made anew, and used again when it is back', async (t) => {
    const path = fresh(t);
    const database = open(path);
    await add(database, 'a');
    const elsewhere = `${path}.elsewhere`;
    renameSync(path, elsewhere);
    assert.match(await refusal(database), /is gone/);
    assert.equal(statSync(path, { throwIfNoEntry: false }), undefined);
    renameSync(elsewhere, path);
    assert.deepEqual(await names(database), ['a']);
    await database.close();
  });

  it('that was deleted is missed until there is another', async (t) => {
    const path = fresh(t);
    const database = open(path);
    await add(database, 'a');
    rmSync(dirname(path), { recursive: true });
    assert.match(await refusal(database), /is gone.*start the server again/);
    const next = open(path);
    await add(next, 'b');
    assert.deepEqual(await names(database), ['b']);
    await Promise.all([database.close(), next.close()]);
  });

  it('that was cut short under us is refused, and left as it is', async (t) => {
    const path = fresh(t);
    const database = open(path);
    await add(database, 'a');
    truncateSync(path, 0);
    assert.match(await refusal(database), /damaged.*left as it is/);
    assert.match(await refusal(database), /damaged/);
    assert.equal(statSync(path).size, 0);
  });

  const damages: [string, (path: string) => void, RegExp][] = [
    [
      'is empty',
      (path) => {
        truncateSync(path, 0);
      },
      /damaged: it is 0 bytes/,
    ],
    [
      'is no database',
      (path) => {
        writeFileSync(path, 'x'.repeat(9000));
      },
      /damaged: it does not begin/,
    ],
    [
      'ends too early',
      (path) => {
        truncateSync(path, 5000);
      },
      /damaged/,
    ],
    [
      'has a torn page',
      (path) => {
        const bytes = readFileSync(path);
        bytes.fill(0xaa, 4096, 4096 + 200);
        writeFileSync(path, bytes);
      },
      /damaged/,
    ],
    [
      'is of a newer version',
      (path) => {
        const bytes = readFileSync(path);
        bytes.writeUInt32BE(99, 60);
        writeFileSync(path, bytes);
      },
      /version 99, and this cordon knows version 1/,
    ],
    [
      "is another program's",
      (path) => {
        const bytes = readFileSync(path);
        bytes.writeUInt32BE(7, 68);
        writeFileSync(path, bytes);
      },
      /not one of cordon's/,
    ],
    [
      'can be written by others',
      (path) => {
        chmodSync(path, 0o666);
      },
      /chmod 600/,
    ],
    [
      'is a directory',
      (path) => {
        rmSync(path);
        mkdirSync(path);
      },
      /not a regular file/,
    ],
  ];
  for (const [what, damage, words] of damages) {
    it(`that ${what} is refused, left as it is, and used when a sound one is in its place`, async (t) => {
      const path = fresh(t);
      const maker = open(path);
      for (let index = 0; index < 200; index += 1) await add(maker, `a name that takes some room, number ${index}`);
      await maker.close();
      const copy = join(dirname(path), '..', 'copy.db');
      copyFileSync(path, copy);
      damage(path);
      const before = statSync(path).isFile() ? readFileSync(path) : null;

      const database = open(path);
      assert.match(await refusal(database), words);
      assert.match(await refusal(database), words);
      if (before !== null) assert.deepEqual(readFileSync(path), before);

      rmSync(path, { recursive: true });
      copyFileSync(copy, path);
      chmodSync(path, 0o600);
      assert.equal((await names(database)).length, 200);
      await database.close();
    });
  }

  it('in a directory that cannot be written is refused, and says what would help', async (t) => {
    const path = fresh(t);
    mkdirSync(dirname(path), { mode: 0o755 });
    chmodSync(join(dirname(path), '..'), 0o755);
    // Root may write everywhere, so somebody else tries.
    const source = new URL('../../../src/state/database.js', import.meta.url);
    const script = `import { openDatabase } from ${JSON.stringify(source.href)};
      await openDatabase(${JSON.stringify(path)}).transaction(() => 0).then(() => console.log('opened'), (e) => console.log(e.name, e.message));`;
    const root = process.getuid?.() === 0;
    if (!root) chmodSync(dirname(path), 0o555);
    const identity = root ? { uid: 65_534, gid: 65_534 } : {};
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], {
      ...identity,
      cwd: '/',
    });
    assert.match(stdout, /^StateError .*can't be used: .*(EACCES|EROFS).*--state memory/s);
    assert.deepEqual(readdirSync(dirname(path)), []);
    chmodSync(dirname(path), 0o700);
  });

  it('waits for another process that is in the middle of a transaction, and others go on meanwhile', async (t) => {
    const path = fresh(t);
    const [one, other] = [open(path), open(path)];
    await names(one);
    await names(other);
    const { default: Libsql } = await import('libsql');
    const holder = new Libsql(path);
    holder.exec('BEGIN IMMEDIATE');
    const waiting = add(one, 'a');
    // The event loop turns while it waits.
    await new Promise((resolve) => setImmediate(resolve));
    holder.exec('COMMIT');
    await waiting;
    holder.close();
    assert.deepEqual(await names(other), ['a']);
    await Promise.all([one.close(), other.close()]);
  });

  it('in memory is gone when it is closed', async () => {
    const database = open(MEMORY);
    await add(database, 'a');
    assert.deepEqual(await names(database), ['a']);
    await database.close();
    assert.deepEqual(await names(database), []);
    await database.close();
  });

  it('answers before it has stored what does not change the answer, and stores it then', async (t) => {
    const path = fresh(t);
    const database = open(path);
    await add(database, 'a');
    let stored = false;
    const answer = await database.transactionAhead(
      (sql) => sql.all('SELECT name FROM notes').length,
      (sql) => {
        stored = true;
        sql.run('INSERT INTO notes VALUES (?, 1)', 'b');
      },
    );
    assert.deepEqual([answer, stored], [1, false]);
    assert.deepEqual([await names(database), stored], [['a', 'b'], true]);
    // Work that fails is told at once, and has no afterwards.
    const failing = database.transactionAhead(
      () => {
        throw new RangeError('no');
      },
      () => assert.fail(),
    );
    await assert.rejects(failing, RangeError);
    assert.deepEqual(await names(database), ['a', 'b']);
    await database.transactionAhead(
      () => undefined,
      (sql) => void sql.run('INSERT INTO notes VALUES (?, 1)', 'c'),
    );
    await database.close(); // which comes after it
    assert.deepEqual(await names(database), ['a', 'b', 'c']);
    await database.close();
  });

  it('tells the next of what could not be stored after the answer, once, and has changed nothing', async (t) => {
    const database = open(fresh(t));
    await add(database, 'a');
    await database.transactionAhead(
      (sql) => void sql.run('INSERT INTO notes VALUES (?, 1)', 'b'),
      (sql) => void sql.run('INSERT INTO notes VALUES (?, 1)', 'a'),
    );
    assert.match(await refusal(database), /notes/);
    assert.deepEqual(await names(database), ['a']);
    await database.close();
  });
});
