/** Goal: to take more than a job's share, by every kind of it; or to lift a limit. */

import { py, type Attack } from './attack.js';

const MEMORY_MB = 96;
/** More than any overshoot between two looks of the warden. */
const WANTED_MB = 320;

/** Take memory in pieces of 8 MB, touched, until it is far over the limit. */
const memory = (name: string, setup: string, piece: string, more: Partial<Attack> = {}): Attack => ({
  name: `memory: ${name}`,
  ends: ['ok', 'memory', 'error', 'killed'],
  options: { limits: { memoryMb: MEMORY_MB, fileSizeMb: 1024 } },
  code: `${setup}
keep, got = [], 0
data = b"x" * (8 << 20)
while got < ${WANTED_MB}:
${piece
  .trim()
  .split('\n')
  .map((line) => `    ${line}`)
  .join('\n')}
    got += 8; time.sleep(0.002)
return got`,
  ...more,
});

/** Each process says when it has its piece, and keeps it until the first one ends. */
const TOLD = 'told, tell = os.pipe(); held, hold = os.pipe()';

/** Without a file system of its own, what a run has written is looked at now and then: it has got it only if it has it after that. */
const STILL_THERE = 'if C["inside"]: time.sleep(10)';

const NR = (x86: number, arm: number): string => `{"x86_64": ${x86}}.get(os.uname().machine, ${arm})`;

