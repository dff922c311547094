/** Goal: to get at our own machinery by Python's own means: frames, the collector, modules, memory, hooks. */

import type { JobOutcome } from '../../src/sandbox.js';
import type { Judged } from '../support/naive-judge.js';
import { py, type Attack } from './attack.js';

/** What a control pretends to be: a server that left its machinery in the interpreter. */
const MACHINERY = `
import types
for name in ("zygote", "warden", "frames", "confine", "confine.kernel", "program"):
    sys.modules[name] = types.ModuleType(name)
class Meter: pass
kept = [Meter(), socket.socketpair()]
class Broken(Exception): pass`;

export const attacks: readonly Attack[] = [
  {
    name: 'our modules by import',
    controlPrelude: MACHINERY,
    code: py`
found = []
for name in ("zygote", "warden", "program", "frames", "usage", "probe", "confine", "confine.kernel", "confine.tree", "confine.seccomp"):
    try: __import__(name); found.append(name)
    except ImportError: pass
return found`,
  },
  {
    name: 'our modules in sys.modules',
    controlPrelude: MACHINERY,
    code: py`return {"zygote", "warden", "program", "frames", "usage", "confine", "confine.kernel", "confine.tree"} & set(sys.modules)`,
  },
  {
    name: 'our files',
    controlPrelude: 'C["look"] = [C["secretFile"]]',
    code: py`
found = []
for path in C.get("look", []) + [m.__file__ for m in list(sys.modules.values()) if getattr(m, "__file__", None)] + [sys._getframe(n).f_code.co_filename for n in range(2)]:
    if re.search("secret.txt|zygote|warden|confine|sandbox/", str(path)) and os.path.exists(path): found.append(path)
return found`,
  },
  {
    name: 'our source by a frame',
    controlPrelude:
      'open("program.py", "w").write("x")\nexec(compile("def outer(f): return f()", os.path.abspath("program.py"), "exec"), globals())',
    code: py`
def deepest():
    frame, found = sys._getframe(), []
    while frame:
        if os.path.basename(frame.f_code.co_filename) in ("program.py", "execute.py", "warden.py", "make.py", "run.py", "zygote.py") and os.access(os.path.dirname(frame.f_code.co_filename), os.R_OK): found.append(open(frame.f_code.co_filename).read(9))
        frame = frame.f_back
    return found
return globals().get("outer", lambda f: f())(deepest)`,
  },
  {
    name: 'an open socket of ours in the collector',
    controlPrelude: MACHINERY,
    code: py`
import gc
found = []
for thing in gc.get_objects():
    if isinstance(thing, socket.socket) and thing.fileno() >= 0:
        try: os.fstat(thing.fileno()); found.append(thing)
        except OSError: pass
return found`,
  },
  {
    name: 'the code of another job in the collector',
    wants: 'secret',
    controlPrelude: 'kept = [open(C["secretFile"]).read()]',
    code: py`
import gc
found = set()
for thing in gc.get_objects():
    for value in (list(thing.values()) if isinstance(thing, dict) else thing if isinstance(thing, (list, tuple)) else []):
        if isinstance(value, (str, bytes)): found.update(SECRET.findall(value.encode(errors="replace") if isinstance(value, str) else value))
return found`,
  },
  {
    name: 'atexit functions of ours',
    controlPrelude: 'import atexit; atexit.register(int)',
    code: py`
import atexit
return atexit._ncallbacks()`,
  },
  {
    name: 'threads of ours',
    controlPrelude: 'import threading; threading.Thread(target=time.sleep, args=(0.5,)).start()',
    code: py`
return len(os.listdir("/proc/self/task")) - 1`,
  },
  {
    name: 'children of ours',
    controlPrelude: 'if os.fork() == 0: os._exit(0)',
    code: py`
try: return os.waitpid(-1, os.WNOHANG) is not None
except ChildProcessError: return None`,
  },
  {
    name: 'signal handlers of ours',
    controlPrelude: 'signal.signal(signal.SIGCHLD, signal.SIG_IGN)',
    code: py`
return [s for s in signal.valid_signals() if s not in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGKILL, signal.SIGSTOP) and signal.getsignal(s) not in (signal.SIG_DFL, None)]`,
  },
  {
    name: 'blocked signals of ours',
    controlPrelude: 'signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])',
    code: py`return signal.pthread_sigmask(signal.SIG_BLOCK, [])`,
  },
  {
    name: 'a place of ours in sys.path',
    controlPrelude: 'sys.path.append("/somewhere/sandbox")',
    code: py`return [path for path in sys.path if path.endswith("/sandbox")]`,
  },
  {
    name: 'our arguments',
    controlPrelude: 'sys.argv = ["zygote.py"]',
    code: py`return [word for word in sys.argv + getattr(sys, "orig_argv", [])[-1:] if C["inside"] and word == "zygote.py" and word in sys.argv or not C["inside"]]`,
  },
  {
    name: 'a trace function of ours',
    controlPrelude: 'sys.settrace(lambda *a: None)',
    code: py`return sys.gettrace() or sys.getprofile()`,
  },
  {
    // But for one, which waits for matplotlib.pyplot (sandbox/plots.py): it sees names of modules, and has nothing to tell.
    name: 'an import hook of ours',
    controlPrelude: 'sys.meta_path.insert(0, type("Ours", (), {"find_spec": lambda *a: None}))',
    code: py`
return [x for x in sys.meta_path if getattr(x, "__module__", "") not in ("_frozen_importlib", "_frozen_importlib_external", "importlib._bootstrap", "importlib._bootstrap_external", "plots") and "six" not in repr(x) and "distutils" not in repr(x).lower()]`,
  },
  {
    name: 'the settings of the zygote in memory',
    wants: 'secret',
    controlPrelude: 'kept = C["tmpdir"]',
    code: py`
# The path of the server's temporary directory is in what Node wrote to the zygote: it says nothing worth hiding, but the secret would.
found = set()
with open("/proc/self/mem", "rb", 0) as mem:
    for line in open("/proc/self/maps"):
        if "[heap]" in line or "[stack]" in line or line.rstrip().endswith(" 0"):
            low, high = (int(x, 16) for x in line.split()[0].split("-"))
            try: mem.seek(low); found.update(SECRET.findall(mem.read(high - low)))
            except (OSError, OverflowError, ValueError): pass
return found`,
  },
  {
    name: 'an interpreter that can be traced from outside',
    controlPrelude: 'import threading; threading.Thread(target=time.sleep, args=(0.1,)).start()',
    code: py`return len(sys._current_frames()) - 1`,
  },
  {
    name: 'an asyncio loop of ours',
    controlPrelude: 'import asyncio; asyncio.set_event_loop(asyncio.new_event_loop())',
    code: py`
import asyncio, warnings
warnings.simplefilter("ignore")
policy = asyncio.get_event_loop_policy()
return getattr(getattr(policy, "_local", None), "_loop", None)`,
  },
  {
    name: 'ctypes pointers into a wider kernel',
    needs: 'kernel',
    code: py`
# From the program's own writable memory a call that the filter refuses is refused as well: code written at run time has no other rights.
import mmap, platform
if platform.machine() != "x86_64": raise OSError("another architecture")
m = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
m.write(b"\xb8\x10\x01\x00\x00\xbf\x00\x00\x00\x10\x0f\x05\xc3")  # mov eax, 272 (unshare); mov edi, CLONE_NEWUSER; syscall; ret
return ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))() == 0`,
  },
];

