/** Directories that the policy opens: what programs can do with them, whoever runs the server, and which are refused. */

import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { Mount } from '../../src/sandbox.js';
import { openSandbox, TIER } from '../support/sandbox.js';
import { onlyStrict } from '../support/tier.js';
import { openTestSession } from '../support/session.js';

const AS_ROOT = process.getuid?.() === 0;
/** As root the directories belong to somebody else, as a service's do. */
const OWNER = AS_ROOT ? { uid: 45_678, gid: 45_679 } : { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };

const base = realpathSync(mkdtempSync(join(tmpdir(), 'mounts-')));
chmodSync(base, 0o755);
after(() => {
  rmSync(base, { recursive: true, force: true });
});

/** A directory that nobody but its owner may enter, with a file that nobody but its owner may read. */
function directory(name: string, owner: { uid: number; gid: number } = OWNER): string {
  const path = join(base, name);
  mkdirSync(path, { mode: 0o700 });
  writeFileSync(join(path, 'in.csv'), 'a,b\n1,2\n', { mode: 0o600 });
  if (AS_ROOT) for (const one of [path, join(path, 'in.csv')]) chownSync(one, owner.uid, owner.gid);
  return path;
}

const both: readonly Mount[] = [
  { host: directory('readable'), inside: '/mnt/sales', mode: 'ro' },
  { host: directory('writable'), inside: '/data', mode: 'rw' },
];
const sandbox = await openSandbox(TIER === 'strict' ? { mounts: both } : {});
const skip = sandbox.missing || onlyStrict('they are refused there');

test(
  'where programs have no file tree of their own, they are refused with words',
  { skip: sandbox.missing || (TIER === 'strict' ? 'they have one in tier strict' : false) },
  async () => {
    await assert.rejects(
      openSandbox({ mounts: both }),
      /sandbox\.mounts needs isolation "strict": .*"(confined|none)"/,
    );
  },
);

test('a program reads what its owner alone may read, and lists the directory', { skip }, async () => {
  const { status, stdout, stderr } = await sandbox.run(
    `import os\nprint(open('/mnt/sales/in.csv').read(), os.listdir('/mnt'), os.listdir('/mnt/sales'))`,
  );
  assert.equal(status, 'ok', stderr.text);
  assert.equal(stdout.text, "a,b\n1,2\n ['sales'] ['in.csv']\n");
});

test('what it writes is there afterwards and belongs to the owner of the directory', { skip }, async () => {
  const { status, stderr } = await sandbox.run(`
import os, shutil
os.makedirs('/data/out/deep')
shutil.copy('/mnt/sales/in.csv', '/data/out/deep/copy.csv')
os.rename('/data/out/deep/copy.csv', '/data/out/kept.csv')
os.unlink('/data/in.csv')
`);
  assert.equal(status, 'ok', stderr.text);
  const kept = join(base, 'writable', 'out', 'kept.csv');
  assert.equal(readFileSync(kept, 'utf8'), 'a,b\n1,2\n');
  const { uid, gid } = statSync(kept);
  assert.deepEqual({ uid, gid }, OWNER);
});

test('two runs at once see the same directory, and one sees what the other wrote', { skip }, async () => {
  const waits = `
import os, time
open('/data/first', 'w').write('1')
while not os.path.exists('/data/second'): time.sleep(0.01)
print(open('/data/second').read())`;
  const answers = `
import os, time
while not os.path.exists('/data/first'): time.sleep(0.01)
open('/data/second.tmp', 'w').write('2')
os.rename('/data/second.tmp', '/data/second')`;
  const [one, other] = await Promise.all([sandbox.run(waits), sandbox.run(answers)]);
  assert.equal(one.stdout.text, '2\n', one.reason + other.reason + other.stderr.text);
});

test('multiprocessing, asyncio and temporary files go on working beside them', { skip }, async () => {
  const { status, stdout, stderr } = await sandbox.run(`
import asyncio, multiprocessing, tempfile
def square(n): return n * n
async def later(): return await asyncio.sleep(0, 'later')
if __name__ == '__main__':
    with multiprocessing.Pool(2) as pool: print(pool.map(square, [1, 2, 3]), asyncio.run(later()))
    with tempfile.TemporaryFile() as file: print(file.write(b'x'))
`);
  assert.equal(status, 'ok', stderr.text);
  assert.equal(stdout.text, '[1, 4, 9] later\n1\n');
});

