import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, beforeEach, test } from 'node:test';
import { sweep } from '../../../src/files/directory.js';
import { createFileStore, NoSuchFile, type FileStore, type Kept } from '../../../src/files/store.js';
import { fileUri } from '../../../src/files/uri.js';

// A temporary directory of this file's own, so that what is left behind is seen.
const place = mkdtempSync(join(tmpdir(), 'store-test-'));
const before = process.env.TMPDIR;
process.env.TMPDIR = place;
after(() => {
  if (before === undefined) delete process.env.TMPDIR;
  else process.env.TMPDIR = before;
  rmSync(place, { recursive: true });
});

let now = 0;
let store: FileStore;
beforeEach(() => {
  now = 1_000_000;
  store = createFileStore(() => now);
});
afterEach(async () => {
  await store.close();
  assert.deepEqual(readdirSync(place), []);
});

interface KeepOptions {
  grant?: string;
  keptSeconds?: number;
  keptMb?: number;
}

function keep(runId: string, files: Record<string, string | Buffer>, options: KeepOptions = {}): Kept {
  const receiving = store.receive({ runId, grant: 'one', keptSeconds: 60, keptMb: 1, ...options });
  for (const [name, content] of Object.entries(files)) {
    const bytes = Buffer.from(content);
    const sink = receiving.onFile({ name, bytes: bytes.length });
    for (let at = 0; at < bytes.length; at += 64 * 1024) sink.write(bytes.subarray(at, at + 64 * 1024));
    sink.end(true);
  }
  return receiving.finish();
}

const textOf = async (uri: string, grant = 'one') => (await store.read(uri, grant)).content.toString();

test('a file that came in pieces is read back whole, with its name, size, type and address', async () => {
  const content = Buffer.alloc(200_000, 'abc\n');
  const { files, leftOut, sha256 } = keep('r1', { 'out/a b.csv': content });
  assert.deepEqual(files, [
    { name: 'out/a b.csv', bytes: 200_000, mimeType: 'text/csv', uri: 'cordon://files/r1/out/a%20b.csv' },
  ]);
  assert.equal(leftOut.count, 0);
  const one = createHash('sha256').update(content).digest('hex');
  assert.equal(sha256, createHash('sha256').update(`out/a b.csv\0${one}\n`).digest('hex'));
  assert.deepEqual((await store.read('cordon://files/r1/out/a%20b.csv', 'one')).content, content);
});

test('what is on disk has no name of the program’s, and nobody else may read it', () => {
  keep('r1', { 'evil-name': 'x' });
  const [directory = ''] = readdirSync(place);
  assert.equal(statSync(join(place, directory)).mode & 0o777, 0o700);
  assert.ok(readdirSync(join(place, directory)).every((name) => /^\d+$/.test(name)));
});

test('a run without files makes no directory', () => {
  assert.deepEqual(keep('r1', {}).files, []);
  assert.deepEqual(readdirSync(place), []);
});

test('a part is read by ?from and &bytes, within the cap, and nothing beyond the end', async () => {
  keep('r1', { a: '0123456789' });
  assert.equal(await textOf('cordon://files/r1/a?from=3&bytes=4'), '3456');
  assert.equal(await textOf('cordon://files/r1/a?from=8'), '89');
  assert.equal(await textOf('cordon://files/r1/a?from=99&bytes=1'), '');
  assert.equal(await textOf('cordon://files/r1/a?bytes=0'), '');
  assert.equal((await store.read('cordon://files/r1/a?from=2', 'one', 3)).content.toString(), '234');
});

test('names that need encoding are found again', async () => {
  const names = ['%2e%2e', 'a?from=1', 'a#b', 'ü/日本.txt', 'a&b=c', '__proto__', 'constructor', '%'];
  const { files } = keep('r1', Object.fromEntries(names.map((name) => [name, name])));
  for (const { uri, name } of files) assert.equal(await textOf(uri), name);
  assert.equal(files.length, names.length);
});

for (const uri of [
  'file:///etc/passwd',
  'cordon://files/',
  'cordon://files/r1',
  'cordon://files/r1/',
  'cordon://files/r1/../r1/a',
  'cordon://files//a',
  'cordon://files/r1/%zz',
  'cordon://files/r1/a?from=-1',
  'cordon://files/r1/a?from=1&from=2',
  'cordon://files/r1/a?x=1',
  'cordon://files/r1/a?from=1e3',
  'cordon://files/r1/a?from=1?bytes=1',
  'cordon://files/r1/b',
  'cordon://files/r2/a',
  'cordon://files/__proto__/a',
]) {
  test(`there is nothing at ${uri}`, async () => {
    keep('r1', { a: 'x' });
    await assert.rejects(store.read(uri, 'one'), NoSuchFile);
  });
}

test('the files of one grant are not there for another, neither by address nor in the list', async () => {
  const { files } = keep('r1', { a: 'secret' });
  assert.deepEqual(store.list('two'), []);
  const uri = files[0]?.uri ?? '';
  const theirs = await store.read(uri, 'two').catch((error: unknown) => error);
  const none = await store.read(fileUri('r1', 'a-guess'), 'one').catch((error: unknown) => error);
  assert.ok(theirs instanceof NoSuchFile && none instanceof NoSuchFile);
  // The same words: nothing tells that there is one.
  assert.equal(theirs.message.replace(uri, ''), none.message.replace(fileUri('r1', 'a-guess'), ''));
});

