/** What goes in and comes out: code, standard input, both streams, the last expression. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { openSandbox } from '../support/sandbox.js';
import { onlyStrict, WRITABLE } from '../support/tier.js';

const { run, missing } = await openSandbox({ warm: 2 });
const skip = missing;

test('standard input of 4 MB arrives whole', { skip }, async () => {
  const stdin = 'abcdefg\n'.repeat(1 << 19);
  const outcome = await run('import hashlib, sys\nprint(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())', {
    stdin,
  });
  assert.equal(outcome.stdout.text, createHash('sha256').update(stdin).digest('hex') + '\n');
});

test('standard input of 4 MB that nobody reads harms nothing', { skip }, async () => {
  const outcome = await run('print("done")', { stdin: 'x'.repeat(4 << 20) });
  assert.deepEqual([outcome.status, outcome.stdout.text], ['ok', 'done\n']);
});

test('4 MB in and 4 MB out at the same time do not lock up', { skip }, async () => {
  const outcome = await run('import sys\nfor line in sys.stdin: sys.stdout.write(line)', {
    stdin: `${'x'.repeat(1023)}\n`.repeat(3 << 10),
    limits: { outputKeptKb: 4096 },
  });
  assert.deepEqual([outcome.status, outcome.stdout.totalBytes, outcome.stdout.omittedBytes], ['ok', 3 << 20, 0]);
});

test('standard input ends', { skip }, async () => {
  const outcome = await run('import sys\nprint(repr(sys.stdin.read()), repr(sys.stdin.read()))');
  assert.equal(outcome.stdout.text, "'' ''\n");
});

test('output over the cap keeps head and tail and counts what is left out', { skip }, async () => {
  const outcome = await run('for n in range(100_000): print(f"{n:06}")', { limits: { outputKeptKb: 1 } });
  assert.equal(outcome.status, 'ok');
  const { text, totalBytes, omittedBytes } = outcome.stdout;
  assert.deepEqual([totalBytes, omittedBytes], [700_000, 700_000 - 1024]);
  assert.match(text, /^000000\n000001\n/);
  assert.match(text, new RegExp(`\\n\\[\\.\\.\\. ${omittedBytes} bytes left out \\.\\.\\.\\]\\n`));
  assert.match(text, /\n099998\n099999\n$/);
});

test('output is cut between characters, never inside one', { skip }, async () => {
  const outcome = await run('print("€" * 10_000, end="")', { limits: { outputKeptKb: 1 } });
  assert.match(outcome.stdout.text, /^€+\n\[\.\.\. \d+ bytes left out \.\.\.\]\n€+$/);
});

test('each stream has a cap of its own', { skip }, async () => {
  const outcome = await run('import sys\nprint("o" * 5000)\nprint("e" * 100, file=sys.stderr)', {
    limits: { outputKeptKb: 1 },
  });
  assert.deepEqual([outcome.stdout.omittedBytes, outcome.stderr.omittedBytes], [5001 - 1024, 0]);
});

test('invalid UTF-8 and NUL in the output become U+FFFD', { skip }, async () => {
  const outcome = await run(
    'import sys\nsys.stdout.buffer.write(b"a\\xff\\xfeb\\0c\\xe2\\x82")\nsys.stderr.buffer.write(b"\\0")',
  );
  assert.deepEqual([outcome.stdout.text, outcome.stderr.text], ['a\ufffd\ufffdb\ufffdc\ufffd', '\ufffd']);
});

test('terminal escapes are kept as they are: showing them is not this layer’s', { skip }, async () => {
  assert.equal((await run('print("\\x1b[31mred\\x1b[0m\\r")')).stdout.text, '\x1b[31mred\x1b[0m\r\n');
});

test('output comes while the program runs', { skip }, async () => {
  const pieces: string[] = [];
  const abort = new AbortController();
  const running = run('import time\nprint("now")\ntime.sleep(60)', {
    signal: abort.signal,
    onOutput(stream, bytes) {
      pieces.push(`${stream} ${Buffer.from(bytes).toString()}`);
      abort.abort();
    },
  });
  assert.equal((await running).status, 'cancelled');
  assert.deepEqual(pieces, ['stdout now\n']);
});

test('what a child process prints is captured in order', { skip }, async () => {
  const outcome = await run('import subprocess\nprint("one")\nsubprocess.run(["echo", "two"])\nprint("three")');
  assert.equal(outcome.stdout.text, 'one\ntwo\nthree\n');
});

for (const [code, result] of [
  ['1 + 1', '2'],
  ['x = 5\nx', '5'],
  ['"text"', "'text'"],
  ['None', null],
  ['x = 5', null],
  ['print(1)', null],
  ['[n for n in range(3)]', '[0, 1, 2]'],
  ['def f(): return 1\nf()', '1'],
  ['(yes := 3)', '3'],
  ['1; 2', '2'],
  ['if True: 3', null],
  ['"\\ud800"', "'\\ud800'"],
  ['"\\0"', "'\\x00'"],
  ['class A: __repr__ = lambda s: "a\\0b"\nA()', 'a\ufffdb'],
] as const) {
  test(`the value of the last expression of ${JSON.stringify(code)} is ${String(result)}`, { skip }, async () => {
    const outcome = await run(code);
    assert.deepEqual([outcome.status, outcome.result], ['ok', result], outcome.stderr.text);
  });
}

test('a last value of megabytes is cut, not lost', { skip }, async () => {
  const outcome = await run('"x" * (8 << 20)');
  assert.equal(outcome.status, 'ok');
  assert.match(outcome.result ?? '', /^'x{15000}/);
  assert.ok(Buffer.byteLength(outcome.result ?? '') < 17_000);
});

test('a repr that is not a str is told in place of the value, and leaves the outcome alone', { skip }, async () => {
  const outcome = await run('class A: __repr__ = lambda s: 1\nA()');
  assert.equal(outcome.status, 'ok');
  assert.match(outcome.result ?? '', /TypeError/);
});

test('a failed program has no result', { skip }, async () => {
  assert.equal((await run('import atexit, os\natexit.register(os._exit, 4)\n1 + 1')).result, null);
});

test('NUL in the code is a syntax error with words', { skip }, async () => {
  const outcome = await run('print(1)\0');
  assert.equal(outcome.status, 'error');
  assert.match(
    `${outcome.error?.type ?? ''}: ${outcome.error?.message ?? ''}`,
    /^(SyntaxError|ValueError): .*null byte/,
  );
});

test('lone surrogates in code and standard input arrive as U+FFFD', { skip }, async () => {
  const outcome = await run('print(ascii("\ud800"), ascii(input()))', { stdin: '\udfff' });
  assert.equal(outcome.stdout.text, "'\\ufffd' '\\ufffd'\n");
});

test('code is UTF-8, with or without a byte order mark, and line ends of every kind', { skip }, async () => {
  assert.equal((await run('\ufeffprint("é€😀")')).stdout.text, 'é€😀\n');
  assert.equal((await run('print(1)\r\nif True:\r\n    print(2)\r\n')).stdout.text, '1\n2\n');
  assert.equal((await run('print(1)\rprint(2)\r')).stdout.text, '1\n2\n');
  assert.equal((await run('print("no newline at the end")')).stdout.text, 'no newline at the end\n');
});

test('code of 256 KB with a million characters of data runs', { skip }, async () => {
  const outcome = await run(`data = """${'x'.repeat(1 << 20)}"""\nprint(len(data))`);
  assert.equal(outcome.stdout.text, '1048576\n');
});

test('deeply nested code is an error of the program, never ours', { skip }, async () => {
  for (const code of ['('.repeat(5000) + ')'.repeat(5000), '-'.repeat(50_000) + '1', 'a' + '.b'.repeat(50_000)]) {
    const outcome = await run(code);
    assert.ok(['error', 'killed', 'memory'].includes(outcome.status), `${outcome.status}: ${outcome.reason}`);
  }
});

test('every place a program may write to is empty at each start', { skip }, async () => {
  const code = `import os\nfor p in ${WRITABLE}:\n  print(os.listdir(p))\n  open(f"{p}/mine", "w").close()`;
  for (let round = 0; round < 3; round += 1) assert.match((await run(code)).stdout.text, /^(\[\]\n){2,3}$/);
});

test(
  'disk and inodes are capped, with errors the program can handle',
  { skip: skip || onlyStrict('the program is stopped instead (lifecycle.test.ts)') },
  async () => {
    const outcome = await run(
      `
import errno, os
try:
    for n in range(99):
        with open(f"/tmp/f{n}", "wb") as f: f.write(bytes(1 << 20))
except OSError as e: print(errno.errorcode[e.errno], n)
for name in os.listdir("/tmp"): os.unlink(f"/tmp/{name}")
try:
    for n in range(99999): open(f"/dev/shm/{n}", "w").close()
except OSError as e: print(errno.errorcode[e.errno], n < 1024)
`,
      { limits: { memoryMb: 512 } },
    );
    assert.match(outcome.stdout.text, /^ENOSPC 3\d\nENOSPC True\n$/, outcome.stderr.text + outcome.reason);
  },
);
