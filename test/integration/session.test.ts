/** Sessions: what a step sets is there in the next one, and a step that fails badly leaves no trace. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SessionLimits, StepOutcome } from '../../src/sandbox.js';
import { descendants, openSandbox, TIER, until } from '../support/sandbox.js';
import { openTestSession, type TestSession } from '../support/session.js';

// No ready sandboxes: without a session, the zygote's own processes are all there may be.
const sandbox = await openSandbox({ warm: 0 });
const skip = sandbox.missing || (TIER === 'strict' ? false : 'sessions need tier strict');
/** Launcher and zygote; root's has one more in between, which belongs to root's user namespace. */
const STANDING = process.getuid?.() === 0 ? 3 : 2;

const SOON = { limits: { timeoutSeconds: 0.5 } };

/** A session for one test; nothing of it may be left after it. */
async function withSession(
  work: (session: TestSession) => Promise<void>,
  limits?: Partial<SessionLimits>,
): Promise<void> {
  const session = await openTestSession(sandbox, limits);
  try {
    await work(session);
  } finally {
    session.sandbox.close();
    await session.sandbox.ended;
    await until(() => descendants().length <= STANDING, 'no process of the session is left');
  }
}

/** What a step prints, that has to end well. */
async function prints(session: TestSession, code: string, options?: Parameters<TestSession['step']>[1]) {
  const outcome = await session.step(code, options);
  assert.equal(outcome.status, 'ok', `${outcome.reason}\n${outcome.stderr.text}`);
  assert.notEqual(outcome.state, null);
  return outcome.stdout.text;
}

function isUndone(outcome: StepOutcome, status: StepOutcome['status']): void {
  assert.equal(outcome.status, status, `${outcome.reason}\n${outcome.stdout.text}${outcome.stderr.text}`);
  assert.equal(outcome.state, null, outcome.reason);
}

test('variables, imports, functions and files are there in the next step', { skip }, () =>
  withSession(async (session) => {
    await prints(session, 'import math\ndef double(x): return 2 * x\nkept = [1]\nopen("note.txt", "w").write("hello")');
    await prints(session, 'kept.append(double(int(math.pi)))');
    assert.equal(await prints(session, 'print(kept, open("note.txt").read())'), '[1, 6] hello\n');
    const last = await session.step('sum(kept)');
    assert.equal(last.result, '7');
  }),
);

/** Each leaves the interpreter, or has to be ended. */
const UNDONE: readonly {
  readonly name: string;
  readonly code: string;
  readonly status: StepOutcome['status'];
  readonly options?: Parameters<TestSession['step']>[1];
}[] = [
  { name: 'a timeout', code: 'while True: pass', status: 'timeout', options: SOON },
  { name: 'a memory bomb', code: 'b = []\nwhile True: b.append(bytes(1 << 20) + b"x")', status: 'memory' },
  { name: 'a segmentation fault', code: 'import ctypes; ctypes.string_at(0)', status: 'killed' },
  { name: 'os._exit', code: 'import os; os._exit(0)', status: 'error' },
  { name: 'too much output', code: 'while True: print("x" * 65536)', status: 'output' },
  {
    name: 'a fork bomb',
    code: 'import os\nwhile True:\n    try: os.fork()\n    except OSError: pass',
    status: 'timeout',
    options: SOON,
  },
  { name: 'SIGKILL', code: 'import os; os.kill(os.getpid(), 9)', status: 'killed' },
  { name: 'SIGSTOP', code: 'import os; os.kill(os.getpid(), 19)', status: 'timeout', options: SOON },
  { name: 'closing every descriptor', code: 'import os; os.closerange(0, 256)', status: 'error' },
];

