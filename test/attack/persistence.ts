/**
 * Goal: to leave something that a later run, or one at the same time, comes upon. What is left has a name that no other trial has (planted.ts),
 * and is looked for by that name only.
 */

import { py, type Attack } from './attack.js';

interface Planting {
  readonly name: string;
  /** The first run's: leaves something. */
  readonly plant: string;
  /** The second run's: returns what it found. */
  readonly look: string;
  /** In the control: two processes one after the other, or one after the other in the same process, as a shared interpreter would. */
  readonly control: 'processes' | 'one process';
  readonly needs?: Attack['needs'];
}

const POSIX_NAME = '("/" + C["planted"]).encode()';

/** A process that leaves its session and its parent, and lives on for a while. The run that plants it ends when it has done what it is there for. */
const daemon = (body: string): string => `
reader, writer = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in (signal.SIGTERM, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
        libc.prctl(15, C["comm"].encode(), 0, 0, 0)
${body
  .trim()
  .split('\n')
  .map((line) => `        ${line}`)
  .join('\n')}
        os.write(writer, b"done"); os.close(writer)
        os.closerange(0, 3)
        signal.alarm(8); stay()
    os._exit(0)
os.close(writer); os.wait()
if os.read(reader, 4) != b"done": raise OSError("it could not be planted")`;

/** In the program of a daemon: nothing more to do. */
const STAY = `
def stay():
    while True: signal.pause()`;

/** A server that tells whose it is, on the first of the trial's ports that is free. */
const LISTENER = `
import threading
for port in C["ports"]:
    try: s = socket.create_server(("127.0.0.1", port)); break
    except OSError: pass
def stay():
    while True:
        c, _ = s.accept(); c.sendall(C["planted"].encode()); c.close()`;

/** Three files of the library that this trial chose: another run that holds one of them holds hardly all. */
const LIBRARY = `
library = os.path.dirname(os.__file__)
names = sorted(name for name in os.listdir(library) if name.endswith(".py"))
chosen = []
for step in (1, 211, 44371):
    name = names[C["choice"] // step % len(names)]
    if name not in chosen: chosen.append(name)
files = [open(os.path.join(library, name)) for name in sorted(chosen)]`;

/** A place of the host's inside; one that is this test's own in the control. */
const at = (place: string): string =>
  `os.path.join(os.path.expanduser(${JSON.stringify(place)}) if C["inside"] else C["writable"], C["planted"])`;