/** What becomes of a run where the directories can't be opened. */
async function refusal(mounts: readonly Mount[], between: () => void = () => undefined): Promise<string> {
  const { run } = await openSandbox({ mounts, warm: 0 });
  between();
  const outcome = await run('print(1)');
  assert.equal(outcome.status, 'unavailable');
  assert.equal(outcome.stdout.text, '');
  return outcome.reason;
}

test('a directory that became a link after the policy was checked is refused, not followed', { skip }, async () => {
  const host = directory('swapped');
  const reason = await refusal([{ host, inside: '/mnt/x', mode: 'ro' }], () => {
    renameSync(host, `${host}-aside`);
    symlinkSync('/etc', host);
  });
  assert.match(reason, /swapped can't be mounted: .*a link since the policy was read/);
});

test('nor is one that lies behind such a link', { skip }, async () => {
  const parent = join(base, 'parent');
  mkdirSync(join(parent, 'child'), { recursive: true });
  const reason = await refusal([{ host: join(parent, 'child'), inside: '/mnt/x', mode: 'ro' }], () => {
    renameSync(parent, `${parent}-aside`);
    symlinkSync(`${parent}-aside`, parent);
  });
  assert.match(reason, /a link since the policy was read/);
});

test('one that is gone is named', { skip }, async () => {
  assert.match(
    await refusal([{ host: join(base, 'gone'), inside: '/mnt/x', mode: 'ro' }]),
    /gone can't be mounted: .*No such/,
  );
});

test('one with another file system below is refused', { skip }, async () => {
  assert.match(
    await refusal([{ host: '/dev', inside: '/mnt/x', mode: 'ro' }]),
    /another file system is mounted below \/dev/,
  );
});

test('one that the interpreter is in is never writable', { skip }, async () => {
  assert.match(
    await refusal([{ host: '/usr', inside: '/mnt/x', mode: 'rw' }]),
    /host \/usr is rw and overlaps \/usr\//,
  );
});

test(
  'no program writes as root: a directory of root is refused for writing',
  { skip: skip || (AS_ROOT ? false : 'needs root') },
  async () => {
    const host = directory('of-root', { uid: 0, gid: 0 });
    assert.match(
      await refusal([{ host, inside: '/mnt/x', mode: 'rw' }]),
      /belongs to root, and no program writes as root/,
    );
  },
);

test('and one of root can be opened for reading', { skip: skip || (AS_ROOT ? false : 'needs root') }, async () => {
  const host = directory('of-root-to-read', { uid: 0, gid: 0 });
  const { run } = await openSandbox({ mounts: [{ host, inside: '/mnt/x', mode: 'ro' }], warm: 0 });
  const { stdout, stderr } = await run(`
print(open('/mnt/x/in.csv').read())
try: open('/mnt/x/in.csv', 'a')
except OSError as error: print(type(error).__name__)`);
  assert.equal(stdout.text, 'a,b\n1,2\n\nOSError\n', stderr.text);
});

test(
  'files of others in it stay closed to programs of a root server',
  { skip: skip || (AS_ROOT ? false : 'needs root') },
  async () => {
    const host = directory('mixed');
    writeFileSync(join(host, 'of-root.txt'), 'secret', { mode: 0o600 });
    const { run } = await openSandbox({ mounts: [{ host, inside: '/mnt/x', mode: 'rw' }], warm: 0 });
    const { stdout } = await run(`
for mode in ('r', 'a'):
    try: print(open('/mnt/x/of-root.txt', mode).read())
    except OSError as error: print(type(error).__name__)`);
    assert.equal(stdout.text, 'PermissionError\nPermissionError\n');
  },
);

test(
  'a session sees them too; what a step that is undone wrote there stays, and a link to them is not followed',
  { skip },
  async () => {
    const session = await openTestSession(sandbox);
    try {
      const first = await session.step(`open('/data/kept', 'w').write('1')\nopen('mine', 'w').write('1')`);
      assert.equal(first.status, 'ok', first.stderr.text);
      const undone = await session.step(`
import os
open('/data/kept', 'w').write('2')
open('mine', 'w').write('2')
os.symlink('/data', 'link')
os._exit(3)`);
      assert.equal(undone.state, null);
      const { stdout } = await session.step(`
import os
print(open('/data/kept').read(), open('mine').read(), os.path.lexists('link'))`);
      assert.equal(stdout.text, '2 1 False\n');
      assert.equal(readFileSync(join(base, 'writable', 'kept'), 'utf8'), '2');
    } finally {
      session.sandbox.close();
    }
  },
);
