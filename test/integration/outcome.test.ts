/** Every way a program can end, with the exact words and fields of the outcome. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JobOutcome } from '../../src/sandbox.js';
import { openSandbox, runUntil, TIER } from '../support/sandbox.js';
import { asInTree } from '../support/tier.js';

const { run, missing } = await openSandbox();
const skip = missing;

/** What is the same every time, with the streams as text. */
function told(outcome: JobOutcome) {
  const { usage, stdout, stderr, ...rest } = outcome;
  assert.ok(usage.durationMs > 0 && usage.cpuMs >= 0 && usage.peakMemoryBytes > 1 << 20, JSON.stringify(usage));
  return { ...rest, stdout: stdout.text, stderr: stderr.text };
}

const ENDED_NORMALLY = {
  status: 'ok',
  reason: 'the program ended normally',
  stdout: '',
  stderr: '',
  result: null,
  filesLeftOut: { count: 0, examples: [] },
  error: null,
  exitCode: 0,
  signal: null,
  retryable: false,
};

test('ok: a program that prints on both streams', { skip }, async () => {
  const outcome = await run('import sys\nprint("out")\nprint("err", file=sys.stderr)');
  assert.deepEqual(told(outcome), { ...ENDED_NORMALLY, stdout: 'out\n', stderr: 'err\n' });
});

test('ok: an empty program', { skip }, async () => {
  assert.deepEqual(told(await run('')), ENDED_NORMALLY);
});

test(
  'error: an uncaught exception has type, message and line, and a traceback of the caller’s lines only',
  { skip },
  async () => {
    const outcome = await run('def f(d):\n    return d["missing"]\n\nprint("before")\nf({})\n');
    assert.deepEqual(
      { ...told(outcome), stderr: '' },
      {
        ...ENDED_NORMALLY,
        status: 'error',
        reason: 'the program exited with status 1: uncaught KeyError on line 2',
        stdout: 'before\n',
        error: { type: 'KeyError', message: "'missing'", line: 2 },
        exitCode: 1,
      },
    );
    const lines = asInTree(outcome.stderr.text)
      .split('\n')
      .filter((line) => !/^\s*[\^~]+$/.test(line));
    assert.deepEqual(lines, [
      'Traceback (most recent call last):',
      '  File "/code/main.py", line 5, in <module>',
      '    f({})',
      '  File "/code/main.py", line 2, in f',
      '    return d["missing"]',
      "KeyError: 'missing'",
      '',
    ]);
  },
);

test('error: every traceback of a chain shows the caller’s lines only', { skip }, async () => {
  const outcome = await run(
    'try:\n    {}[1]\nexcept KeyError as e:\n    try:\n        raise OSError("second") from e\n    except OSError:\n        raise ValueError("third")\n',
  );
  assert.equal(outcome.reason, 'the program exited with status 1: uncaught ValueError on line 7');
  const files = [...asInTree(outcome.stderr.text).matchAll(/File "([^"]*)", line (\d+)/g)].map(
    ([, file, line]) => `${file ?? ''}:${line ?? ''}`,
  );
  assert.deepEqual(files, ['/code/main.py:2', '/code/main.py:5', '/code/main.py:7']);
});

