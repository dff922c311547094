/**
 * Goal: to get out of a session by what only a session has: states that run the caller's code and are asked again, control sockets, files that are brought back.
 * What a state breaks is its own session.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StepOutcome } from '../../../src/sandbox.js';
import { openSandbox } from '../../support/sandbox.js';
import { inSessions, openTestSession, type TestSession } from '../../support/session.js';
import { inNaiveSession } from '../../support/naive-session.js';
import { strictOnly } from '../../support/tier.js';
import { attackTests, py, type Attack } from '../attack.js';
import { pretenders } from '../session.js';

const sandbox = strictOnly(await openSandbox({ warm: 1 }), 'there are no sessions');
const skip = sandbox.missing;

/** In a later step a program is as confined as in a single call: one of each kind, from what the other files have. */
const ATTACKS: readonly Attack[] = [
  { name: 'a file of the host', wants: 'secret', code: py`return SECRET.findall(open(C["secretFile"], "rb").read())` },
  { name: 'an environment', wants: 'secret', code: py`return os.environ.get(C["env"])` },
  {
    name: 'the environment of process 1, or of the server',
    wants: 'secret',
    code: py`return SECRET.findall(open(f"/proc/{1 if C['inside'] else C['victim']}/environ", "rb").read())`,
  },
  {
    name: 'the descriptors of process 1, or of a process',
    code: py`return os.listdir(f"/proc/{1 if C['inside'] else C['victim']}/fd")`,
  },
  {
    name: 'a server on the host’s loopback',
    wants: 'secret',
    code: py`return socket.create_connection(("127.0.0.1", C["tcpPort"]), 5).recv(100)`,
  },
  {
    name: 'a socket of the host by its path',
    wants: 'secret',
    code: py`
s = socket.socket(socket.AF_UNIX); s.connect(C["unixPath"])
return s.recv(100)`,
  },
  {
    name: 'a file outside, written',
    code: py`
with open(C["writable"] + "/planted", "w") as f: return f.write("planted")`,
  },
  {
    name: 'SIGKILL of process 1, or of a process',
    controlPrelude: 'import subprocess\nC["own"] = subprocess.Popen(["sleep", "60"]).pid',
    code: py`
pid = C.get("own", 1)
os.kill(pid, 9)
return True if pid != 1 else open("/proc/1/stat").read().split(") ")[1][0] == "Z"`,
  },
  { name: 'a new mount namespace', needs: 'root', code: py`call(libc.unshare(0x20000)); return True` },
  {
    name: 'descriptors that are sent over the control socket',
    controlPrelude: 'a, b = socket.socketpair(); os.dup2(a.fileno(), 3); socket.send_fds(b, [b"x"], [2])',
    code: py`
s = socket.socket(fileno=os.dup(3)); s.settimeout(0.5)
return socket.recv_fds(s, 100, 5)[1]`,
  },
];
attackTests('session', ATTACKS, inSessions(sandbox));

/** The step that pretends, and one from the same state; both are answered, whatever with. */
async function pretend(session: TestSession, code: string, next: string): Promise<StepOutcome[]> {
  const limits = { timeoutSeconds: 2 };
  return [await session.step(code, { limits }), await session.step(next, { limits })];
}

for (const { name, code, next } of pretenders) {
  test(`session: a state that ${name} loses its own session at most`, { skip }, async () => {
    const bystander = await openTestSession(sandbox);
    const session = await openTestSession(sandbox);
    await bystander.step('x = "untouched"');
    await session.step('x = "good"');
    const [first, second] = await pretend(session, code, next);
    for (const outcome of [first, second]) {
      assert.ok(outcome !== undefined);
      assert.ok(outcome.reason.length > 0);
      // Nothing is called good that is not: a state's number comes with an end of its own.
      if (outcome.state === null) assert.notEqual(outcome.status, 'ok', outcome.reason);
      else assert.ok(['ok', 'error'].includes(outcome.status), outcome.reason);
    }
    if (name.includes('a child say')) assert.equal(second?.result, "'mine'", second?.reason);
    assert.equal((await bystander.step('x')).result, "'untouched'");
    assert.equal((await sandbox.run('print(1)')).stdout.text, '1\n');
    for (const one of [session, bystander]) {
      one.sandbox.close();
      await one.sandbox.ended;
    }
  });
}