/** Each goes wrong without costing what it set. */
const KEPT: readonly { readonly name: string; readonly code: string; readonly status: StepOutcome['status'] }[] = [
  { name: 'an exception', code: 'raise ValueError("no")', status: 'error' },
  { name: 'a syntax error', code: 'def', status: 'error' },
  { name: 'sys.exit', code: 'import sys; sys.exit(3)', status: 'error' },
  {
    name: 'a deleted working directory',
    code: 'import os\nos.makedirs("/tmp/d", exist_ok=True); os.chdir("/tmp/d"); os.rmdir("/tmp/d")',
    status: 'ok',
  },
  {
    name: 'a daemon left behind',
    code: 'import subprocess\nd = subprocess.Popen(["sleep", "3600"], start_new_session=True)',
    status: 'ok',
  },
  {
    name: 'a kill of the parent, and of everyone at once',
    code: 'import os\nfor pid in (os.getppid(), -1):\n    try: os.kill(pid, 9)\n    except OSError: pass',
    status: 'ok',
  },
];

test('30 steps with every accident in between: all good state is there at the end', { skip }, () =>
  withSession(async (session) => {
    await prints(session, 'log = []\nopen("log.txt", "w").close()');
    const expected: string[] = [];
    let steps = 1;
    const accidents = [
      ...UNDONE.map((one) => ({ ...one, isKept: false })),
      ...KEPT.map((one) => ({ ...one, isKept: true })),
    ];
    for (const accident of accidents) {
      const mark = `log.append(${JSON.stringify(accident.name)}); print(${JSON.stringify(accident.name)}, file=open("log.txt", "a"))`;
      const bad = await session.step(
        `${mark}\n${accident.code}`,
        'options' in accident ? (accident as (typeof UNDONE)[number]).options : undefined,
      );
      // A program with a syntax error does not begin.
      if (accident.isKept && accident.code !== 'def') expected.push(accident.name);
      assert.equal(bad.status, accident.status, `${accident.name}: ${bad.reason} ${bad.stderr.text}`);
      assert.equal(bad.state !== null, accident.isKept, accident.name);
      assert.equal(
        await prints(session, 'print("\\n".join(log)); assert log == open("log.txt").read().splitlines(), "files"'),
        `${expected.join('\n')}\n`,
        `after ${accident.name}`,
      );
      steps += 2;
    }
    assert.ok(steps >= 30, `${steps} steps`);
  }),
);

test('a cancelled step is undone, and the session goes on', { skip }, () =>
  withSession(async (session) => {
    await prints(session, 'x = 1');
    const cancel = new AbortController();
    const outcome = await session.step('x = 2\nprint("begun", flush=True)\nimport time; time.sleep(3600)', {
      signal: cancel.signal,
      onOutput() {
        cancel.abort();
      },
    });
    isUndone(outcome, 'cancelled');
    assert.equal(outcome.stdout.text, 'begun\n');
    assert.equal(await prints(session, 'print(x)'), '1\n');
  }),
);

test('a state can be gone on from in two ways, and gone back to', { skip }, () =>
  withSession(async (session) => {
    await prints(session, 'import random; random.seed(7); path = ["a"]; open("f", "w").write("a")');
    const fork = session.at;
    const one = await prints(
      session,
      'path.append("b"); open("f", "a").write("b"); print(path, open("f").read(), random.random())',
    );
    const b = session.at;
    const two = await prints(
      session,
      'path.append("c"); open("f", "a").write("c"); print(path, open("f").read(), random.random())',
      { from: fork },
    );
    assert.match(one, /^\['a', 'b'\] ab /);
    assert.match(two, /^\['a', 'c'\] ac /);
    // The generator of module random is a variable like others.
    assert.equal(one.split(' ').at(-1), two.split(' ').at(-1));
    assert.equal(await prints(session, 'print(path, open("f").read())', { from: b }), "['a', 'b'] ab\n");
    assert.equal(
      await prints(session, 'print("path" in globals(), __import__("os").listdir("."))', { from: 0 }),
      'False []\n',
    );
  }),
);

test('a state that was dropped is gone, and the others stay', { skip }, () =>
  withSession(async (session) => {
    await prints(session, 'x = 1');
    const first = session.at;
    await prints(session, 'x = 2');
    session.sandbox.drop([0, first]);
    assert.equal(await prints(session, 'print(x)'), '2\n');
    const outcome = await session.step('print(x)', { from: first });
    isUndone(outcome, 'error');
    assert.match(outcome.reason, /is gone/);
    assert.equal(await prints(session, 'print(x)'), '2\n');
  }),
);

