/** What a client is told of a program, through the real server and a real sandbox. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { connect, execute, tierHere, whyNoSandbox, type Session } from '../support/server.js';

const skip = whyNoSandbox();
let session: Session;
before(async () => {
  if (skip === false) {
    session = await connect({
      version: '1',
      default: 'deny',
      tools: { code_execute: {} },
      sandbox: { timeout_seconds: 20, memory_mb: 256, output_mb: 1, output_kept_kb: 8 },
    });
  }
});
after(async () => {
  if (skip === false) await session.close();
});

test('output, value and cost come back, as text and as structured content', { skip }, async () => {
  const { text, isError, structured } = await execute(session.client, { code: 'print("hello")\n6 * 7' });
  assert.equal(isError, false);
  assert.match(
    text,
    /^hello\nvalue of the last expression: 42\n\[ok in [\d.]+ m?s, CPU [\d.]+ m?s, memory \d+ MB; run [\w-]+\]$/,
  );
  assert.equal(structured.status, 'ok');
  assert.equal(structured.stdout, 'hello\n');
  assert.equal(structured.result, '42');
  assert.equal(structured.exitCode, 0);
  assert.equal(structured.tier, tierHere());
  assert.equal(structured.policy, null);
});

test('stdin reaches the program as it was sent', { skip }, async () => {
  const stdin = 'zwei\nZeilen ü \u{1f600}\n';
  const { structured } = await execute(session.client, { code: 'import sys\nprint(repr(sys.stdin.read()))', stdin });
  assert.equal(structured.stdout, `'zwei\\nZeilen ü \u{1f600}\\n'\n`);
});

test(
  'an exception says type, message and line, and its traceback shows the caller’s lines and none of ours',
  { skip },
  async () => {
    const code = 'def f(x):\n    raise ValueError("bad " + x)\n\nf("value")\n';
    const { text, isError, structured } = await execute(session.client, { code });
    assert.equal(isError, true);
    assert.match(text, /^error: ValueError: bad value \(line 2: raise ValueError\("bad " \+ x\)\)\n/);
    assert.equal(structured.status, 'error');
    assert.equal(structured.exitCode, 1);
    assert.deepEqual(structured.error, { type: 'ValueError', message: 'bad value', line: 2 });
    const stderr = String(structured.stderr);
    assert.match(stderr, /line 4, in <module>/);
    assert.match(stderr, /raise ValueError\("bad " \+ x\)/);
    assert.equal(stderr.match(/^ {2}File /gm)?.length, 2);
    assert.doesNotMatch(stderr, /program\.py|warden|zygote/);
  },
);

test('a syntax error says the line', { skip }, async () => {
  const { text } = await execute(session.client, { code: 'x = 1\nif x\n' });
  assert.match(text, /^error: SyntaxError: [^(]* \(line 2: if x\)/);
});

test('sys.exit with words: the words are on stderr, and the status is 1', { skip }, async () => {
  const { structured, isError } = await execute(session.client, { code: 'import sys\nsys.exit("no such thing")' });
  assert.equal(isError, true);
  assert.equal(structured.exitCode, 1);
  assert.match(String(structured.stderr), /^no such thing\n$/);
});

test('sys.exit(0) and a plain end are both ok', { skip }, async () => {
  assert.equal((await execute(session.client, { code: 'import sys\nsys.exit(0)' })).structured.status, 'ok');
});

test('os._exit(3) is an error with status 3', { skip }, async () => {
  const { text, structured } = await execute(session.client, {
    code: 'import os\nprint("x", flush=True)\nos._exit(3)',
  });
  assert.match(text, /^error: .*status 3/);
  assert.equal(structured.exitCode, 3);
  assert.equal(structured.stdout, 'x\n');
});

test('a segmentation fault is named', { skip }, async () => {
  const { text, structured } = await execute(session.client, { code: 'import ctypes\nctypes.string_at(0)' });
  assert.match(text, /^killed: .*SIGSEGV \(a segmentation fault/);
  assert.equal(structured.status, 'killed');
  assert.equal(structured.signal, 'SIGSEGV');
  assert.equal(structured.exitCode, null);
});

test('a program over its time is ended, and what it printed is kept', { skip }, async () => {
  const code = 'import time\nprint("before", flush=True)\ntime.sleep(60)';
  const { text, structured } = await execute(session.client, { code, timeout_seconds: 0.3 });
  assert.equal(structured.status, 'timeout');
  assert.equal(structured.stdout, 'before\n');
  assert.match(text, /^timeout: .*0\.3 s/);
  assert.match(text, /Do less in one call/);
});

test('a program that takes too much memory is told so', { skip }, async () => {
  const { text, structured } = await execute(session.client, { code: 'x = bytearray(10**9)' });
  assert.equal(structured.status, 'memory');
  assert.match(text, /^memory: .*256 MB/);
});

test(
  'a program that prints without end is ended; head, tail and the number of bytes left out are there',
  { skip },
  async () => {
    const code = 'i = 0\nwhile True:\n    print(i)\n    i += 1';
    const { text, structured } = await execute(session.client, { code });
    assert.equal(structured.status, 'output');
    assert.match(String(structured.stdout), /^0\n1\n2\n/);
    assert.ok(Number(structured.stdoutOmittedBytes) > 500_000);
    assert.match(text, /\[stdout: \d+ of \d+ bytes left out in the middle; written to a file, all of it can be read\]/);
    assert.ok(text.length < 12_000);
  },
);

test('a program can not make the result too large for a client, nor break its JSON', { skip }, async () => {
  const code =
    'import sys\nsys.stdout.buffer.write(bytes(range(256)) * 1000)\nsys.stderr.write("\\ud83d\\ude00" * 0 + "\\x01" * 9000)';
  const result = await session.client.callTool({ name: 'code_execute', arguments: { code } });
  assert.ok(Buffer.byteLength(JSON.stringify(result)) < 1_000_000);
});

test('nothing is kept between calls: no variable, no file, no module', { skip }, async () => {
  await execute(session.client, { code: 'import sys, builtins\nbuiltins.kept = 1\nopen("kept", "w").write("x")' });
  const code = 'import os, builtins\nprint(os.listdir("."), hasattr(builtins, "kept"))';
  assert.equal((await execute(session.client, { code })).structured.stdout, '[] False\n');
});

test('twenty calls at once are each answered with their own output', { skip }, async () => {
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, n) => execute(session.client, { code: `print(${n})` })),
  );
  assert.deepEqual(
    answers.map(({ structured }) => structured.stdout),
    Array.from({ length: 20 }, (_, n) => `${n}\n`),
  );
});
