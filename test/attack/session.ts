/** Goal: to have a session believe what its program says of itself. Run in a state, which is asked again for the next step. */

/** Each may cost its own session, or just its step; it never costs another, and is never believed. */
export interface Pretender {
  /** What the state does. */
  readonly name: string;
  readonly code: string;
  /** The step after it, and the value an honest session answers with. */
  readonly next: string;
  readonly answer: string;
}

const PRETENDERS: readonly {
  readonly name: string;
  readonly code: string;
  readonly next?: string;
  readonly answer?: string;
}[] = [
  { name: 'says that it has ended while it goes on', code: 'import os\nos.write(3, b"e\\0")\nwhile True: pass' },
  { name: 'answers twice', code: 'import os\nos.write(3, b"e\\0e\\0e\\0hhh" * 100)' },
  { name: 'says nonsense on its control socket', code: 'import os\nos.write(3, os.urandom(4096))' },
  { name: 'closes its control socket', code: 'import os\nos.close(3)' },
  { name: 'closes its word', code: 'import os\nos.close(4)' },
  { name: 'forges its word', code: 'import os\nos.write(4, b\'{"result": "forged", "error": null}\')' },
  {
    name: 'has a child say that it has ended',
    code: 'import os, time\nif os.fork() == 0:\n    os.write(3, b"e\\0"); os._exit(0)\ntime.sleep(0.2)\nx = "mine"',
    next: 'x',
    answer: "'mine'",
  },
  {
    name: 'forks no worker when it is asked',
    code: 'import ctypes, sys\nstates = next(f for f in [sys._getframe(n) for n in range(1, 4)] if "_fork" in f.f_globals).f_globals\nstates["_fork"] = lambda: 1',
  },
  {
    name: 'has another process say hello for it',
    code: `import os, sys, time
states = next(f for f in [sys._getframe(n) for n in range(1, 4)] if "_fork" in f.f_globals).f_globals
real = os.fork
def fork():
    if real() == 0:
        os.write(5 if False else 3, b"h"); os._exit(0)
    return real()
states["_fork"] = fork`,
  },
  {
    name: 'says hello itself, as the state that it is',
    code: `import os, sys
states = next(f for f in [sys._getframe(n) for n in range(1, 4)] if "_fork" in f.f_globals).f_globals
def fork():
    for fd in range(5, 64):
        try: os.write(fd, b"h")
        except OSError: pass
    return os.getpid()
states["_fork"] = fork`,
  },
  {
    name: 'kills every process that it sees',
    code: 'import os\nfor pid in range(2, 1 << 15):\n    if pid != os.getpid():\n        try: os.kill(pid, 9)\n        except OSError: pass',
  },
  {
    name: 'stops every process that it sees',
    code: 'import os\nfor pid in range(2, 1 << 15):\n    if pid != os.getpid():\n        try: os.kill(pid, 19)\n        except OSError: pass',
  },
  {
    name: 'writes into the memory of the state before it',
    code: `import os
for name in os.listdir("/proc"):
    if name.isdigit() and int(name) not in (1, os.getpid()):
        try:
            for line in open(f"/proc/{name}/maps"):
                if " rw-p " in line and "[stack]" in line:
                    low, high = (int(part, 16) for part in line.split()[0].split("-"))
                    with open(f"/proc/{name}/mem", "r+b", 0) as memory:
                        memory.seek(low); memory.write(os.urandom(high - low))
        except OSError: pass`,
  },
  {
    name: 'leaves processes that fork on and on, in sessions of their own',
    code: `import os, time
def on():
    while True:
        try:
            if os.fork() == 0: os.setsid()
        except OSError: pass
        time.sleep(0.001)
if os.fork() == 0: on()
time.sleep(0.1)`,
  },
  {
    name: 'leaves a process whose first thread has ended',
    code: `import ctypes, os, threading, time
if os.fork() == 0:
    threading.Thread(target=lambda: time.sleep(3600), daemon=True).start()
    ctypes.CDLL(None).syscall({"x86_64": 60}.get(os.uname().machine, 93), 0)
time.sleep(0.2)`,
  },
];

export const pretenders: readonly Pretender[] = PRETENDERS.map((one) => ({ next: '1 + 1', answer: '2', ...one }));
