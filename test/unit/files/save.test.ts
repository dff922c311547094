import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import type { OutcomeFile } from '../../../src/outcome.js';
import { saveFiles } from '../../../src/files/save.js';
import { createFileStore, type FileStore } from '../../../src/files/store.js';

let place: string;
let store: FileStore;
beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), 'save-test-'));
  store = createFileStore();
});
afterEach(async () => {
  await store.close();
  rmSync(place, { recursive: true });
});

function keep(files: Record<string, string>): readonly OutcomeFile[] {
  const receiving = store.receive({ runId: 'r1', grant: 'one', keptSeconds: 60, keptMb: 16 });
  for (const [name, content] of Object.entries(files)) {
    const sink = receiving.onFile({ name, bytes: content.length });
    sink.write(Buffer.from(content));
    sink.end(true);
  }
  return receiving.finish().files;
}

test('files are written below the directory, which is made', async () => {
  const large = 'x'.repeat(3 * 2 ** 20 + 1);
  const out = join(place, 'new', 'out');
  const saved = await saveFiles(store, 'one', keep({ 'a.txt': 'A', 'd/e/f': large, empty: '' }), out);
  assert.deepEqual(
    saved.map(({ path, problem }) => [path, problem]),
    [
      [join(out, 'a.txt'), null],
      [join(out, 'd/e/f'), null],
      [join(out, 'empty'), null],
    ],
  );
  assert.equal(readFileSync(join(out, 'd/e/f'), 'utf8'), large);
  assert.equal(readFileSync(join(out, 'empty'), 'utf8'), '');
});

test('nothing is overwritten, and the others are written all the same', async () => {
  writeFileSync(join(place, 'a'), 'mine');
  const saved = await saveFiles(store, 'one', keep({ a: 'theirs', b: 'B' }), place);
  assert.match(saved[0]?.problem ?? '', /there already; not overwritten/);
  assert.equal(readFileSync(join(place, 'a'), 'utf8'), 'mine');
  assert.equal(readFileSync(join(place, 'b'), 'utf8'), 'B');
});

test('no link below the directory is followed: neither one to a directory, nor one to a file, nor a dangling one', async () => {
  const outside = mkdtempSync(join(tmpdir(), 'save-outside-'));
  const out = join(place, 'out');
  mkdirSync(out);
  writeFileSync(join(outside, 'precious'), 'mine');
  symlinkSync(outside, join(out, 'd'));
  symlinkSync(join(outside, 'precious'), join(out, 'f'));
  symlinkSync(join(outside, 'new'), join(out, 'g'));
  const saved = await saveFiles(store, 'one', keep({ 'd/x': '1', f: '2', g: '3' }), out);
  assert.deepEqual(
    saved.map(({ path }) => path),
    [null, null, null],
  );
  assert.deepEqual(readdirSync(outside), ['precious']);
  assert.equal(readFileSync(join(outside, 'precious'), 'utf8'), 'mine');
  rmSync(outside, { recursive: true });
});

test('a name that would lead outside is not written, wherever it came from', async () => {
  const out = join(place, 'out');
  const files = keep({ a: 'x' }).map((file) => ({ ...file, name: '../x' }));
  const [saved] = await saveFiles(store, 'one', files, out);
  assert.equal(saved?.path, null);
  assert.ok(!existsSync(join(place, 'x')));
});

test('another grant’s files are not written, and nothing of them is left', async () => {
  const [saved] = await saveFiles(store, 'two', keep({ a: 'x' }), place);
  assert.match(saved?.problem ?? '', /there is no file/);
  assert.deepEqual(readdirSync(place), []);
});