test(
  'files are undone: changed in place, deleted, created, written through a mapping, modes, and a directory replaced by a link',
  { skip },
  () =>
    withSession(async (session) => {
      await prints(
        session,
        `import mmap, os, shutil, stat
def look():
    found = {}
    for top in ("/work", "/tmp", "/dev/shm"):
        for at, directories, files in os.walk(top):
            for name in directories + files:
                path = os.path.join(at, name); s = os.lstat(path)
                if stat.S_ISREG(s.st_mode):
                    what = open(path, "rb").read() if s.st_mode & 0o400 else None
                else: what = os.readlink(path) if stat.S_ISLNK(s.st_mode) else None
                found[path] = (stat.filemode(s.st_mode), s.st_mtime_ns if stat.S_ISREG(s.st_mode) else None, s.st_nlink, what)
    return found
os.makedirs("d/e"); os.makedirs("closed"); open("closed/in", "w").write("in"); os.chmod("closed", 0)
open("plain", "w").write("plain" * 2000); open("d/e/deep", "w").write("deep"); open("gone", "w").write("gone")
open("mapped", "wb").write(b"m" * 8192); open("sparse", "wb").truncate(8 << 20)
with open("sparse", "r+b") as f: f.seek(4 << 20); f.write(b"middle")
open("unreadable", "w").write("u"); os.chmod("unreadable", 0)
os.symlink("plain", "link"); os.link("plain", "hard"); os.mkfifo("fifo"); open("/tmp/t", "w").write("t"); open("/dev/shm/s", "w").write("s")
kept = open("plain", "r+"); held = open("mapped", "r+b"); view = mmap.mmap(held.fileno(), 0)
before = look()`,
      );
      const outcome = await session.step(`
with open("plain", "r+") as f: f.write("PLAIN")
os.utime("plain", ns=(before["/work/plain"][1],) * 2)
view[0:3] = b"XXX"
os.remove("gone"); open("new", "w").write("new"); os.makedirs("n/n/n"); open("n/n/n/n", "w").write("n")
shutil.rmtree("d"); os.symlink("/usr", "d")
os.chmod("closed", 0o700); os.remove("closed/in"); os.chmod("unreadable", 0o666); open("unreadable", "w").write("changed")
os.remove("link"); os.symlink("/etc", "link"); os.remove("hard"); open("hard", "w").write("other"); os.remove("fifo"); os.mkdir("fifo")
open("sparse", "r+b").write(b"no longer"); os.remove("/tmp/t"); open("/dev/shm/s", "w").write("S")
os.chmod(".", 0o500); os.mkdir("/tmp/" + "deep"); os.chdir("/tmp/deep")
for _ in range(300): os.mkdir("x"); os.chdir("x")
os._exit(1)`);
      isUndone(outcome, 'error');
      assert.equal(
        await prints(
          session,
          `after = look()
for path in sorted(before.keys() | after.keys()):
    if before.get(path) != after.get(path): print(path, before.get(path) and before[path][:3], after.get(path) and after[path][:3])
os.chmod("closed", 0o700); os.chmod("unreadable", 0o600)
print(open("closed/in").read(), open("unreadable").read(), bytes(view[:3]), kept.read(5), os.stat("plain").st_ino == os.stat("hard").st_ino, os.stat("sparse").st_blocks < 100, os.getcwd())`,
        ),
        "in u b'mmm' plain True True /work\n",
      );
    }),
);

test('a later step’s traceback shows the lines of the step that a function came from', { skip }, () =>
  withSession(async (session) => {
    await prints(session, 'def fail():\n    raise KeyError("first")');
    const outcome = await session.step('\n\nfail()');
    assert.equal(outcome.error?.line, 3);
    assert.match(outcome.stderr.text, /step-2\.py", line 3[^]*fail\(\)[^]*step-1\.py", line 2[^]*raise KeyError/);
    assert.equal(
      await prints(session, 'import inspect; print(inspect.getsource(fail))'),
      'def fail():\n    raise KeyError("first")\n\n',
    );
  }),
);