/** A trick with the way a program ends: none may run anything after the answer, turn the answer around, or break whoever gives it. */
export interface Trick {
  readonly name: string;
  readonly code: string;
  /** How such a program ends; null where more than one end is right. */
  readonly status: JobOutcome['status'] | null;
}

const TRICKS: readonly (readonly [name: string, code: string, status: Trick['status']])[] = [
  ['an exception hook that raises', 'import sys\nsys.excepthook = lambda *a: 1 / 0\nraise ValueError', 'error'],
  [
    'an exception hook that exits with 0',
    'import os, sys\nsys.excepthook = lambda *a: os._exit(0)\nraise ValueError',
    'ok',
  ],
  ['an atexit function that raises', 'import atexit\natexit.register(lambda: 1 / 0)', 'ok'],
  [
    'an atexit function that registers another',
    'import atexit\ndef again(n):\n    if n: atexit.register(again, n - 1)\natexit.register(again, 100)',
    'ok',
  ],
  [
    'replaced exec, eval, compile and len',
    'import builtins\nfor n in ("exec", "eval", "compile", "len", "print", "open", "isinstance", "repr", "type", "getattr"): setattr(builtins, n, None)',
    'ok',
  ],
  ['builtins emptied', 'import builtins\nbuiltins.__dict__.clear()', null],
  ['sys.modules emptied', 'import sys\nsys.modules.clear()', 'ok'],
  ['sys emptied', 'import sys\nfor n in list(vars(sys)):\n    try: delattr(sys, n)\n    except Exception: pass', 'ok'],
  ['os emptied', 'import os\nos.__dict__.clear()', 'ok'],
  ['json replaced', 'import json\njson.dumps = lambda *a: "x" * 10\n1 + 1', 'ok'],
  ['streams replaced by rubbish', 'import sys\nsys.stdout = sys.stderr = sys.stdin = None\n1 + 1', 'ok'],
  [
    'streams whose flush raises',
    'import sys\nclass S:\n    def write(self, s): pass\n    def flush(self): raise ValueError\nsys.stdout = S()',
    'error',
  ],
  ['the main module emptied', 'globals().clear()', 'ok'],
  [
    'a frame of ours cleared',
    'import sys\nf = sys._getframe()\nwhile f.f_back: f = f.f_back\ntry: f.clear()\nexcept RuntimeError: pass\nf.f_globals.clear()',
    null,
  ],
  ['an exception with itself as context', 'e = ValueError("x")\ne.__context__ = e\nraise e', 'error'],
  [
    'a ring of exceptions',
    'a, b = ValueError("a"), ValueError("b")\na.__cause__, b.__cause__ = b, a\nraise a',
    'error',
  ],
  [
    'an exception whose class has a hostile name',
    'raise type("A\\n\\x1b[31m\\0" * 1000, (Exception,), {})("x")',
    'error',
  ],
  [
    'an exception whose attributes raise',
    'class E(Exception):\n    def __getattribute__(self, n): raise RuntimeError\nraise E',
    'error',
  ],
  [
    'an exception group 100 deep',
    'import sys\ne = ValueError("x")\nif sys.version_info >= (3, 11):\n    for _ in range(100): e = ExceptionGroup("g", [e])\nraise e',
    'error',
  ],
  ['BaseException of its own', 'class B(BaseException): pass\nraise B', 'error'],
  ['GeneratorExit', 'raise GeneratorExit', 'error'],
  [
    'SystemExit whose code raises when shown',
    'class C:\n    def __str__(self): raise ValueError\nraise SystemExit(C())',
    'error',
  ],
  ['an int of 10 million digits as exit status', 'raise SystemExit(10 ** 1_000_000)', null],
  ['a last expression that exits', 'import sys\nsys.exit(0)', 'ok'],
  ['a last expression whose repr exits with 5', 'class A:\n    def __repr__(self): raise SystemExit(5)\nA()', 'error'],
  ['a fork that both go on', 'import os\nos.fork()\n1 + 1', 'ok'],
  [
    'a child that runs our end as well',
    'import os\nif os.fork() == 0: raise SystemExit(9)\nos.wait()\nprint("parent")',
    'ok',
  ],
  ['a finalizer that starts a process', 'import os\nclass A:\n    def __del__(self): os.fork()\nx = A()', 'ok'],
  [
    'a thread that writes after the end',
    'import threading, os\ndef w():\n    while True: os.write(1, b".")\nthreading.Thread(target=w, daemon=True).start()',
    null,
  ],
  [
    'KeyboardInterrupt in the middle of the end',
    'import atexit, os, signal\natexit.register(os.kill, os.getpid(), signal.SIGINT)',
    null,
  ],
];

export const tricks: readonly Trick[] = TRICKS.map(([name, code, status]) => ({ name, code, status }));

/** Where the judge's own code shows in a traceback: our modules, or the text of the naive one. */
const MACHINERY_SHOWN = /zygote\.py|warden\.py|File "<string>"/;

/** What is wrong with an answer to a trick, or null. */
export function misjudged({ status }: Trick, outcome: Judged): string | null {
  if (outcome.status === 'unavailable') return `it broke the judge: ${outcome.reason}`;
  if (status !== null && outcome.status !== status)
    return `${outcome.status}, expected ${status}: ${outcome.reason}\n${outcome.stderr.text}`;
  return MACHINERY_SHOWN.test(outcome.stderr.text) ? `our own code shows: ${outcome.stderr.text}` : null;
}