for (const { name, code, next, answer } of pretenders) {
  test(`session, control: a state that ${name} costs a naive server more, or is believed`, { skip }, async (t) => {
    const { missing, ...said } = await inNaiveSession(code, next);
    if (missing !== null) {
      t.skip(`not to be run without a process namespace around it: ${missing}`);
      return;
    }
    const honest = { first: 'None', next: answer, bystander: "'untouched'", left: false };
    assert.notDeepEqual(said, honest);
  });
}

test('session, control: the naive server serves honest programs', { skip }, async (t) => {
  const { missing, ...said } = await inNaiveSession('x = 2', 'x');
  if (missing !== null) t.skip(missing);
  else assert.deepEqual(said, { first: 'None', next: '2', bystander: "'untouched'", left: false });
});

test(
  'session: a state that arranges to be continued between two steps ends its session, with a sentence',
  { skip },
  async () => {
    const session = await openTestSession(sandbox);
    const outcome = await session.step(`
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
class Event(ctypes.Structure):
    _fields_ = [("value", ctypes.c_void_p), ("signo", ctypes.c_int), ("notify", ctypes.c_int), ("rest", ctypes.c_char * 48)]
class Spec(ctypes.Structure):
    _fields_ = [(name, ctypes.c_long) for name in ("every_s", "every_ns", "first_s", "first_ns")]
SIGCONT, SIGEV_SIGNAL, CLOCK_MONOTONIC = 18, 0, 1
# Once each: a timer that goes off again and again is lost where its signal waits, blocked, when the process is stopped.
for tenths in range(2, 60, 2):
    timer = ctypes.c_void_p()
    assert libc.timer_create(CLOCK_MONOTONIC, ctypes.byref(Event(None, SIGCONT, SIGEV_SIGNAL)), ctypes.byref(timer)) == 0
    assert libc.timer_settime(timer, 0, ctypes.byref(Spec(0, 0, tenths // 10, tenths % 10 * 100_000_000)), None) == 0
import threading
def on():
    while True: pass
threading.Thread(target=on, daemon=True).start()`);
    assert.equal(outcome.status, 'ok', outcome.stderr.text);
    const sentence = /ran between two of its steps|could not be stopped/;
    assert.match(await session.sandbox.ended, sentence);
    assert.match((await session.step('1')).reason, sentence);
  },
);

test(
  'session: what a program does to the tree of its files neither harms the server nor reaches anything outside',
  { skip },
  async () => {
    const session = await openTestSession(sandbox);
    await session.step('open("good", "w").write("good")');
    const outcome = await session.step(`
import os, socket
os.makedirs("closed"); open("closed/x", "w").write("x"); os.chmod("closed", 0)
for name in (b"\\xff\\xfe", b"new\\nline", b"-rf", b" ", b"a" * 255): open(name, "w").write("odd")
os.symlink("/proc/1/root", "root"); os.symlink("..", "up"); os.symlink("loop", "loop"); os.symlink("/etc/passwd", "passwd")
os.mkfifo("fifo"); socket.socket(socket.AF_UNIX).bind("socket")
open("giant", "wb").truncate(16 << 20); os.link("good", "hard")
here = os.getcwd()
for _ in range(400): os.mkdir("deep"); os.chdir("deep")
os.chdir(here); os.chmod(".", 0)`);
    assert.equal(outcome.status, 'ok', outcome.stderr.text);
    const undone = await session.step(`
import os, shutil
os.chmod("/work", 0o700); os.chdir("/work")
for name in os.listdir(b"."):
    if os.path.isdir(name) and not os.path.islink(name): os.rename(name, b"moved" + name[:9])
    else: os.remove(name)
os.symlink("/", "closed"); os.symlink("/tmp", "deep"); os.mkdir("fifo"); os.mkdir("giant"); os._exit(1)`);
    assert.equal(undone.state, null, undone.reason);
    const seen = await session.step(`
import os
os.chmod("/work", 0o700); os.chdir("/work")
depth = 0
while os.path.isdir("deep"): os.chdir("deep"); depth += 1
os.chdir("/work")
print(sorted(os.listdir(b"."), key=len)[-1] == b"a" * 255, len(os.listdir(".")), depth, os.readlink("root"), os.lstat("giant").st_blocks, os.stat("good").st_nlink, oct(os.stat("closed").st_mode))`);
    assert.equal(seen.stdout.text, 'True 16 400 /proc/1/root 0 2 0o40000\n', seen.stderr.text + seen.reason);
    session.sandbox.close();
    await session.sandbox.ended;
  },
);
