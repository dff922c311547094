/** Programs that mean harm, by accident or on purpose: each ends, with nothing of it left, and the next call is answered. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JobLimits, JobStatus } from '../../src/sandbox.js';
import { descendants, openSandbox, TIER, until } from '../support/sandbox.js';
import { STANDING } from '../support/tier.js';

// No ready sandboxes: after a job, the zygote's own processes are all there may be.
const { run, missing } = await openSandbox({ warm: 0 });

interface Bomb {
  readonly name: string;
  readonly code: string;
  /** What it may end as; what counts is that it ends. */
  readonly ends: readonly JobStatus[];
  readonly limits?: Partial<JobLimits>;
  readonly prints?: RegExp;
}

/** Behind namespaces the file system is full, elsewhere the program is stopped. */
const FILLED: Pick<Bomb, 'ends' | 'prints'> =
  TIER === 'strict' ? { ends: ['error'], prints: /No space left on device/ } : { ends: ['killed'] };

const SOON = { timeoutSeconds: 0.5 };

const BOMBS: readonly Bomb[] = [
  { name: 'an endless loop', code: 'while True: pass', ends: ['timeout'], limits: SOON },
  { name: 'sleep', code: 'import time; time.sleep(3600)', ends: ['timeout'], limits: SOON },
  {
    name: 'waiting for itself',
    code: 'import threading; threading.Lock().acquire() and threading.Event().wait()',
    ends: ['timeout'],
    limits: SOON,
  },
  {
    name: 'an endless loop in C, with every signal blocked',
    code: 'import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n9 ** 9 ** 9',
    ends: ['timeout', 'memory'],
    limits: SOON,
  },
  {
    name: 'a regular expression that backtracks for ever',
    code: 'import re; re.match("(a+)+$", "a" * 50 + "b")',
    ends: ['timeout'],
    limits: SOON,
  },
  {
    name: 'a thread that never ends',
    code: 'import threading, time\nthreading.Thread(target=time.sleep, args=(3600,)).start()',
    ends: ['timeout'],
    limits: SOON,
  },
  {
    name: 'a daemon thread that never ends does not hold up the end',
    code: 'import threading, time\nthreading.Thread(target=time.sleep, args=(3600,), daemon=True).start()',
    ends: ['ok'],
  },
  {
    name: 'an atexit function that never ends',
    code: 'import atexit, time; atexit.register(time.sleep, 3600)',
    ends: ['timeout'],
    limits: SOON,
  },
  {
    name: 'a destructor that never ends',
    code: 'import time\nclass A:\n    def __del__(self, sleep=time.sleep): sleep(3600)\na = A()',
    ends: ['timeout'],
    limits: SOON,
  },
  {
    name: 'a fork bomb',
    code: 'import os\nwhile True:\n    try: os.fork()\n    except OSError: pass',
    ends: ['timeout'],
    limits: SOON,
  },
  {
    name: 'a fork bomb whose processes leave their session and parent',
    code: 'import os\nwhile True:\n    try:\n        if os.fork() == 0: os.setsid()\n        elif os.getpid() != 2: os._exit(0)\n    except OSError: pass',
    ends: ['timeout', 'ok'],
    limits: SOON,
  },
  {
    name: 'a fork bomb of shells',
    code: String.raw`import subprocess; subprocess.run('f() { f | f & }; f; wait', shell=True)`,
    ends: ['timeout', 'ok', 'memory'],
    limits: SOON,
  },
  {
    name: 'a thread bomb',
    code: 'import threading, time\nwhile True:\n    try: threading.Thread(target=time.sleep, args=(3600,)).start()\n    except RuntimeError: pass',
    ends: ['timeout', 'memory'],
    limits: SOON,
  },
  {
    name: 'memory: a bytearray that grows',
    code: 'b = bytearray()\nwhile True: b += bytes(1 << 20)',
    ends: ['memory'],
  },
  { name: 'memory: a list of small objects', code: 'l = []\nwhile True: l.append([len(l)])', ends: ['memory'] },
  { name: 'memory: a string that doubles', code: 's = "x"\nwhile True: s += s', ends: ['memory'] },
  {
    name: 'memory: anonymous mmap, private',
    code: 'import mmap\nkeep = []\nwhile True:\n    m = mmap.mmap(-1, 1 << 24, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS); m.write(b"x" * (1 << 24)); keep.append(m)',
    ends: ['memory', 'error'],
  },
  {
    name: 'memory: anonymous mmap, shared',
    code: 'import mmap\nkeep = []\nwhile True:\n    m = mmap.mmap(-1, 1 << 24); m.write(b"x" * (1 << 24)); keep.append(m)',
    ends: ['memory'],
  },
  {
    name: 'memory: shared mmap that is unmapped, faulted in by many processes',
    code: 'import mmap, os\nfor _ in range(20):\n    if os.fork() == 0:\n        m = mmap.mmap(-1, 1 << 26)\n        while True: m.seek(0); m.write(b"x" * (1 << 26))\nos.wait()',
    ends: ['memory'],
  },
  {
    name: 'memory: many processes, each a little',
    code: 'import os, time\nfor _ in range(40):\n    if os.fork() == 0:\n        b = os.urandom(16 << 20)\n        time.sleep(3600)\ntime.sleep(3600)',
    ends: ['memory'],
  },
  {
    name: 'memory: a file in /dev/shm',
    code: 'import os\nf = open("/dev/shm/x", "wb")\nwhile True: f.write(bytes(1 << 20)); f.flush()',
    ends: ['error'],
    limits: { fileSizeMb: 1024 },
  },
  {
    name: 'memory: pipes and sockets as storage',
    code: 'import os, socket\nkeep = []\nwhile True:\n    try:\n        a, b = socket.socketpair(); a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 30); a.setblocking(False); keep += [a, b]\n        while True: a.send(bytes(1 << 16))\n    except BlockingIOError: pass',
    ends: ['error', 'memory'],
  },
  { name: 'memory: a huge repr', code: '"x" * (1 << 27)', ends: ['ok', 'memory'] },
  {
    name: 'memory: a huge exception message',
    code: 'raise ValueError("x" * (1 << 26))',
    ends: ['error', 'memory', 'output'],
  },
  { name: 'an endless print', code: 'while True: print("x" * 1000)', ends: ['output'] },
  {
    name: 'an endless print without newlines on stderr',
    code: 'import sys\nwhile True: sys.stderr.write("x" * 1000)',
    ends: ['output'],
  },
  {
    name: 'endless print of many processes',
    code: 'import os\nfor _ in range(4): os.fork()\nwhile True: print("x" * 1000)',
    ends: ['output'],
  },
  { name: 'endless bytes in one write', code: 'import os\nwhile True: os.write(1, bytes(1 << 24))', ends: ['output'] },
  {
    name: 'an infinite generator as last expression',
    code: 'import itertools\nlist(itertools.count())',
    ends: ['memory'],
  },
  {
    name: 'a full disk',
    code: 'import os\nn = 0\nwhile True:\n    n += 1\n    with open(f"f{n}", "wb") as f: f.write(bytes(1 << 20))',
    ...FILLED,
  },
  {
    name: 'all inodes',
    code: 'n = 0\nwhile True:\n    n += 1\n    open(f"f{n}", "w").close()',
    ...FILLED,
  },
  {
    name: 'a huge sparse file',
    code: 'f = open("f", "wb"); f.truncate(1 << 40)',
    ends: ['error'],
    prints: /File too large/,
  },
  { name: 'a directory 5,000 deep', code: 'import os\nwhile True: os.mkdir("d"); os.chdir("d")', ends: FILLED.ends },
  {
    name: 'a daemon, forked twice, in a session of its own, ignoring SIGTERM and SIGHUP, its streams closed',
    code: `
import os, signal, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for s in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT): signal.signal(s, signal.SIG_IGN)
        os.closerange(0, 100); time.sleep(3600)
    os._exit(0)
os.wait(); print('left a daemon')`,
    ends: ['ok'],
    prints: /left a daemon/,
  },
  {
    name: 'a daemon that holds the streams open',
    code: 'import subprocess\nsubprocess.Popen("trap \'\' TERM HUP; sleep 3600 & sleep 3600", shell=True, start_new_session=True)\nprint("done")',
    ends: ['ok'],
    prints: /done/,
  },
  { name: 'a program that closes every descriptor', code: 'import os\nos.closerange(0, 1000)', ends: ['ok', 'error'] },
  {
    name: 'a program that closes every descriptor and goes on',
    code: 'import os, time\nos.closerange(0, 1000)\ntime.sleep(3600)',
    ends: ['timeout'],
    limits: SOON,
  },
  {
    name: 'a program that closes its streams only',
    code: 'import sys, time\nsys.stdout.close(); sys.stderr.close(); time.sleep(3600)',
    ends: ['timeout'],
    limits: SOON,
  },
  {
    name: 'a program that stops itself',
    code: 'import os, signal\nos.kill(0, signal.SIGSTOP)',
    ends: ['timeout'],
    limits: SOON,
  },
  {
    name: 'a program whose children are all stopped',
    code: 'import os, signal\nfor _ in range(5):\n    if os.fork() == 0: os.kill(os.getpid(), signal.SIGSTOP)\nos.kill(os.getpid(), signal.SIGSTOP)',
    ends: ['timeout'],
    limits: SOON,
  },
  {
    name: 'kill -1',
    code: 'import os, signal\nos.kill(-1, signal.SIGKILL)\nprint("still here")',
    ends: ['killed', 'error', 'ok'],
  },
  {
    name: 'kill of process 1',
    // Before landlock's ABI 6 an ordinary user's call is no error, and must do nothing all the same.
    code: 'import os, signal\nfor s in signal.valid_signals():\n    try: os.kill(1, s)\n    except OSError: pass\nprint("alive")',
    ends: ['ok'],
    prints: /^alive\n$/,
  },
  { name: 'kill of its own process group', code: 'import os, signal\nos.killpg(0, signal.SIGKILL)', ends: ['killed'] },
  {
    name: 'children nobody waits for, with SIGCHLD ignored',
    code: 'import os, signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nfor n in range(2000):\n    try:\n        if os.fork() == 0: os._exit(0)\n    except OSError: pass\nprint("done")',
    ends: ['ok'],
    prints: /done/,
  },
  {
    name: 'zombies nobody waits for',
    code: 'import os\ntry:\n    while True:\n        if os.fork() == 0: os._exit(0)\nexcept BlockingIOError: print("no more")',
    ends: ['ok'],
    prints: /no more/,
  },
  {
    name: 'CPU time of children nobody waits for',
    code: 'import os, signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nwhile True:\n    try:\n        if os.fork() == 0:\n            for _ in range(3_000_000): pass\n            os._exit(0)\n    except OSError: pass',
    // Of an ordinary user the kernel counts all processes, where there are no namespaces: when others of them end, there can be too many.
    ends: TIER === 'strict' ? ['timeout'] : ['timeout', 'killed'],
    limits: { cpuSeconds: 1, timeoutSeconds: 10, processes: 4 },
  },
  {
    name: 'every descriptor',
    code: 'import os\nkeep = []\nwhile True: keep += os.pipe()',
    ends: ['error'],
    prints: /Too many open files/,
  },
  {
    name: 'a tracer of itself',
    code: 'import ctypes\nprint(ctypes.CDLL(None).ptrace(0, 0, 0, 0))',
    ends: ['ok'],
    prints: /^-1$/m,
  },
  {
    name: 'a stack overflow in C',
    code: 'import sys\nsys.setrecursionlimit(10**9)\ndef f(): f()\nf()',
    ends: ['killed', 'error', 'memory'],
  },
  {
    name: 'timers and signals without end',
    code: 'import signal\nsignal.signal(signal.SIGALRM, lambda *a: None)\nsignal.setitimer(signal.ITIMER_REAL, 1e-6, 1e-6)\nwhile True: pass',
    ends: ['timeout'],
    limits: SOON,
  },
  {
    name: 'an exec into something that never ends',
    code: 'import os\nos.execv("/bin/sleep", ["sleep", "3600"])',
    ends: ['timeout'],
    limits: SOON,
  },
  {
    name: 'vfork and a child that never ends',
    code: 'import ctypes, os\nif ctypes.CDLL(None).vfork() == 0: os.execv("/bin/sleep", ["sleep", "3600"])\nos.wait()',
    ends: ['timeout', 'killed', 'error'],
    limits: SOON,
  },
  {
    name: 'file names that are no text',
    code:
      String.raw`import os` +
      '\nfor n in (b"\\xff\\xfe", b"a\\nb", b"\\x1b[31m"): open(n, "w").close()\nos.symlink("/", "root"); os.mkfifo("fifo")',
    ends: ['ok'],
  },
  {
    name: 'directories it may not enter itself',
    code: 'import os\nos.makedirs("a/b"); os.chmod("a/b", 0); os.chmod("a", 0)',
    ends: ['ok'],
  },
];