test('each step has its own stdin and stdout, also where an earlier step kept the stream', { skip }, () =>
  withSession(async (session) => {
    await prints(
      session,
      'import io, logging, sys\nlogging.basicConfig(stream=sys.stderr)\nold = sys.stdout\nprint(input())\nsys.stdout = io.StringIO()',
      { stdin: 'one\n' },
    );
    const outcome = await session.step('logging.warning("heard")\nprint(input(), file=old)\nprint("new")', {
      stdin: 'two\n',
    });
    assert.equal(outcome.stdout.text, 'two\nnew\n');
    assert.equal(outcome.stderr.text, 'WARNING:root:heard\n');
  }),
);

test('CPU time is that of the step, with its children, and not of the steps before', { skip }, () =>
  withSession(async (session) => {
    const burn =
      'import time\ndef burn(s):\n    end = time.process_time() + s\n    while time.process_time() < end: pass';
    await prints(session, burn);
    const used = (await session.step('burn(0.5)')).usage.cpuMs;
    assert.ok(used >= 490 && used < 650, `${used} ms`);
    const idle = (await session.step('pass')).usage.cpuMs;
    assert.ok(idle < 150, `${idle} ms`);
    const children = (
      await session.step(
        'import os\nfor _ in range(2):\n    pid = os.fork()\n    if pid == 0: burn(0.2); os._exit(0)\n    os.waitpid(pid, 0)',
      )
    ).usage.cpuMs;
    assert.ok(children >= 380 && children < 600, `${children} ms`);
    const left = (await session.step('if os.fork() == 0:\n    burn(3600)\ntime.sleep(0.5)')).usage.cpuMs;
    assert.ok(left >= 100 && left < 700, `${left} ms`);
    isUndone(await session.step('burn(3600)', { limits: { cpuSeconds: 1 } }), 'timeout');
  }),
);

test('a step may use its memory limit although states hold more together, and a step over it is undone', { skip }, () =>
  withSession(async (session) => {
    for (let n = 0; n < 4; n += 1) await prints(session, `block = bytes(${100 + n} << 20); block = block + b"x"`);
    assert.ok(session.sandbox.memoryBytes > 400 << 20, `${session.sandbox.memoryBytes}`);
    isUndone(await session.step('more = bytes(200 << 20) + b"x"'), 'memory');
    assert.equal(await prints(session, 'print(len(block) >> 20)'), '103\n');
  }),
);