export const attacks: readonly Attack[] = [
  memory('bytearray', '', 'keep.append(bytearray(data))'),
  memory('bytes in a bytes', '', 'keep.append(data + b"y")'),
  memory(
    'a private mapping',
    'import mmap',
    'm = mmap.mmap(-1, 8 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS); m.write(data); keep.append(m)',
  ),
  memory('a shared mapping', 'import mmap', 'm = mmap.mmap(-1, 8 << 20); m.write(data); keep.append(m)'),
  memory(
    'a private mapping of a file, written to',
    'import mmap\nf = open("f", "w+b"); f.truncate(8 << 20)',
    'm = mmap.mmap(f.fileno(), 8 << 20, mmap.MAP_PRIVATE); m.write(data); keep.append(m)',
  ),
  memory(
    'malloc',
    'libc.malloc.restype = ctypes.c_void_p',
    'p = libc.malloc(8 << 20)\nif not p: raise MemoryError\nctypes.memset(p, 1, 8 << 20)',
  ),
  memory(
    'brk',
    'libc.sbrk.restype = ctypes.c_void_p; libc.sbrk.argtypes = [ctypes.c_ssize_t]',
    'p = libc.sbrk(8 << 20)\nif p == 2**64 - 1: raise MemoryError\nctypes.memset(p, 1, 8 << 20)',
  ),
  ...['/tmp', '/dev/shm', '/work'].map((place) =>
    memory(
      `a file in ${place}`,
      `place = "${place}" if C["inside"] else C["writable"]`,
      'open(f"{place}/f{got}", "wb").write(data)',
    ),
  ),
  memory(
    'files that are unlinked and held open',
    '',
    'f = open("f", "w+b", 0); os.unlink("f"); f.write(data); keep.append(f)',
  ),
  memory('memfd', '', 'fd = os.memfd_create("x"); os.write(fd, data); keep.append(fd)', { needs: 'kernel' }),
  memory(
    'System V shared memory',
    'libc.shmat.restype = ctypes.c_void_p; libc.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]',
    'i = call(libc.shmget(0, 8 << 20, 0o1600)); p = libc.shmat(i, None, 0); libc.shmctl(i, 0, None); ctypes.memset(p, 1, 8 << 20)',
    { needs: 'kernel' },
  ),
  memory(
    'System V shared memory that is not mapped',
    'libc.shmat.restype = ctypes.c_void_p; libc.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]\nlibc.shmdt.argtypes = [ctypes.c_void_p]',
    'i = call(libc.shmget(0, 8 << 20, 0o1600)); p = libc.shmat(i, None, 0); ctypes.memset(p, 1, 8 << 20); libc.shmctl(i, 0, None); libc.shmdt(p)',
    { needs: 'kernel' },
  ),
  memory(
    'many processes',
    TOLD,
    'if os.fork() == 0:\n    os.closerange(0, 3); os.close(hold); kept = os.urandom(8 << 20); os.write(tell, b"."); os.read(held, 1); os._exit(0)\nos.read(told, 1)',
  ),
  memory(
    'many processes that detach themselves',
    TOLD,
    'if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        os.closerange(0, 3); os.close(hold); kept = os.urandom(8 << 20); os.write(tell, b"."); os.read(held, 1)\n    os._exit(0)\nos.wait(); os.read(told, 1)',
  ),
  memory(
    'the stacks of threads',
    'import threading\nthreading.stack_size(16 << 20)\ndef deep():\n    p = (ctypes.c_char * (8 << 20))(); ctypes.memset(p, 1, 8 << 20); time.sleep(20)',
    't = threading.Thread(target=deep, daemon=True); t.start(); time.sleep(0.01)',
  ),
  memory(
    'huge pages',
    'import mmap',
    'm = mmap.mmap(-1, 8 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000); m.write(data); keep.append(m)',
    { needs: 'kernel' },
  ),
  memory(
    'page tables',
    'import mmap\nm = mmap.mmap(-1, 1 << 45, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)\nplace = 0',
    'for _ in range(1024):\n    m[place]; place += 2 << 20\nkeep.append(0)',
    {
      needs: 'kernel',
      options: { limits: { memoryMb: MEMORY_MB, timeoutSeconds: 10 } },
      ends: ['ok', 'memory', 'error', 'killed', 'timeout'],
    },
  ),
  memory(
    'page tables of a mapping that is only read',
    'import mmap\nm = mmap.mmap(-1, 1 << 39, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ)\nm.madvise(mmap.MADV_NOHUGEPAGE)\nplace = 0',
    'for _ in range(2048):\n    m[place]; place += 2 << 20',
  ),
  memory(
    'memory that fork shares and children write to',
    `${TOLD}; import mmap\nm = mmap.mmap(-1, 64 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\nm.write(b"x" * (64 << 20))`,
    'if os.fork() == 0:\n    for n in range(got, got + 8): m[n << 12:(n << 12) + (8 << 20)] = data\n    os.closerange(0, 3); os.close(hold); os.write(tell, b"."); os.read(held, 1); os._exit(0)\nos.read(told, 1)',
  ),
  {
    name: 'locking memory',
    needs: 'kernel',
    code: py`
import mmap
m = mmap.mmap(-1, 16 << 20); m.write(bytes(16 << 20))
return call(libc.mlock(ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(m))), ctypes.c_size_t(16 << 20))) == 0`,
  },

  // Time of the processor: 0.25 s is given, 0.75 s is wanted.
  ...(
    [
      ['one process', 'while time.process_time() < 0.75: pass\nreturn time.process_time()'],
      [
        'many processes',
        'pids = []\nfor _ in range(4):\n    pid = os.fork()\n    if pid == 0:\n        while time.process_time() < 0.25: pass\n        os._exit(0)\n    pids.append(pid)\nreturn all(os.waitpid(pid, 0)[1] == 0 for pid in pids)',
      ],
      [
        'short processes one after the other',
        'import resource\nwhile sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) < 0.75:\n    pid = os.fork()\n    if pid == 0:\n        while time.process_time() < 0.05: pass\n        os._exit(0)\n    os.waitpid(pid, 0)\nreturn True',
      ],
      [
        'threads',
        'import threading, hashlib\ndef work():\n    while time.process_time() < 0.75: hashlib.sha256(bytes(1 << 20))\nts = [threading.Thread(target=work) for _ in range(4)]\n[t.start() for t in ts]; [t.join() for t in ts]\nreturn time.process_time()',
      ],
      [
        'processes nobody waits for',
        'signal.signal(signal.SIGCHLD, signal.SIG_IGN)\nr, w = os.pipe()\nfor _ in range(15):\n    pid = os.fork()\n    if pid == 0:\n        while time.process_time() < 0.05: pass\n        os.write(w, b"."); os._exit(0)\n    time.sleep(0.01)\ngot = 0\nwhile got < 15: got += len(os.read(r, 100))\nreturn got',
      ],
      ['the kernel, by system calls', 'while time.process_time() < 0.75: os.urandom(1 << 20)\nreturn True'],
      [
        'processes that ignore SIGXCPU',
        'signal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile time.process_time() < 0.75: pass\nreturn True',
      ],
    ] as const
  ).map(([name, code]): Attack => ({
    name: `CPU time: ${name}`,
    code,
    ends: ['timeout'],
    options: { limits: { cpuSeconds: 0.25, timeoutSeconds: 15 } },
  })),

  // Wall time: 0.3 s is given.
  ...(
    [
      ['sleep', 'time.sleep(0.9)\nreturn True'],
      [
        'sleep with every signal blocked',
        'signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\ntime.sleep(0.9)\nreturn True',
      ],
      [
        'a clock that is set back',
        'end = time.monotonic() + 0.9\ntry: time.clock_settime(time.CLOCK_REALTIME, time.time())\nexcept OSError: pass\nwhile time.monotonic() < end: time.sleep(0.1)\nreturn True',
      ],
      [
        'an uninterruptible wait',
        'pid = os.fork()\nif pid == 0: time.sleep(0.9); os._exit(0)\nos.waitpid(pid, 0)\nreturn True',
      ],
    ] as const
  ).map(([name, code]): Attack => ({
    name: `time: ${name}`,
    code,
    ends: ['timeout'],
    options: { limits: { timeoutSeconds: 0.3 } },
  })),

  {
    name: 'disk: more bytes than there are',
    code: py`
base = C["writable"] if not C["inside"] else os.getcwd()
for n in range(48): open(f"{base}/{C['planted']}{n}", "wb").write(bytes(1 << 20))
${STILL_THERE}
return n`,
    ends: ['ok', 'killed'],
  },
  {
    name: 'disk: more bytes, spread over every writable place',
    code: py`
places = [C["writable"]] if not C["inside"] else [place for place in (os.getcwd(), os.environ.get("TMPDIR", "/tmp"), "/tmp", "/dev/shm", "/code") if os.access(place, os.W_OK)]
for n in range(48): open(f"{places[n % len(places)]}/{C['planted']}{n}", "wb").write(bytes(1 << 20))
${STILL_THERE}
return n`,
    ends: ['ok', 'killed'],
    options: { limits: { memoryMb: 512 } },
  },
  {
    name: 'disk: more files than there are inodes',
    code: py`
base = C["writable"] if not C["inside"] else os.getcwd()
for n in range(2000): open(f"{base}/{C['planted']}f{n}", "w").close()
${STILL_THERE}
return n`,
    ends: ['ok', 'killed'],
  },
  {
    name: 'disk: more directories than there are inodes',
    code: py`
base = C["writable"] if not C["inside"] else os.getcwd()
for n in range(2000): os.mkdir(f"{base}/{C['planted']}d{n}")
${STILL_THERE}
return n`,
    ends: ['ok', 'killed'],
  },
  {
    name: 'disk: one file that is too large',
    code: py`
f = open("large", "wb")
for n in range(24): f.write(bytes(1 << 20)); f.flush()
return n`,
  },
  {
    name: 'disk: one sparse file that is too large',
    code: py`
f = open("sparse", "wb"); f.truncate(1 << 34)
return os.path.getsize("sparse")`,
  },
  {
    name: 'disk: fallocate',
    code: py`
f = open("fallocated", "wb"); os.posix_fallocate(f.fileno(), 0, 64 << 20)
return True`,
  },

  {
    name: 'processes: more than are given',
    ends: ['ok', 'error'],
    code: py`
pids = []
for _ in range(100):
    pid = os.fork()
    if pid == 0: time.sleep(10); os._exit(0)
    pids.append(pid)
return len(pids)`,
  },
  {
    name: 'processes: more threads than are given',
    ends: ['ok', 'error'],
    code: py`
import threading
for _ in range(100): threading.Thread(target=time.sleep, args=(5,), daemon=True).start()
return threading.active_count()`,
  },
  {
    name: 'processes: more, by shells',
    code: py`
import subprocess
out = subprocess.run("n=0; while [ $n -lt 100 ]; do sleep 1000 >/dev/null 2>&1 & n=$((n+1)); done; echo all", shell=True, capture_output=True, text=True)
return out.stdout == "all\n"`,
  },
  {
    name: 'descriptors: more than are given',
    code: py`
import resource
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE); resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
return len([os.open("/dev/null", os.O_RDONLY) for _ in range(400)])`,
  },

  ...(['CPU', 'DATA', 'NPROC', 'NOFILE', 'FSIZE', 'CORE', 'MEMLOCK'] as const).map((name): Attack => ({
    name: `a limit raised again: RLIMIT_${name}`,
    ...(name === 'CORE' && { needs: 'kernel' }), // which an administrator may have put to 0 for everybody
    // Below the hard limit, as a tool that forgot the hard one would.
    controlPrelude: `
import resource
hard = resource.getrlimit(resource.RLIMIT_${name})[1]
resource.setrlimit(resource.RLIMIT_${name}, (${name === 'CPU' ? 100 : name === 'DATA' ? '1 << 31' : name === 'CORE' || name === 'MEMLOCK' ? 0 : 500}, hard))`,
    code: `
import resource
soft, hard = resource.getrlimit(resource.RLIMIT_${name})
if soft == -1: return "unlimited"
resource.setrlimit(resource.RLIMIT_${name}, (soft + 1, hard if hard == -1 else max(hard, soft + 1)))
return f"more than {soft}"`,
  })),
  {
    name: 'a better priority',
    needs: 'root',
    code: py`
before = os.nice(0); os.nice(-1)
return os.nice(0) < before`,
  },
  {
    name: 'a real-time scheduler',
    needs: 'kernel',
    code: py`
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
return True`,
  },
  {
    name: 'a deadline scheduler',
    needs: 'kernel',
    code: py`
attr = struct.pack("IIQiIQQQ", 48, 6, 0, 0, 0, 1000000, 10000000, 10000000)
return call(libc.syscall(${NR(314, 274)}, 0, attr, 0)) == 0`,
  },
  {
    name: 'real-time disk priority',
    needs: 'root',
    code: `return call(libc.syscall(${NR(251, 30)}, 1, 0, 1 << 13)) == 0`,
  },
  {
    name: 'output: more than is given',
    ends: ['output'],
    options: { limits: { outputMb: 1 } },
    code: py`
for n in range(40): os.write(2, b"x" * 65536)
return n`,
  },
  {
    name: 'output: more, by many processes on both streams',
    ends: ['output'],
    options: { limits: { outputMb: 1 } },
    code: py`
pids = []
for k in range(4):
    pid = os.fork()
    if pid == 0:
        for n in range(40): os.write(1 + k % 2 if C["inside"] else 2, b"x" * 65536)
        os._exit(0)
    pids.append(pid)
return all(os.waitpid(pid, 0)[1] == 0 for pid in pids)`,
  },
];

/** Memory of the kernel's that belongs to no process's map: seen from the host. */
const FILL: readonly (readonly [name: string, fill: string])[] = [
  [
    'the buffers of Unix sockets',
    `a, b = socket.socketpair(); keep += [a, b]
            for s in (a, b):
                s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 30); s.setblocking(False)
                try:
                    while True: s.send(bytes(1 << 15))
                except BlockingIOError: pass`,
  ],
  [
    'the buffers of TCP connections',
    `l = socket.create_server(("127.0.0.1", 0)); a = socket.create_connection(l.getsockname()); b = l.accept()[0]; keep += [a, b]; l.close()
            for s in (a, b):
                s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 30); s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 30); s.setblocking(False)
                try:
                    while True: s.send(bytes(1 << 16))
                except BlockingIOError: pass`,
  ],
  [
    'the buffers of pipes',
    `r, w = os.pipe(); keep += [r, w]; os.set_blocking(w, False)
            try: fcntl.fcntl(w, 1031, 1 << 20)
            except OSError: pass
            try:
                while True: os.write(w, bytes(1 << 16))
            except BlockingIOError: pass`,
  ],
];

export const buffers = FILL.map(([name, fill]) => ({ name, fill }));
