/** Goal: to leave something that a later run, or one at the same time, comes upon. */

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
  /** Run in the control when all is over: takes away what was planted on the machine. */
  readonly undo?: string;
}

/** A process that leaves its session and its parent, and lives on for a while. */
const daemon = (body: string): string => `
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.signal(signal.SIGHUP, signal.SIG_IGN)
${body
  .trim()
  .split('\n')
  .map((line) => `        ${line}`)
  .join('\n')}
        os.closerange(0, 3)
        time.sleep(20)
    os._exit(0)
os.wait(); time.sleep(0.2)`;

const plantings: readonly Planting[] = [
  ...['/tmp', '/work', '/dev/shm', '/code', '/var/tmp', '~'].map((place): Planting => ({
    name: `a file in ${place}`,
    control: 'processes',
    plant: `open(os.path.join(os.path.expanduser(${JSON.stringify(place)}) if C["inside"] else C["writable"], "planted"), "w").write("x")`,
    look: `return os.path.exists(os.path.join(os.path.expanduser(${JSON.stringify(place)}) if C["inside"] else C["writable"], "planted"))`,
    undo: `os.unlink(os.path.join(os.path.expanduser(${JSON.stringify(place)}) if C["inside"] else C["writable"], "planted"))`,
  })),
  {
    name: 'bytecode of a library module',
    control: 'processes',
    plant: py`
import importlib.util
path = importlib.util.cache_from_source(json.__file__) if C["inside"] else C["writable"] + "/json.pyc"
open(path, "wb").write(b"planted")`,
    look: py`
import importlib.util
path = importlib.util.cache_from_source(json.__file__) if C["inside"] else C["writable"] + "/json.pyc"
return open(path, "rb").read().startswith(b"planted")`,
  },
  {
    name: 'a module of the user’s own site directory',
    control: 'processes',
    plant: py`
import site
path = site.getusersitepackages() if C["inside"] else C["writable"] + "/site"
os.makedirs(path); open(path + "/usercustomize.py", "w").write("import builtins; builtins.planted = 1")`,
    look: py`
import site
sys.path.append(site.getusersitepackages() if C["inside"] else C["writable"] + "/site")
import usercustomize
return True`,
  },
  {
    name: 'an abstract socket',
    control: 'processes',
    plant: daemon('s = socket.socket(socket.AF_UNIX); s.bind("\\0" + C["abstractName"] + "-planted"); s.listen()'),
    look: py`
s = socket.socket(socket.AF_UNIX); s.connect("\0" + C["abstractName"] + "-planted")
return True`,
  },
  {
    name: 'a listener on loopback',
    control: 'processes',
    plant: daemon('s = socket.create_server(("127.0.0.1", 45671))'),
    look: py`
socket.create_connection(("127.0.0.1", 45671), timeout=2)
return True`,
  },
  {
    name: 'a process',
    control: 'processes',
    plant: daemon('libc.prctl(15, b"planted-daemon", 0, 0, 0)'),
    look: py`
found = []
for pid in os.listdir("/proc"):
    try: found += [pid] if open(f"/proc/{pid}/comm").read().strip() == "planted-daemon" else []
    except OSError: pass
return found`,
  },
  {
    name: 'a lock on a file of the library',
    control: 'processes',
    plant: daemon('import fcntl\nf = open(json.__file__); fcntl.flock(f, fcntl.LOCK_EX)'),
    look: py`
import fcntl
try: fcntl.flock(open(json.__file__), fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError: return True`,
  },
  {
    name: 'System V shared memory',
    control: 'processes',
    needs: 'kernel',
    plant: 'call(libc.shmget(0x434f5244, 4096, 0o1666))',
    look: 'return call(libc.shmget(0x434f5244, 0, 0)) >= 0',
    undo: 'libc.shmctl(libc.shmget(0x434f5244, 0, 0), 0, None)',
  },
  {
    name: 'a System V semaphore',
    control: 'processes',
    needs: 'kernel',
    plant: 'call(libc.semget(0x434f5244, 1, 0o1666))',
    look: 'call(libc.semget(0x434f5244, 0, 0))\nreturn True',
    undo: 'libc.semctl(libc.semget(0x434f5244, 0, 0), 0, 0)',
  },
  {
    name: 'a System V message queue',
    control: 'processes',
    needs: 'kernel',
    plant: 'call(libc.msgget(0x434f5244, 0o1666))',
    look: 'call(libc.msgget(0x434f5244, 0))\nreturn True',
    undo: 'libc.msgctl(libc.msgget(0x434f5244, 0), 0, None)',
  },
  {
    name: 'a POSIX message queue',
    control: 'processes',
    needs: 'kernel',
    plant: 'call(ctypes.CDLL("librt.so.1", use_errno=True).mq_open(b"/cordon-planted", 0o102, 0o666, None))',
    look: 'return call(ctypes.CDLL("librt.so.1", use_errno=True).mq_open(b"/cordon-planted", 0)) >= 0',
    undo: 'ctypes.CDLL("librt.so.1").mq_unlink(b"/cordon-planted")',
  },
  {
    name: 'a POSIX semaphore',
    control: 'processes',
    plant: 'ctypes.CDLL(None).sem_open(b"/cordon-planted", 0o100, 0o666, 1)',
    look: 'return "sem.cordon-planted" in os.listdir("/dev/shm")',
    undo: 'os.unlink("/dev/shm/sem.cordon-planted")',
  },
  {
    name: 'shared memory',
    control: 'processes',
    plant: 'os.close(os.open("/dev/shm/cordon-planted", os.O_CREAT | os.O_RDWR, 0o666))',
    look: 'return "cordon-planted" in os.listdir("/dev/shm")',
    undo: 'os.unlink("/dev/shm/cordon-planted")',
  },
  {
    name: 'a key in the user’s keyring',
    control: 'processes',
    needs: 'kernel',
    plant:
      'N = {"x86_64": 248}.get(os.uname().machine, 217)\ncall(libc.syscall(N, b"user", b"cordon-planted", b"x", ctypes.c_size_t(1), -4))',
    look: 'N = {"x86_64": 250}.get(os.uname().machine, 219)\nreturn call(libc.syscall(N, 10, -4, b"user", b"cordon-planted", 0)) > 0',
    undo: 'N = {"x86_64": 250}.get(os.uname().machine, 219)\nlibc.syscall(N, 9, libc.syscall(N, 10, -4, b"user", b"cordon-planted", 0), -4)',
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
    plant: 'import threading; threading.Thread(target=time.sleep, args=(1,)).start()',
    look: 'import threading\nreturn threading.active_count() > 1',
  },
  {
    name: 'a priority',
    control: 'one process',
    plant: 'os.nice(3); sys.was_nice = True',
    look: 'return getattr(sys, "was_nice", None)',
  },
];

/** As attacks: what the second run finds of what the first one left. */
export const attacks: readonly Attack[] = plantings.map(({ name, plant, look, control, needs, undo }) => ({
  name,
  first: plant,
  code: look,
  sameProcess: control === 'one process',
  ...(needs !== undefined && { needs }),
  ...(undo !== undefined && { undo }),
}));
