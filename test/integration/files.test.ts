/** Files into a real sandbox, and out of it. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { InputFile, JobLimits } from '../../src/sandbox.js';
import { leftFiles } from '../support/left-files.js';
import { openSandbox } from '../support/sandbox.js';

const sandbox = await openSandbox({ diskMb: 32, diskInodes: 8192 });
const skip = sandbox.missing;

const text = (name: string, content: string): InputFile => ({ name, bytes: Buffer.from(content) });

async function run(code: string, files: readonly InputFile[] = [], limits: Partial<JobLimits> = {}) {
  const left = leftFiles();
  const outcome = await sandbox.run(code, { files, limits, onFile: left.onFile });
  return { outcome, names: [...left.files.keys()], left: left.files, why: outcome.filesLeftOut };
}

test('files that are sent are there, in their directories, and are the program’s own', { skip }, async () => {
  const { outcome } = await run(
    `
import os, stat
for name in ("a.csv", "in/deep/b.bin", "-rf", "ü 1"):
    found = os.lstat(name)
    print(name, len(open(name, "rb").read()), found.st_uid == os.getuid(), stat.S_ISREG(found.st_mode))
    open(name, "ab").close()
open("in/new", "w").close()
`,
    [
      text('a.csv', 'x,y\n'),
      { name: 'in/deep/b.bin', bytes: Buffer.alloc(3_000_000, 7) },
      text('-rf', ''),
      text('ü 1', '1'),
    ],
  );
  assert.equal(
    outcome.stdout.text,
    'a.csv 4 True True\nin/deep/b.bin 3000000 True True\n-rf 0 True True\nü 1 1 True True\n',
    outcome.stderr.text,
  );
});

test('what a program leaves comes back by name, directory for directory, byte for byte', { skip }, async () => {
  const { outcome, names, left, why } = await run(`
import os
os.makedirs("b/c")
open("b/c/deep.txt", "w").write("deep")
open("z.bin", "wb").write(bytes(range(256)) * 1000)
open("a", "w").close()
open("B", "w").write("1")
open("-rf", "w").write("2")
open("ü \\U0001f600", "w").write("3")
os.mkdir("empty")
`);
  assert.equal(outcome.status, 'ok', outcome.stderr.text);
  assert.deepEqual(names, ['-rf', 'B', 'a', 'b/c/deep.txt', 'z.bin', 'ü \u{1f600}']);
  assert.equal(left.get('b/c/deep.txt')?.toString(), 'deep');
  assert.equal(left.get('z.bin')?.length, 256_000);
  assert.ok(
    left
      .get('z.bin')
      ?.subarray(0, 256)
      .equals(Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))),
  );
  assert.deepEqual(why, { count: 0, examples: [] });
});

test('files that were sent come back only where the program changed them, however it did', { skip }, async () => {
  const same = ['read', 'touched', 'rewritten', 'appended', 'mapped', 'replaced', 'made shorter', 'in/moved'];
  const { outcome, names } = await run(
    `
import mmap, os
open("read").read()
os.utime("touched"); os.chmod("touched", 0o600)
open("rewritten", "r+").write("X")
open("appended", "a").write("X")
with open("mapped", "r+b") as file:
    mapped = mmap.mmap(file.fileno(), 0); mapped[0:1] = b"X"; mapped.close()
open("new", "w").write("X"); os.replace("new", "replaced")
os.truncate("made shorter", 1)
os.rename("in/moved", "elsewhere")
`,
    same.map((name) => text(name, '12')),
  );
  assert.equal(outcome.status, 'ok', outcome.stderr.text);
  assert.deepEqual(names, ['appended', 'elsewhere', 'made shorter', 'mapped', 'replaced', 'rewritten']);
});

test('__pycache__ does not come back, and nobody counts it', { skip }, async () => {
  const { names, why } = await run(`
import os
os.mkdir("__pycache__"); open("__pycache__/x.pyc", "w").write("x")
os.makedirs("package/__pycache__"); open("package/__pycache__/y.pyc", "w").write("y"); open("package/m.py", "w").close()
`);
  assert.deepEqual(names, ['package/m.py']);
  assert.equal(why.count, 0);
});

test('what a program left comes back however it ended', { skip }, async () => {
  for (const [end, status] of [
    ['raise ValueError', 'error'],
    ['import time; time.sleep(60)', 'timeout'],
    ['import os, signal; os.kill(os.getpid(), signal.SIGSEGV)', 'killed'],
    ['while True: print("x" * 100_000)', 'output'],
    ['import os; os._exit(3)', 'error'],
  ] as const) {
    const { outcome, left } = await run(`open("kept", "w").write("1")\n${end}`, [], { timeoutSeconds: 1 });
    assert.equal(outcome.status, status, outcome.reason);
    assert.equal(left.get('kept')?.toString(), '1');
  }
});

test('of 5,000 files the first come back, by name, and the rest is counted', { skip }, async () => {
  const { outcome, names, why } = await run(`
for n in range(5000):
    open(f"{n:04}", "w").write("x")
`);
  assert.equal(outcome.status, 'ok', outcome.stderr.text);
  assert.deepEqual(
    names,
    Array.from({ length: 100 }, (_, n) => String(n).padStart(4, '0')),
  );
  assert.equal(why.count, 4900);
  assert.deepEqual(why.examples[0], { name: '0100', why: 'at most 100 files come back' });
  assert.equal(why.examples.length, 10);
});

test('a file that is too large is left out, and smaller ones after it come', { skip }, async () => {
  const { names, why } = await run(
    `
open("a", "wb").write(bytes(900_000))
open("b", "wb").write(bytes(900_000))
open("c", "wb").write(bytes(100_000))
`,
    [],
    { filesOutMb: 1 },
  );
  assert.deepEqual(names, ['a', 'c']);
  assert.match(why.examples[0]?.why ?? '', /900000 bytes long; 1048576 come back from one run, and 148576 of them/);
});

test('a file that does not fit the disk is said, and nothing runs', { skip }, async () => {
  const { outcome } = await run('print("ran")', [text('ok', '1'), { name: 'large', bytes: Buffer.alloc(33 << 20) }]);
  assert.equal(outcome.status, 'error');
  assert.equal(
    outcome.reason,
    'the file large could not be put into the working directory: its disk is full; nothing was run',
  );
  assert.equal(outcome.stdout.text, '');
  assert.equal(outcome.exitCode, null);
});

test('directories and files that a program closed to itself come back all the same', { skip }, async () => {
  const { names } = await run(`
import os
os.makedirs("closed/deeper"); open("closed/deeper/a", "w").write("1"); open("b", "w").write("2")
os.chmod("closed/deeper/a", 0); os.chmod("closed/deeper", 0); os.chmod("closed", 0o111); os.chmod("b", 0); os.chmod(".", 0)
`);
  assert.deepEqual(names, ['b', 'closed/deeper/a']);
});

test('what writes on in the background is dead before its file is read', { skip }, async () => {
  const { outcome, left } = await run(`
import os
os.link  # the program ends; its child goes on writing
if os.fork() == 0:
    os.setsid()
    n = 0
    while True:
        with open("new", "w") as file: file.write(f"{n:08}" * 1000)
        os.replace("new", "counter"); n += 1
while not os.path.exists("counter"): pass
`);
  assert.equal(outcome.status, 'ok', outcome.stderr.text);
  const content = left.get('counter')?.toString() ?? '';
  assert.equal(content, content.slice(0, 8).repeat(1000));
});

test('nobody who wants no files pays for them: the working directory is not even looked at', { skip }, async () => {
  const outcome = await sandbox.run('open("a", "w").write("1")\nimport os; os.symlink("/", "b")');
  assert.deepEqual(outcome.filesLeftOut, { count: 0, examples: [] });
});

test('collecting is not charged to the program', { skip }, async () => {
  const { outcome, left } = await run('open("a", "wb").write(bytes(15_000_000))');
  assert.equal(left.get('a')?.length, 15_000_000);
  const alone = await sandbox.run('open("a", "wb").write(bytes(15_000_000))');
  assert.ok(outcome.usage.cpuMs < alone.usage.cpuMs + 100, `${outcome.usage.cpuMs} ms`);
});

test('a program can’t make the warden import its files', { skip }, async () => {
  const { outcome, names } = await run(`
for name in ("encodings", "codecs", "binascii", "itertools", "traceback", "_colorize", "tokenize", "encodings.idna"):
    open(name + ".py", "w").write("import os; os.write(2, b'imported by the warden')")
open(b"\\xff\\xfe", "w").close()
`);
  assert.equal(outcome.status, 'ok', outcome.stderr.text);
  assert.equal(names.length, 8);
});