test('error: a syntax error names its line and shows no frame of ours', { skip }, async () => {
  const outcome = await run('x = 1\ny = (\n');
  assert.equal(outcome.status, 'error');
  assert.equal(outcome.error?.type, 'SyntaxError');
  assert.equal(outcome.error.line, 2);
  assert.equal(outcome.exitCode, 1);
  assert.match(asInTree(outcome.stderr.text), /^ {2}File "\/code\/main\.py", line 2\n {4}y = \(/);
});

test('error: an error in the last expression has its line', { skip }, async () => {
  const outcome = await run('x = 0\n1 / x');
  assert.deepEqual(outcome.error, { type: 'ZeroDivisionError', message: 'division by zero', line: 2 });
  assert.doesNotMatch(outcome.stderr.text, /program\.py|zygote|warden/);
});

test(
  'ok: a repr that raises is told in place of the value, and does not undo what the program did',
  { skip },
  async () => {
    const outcome = await run('class A:\n    def __repr__(self):\n        raise ValueError("no repr")\nA()');
    assert.deepEqual(
      [outcome.status, outcome.result, outcome.error, outcome.stderr.text],
      ['ok', '<A object whose repr failed: ValueError: no repr>', null, ''],
    );
  },
);

test('error: an exception in a library is told with the line of the caller’s code', { skip }, async () => {
  const outcome = await run('import json\n\njson.loads("{")\n');
  assert.equal(outcome.error?.type, 'json.decoder.JSONDecodeError');
  assert.equal(outcome.error.line, 3);
});

test('error: an exception whose message cannot be made is still told', { skip }, async () => {
  const outcome = await run('class Odd(Exception):\n    def __str__(self):\n        raise TypeError\nraise Odd');
  assert.deepEqual(outcome.error, { type: 'Odd', message: '<the exception could not be printed>', line: 4 });
});

test('error: sys.exit with a status', { skip }, async () => {
  assert.deepEqual(told(await run('import sys\nprint("x")\nsys.exit(7)')), {
    ...ENDED_NORMALLY,
    status: 'error',
    reason: 'the program exited with status 7',
    stdout: 'x\n',
    exitCode: 7,
  });
});

test('error: sys.exit with words prints them on stderr and is status 1', { skip }, async () => {
  assert.deepEqual(told(await run('import sys\nsys.exit("words")')), {
    ...ENDED_NORMALLY,
    status: 'error',
    reason: 'the program exited with status 1',
    stderr: 'words\n',
    exitCode: 1,
  });
});

for (const [code, exitCode] of [
  ['raise SystemExit', 0],
  ['raise SystemExit(None)', 0],
  ['raise SystemExit(256)', 0],
  ['raise SystemExit(-1)', 255],
  ['raise SystemExit(True)', 1],
  ['raise SystemExit((1, 2))', 1],
  ['import os; os._exit(0)', 0],
] as const) {
  test(`exit status ${exitCode} for ${code}`, { skip }, async () => {
    const outcome = await run(code);
    assert.deepEqual([outcome.exitCode, outcome.status], [exitCode, exitCode === 0 ? 'ok' : 'error']);
  });
}

test('error: os._exit(3), with what was printed before', { skip }, async () => {
  assert.deepEqual(told(await run('import os\nprint("before")\nos._exit(3)')), {
    ...ENDED_NORMALLY,
    status: 'error',
    reason: 'the program exited with status 3',
    stdout: 'before\n',
    exitCode: 3,
  });
});

test('error: KeyboardInterrupt is an exception like any other', { skip }, async () => {
  const outcome = await run('import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(5)');
  assert.deepEqual([outcome.status, outcome.error?.type], ['error', 'KeyboardInterrupt']);
});

test('killed: a segmentation fault, with what was printed before', { skip }, async () => {
  assert.deepEqual(told(await run('import ctypes\nprint("before")\nctypes.string_at(0)')), {
    ...ENDED_NORMALLY,
    status: 'killed',
    reason:
      'the program was killed by SIGSEGV (a segmentation fault: the interpreter or an extension touched memory that is not there)',
    stdout: 'before\n',
    exitCode: null,
    signal: 'SIGSEGV',
  });
});

for (const [name, why] of [
  ['SIGABRT', 'the interpreter or an extension aborted itself'],
  ['SIGKILL', 'killed by itself, or by the kernel because memory ran out'],
  ['SIGTERM', 'it was terminated from inside the sandbox'],
  ['SIGFPE', 'an arithmetic fault in native code'],
] as const) {
  test(`killed: ${name} says so`, { skip }, async () => {
    const outcome = await run(`import os, signal\nos.kill(os.getpid(), signal.${name})`);
    assert.deepEqual(
      [outcome.status, outcome.reason, outcome.signal, outcome.exitCode, outcome.retryable],
      ['killed', `the program was killed by ${name} (${why})`, name, null, false],
    );
  });
}

test('killed: a real-time signal has a number for a name', { skip }, async () => {
  const outcome = await run('import os\nos.kill(os.getpid(), 40)');
  assert.deepEqual([outcome.reason, outcome.signal], ['the program was killed by signal 40', 'signal 40']);
});

test('timeout: what was printed until then is there', { skip }, async () => {
  const outcome = await run('import time\nprint("before")\nprint("unfinished", end="", flush=True)\ntime.sleep(60)', {
    limits: { timeoutSeconds: 0.3 },
  });
  assert.deepEqual(told(outcome), {
    ...ENDED_NORMALLY,
    status: 'timeout',
    reason: 'stopped at the time limit of 0.3 s',
    stdout: 'before\nunfinished',
    exitCode: null,
    signal: 'SIGKILL',
  });
});

test('timeout: CPU time has a limit of its own', { skip }, async () => {
  const outcome = await run('print("before")\nwhile True: pass', { limits: { cpuSeconds: 0.3 } });
  assert.deepEqual(
    [outcome.status, outcome.reason, outcome.stdout.text],
    ['timeout', 'stopped at the CPU time limit of 0.3 s', 'before\n'],
  );
  assert.ok(outcome.usage.cpuMs >= 300, JSON.stringify(outcome.usage));
});

test('timeout: CPU time counts all processes together', { skip }, async () => {
  const outcome = await run('import os\nfor _ in range(3): os.fork()\nwhile True: pass', {
    limits: { cpuSeconds: 0.5 },
  });
  assert.equal(outcome.reason, 'stopped at the CPU time limit of 0.5 s');
});

test('memory: the limit ends the program, and what was printed is there', { skip }, async () => {
  const outcome = await run('print("before")\nkeep = []\nwhile True: keep.append(bytearray(1 << 20))', {
    limits: { memoryMb: 64 },
  });
  assert.deepEqual(
    [outcome.status, outcome.reason, outcome.stdout.text],
    ['memory', 'stopped at the memory limit of 64 MB', 'before\n'],
  );
});

test('memory: asking for far too much is a MemoryError that the program can catch', { skip }, async () => {
  const outcome = await run('try: bytearray(1 << 40)\nexcept MemoryError: print("caught")');
  assert.deepEqual([outcome.status, outcome.stdout.text], ['ok', 'caught\n']);
});

test('memory: an uncaught MemoryError is status memory', { skip }, async () => {
  const outcome = await run('x = 1\nbytearray(1 << 40)', { limits: { memoryMb: 64 } });
  assert.deepEqual(
    [outcome.status, outcome.reason, outcome.error?.type, outcome.error?.line, outcome.exitCode],
    ['memory', 'the program ran into the memory limit of 64 MB (MemoryError)', 'MemoryError', 2, 1],
  );
});

test('output: the limit ends the program, and head and tail of it are kept', { skip }, async () => {
  const outcome = await run('n = 0\nwhile True:\n    print(n)\n    n += 1', {
    limits: { outputMb: 1, outputKeptKb: 4 },
  });
  assert.deepEqual([outcome.status, outcome.reason], ['output', 'stopped after printing 1 MB, the output limit']);
  assert.equal(outcome.stdout.totalBytes, 1 << 20);
  assert.match(outcome.stdout.text, /^0\n1\n2\n/);
  assert.match(outcome.stdout.text, /\n\[\.\.\. \d+ bytes left out \.\.\.\]\n/);
});

test('output: the limit is for both streams together', { skip }, async () => {
  const outcome = await run(
    'import sys\nfor _ in range(3):\n    print("o" * 400_000)\n    print("e" * 400_000, file=sys.stderr)',
    {
      limits: { outputMb: 1 },
    },
  );
  assert.equal(outcome.status, 'output');
  assert.equal(outcome.stdout.totalBytes + outcome.stderr.totalBytes, 1 << 20);
});

test('cancelled: the program is killed, and what was printed is there', { skip }, async () => {
  const abort = new AbortController();
  const { outcome } = await runUntil('started', run, 'import time\nprint("started")\ntime.sleep(60)', {
    signal: abort.signal,
  });
  abort.abort();
  assert.deepEqual(told(await outcome), {
    ...ENDED_NORMALLY,
    status: 'cancelled',
    reason: 'cancelled by the caller',
    stdout: 'started\n',
    exitCode: null,
    signal: 'SIGKILL',
  });
});

test('cancelled: before it began', { skip }, async () => {
  const outcome = await run('print("never")\nimport time\ntime.sleep(60)', { signal: AbortSignal.abort() });
  assert.deepEqual([outcome.status, outcome.retryable], ['cancelled', false]);
});

/** Of an ordinary user the kernel counts all processes, where there are no namespaces; then it is kept within twice the limit. */
const MOST_PROCESSES = TIER === 'strict' || process.getuid?.() === 0 ? 10 : 20;

test('a limit of processes, of open files, of file size: errors the program can handle', { skip }, async () => {
  const outcome = await run(
    `
import errno, os, resource
files = []
try:
    while True: files.append(open("/dev/null"))
except OSError as e: print("files", errno.errorcode[e.errno], len(files) < 20)
del files
pids = []
try:
    while True:
        pid = os.fork()
        if pid == 0: os.read(os.pipe()[0], 1)
        pids.append(pid)
except OSError as e: print("processes", errno.errorcode[e.errno], len(pids) < ${MOST_PROCESSES})
for pid in pids: os.kill(pid, 9)
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    with open("big", "wb") as f: f.write(bytes(2 << 20))
except OSError as e: print("file size", errno.errorcode[e.errno], os.path.getsize("big") == 1 << 20)
`,
    { limits: { openFiles: 20, processes: 10, fileSizeMb: 1 } },
  );
  assert.equal(
    outcome.stdout.text,
    'files EMFILE True\nprocesses EAGAIN True\nfile size EFBIG True\n',
    outcome.stderr.text,
  );
});

test('a file over the size limit is an error, as Python ignores SIGXFSZ', { skip }, async () => {
  const outcome = await run('open("big", "wb").write(bytes(2 << 20))', { limits: { fileSizeMb: 1 } });
  assert.deepEqual([outcome.status, outcome.error?.type], ['error', 'OSError']);
});

test('usage is the program’s: CPU time and memory of what it did, none of ours', { skip }, async () => {
  const idle = await run('pass');
  const busy = await run(
    'import time\nkeep = b"x" * (60 << 20)\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass',
  );
  assert.ok(idle.usage.cpuMs < 200, JSON.stringify(idle.usage));
  assert.ok(idle.usage.peakMemoryBytes < 60 << 20, JSON.stringify(idle.usage));
  assert.ok(busy.usage.cpuMs >= 290 && busy.usage.durationMs >= 290, JSON.stringify(busy.usage));
  assert.ok(busy.usage.peakMemoryBytes >= 60 << 20, JSON.stringify(busy.usage));
});