test('the list has the newest run first, and goes on behind any of its files though others went', () => {
  keep('r1', { a: '1', b: '2' });
  keep('other', { x: '' }, { grant: 'two' });
  keep('r2', { c: '3', d: '4' });
  const all = store.list('one');
  assert.deepEqual(
    all.map(({ name }) => name),
    ['c', 'd', 'a', 'b'],
  );
  for (const [index, { position }] of all.entries()) {
    assert.deepEqual(store.list('one', position), all.slice(index + 1));
  }
  store.drop('r2');
  assert.deepEqual(
    store.list('one', all[1]?.position).map(({ name }) => name),
    ['a', 'b'],
  );
});

test('files are gone when their time is over, from the disk as well', async () => {
  const { files } = keep('r1', { a: 'x' }, { keptSeconds: 10 });
  keep('r2', { b: 'y' }, { keptSeconds: 60 });
  now += 9_999;
  assert.equal(await textOf(files[0]?.uri ?? ''), 'x');
  now += 1;
  await assert.rejects(textOf(files[0]?.uri ?? ''), NoSuchFile);
  assert.deepEqual(
    store.list('one').map(({ name }) => name),
    ['b'],
  );
  assert.equal(readdirSync(join(place, readdirSync(place)[0] ?? '')).length, 1);
});

test('the oldest runs go first when the total is reached, and only as many as must', () => {
  const half = Buffer.alloc(400 * 1024);
  keep('r1', { a: half });
  keep('r2', { b: half });
  keep('r3', { c: half });
  assert.deepEqual(
    store.list('one').map(({ name }) => name),
    ['c', 'b'],
  );
});

test('what does not fit the total by itself is left out, and said', () => {
  const { files, leftOut } = keep('r1', { small: 'x', large: Buffer.alloc(2 ** 20) });
  assert.deepEqual(
    files.map(({ name }) => name),
    ['small'],
  );
  assert.deepEqual(leftOut, {
    count: 1,
    examples: [{ name: 'large', why: 'at most 1 MB of files are kept, of all runs' }],
  });
});

test('empty files count, too: there is an end to them', () => {
  for (let run = 0; run < 300; run += 1) keep(`r${run}`, { a: '' });
  assert.equal(store.list('one').length, 256); // 1 MB in blocks of 4096 bytes
});

test('a file that was lost on the way is not there, and nothing of it is left on disk', () => {
  const receiving = store.receive({ runId: 'r1', grant: 'one', keptSeconds: 60, keptMb: 1 });
  const sink = receiving.onFile({ name: 'a', bytes: 10 });
  sink.write(Buffer.from('12345'));
  sink.end(false);
  const short = receiving.onFile({ name: 'b', bytes: 10 });
  short.write(Buffer.from('12345'));
  short.end(true);
  const kept = receiving.finish();
  assert.deepEqual(kept.files, []);
  assert.deepEqual(kept.leftOut.examples, [
    { name: 'a', why: 'it was lost on the way' },
    { name: 'b', why: 'it was lost on the way' },
  ]);
  assert.deepEqual(readdirSync(join(place, readdirSync(place)[0] ?? '')), []);
});

test('a run can’t be read before it has ended', async () => {
  const receiving = store.receive({ runId: 'r1', grant: 'one', keptSeconds: 60, keptMb: 1 });
  receiving.onFile({ name: 'a', bytes: 0 }).end(true);
  assert.deepEqual(store.list('one'), []);
  await assert.rejects(textOf('cordon://files/r1/a'), NoSuchFile);
  receiving.finish();
  assert.equal(store.list('one').length, 1);
});

test('listeners hear of files that came and that went, by grant', () => {
  const heard: string[] = [];
  const stop = store.onChange((grant) => heard.push(grant));
  keep('r1', { a: '' });
  keep('r2', { b: '' }, { grant: 'two' });
  keep('r3', {});
  store.drop('r1');
  stop();
  store.drop('r2');
  assert.deepEqual(heard, ['one', 'two', 'one']);
});

test('a directory of files that a dead server left is swept, and nothing behind a link in it', async () => {
  const dead = join(place, readdirSync('/proc/self/ns').includes('pid') ? deadName() : '');
  const outside = join(place, 'outside');
  mkdirSync(dead);
  mkdirSync(outside);
  writeFileSync(join(outside, 'precious'), 'x');
  writeFileSync(join(dead, '1'), 'x');
  symlinkSync(outside, join(dead, '2'));
  symlinkSync(join(outside, 'precious'), join(dead, '3'));
  const link = join(place, deadName());
  symlinkSync(outside, link);
  await sweep();
  assert.ok(!existsSync(dead));
  assert.ok(existsSync(join(outside, 'precious')));
  rmSync(outside, { recursive: true });
  rmSync(link);
});

test('the directory of a server that lives is left alone', async () => {
  keep('r1', { a: 'x' });
  await sweep();
  assert.equal(await textOf('cordon://files/r1/a'), 'x');
});

/** As ours are named, of a process that is not there: ids end far below. */
function deadName(): string {
  keep(randomUUID(), { a: '' });
  const ours = readdirSync(place).find((name) => name.includes(`-${process.pid}-`)) ?? '';
  return ours.replace(`-${process.pid}-`, '-4194999-').replace(/......$/, randomUUID().slice(0, 6));
}

test(
  'a disk that can’t be written to leaves files out, and says so',
  { skip: process.getuid?.() === 0 ? 'root may write anywhere' : false },
  () => {
    keep('r0', { first: '' });
    const directory = join(place, readdirSync(place)[0] ?? '');
    chmodSync(directory, 0o500);
    const { files, leftOut } = keep('r1', { a: 'x' });
    chmodSync(directory, 0o700);
    assert.deepEqual(files, []);
    assert.match(leftOut.examples[0]?.why ?? '', /^it could not be kept: permission denied$/);
  },
);
