/** The directory of a zygote: whose it is, when it goes, what is swept at the start, and what is never touched. */

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { nameWorkspace } from '../../src/backends/workspace.js';
import { LIMITS, openSandbox, PYTHON, until } from '../support/sandbox.js';

const SANDBOX = fileURLToPath(new URL('../../../sandbox', import.meta.url));
const system = tmpdir();
let place = '';
beforeEach(() => {
  place = mkdtempSync(join(system, 'w-'));
  chmodSync(place, 0o755); // the ids of runs pass through
  process.env.TMPDIR = place;
});
after(() => {
  process.env.TMPDIR = system;
  for (const name of readdirSync(system)) {
    if (/^w-.{6}$/.test(name)) rmSync(join(system, name), { recursive: true, force: true });
  }
});

const asRoot = process.getuid?.() === 0 ? false : 'needs root';
const asUser = process.getuid?.() === 0 ? 'needs an ordinary user' : false;

/** Run Python that has the far side's modules. Returns what it printed. */
function python(code: string): string {
  const ran = spawnSync(PYTHON, ['-I', '-c', `import sys; sys.path.insert(0, ${JSON.stringify(SANDBOX)})\n${code}`], {
    encoding: 'utf8',
  });
  assert.equal(ran.status, 0, ran.stderr);
  return ran.stdout;
}

const sweep = () => python(`import workspace; workspace.sweep(${JSON.stringify(place)})`);

/** What a server that was killed leaves: a directory with its socket, in which `fill` (Python, in the working directory of a run) left something. */
function stale(fill = 'pass'): string {
  const path = nameWorkspace().directory;
  python(`
import os, socket
import scratch, workspace
from confine import tree
made = workspace.Workspace(${JSON.stringify(path)})
socket.socket(socket.AF_UNIX).bind(made.socket)
for passed in (made.path, made.root):
    os.chmod(passed, 0o711)
uid = 1900000007 if os.geteuid() == 0 else 0
scratch.make(made.root, uid)
if uid:
    os.setgroups([]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
os.chdir(tree.WORK)
${fill}
os._exit(0)`);
  return path;
}

test('a workspace is for its owner alone, is named after the server, and goes with the zygote', async () => {
  const sandbox = await openSandbox({ warm: 0, weaken: { tier: 'none' } });
  assert.equal((await sandbox.run('print(1)')).status, 'ok');
  const [name = ''] = readdirSync(place);
  assert.match(name, new RegExp(`^cordon-${process.pid}-[0-9a-f]{16}$`));
  const mode = lstatSync(join(place, name)).mode & 0o777;
  // As root the ids of runs pass through, and can't list.
  assert.equal(mode, asUser === false ? 0o700 : 0o711);
  await sandbox.backend.close();
  assert.deepEqual(readdirSync(place), []);
});

test('the directory of a dead server is removed at the next start', async () => {
  const dead = stale('open("file", "w").write("x")');
  assert.ok(existsSync(join(dead, 'zygote.sock')) && readdirSync(join(dead, 'root')).length === 1);
  const sandbox = await openSandbox({ warm: 0 });
  assert.equal((await sandbox.run('print(1)')).status, 'ok');
  await until(() => !existsSync(dead), 'the directory is gone');
  await sandbox.backend.close();
  assert.deepEqual(readdirSync(place), []);
});