test('a step whose files do not fit into the session’s disk is undone, and says so', { skip }, () =>
  withSession(
    async (session) => {
      await prints(session, 'open("a", "wb").write(b"a" * (3 << 20))');
      await prints(session, 'x = 1');
      const used = session.sandbox.diskBytes;
      assert.ok(used >= 3 << 20 && used < 4 << 20, `${used}`);
      const outcome = await session.step('open("b", "wb").write(b"b" * (2 << 20))');
      isUndone(outcome, 'error');
      assert.match(outcome.reason, /session's disk/);
      assert.equal(await prints(session, 'import os; print(os.listdir("."))'), "['a']\n");
    },
    { diskMb: 4 },
  ),
);

test('files go into a step, and those that are new or changed come out of it, unless it was undone', { skip }, () =>
  withSession(async (session) => {
    const left = async (code: string, files: Record<string, string> = {}) => {
      const found: Record<string, string> = {};
      const outcome = await session.step(code, {
        files: Object.entries(files).map(([name, text]) => ({ name, bytes: Buffer.from(text) })),
        onFile({ name }) {
          found[name] = '';
          return {
            write(piece) {
              found[name] = `${found[name] ?? ''}${Buffer.from(piece).toString()}`;
            },
            end: (whole) => {
              assert.ok(whole);
            },
          };
        },
      });
      return { outcome, found };
    };
    const first = await left('text = open("in.csv").read(); open("one", "w").write(text * 2)', { 'in.csv': 'ab' });
    assert.deepEqual([first.outcome.status, first.found], ['ok', { one: 'abab' }]);
    const second = await left('open("two", "w").write("2")');
    assert.deepEqual([second.outcome.status, second.found], ['ok', { two: '2' }]);
    const undone = await left('open("three", "w").write("3"); import os; os._exit(1)', { 'in.csv': 'other' });
    assert.deepEqual([undone.outcome.state, undone.found], [null, {}]);
    const last = await left('open("one", "a").write(open("in.csv").read())');
    assert.deepEqual([last.outcome.status, last.found], ['ok', { one: 'ababab' }]);
    const unfit = await left('pass', { one: 'x', 'one/below': 'y' });
    assert.equal(unfit.outcome.state, null);
    assert.match(unfit.outcome.reason, /nothing was run/);
    assert.equal(await prints(session, 'print(open("one").read())'), 'ababab\n');
  }),
);

test('a full disk does not keep the next step from making room', { skip }, () =>
  withSession(async (session) => {
    await prints(
      session,
      'n = 0\ntry:\n    while True: open(f"f{n}", "wb").write(b"x" * (8 << 20)); n += 1\nexcept OSError: print("full")',
    );
    assert.equal(
      await prints(session, 'import os\nfor name in os.listdir("."): os.remove(name)\nprint("room")'),
      'room\n',
    );
    assert.equal(await prints(session, 'open("again", "wb").write(b"x" * (8 << 20)); print("written")'), 'written\n');
  }),
);

test('threads end with their step: those that are no daemons are waited for, none goes on', { skip }, () =>
  withSession(async (session) => {
    assert.equal(
      await prints(
        session,
        `import threading, time
from concurrent.futures import ThreadPoolExecutor
done, beats = [], []
def late(): time.sleep(0.2); done.append("late")
def beat():
    while True: beats.append(1); time.sleep(0.001)
threading.Thread(target=late).start(); threading.Thread(target=beat, daemon=True).start()
pool = ThreadPoolExecutor(2); print(pool.submit(len, "abc").result())`,
      ),
      '3\n',
    );
    assert.equal(
      await prints(session, 'n = len(beats); time.sleep(0.1); print(done, len(beats) == n, threading.active_count())'),
      "['late'] True 1\n",
    );
  }),
);

test('what one session sees of another, and of calls, is nothing', { skip }, () =>
  withSession(async (one) => {
    const other = await openTestSession(sandbox);
    await prints(
      one,
      'import socket, os\nsecret = "of the one"\nopen("secret", "w").write(secret); open("/dev/shm/secret", "w").write(secret); open("/tmp/secret", "w").write(secret)\ns = socket.socket(socket.AF_UNIX); s.bind("\\0secret"); t = socket.create_server(("127.0.0.1", 4567))',
    );
    const look =
      'import os, socket\nfor place in ("/work", "/tmp", "/dev/shm", "/code"): print(sorted(n for n in os.listdir(place) if "step" not in n and n != "main.py"))\nprint("secret" in globals())\nfor family, where in ((socket.AF_UNIX, "\\0secret"), (socket.AF_INET, ("127.0.0.1", 4567))):\n    try: socket.socket(family).connect(where); print("connected")\n    except OSError: print("refused")\nprint([p for p in os.listdir("/proc") if p.isdigit() and "secret" in open(f"/proc/{p}/environ").read()] if False else "")';
    const nothing = '[]\n[]\n[]\n[]\nFalse\nrefused\nrefused\n\n';
    assert.equal(await prints(other, look), nothing);
    const call = await sandbox.run(look);
    assert.equal(call.stdout.text, nothing, call.stderr.text);
    other.sandbox.close();
    await other.sandbox.ended;
  }),
);

test('closing the backend ends its sessions, and a step of an ended session says so', { skip }, async () => {
  const own = await openSandbox({ warm: 1 });
  const session = await openTestSession(own);
  await prints(session, 'x = 1');
  const running = session.step('import time; time.sleep(3600)');
  await own.backend.close();
  assert.equal((await running).status, 'unavailable');
  const after = await session.step('x');
  assert.equal(after.status, 'unavailable');
  assert.match(after.reason, /session has ended/);
  assert.equal(after.state, null);
});
