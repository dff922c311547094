/** Many jobs at once, and that they see nothing of each other. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { descendants, openSandbox, runUntil, TIER, until } from '../support/sandbox.js';
import { onlyStrict } from '../support/tier.js';

const { run, backend, missing } = await openSandbox({ warm: 2 });
const skip = missing;

test('50 jobs at once: each gets its own answer', { skip }, async () => {
  const outcomes = await Promise.all(
    Array.from({ length: 50 }, (_, n) =>
      run(
        `import sys, os\nopen("mine", "w").write("${n}")\nprint(input(), open("mine").read(), len(os.listdir(".")))`,
        {
          stdin: `in${n}`,
        },
      ),
    ),
  );
  assert.deepEqual(
    outcomes.map((outcome) => outcome.stdout.text),
    Array.from({ length: 50 }, (_, n) => `in${n} ${n} 1\n`),
  );
});

test('50 jobs of every kind at once: each ends as it should', { skip }, async () => {
  const kinds = [
    ['print(1)', 'ok'],
    ['1 / 0', 'error'],
    ['import ctypes; ctypes.string_at(0)', 'killed'],
    ['while True: print("x" * 1000)', 'output'],
    ['import time; time.sleep(60)', 'timeout'],
  ] as const;
  const started = backend.jobsStarted;
  const outcomes = await Promise.all(
    Array.from({ length: 50 }, async (_, n) => {
      const [code, status] = kinds[n % kinds.length] ?? kinds[0];
      const limits = status === 'timeout' ? { timeoutSeconds: 2 } : { timeoutSeconds: 60, cpuSeconds: 60, outputMb: 1 };
      const outcome = await run(code, { limits });
      return [outcome.status, status, outcome.reason];
    }),
  );
  for (const [came, expected, reason] of outcomes) assert.equal(came, expected, reason);
  assert.equal(backend.jobsStarted, started + 50);
});

test('20 jobs cancelled at once leave no process', { skip }, async () => {
  const aborts = Array.from({ length: 20 }, () => new AbortController());
  const code = 'import subprocess\nprint("up")\nsubprocess.run(["sleep", "4242"])';
  const running = await Promise.all(aborts.map(({ signal }) => runUntil('up', run, code, { signal })));
  for (const abort of aborts) abort.abort();
  for (const { outcome } of running) assert.equal((await outcome).status, 'cancelled');
  // launcher, zygote (as root one more), and a warden, a program and its keeper for each of the two that are kept ready
  await until(() => descendants().length <= 9, 'only the zygote and what it keeps ready are left');
});

test(
  'two sandboxes at the same time see nothing of each other',
  { skip: skip || onlyStrict('the names of others can be seen there') },
  async () => {
    const abort = new AbortController();
    const { outcome: one } = await runUntil(
      'ready',
      run,
      `
import os, signal, socket, threading, time
for place in ("/work", "/tmp", "/dev/shm", "/code"): open(f"{place}/of-the-first", "w").write("secret of the first")
from multiprocessing import shared_memory
block = shared_memory.SharedMemory("first_block", create=True, size=100)
abstract = socket.socket(socket.AF_UNIX); abstract.bind("\\0first"); abstract.listen()
path = socket.socket(socket.AF_UNIX); path.bind("/tmp/first.sock"); path.listen()
tcp = socket.create_server(("127.0.0.1", 4567))
os.environ["FIRST"] = "secret of the first"
print("ready")
time.sleep(60)`,
      { signal: abort.signal },
    );
    const two = await run(`
import os, socket
print([os.listdir(p) for p in ("/work", "/tmp", "/dev/shm")], sorted(os.listdir("/code")))
print(sorted(p for p in os.listdir("/proc") if p.isdigit()))
for family, address in ((socket.AF_UNIX, "\\0first"), (socket.AF_UNIX, "/tmp/first.sock"), (socket.AF_INET, ("127.0.0.1", 4567))):
    s = socket.socket(family)
    try: s.connect(address); print("connected", address)
    except OSError as e: print(type(e).__name__)
print("FIRST" in os.environ, "first" in open("/proc/net/unix").read())`);
    abort.abort();
    assert.equal((await one).status, 'cancelled');
    assert.equal(
      two.stdout.text,
      // itself, and its keeper
      "[[], [], []] ['main.py']\n['2', '3']\nConnectionRefusedError\nFileNotFoundError\nConnectionRefusedError\nFalse False\n",
      two.stderr.text,
    );
  },
);

const ownPlaces =
  skip || (TIER === 'confined' ? false : `in tier ${TIER} they have no names in common, or nothing is promised`);

test(
  'two runs in directories of the host, each told where the other is, can’t reach it',
  { skip: ownPlaces },
  async () => {
    const abort = new AbortController();
    let told = '';
    const { outcome: one } = await runUntil(
      'ready',
      run,
      `
import os, tempfile, time
open("file", "w").write("secret of the first"); os.chmod("file", 0o666); os.chmod(".", 0o777)
os.environ["FIRST"] = "secret of the first"
print(os.getpid(), os.getcwd(), tempfile.gettempdir(), "ready")
time.sleep(60)`,
      { signal: abort.signal, onOutput: (_, bytes) => (told += Buffer.from(bytes).toString()) },
    );
    const [pid = '', work = '', temporary = ''] = told.split(' ');
    const two = await run(`
import os, signal
pid, work, temporary = ${pid}, ${JSON.stringify(work)}, ${JSON.stringify(temporary)}
def attempt(what, *arguments):
    try: print("got", what(*arguments))
    except OSError as error: print(type(error).__name__)
attempt(os.listdir, work)
attempt(os.listdir, os.path.dirname(os.path.dirname(work)))
attempt(lambda: open(work + "/file").read())
attempt(lambda: open(work + "/planted", "w"))
attempt(lambda: open(temporary + "/planted", "w"))
attempt(os.unlink, work + "/file")
attempt(lambda: open(f"/proc/{pid}/environ").read())
attempt(lambda: open(f"/proc/{pid}/mem", "rb"))
attempt(os.listdir, f"/proc/{pid}/fd")
attempt(os.kill, pid, 9)`);
    abort.abort();
    const first = await one;
    assert.equal(first.status, 'cancelled', first.reason);
    assert.equal(two.stdout.text, 'PermissionError\n'.repeat(10), two.stderr.text);
  },
);

test('nothing of one run is there in the next', { skip }, async () => {
  await run(
    'import builtins, os, sys, tempfile\nbuiltins.leak = 1; sys.leak = 1; os.environ["LEAK"] = "1"; sys.path.append("/leak"); os.umask(0)\nimport json; json.leak = 1\nopen(tempfile.gettempdir() + "/leak", "w").close()\nos.nice(5)',
  );
  const next = await run(
    'import builtins, json, os, sys, tempfile\nprint(hasattr(builtins, "leak"), hasattr(sys, "leak"), hasattr(json, "leak"), "LEAK" in os.environ, "/leak" in sys.path, os.listdir(tempfile.gettempdir()), oct(os.umask(0)))',
  );
  assert.equal(next.stdout.text, 'False False False False False [] 0o22\n');
});

test('programs do not share their randomness', { skip }, async () => {
  const code =
    'import random, secrets, uuid, tempfile\nprint(random.random(), secrets.token_hex(4), uuid.uuid4(), tempfile.mktemp())';
  const outcomes = await Promise.all(Array.from({ length: 10 }, () => run(code)));
  const words = outcomes.map((outcome) => outcome.stdout.text.trim().split(' '));
  for (let place = 0; place < 4; place += 1)
    assert.equal(new Set(words.map((line) => line[place])).size, 10, `word ${place}`);
});

test('a job that comes after close is unavailable, and closing twice is closing once', { skip }, async () => {
  const other = await openSandbox({ warm: 1 });
  assert.equal((await other.run('print(1)')).status, 'ok');
  const { outcome } = await runUntil('up', other.run, 'import time\nprint("up")\ntime.sleep(60)');
  await Promise.all([other.backend.close(), other.backend.close()]);
  assert.equal((await outcome).status, 'unavailable');
  const late = await other.run('print(1)');
  assert.deepEqual([late.status, late.reason, late.retryable], ['unavailable', 'the server is shutting down', true]);
});

test('nothing is started before it is wanted', { skip }, async () => {
  const before = descendants();
  const other = await openSandbox({ warm: 2 });
  assert.deepEqual(
    descendants().filter((pid) => !before.includes(pid)),
    [],
  );
  await other.backend.close();
  assert.equal(other.backend.jobsStarted, 0);
});