test('a directory that is in use is never swept, also by servers that see no process of the other', async () => {
  const path = nameWorkspace().directory;
  // A child holds the lock as a warden does, and who made it has ended.
  const holder = spawn(
    PYTHON,
    [
      '-I',
      '-c',
      `import sys; sys.path.insert(0, ${JSON.stringify(SANDBOX)})
import os, signal
import workspace
workspace.Workspace(${JSON.stringify(path)})
if os.fork(): os._exit(0)
print(os.getpid(), flush=True)
signal.pause()`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const [said] = (await once(holder.stdout, 'data')) as [Buffer];
  try {
    sweep();
    assert.deepEqual(readdirSync(path), ['root']);
  } finally {
    process.kill(Number(said.toString()), 'SIGKILL');
  }
  await once(holder, 'close');
  sweep();
  assert.ok(!existsSync(path));
});

test('many starts at once leave each other’s directories alone, and the last one leaves none of the dead', async () => {
  const ran = python(`
import os
import workspace
children = []
for child in range(8):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            for n in range(30):
                made = workspace.Workspace(f"${place}/cordon-{os.getpid()}-{n:016x}")
                assert os.listdir(made.path) == ["root"]
                made.let_go()  # as if it had been killed
            status = 0
        finally:
            os._exit(status)
    children.append(pid)
print(sum(os.waitpid(pid, 0)[1] for pid in children))`);
  assert.equal(ran, '0\n');
  // Their own sweeps end with them, a moment later.
  await until(() => {
    sweep();
    return readdirSync(place).length === 0;
  }, 'nothing is left');
});

test('nothing that a program left is too deep, too closed or too odd to be removed, and nothing outside is touched', () => {
  const victim = mkdtempSync(join(system, 'w-'));
  writeFileSync(join(victim, 'file'), 'precious');
  chmodSync(victim, 0o777);
  chmodSync(join(victim, 'file'), 0o666);
  const path = stale(`
top = os.getcwd()
for n in range(10_000):
    os.mkdir("d"); os.chdir("d")
os.chdir(top)
for name in (b"\\xff\\xfe", b"a\\nb", b"-rf", b".1", b".2", b"\\x1b[2J", b"x" * 255):
    os.mkdir(name)
    open(name + b"/f" if len(name) < 200 else b"y" * 255, "w").close()
os.mkfifo("pipe")
socket.socket(socket.AF_UNIX).bind("socket")
os.symlink(${JSON.stringify(victim)}, "out")
os.symlink(${JSON.stringify(join(victim, 'file'))}, "out-file")
os.mkdir("closed/"); os.mkdir("closed/inner"); os.symlink(${JSON.stringify(victim)}, "closed/inner/out")
os.chmod("closed/inner", 0); os.chmod("closed", 0)
os.chmod(top, 0)`);
  sweep();
  assert.ok(!existsSync(path));
  assert.deepEqual(readdirSync(victim), ['file']);
  const { mode } = lstatSync(victim);
  assert.equal(mode & 0o777, 0o777);
});

test('a program that outlived its warden, zygote and launcher is ended before its directory goes', async () => {
  const path = nameWorkspace().directory;
  // As in tier \`none\`: the limits are what it is known by.
  const code = `
import os, signal, subprocess, sys
sys.path.insert(0, ${JSON.stringify(SANDBOX)})
import scratch, workspace
from confine import kernel, limits, tree
made = workspace.Workspace(${JSON.stringify(path)})
uid = 1900000007 if os.geteuid() == 0 else 0
for passed in (made.path, made.root):
    os.chmod(passed, 0o711)
scratch.make(made.root, uid)
os.chdir(tree.WORK)
programs = []
ready, tell = os.pipe()
for confined in (True, False):
    pid = os.fork()
    if pid == 0:
        os.setsid()
        if uid:
            os.setgroups([]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        if confined:
            limits.apply_fixed()
            limits.apply(cpu_seconds=600, memory_mb=64, processes=4096, open_files=64, file_size_mb=1)
        if os.fork() == 0:
            os.write(tell, b".")
            os.execv("/bin/sleep", ["zygote.py", "3600"])  # a name that a guard has
        os.execv("/bin/sleep", ["sleep", "3600"])
    programs.append(pid)
    os.read(ready, 1)
print(*programs, flush=True)
os.kill(os.getpid(), signal.SIGKILL)`;
  const maker = spawn(PYTHON, ['-I', '-c', code], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [said] = (await once(maker.stdout, 'data')) as [Buffer];
  const [orphan = 0, stranger = 0] = said.toString().split(' ').map(Number);
  try {
    await once(maker, 'exit');
    sweep();
    assert.ok(!existsSync(path));
    assert.ok(!runs(orphan), 'the orphan still runs');
    assert.ok(runs(stranger), 'a process that is no program of ours was killed');
  } finally {
    for (const pid of [orphan, stranger]) if (runs(pid)) process.kill(-pid, 'SIGKILL');
  }
});

function runs(pid: number): boolean {
  return (
    spawnSync('ps', ['-o', 'stat=', '-p', `${pid}`], { encoding: 'utf8' })
      .stdout.replaceAll(/Z\S*/g, '')
      .trim() !== ''
  );
}

test('symbolic links planted in a stale directory lead nowhere', () => {
  const victim = join(place, 'victim');
  mkdirSync(join(victim, 'inner'), { recursive: true });
  writeFileSync(join(victim, 'file'), 'precious');
  const path = nameWorkspace().directory;
  mkdirSync(path);
  symlinkSync(victim, join(path, 'root'));
  symlinkSync(join(victim, 'file'), join(path, 'zygote.sock'));
  symlinkSync(victim, join(path, 'other'));
  const other = nameWorkspace().directory;
  mkdirSync(join(other, 'root', '1-run'), { recursive: true });
  symlinkSync(victim, join(other, 'root', '2-run'));
  symlinkSync(victim, join(other, 'root', '1-run', 'work'));
  sweep();
  assert.deepEqual(readdirSync(victim).sort(), ['file', 'inner']);
  assert.ok(!existsSync(other));
});

test('a stale name that is itself a link, or a file, is left alone', () => {
  const victim = join(place, 'victim');
  mkdirSync(join(victim, 'root'), { recursive: true });
  writeFileSync(join(victim, 'zygote.sock'), 'precious');
  const [link, file] = [nameWorkspace().directory, nameWorkspace().directory];
  symlinkSync(victim, link);
  writeFileSync(file, '');
  sweep();
  assert.deepEqual(readdirSync(victim).sort(), ['root', 'zygote.sock']);
  assert.ok(existsSync(file) && lstatSync(link).isSymbolicLink());
});

test('what is not ours beside the places of runs is never removed', () => {
  const path = stale();
  writeFileSync(join(path, 'something-else'), 'precious');
  sweep();
  assert.deepEqual(readdirSync(path), ['something-else']);
});

test('names that only look alike are left alone', () => {
  const hex = '0123456789abcdef';
  const names = [
    'cordon-',
    `cordon-x-${hex}`,
    `cordon1-${hex}`,
    `xcordon-1-${hex}`,
    'cordon-1',
    `cordon-1-${hex}0`,
    'cordon-test-abc',
  ];
  for (const name of names) mkdirSync(join(place, name));
  sweep();
  assert.deepEqual(readdirSync(place).sort(), names.sort());
});

test('the stale directory of another user is left alone', { skip: asRoot }, () => {
  const path = stale();
  chownSync(path, 65534, 65534);
  sweep();
  assert.ok(existsSync(join(path, 'root')));
});

/** What a run says where the zygote can't make its directory. */
async function refusal(): Promise<string> {
  const sandbox = await openSandbox({ warm: 0 });
  const { status, reason } = await sandbox.run('print(1)', { limits: LIMITS });
  assert.equal(status, 'unavailable');
  return reason;
}

test('a temporary directory whose path is too long for a socket is refused with words, and left as it was', async () => {
  const long = join(place, 'x'.repeat(100));
  mkdirSync(long);
  process.env.TMPDIR = long;
  assert.match(await refusal(), /the path of a socket may be 107 bytes long, .* set TMPDIR to a shorter directory/);
  assert.deepEqual(readdirSync(long), []);
});

test('a temporary directory that can’t be written to is an error that names it', { skip: asUser }, async () => {
  chmodSync(place, 0o500);
  assert.match(await refusal(), new RegExp(place));
  chmodSync(place, 0o700);
});