let idle: number[] | undefined;

/** The zygote's processes, as they are with no sandbox. */
async function idleProcesses(): Promise<number[]> {
  if (idle === undefined) {
    assert.equal((await run('pass')).status, 'ok');
    await until(() => descendants().length === STANDING, 'only launcher and zygote are left after an ordinary program');
    idle = descendants();
  }
  return idle;
}

for (const bomb of BOMBS) {
  test(`a bomb: ${bomb.name}`, { skip: missing }, async () => {
    const before = await idleProcesses();
    const outcome = await run(bomb.code, { limits: { timeoutSeconds: 15, ...bomb.limits } });
    assert.ok(
      bomb.ends.includes(outcome.status),
      `${outcome.status}: ${outcome.reason}\n${outcome.stderr.text.slice(-500)}`,
    );
    if (bomb.prints !== undefined) assert.match(outcome.stdout.text + outcome.stderr.text, bomb.prints);
    const next = await run('print("answered")');
    assert.deepEqual([next.status, next.stdout.text], ['ok', 'answered\n'], next.reason);
    await until(() => JSON.stringify(descendants()) === JSON.stringify(before), 'the processes are the same as before');
  });
}

test('the memory a program gets beyond its limit is bounded', { skip: missing }, async () => {
  const outcome = await run('keep = []\nwhile True: keep.append(bytearray(b"x" * (1 << 20)))', {
    limits: { memoryMb: 128 },
  });
  assert.equal(outcome.status, 'memory');
  assert.ok(outcome.usage.peakMemoryBytes < 256 << 20, JSON.stringify(outcome.usage));
});