const plantings: readonly Planting[] = [
  ...['/tmp', '/work', '/dev/shm', '/code', '/var/tmp', '~', '.'].map((place): Planting => ({
    name: place === '.' ? 'a file in its working directory' : `a file in ${place}`,
    control: 'processes',
    plant: `open(${at(place)}, "w").write("x")`,
    look: `return os.path.exists(${at(place)})`,
  })),
  {
    name: 'bytecode beside a library module',
    control: 'processes',
    plant: py`
import importlib.util
directory = os.path.dirname(importlib.util.cache_from_source(json.__file__)) if C["inside"] else C["writable"]
open(f"{directory}/{C['planted']}.pyc", "wb").write(b"planted")`,
    look: py`
import importlib.util
directory = os.path.dirname(importlib.util.cache_from_source(json.__file__)) if C["inside"] else C["writable"]
return open(f"{directory}/{C['planted']}.pyc", "rb").read() == b"planted"`,
  },
  {
    name: 'a module of the user’s own site directory',
    control: 'processes',
    plant: py`
import site
path = site.getusersitepackages() if C["inside"] else C["writable"] + "/site"
os.makedirs(path, exist_ok=True); open(f"{path}/{C['planted']}.py", "w").write("x = 1")`,
    look: py`
import importlib, site
sys.path.append(site.getusersitepackages() if C["inside"] else C["writable"] + "/site")
return importlib.import_module(C["planted"]).x`,
  },
  {
    name: 'an abstract socket',
    control: 'processes',
    plant: STAY + daemon('s = socket.socket(socket.AF_UNIX); s.bind("\\0" + C["planted"]); s.listen()'),
    look: py`
s = socket.socket(socket.AF_UNIX); s.connect("\0" + C["planted"])
return True`,
  },
  {
    name: 'a listener on loopback',
    control: 'processes',
    plant: daemon(LISTENER),
    look: py`
for port in C["ports"]:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as s:
            if s.recv(200).decode() == C["planted"]: return True
    except ConnectionRefusedError as error: last = error
raise last`,
  },
  {
    name: 'a process',
    control: 'processes',
    plant: STAY + daemon('pass'),
    look: py`
found = []
for pid in os.listdir("/proc"):
    try: found += [pid] if open(f"/proc/{pid}/comm").read().strip() == C["comm"] else []
    except OSError: pass
return found`,
  },
  {
    name: 'a lock on files of the library (flock)',
    control: 'processes',
    plant: STAY + daemon(`import fcntl\n${LIBRARY}\nfor f in files: fcntl.flock(f, fcntl.LOCK_EX)`),
    look: py`
import fcntl
${LIBRARY}
held = 0
for f in files:
    try: fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError: held += 1
return held == len(files)`,
  },
  {
    name: 'a lock on a byte of a file of the library (fcntl)',
    control: 'processes',
    plant:
      STAY +
      daemon(
        'import fcntl\nf = open(json.__file__)\nfcntl.fcntl(f, fcntl.F_SETLK, struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 1 << 40 | C["choice"], 1, 0))',
      ),
    look: py`
import fcntl
asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 1 << 40 | C["choice"], 1, 0)
return struct.unpack("hhqqi4x", fcntl.fcntl(open(json.__file__), fcntl.F_GETLK, asked))[0] != fcntl.F_UNLCK`,
  },
  {
    name: 'System V shared memory',
    control: 'processes',
    needs: 'kernel',
    plant: 'call(libc.shmget(C["key"], 4096, 0o1666))',
    look: 'return call(libc.shmget(C["key"], 0, 0)) >= 0',
  },
  {
    name: 'a System V semaphore',
    control: 'processes',
    needs: 'kernel',
    plant: 'call(libc.semget(C["key"], 1, 0o1666))',
    look: 'call(libc.semget(C["key"], 0, 0))\nreturn True',
  },
  {
    name: 'a System V message queue',
    control: 'processes',
    needs: 'kernel',
    plant: 'call(libc.msgget(C["key"], 0o1666))',
    look: 'call(libc.msgget(C["key"], 0))\nreturn True',
  },
  {
    name: 'a POSIX message queue',
    control: 'processes',
    needs: 'kernel',
    plant: `call(ctypes.CDLL("librt.so.1", use_errno=True).mq_open(${POSIX_NAME}, 0o102, 0o666, None))`,
    look: `return call(ctypes.CDLL("librt.so.1", use_errno=True).mq_open(${POSIX_NAME}, 0)) >= 0`,
  },
  {
    name: 'a POSIX semaphore',
    control: 'processes',
    plant: `ctypes.CDLL(None).sem_open(${POSIX_NAME}, 0o100, 0o666, 1)`,
    look: 'return "sem." + C["planted"] in os.listdir("/dev/shm")',
  },
  {
    name: 'shared memory',
    control: 'processes',
    plant: 'os.close(os.open("/dev/shm/" + C["planted"], os.O_CREAT | os.O_RDWR, 0o666))',
    look: 'return C["planted"] in os.listdir("/dev/shm")',
  },
  {
    name: 'a key in the user’s keyring',
    control: 'processes',
    needs: 'kernel',
    plant:
      'N = {"x86_64": 248}.get(os.uname().machine, 217)\ncall(libc.syscall(N, b"user", C["planted"].encode(), b"x", ctypes.c_size_t(1), -4))',
    look: 'N = {"x86_64": 250}.get(os.uname().machine, 219)\nreturn call(libc.syscall(N, 10, -4, b"user", C["planted"].encode(), 0)) > 0',
  },
  {
    name: 'a name in builtins',
    control: 'one process',
    plant: 'import builtins; builtins.planted = 1',
    look: 'import builtins\nreturn hasattr(builtins, "planted")',
  },
  {
    name: 'an attribute of a library module',
    control: 'one process',
    plant: 'json.planted = 1',
    look: 'return hasattr(json, "planted")',
  },
  {
    name: 'a module in sys.modules',
    control: 'one process',
    plant: 'sys.modules["planted"] = sys',
    look: 'import planted\nreturn True',
  },
  {
    name: 'a replaced function of a library',
    control: 'one process',
    plant: 'json.dumps = lambda *a, **k: "planted"',
    look: 'return json.dumps(1) == "planted"',
  },
  {
    name: 'an import hook',
    control: 'one process',
    plant: 'sys.meta_path.append(type("Planted", (), {}))',
    look: 'return [x for x in sys.meta_path if getattr(x, "__name__", "") == "Planted"]',
  },
  {
    name: 'a codec',
    control: 'one process',
    plant: 'import codecs; codecs.register(lambda n: codecs.lookup("utf-8") if n == "planted" else None)',
    look: 'return "x".encode("planted")',
  },
  {
    name: 'an entry of sys.path',
    control: 'one process',
    plant: 'sys.path.append("/planted")',
    look: 'return "/planted" in sys.path',
  },
  {
    name: 'an environment variable',
    control: 'one process',
    plant: 'os.environ["PLANTED"] = "1"',
    look: 'return os.environ.get("PLANTED")',
  },
  {
    name: 'an atexit function',
    control: 'one process',
    plant: 'import atexit; atexit.register(int)',
    look: 'import atexit\nreturn atexit._ncallbacks()',
  },
  {
    name: 'a signal handler',
    control: 'one process',
    plant: 'signal.signal(signal.SIGUSR1, lambda *a: None)',
    look: 'return signal.getsignal(signal.SIGUSR1) not in (signal.SIG_DFL, signal.SIG_IGN)',
  },
  {
    name: 'a blocked signal',
    control: 'one process',
    plant: 'signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])',
    look: 'return signal.pthread_sigmask(signal.SIG_BLOCK, [])',
  },
  {
    name: 'a trace function',
    control: 'one process',
    plant: 'sys.setprofile(lambda *a: None)',
    look: 'return sys.getprofile() is not None',
  },
  {
    name: 'an audit hook',
    control: 'one process',
    plant:
      'sys.audithook_seen = []; sys.addaudithook(lambda e, a: sys.audithook_seen.append(e) if e == "planted" else None)',
    look: 'sys.audit("planted")\nreturn getattr(sys, "audithook_seen", None)',
  },
  { name: 'a umask', control: 'one process', plant: 'os.umask(0)', look: 'return os.umask(0o22) == 0' },
  {
    name: 'a working directory',
    control: 'one process',
    plant: 'os.mkdir("planted"); os.chdir("planted")',
    look: 'return os.getcwd().endswith("planted")',
  },
  {
    name: 'an open descriptor',
    control: 'one process',
    plant: 'os.dup2(os.open("/dev/null", os.O_RDONLY), 77)',
    look: 'os.fstat(77)\nreturn True',
  },
  {
    name: 'a lower limit',
    control: 'one process',
    plant: 'import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (33, 33))',
    look: 'import resource\nreturn resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 33',
  },
  {
    name: 'a seeded generator',
    control: 'one process',
    plant: 'import random; random.seed(5)',
    look: 'import random\nmine = random.random()\nreturn mine == random.Random(5).random()',
  },
  {
    name: 'a thread',
    control: 'one process',
    plant: 'import threading; threading.Thread(target=time.sleep, args=(1,), daemon=True).start()',
    look: 'import threading\nreturn threading.active_count() > 1',
  },
  {
    name: 'a priority',
    control: 'one process',
    plant: 'os.nice(3); sys.was_nice = True',
    look: 'return getattr(sys, "was_nice", None)',
  },
];

/** Known, and not to be had otherwise: flock(2) and fcntl(2) need no right but reading, and a filter can't see which file it is. SECURITY.md says so. */
const WORD_BY_LOCKS: Attack = {
  name: 'a word to a run at the same time, by locks on files of the library',
  promisedIn: [],
  meanwhile: `import fcntl${LIBRARY}\nfor f in files: fcntl.flock(f, fcntl.LOCK_EX)\nprint("UP", flush=True)\ntime.sleep(20)`,
  first: `${STAY}${daemon(`import fcntl\n${LIBRARY}\nfor f in files: fcntl.flock(f, fcntl.LOCK_EX)`)}`,
  code: py`
import fcntl
${LIBRARY}
held = 0
for f in files:
    try: fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError: held += 1
return held == len(files)`,
};

/** As attacks: what the second run finds of what the first one left. */
export const attacks: readonly Attack[] = [
  ...plantings.map(({ name, plant, look, control, needs }): Attack => ({
    name,
    first: plant,
    code: look,
    sameProcess: control === 'one process',
    ...(needs !== undefined && { needs }),
  })),
  WORD_BY_LOCKS,
];
