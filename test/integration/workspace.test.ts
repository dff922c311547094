/** The server's own temporary directory: what is swept at the start, what is never touched. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, beforeEach, test } from 'node:test';
import { createWorkspace } from '../../src/backends/workspace.js';

const system = tmpdir();
let place = '';
beforeEach(() => {
  place = mkdtempSync(join(system, 'w-'));
  process.env.TMPDIR = place;
});
after(() => {
  process.env.TMPDIR = system;
});

/** A process id that belonged to a process, and does not any more. */
const DEAD = spawnSync('true').pid;

/** What a server that was killed leaves. */
function stale(pid: number, suffix = 'abc'): string {
  const path = join(place, `cordon-${pid}-${suffix}`);
  mkdirSync(join(path, 'root'), { recursive: true, mode: 0o700 });
  const made = spawnSync(process.execPath, [
    '-e',
    `require('net').createServer().listen(${JSON.stringify(join(path, 'zygote.sock'))}, () => process.kill(process.pid, 'SIGKILL'))`,
  ]);
  assert.equal(made.signal, 'SIGKILL');
  assert.ok(lstatSync(join(path, 'zygote.sock')).isSocket());
  return path;
}

test('a workspace is for its owner alone, and gone after remove, which may be called twice', async () => {
  const workspace = await createWorkspace();
  const [name] = readdirSync(place);
  assert.ok(name !== undefined);
  assert.match(name, new RegExp(`^cordon-${process.pid}-`));
  assert.equal(lstatSync(join(place, name)).mode & 0o777, 0o700);
  assert.deepEqual(readdirSync(workspace.root), []);
  await workspace.remove();
  await workspace.remove();
  assert.deepEqual(readdirSync(place), []);
});

test('the directory of a dead server is removed, that of a living one is not', async () => {
  const dead = stale(DEAD);
  const living = stale(process.ppid);
  const workspace = await createWorkspace();
  assert.deepEqual([existsSync(dead), existsSync(living)], [false, true]);
  await workspace.remove();
});

test('a directory whose socket someone listens on is left alone, though its process is not to be seen', async () => {
  const path = join(place, `cordon-${DEAD}-listening`);
  mkdirSync(join(path, 'root'), { recursive: true });
  const server = createServer().listen(join(path, 'zygote.sock'));
  const workspace = await createWorkspace();
  assert.ok(existsSync(join(path, 'zygote.sock')));
  await workspace.remove();
  await new Promise((resolve) => server.close(resolve));
});

test('a symbolic link planted in a stale directory leads nowhere', async () => {
  const victim = join(place, 'victim');
  mkdirSync(join(victim, 'inner'), { recursive: true });
  writeFileSync(join(victim, 'file'), 'precious');
  const path = join(place, `cordon-${DEAD}-planted`);
  mkdirSync(path);
  symlinkSync(victim, join(path, 'root'));
  symlinkSync(join(victim, 'file'), join(path, 'zygote.sock'));
  symlinkSync(victim, join(path, 'other'));
  const workspace = await createWorkspace();
  assert.deepEqual(readdirSync(victim).sort(), ['file', 'inner']);
  await workspace.remove();
});

test('a stale name that is itself a link, or a file, is left alone', async () => {
  const victim = join(place, 'victim');
  mkdirSync(join(victim, 'root'), { recursive: true });
  writeFileSync(join(victim, 'zygote.sock'), 'precious');
  symlinkSync(victim, join(place, `cordon-${DEAD}-link`));
  writeFileSync(join(place, `cordon-${DEAD}-file`), '');
  const workspace = await createWorkspace();
  assert.deepEqual(readdirSync(victim).sort(), ['root', 'zygote.sock']);
  assert.ok(existsSync(join(place, `cordon-${DEAD}-file`)));
  await workspace.remove();
});

test('what is not ours in a stale directory is never removed', async () => {
  const path = stale(DEAD, 'full');
  writeFileSync(join(path, 'something-else'), 'precious');
  writeFileSync(join(path, 'root', 'inside'), 'precious');
  const workspace = await createWorkspace();
  assert.ok(existsSync(join(path, 'something-else')) && existsSync(join(path, 'root', 'inside')));
  await workspace.remove();
});

test('names that only look alike are left alone', async () => {
  const names = ['cordon-', 'cordon-x-1', `cordon${DEAD}-a`, `xcordon-${DEAD}-a`, `cordon-${DEAD}`, 'cordon-test-abc'];
  for (const name of names) mkdirSync(join(place, name));
  const workspace = await createWorkspace();
  await workspace.remove();
  assert.deepEqual(readdirSync(place).sort(), names.sort());
});

const asRoot = process.getuid?.() === 0 ? false : 'needs root';

test('the stale directory of another user is left alone', { skip: asRoot }, async () => {
  const path = stale(DEAD, 'foreign');
  assert.equal(spawnSync('chown', ['-R', '65534:65534', path]).status, 0);
  const workspace = await createWorkspace();
  assert.ok(existsSync(path));
  await workspace.remove();
});

test('a temporary directory whose path is too long for a socket is refused with words, and left as it was', async () => {
  const long = join(place, 'x'.repeat(100));
  mkdirSync(long);
  process.env.TMPDIR = long;
  await assert.rejects(
    createWorkspace(),
    /the path of a socket may be 107 bytes long, .* set TMPDIR to a shorter directory/,
  );
  assert.deepEqual(readdirSync(long), []);
});

const asUser = process.getuid?.() === 0 ? 'needs an ordinary user' : false;

test('a temporary directory that can’t be written to is an error that names it', { skip: asUser }, async () => {
  chmodSync(place, 0o500);
  await assert.rejects(createWorkspace(), new RegExp(place));
  chmodSync(place, 0o700);
});

after(() => {
  for (const name of readdirSync(system)) {
    if (/^w-.{6}$/.test(name)) rmSync(join(system, name), { recursive: true, force: true });
  }
});
