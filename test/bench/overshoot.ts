/**
 * How far over its memory limit a program gets, by every kind of memory: `node dist/test/bench/overshoot.js [LIMIT_MB ...]`.
 *
 * Each program takes memory as fast as it can and prints a dot for every 4 MB that it has; the dots that came out until it was
 * ended are what it got, whatever was measured of it. Of several runs the worst counts.
 */

import { randomUUID } from 'node:crypto';
import { selectBackend } from '../../src/backends/select.js';
import { LIMITS, PYTHON } from '../support/sandbox.js';

const STEP_MB = 4;
const RUNS = 3;
const DEFAULT_LIMITS_MB = [256, 1024];

const PRELUDE = `
import ctypes, fcntl, mmap, os, socket, threading, time
STEP = ${STEP_MB} << 20
data = b"x" * STEP
taken = 0
def took(n):
    global taken
    taken += n
    while taken >= STEP:
        os.write(1, b".")
        taken -= STEP
def alike(count, work):
    for n in range(count):
        if os.fork() == 0:
            try: work()
            finally: time.sleep(1000)
    time.sleep(1000)
def heap():
    kept = []
    while True:
        m = mmap.mmap(-1, STEP, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        m.write(data); kept.append(m); took(STEP)
def shared():
    kept = []
    while True:
        m = mmap.mmap(-1, STEP); m.write(data); kept.append(m); took(STEP)
def tables():
    m = mmap.mmap(-1, 1 << 41, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ)
    try: m.madvise(mmap.MADV_NOHUGEPAGE)
    except OSError: pass
    for place in range(0, len(m), 2 << 20):
        m[place]; took(4096)
def pipes():
    kept = []
    while True:
        reader, writer = os.pipe(); kept.append((reader, writer)); os.set_blocking(writer, False)
        try: fcntl.fcntl(writer, 1031, 1 << 20)
        except OSError: pass
        try:
            while True: took(os.write(writer, data[:1 << 16]))
        except BlockingIOError: pass
def sockets():
    kept = []
    while True:
        pair = socket.socketpair(); kept.append(pair)
        for end in pair:
            end.setblocking(False)
            try:
                while True: end.send(data[:1 << 15])
            except BlockingIOError: took(212992)
`;

const KINDS: Readonly<Record<string, string>> = {
  'one process': 'heap()',
  'threads (8)': `
def work():
    size = 1 << 30
    m = mmap.mmap(-1, size // 8, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    at = ctypes.addressof(ctypes.c_char.from_buffer(m))
    for place in range(0, len(m), STEP): ctypes.memset(at + place, 1, STEP); took(STEP)
    heap()
[threading.Thread(target=work).start() for _ in range(8)]`,
  'processes (32)': 'alike(32, heap)',
  'shared memory, one process': 'shared()',
  'shared memory, processes (8)': 'alike(8, shared)',
  'a file': 'f = open("f", "wb", 0)\nwhile True: f.write(data); took(STEP)',
  'files, processes (8)':
    'def work():\n    f = open(f"{os.getpid()}", "wb", 0)\n    while True: f.write(data); took(STEP)\nalike(8, work)',
  'page tables, one process': 'tables()',
  'page tables, processes (8)': 'alike(8, tables)',
  'sockets, processes (16)': 'alike(16, sockets)',
  'pipes, processes (16)': 'alike(16, pipes)',
  memfd: 'fd = os.memfd_create("x")\nwhile True: os.write(fd, data); took(STEP)',
};

const asked = process.argv.slice(2).map(Number);
const backend = await selectBackend({
  minimum: 'strict',
  python: PYTHON,
  preload: [],
  mounts: [],
  warm: 1,
  diskMb: 8192,
  diskInodes: 1024,
});
const cgroup = backend.guarantees.layers.find(({ layer }) => layer === 'cgroup');
console.log(`cgroup: ${cgroup?.available === true ? cgroup.detail : 'none'}`);
console.log(`${'MB, at a limit of'.padEnd(30)}  limit  taken   over  ends as`);
for (const memoryMb of asked.length > 0 ? asked : DEFAULT_LIMITS_MB) {
  for (const [kind, code] of Object.entries(KINDS)) {
    let takenMb = 0;
    const ends = new Set<string>();
    for (let attempt = 0; attempt < RUNS; attempt += 1) {
      const limits = { ...LIMITS, memoryMb, fileSizeMb: 8192, openFiles: 1024, timeoutSeconds: 15, cpuSeconds: 60 };
      const job = { runId: randomUUID(), code: PRELUDE + code, stdin: '', files: [], limits };
      const { status, stdout, stderr } = await backend.run(job, new AbortController().signal);
      takenMb = Math.max(takenMb, stdout.totalBytes * STEP_MB);
      const refused = /PermissionError|MemoryError|OSError.*/.exec(stderr.text)?.[0];
      ends.add(refused === undefined ? status : `${status}, ${refused}`);
    }
    const figures = [memoryMb, takenMb, Math.max(0, takenMb - memoryMb)].map((mb) => String(mb).padStart(5));
    console.log(`${kind.padEnd(30)}  ${figures.join('  ')}  ${[...ends].join(' or ')}`);
  }
}
await backend.close();
