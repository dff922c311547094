/**
 * A session as a first try would make it: one server for all, a process for each session that runs the steps and says itself how they went, nobody
 * watching. The control for lying states: what they do costs this server its other sessions, or is believed.
 *
 * What it runs kills, stops and forks without end. It is kept from the machine by a process namespace, and by a number of processes, and by nothing else.
 */

import { unconfined } from './sandbox.js';
import { ownDirectory } from './planted.js';

export interface NaiveSession {
  /** This user can't make a process namespace to keep the machine from harm: nothing was run. */
  readonly missing: string | null;
  /** What the first step, which pretends, was said to have come to; null when no answer came. */
  readonly first: string | null;
  /** The same of the steps after it: what was said too late for the first is taken for the second's. */
  readonly next: string | null;
  /** What another session has for its `x` afterwards; null when no answer came. */
  readonly bystander: string | null;
  /** Whether something of the pretending session ran on when its session had ended. */
  readonly left: boolean;
}

/** Run a step that pretends in one session, one more there, and one in another session of the same server. */
export async function inNaiveSession(code: string, next: string): Promise<NaiveSession> {
  const { stdout, stderr } = await unconfined(SERVER, {
    stdin: JSON.stringify({ code, next }),
    parent: ownDirectory(),
  });
  const said = Object.fromEntries(
    [...stdout.matchAll(/^(missing|first|next|bystander|left) (.*)$/gm)].map(([, key, value]) => [key, value]),
  ) as Partial<Record<string, string>>;
  if (Object.keys(said).length === 0 && stderr.includes('SyntaxError')) throw new Error(stderr);
  return {
    missing: said.missing ?? null,
    first: said.first ?? null,
    next: said.next ?? null,
    bystander: said.bystander ?? null,
    left: said.left === 'True',
  };
}

const SERVER = String.raw`
import ast, ctypes, json, os, resource, signal, socket, sys, time
asked = json.loads(sys.stdin.read())
libc = ctypes.CDLL(None, use_errno=True)
if os.getuid() == 0: os.setgroups([]); os.setresgid(64986, 64986, 64986); os.setresuid(64986, 64986, 64986)
uid, gid = os.getuid(), os.getgid()
libc.prctl(4, 1, 0, 0, 0)
if libc.unshare(0x10000000 | 0x20000000 | 0x20000) != 0: print("missing", os.strerror(ctypes.get_errno())); sys.exit()
open("/proc/self/setgroups", "w").write("deny")
open("/proc/self/uid_map", "w").write(f"{uid} {uid} 1"); open("/proc/self/gid_map", "w").write(f"{gid} {gid} 1")
resource.setrlimit(resource.RLIMIT_NPROC, (64, 64))
keeper = os.fork()
if keeper:
    # The process namespace ends with its first process, and all in it with the namespace.
    signal.signal(signal.SIGALRM, lambda *_: os.kill(keeper, 9)); signal.alarm(3)
    os.waitpid(keeper, 0); sys.exit()
libc.mount(b"none", b"/", None, 0x44000, None)
if libc.mount(b"proc", b"/proc", b"proc", 0, None) != 0: print("missing /proc"); os._exit(0)
libc.prctl(4, 1, 0, 0, 0)
_fork = os.fork

def say(key, value): os.write(1, f"{key} {value}\n".encode())

def state(control, word):
    """A session: for each step a worker, which is the next state when the step went well. Descriptor 3 says how it went, 4 has the value."""
    os.dup2(control.fileno(), 3); os.dup2(word, 4); os.closerange(5, 64)
    scope = {}
    while True:
        code = os.read(3, 1 << 16)
        if not code: os._exit(0)
        if _fork() != 0: signal.pause()
        os.write(3, b"h")
        try:
            tree = ast.parse(code)
            last = ast.Expression(tree.body.pop().value) if isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, "<step>", "exec"), scope)
            value = None if last is None else repr(eval(compile(last, "<step>", "eval"), scope))
            os.write(4, json.dumps({"result": value}).encode())
            os.write(3, b"e")
        except Exception: os.write(3, b"r")

class Session:
    def __init__(self):
        self.control, theirs = socket.socketpair(); self.word, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0: os.setsid(); state(theirs, writer)
        theirs.close(); os.close(writer)
    def step(self, code):
        self.control.send(code.encode())
        if self.control.recv(1) != b"h": raise OSError("it did not say hello")
        said = self.control.recv(1)
        if said not in (b"e", b"r"): raise OSError(f"it said {said}")
        if said == b"r": return "raised"
        os.set_blocking(self.word, False)
        try: return json.loads(os.read(self.word, 1 << 16))["result"]
        except BlockingIOError: return None

server = os.fork()
if server == 0:
    # The server. It is not process 1, which the kernel would spare (pid_namespaces(7)).
    bystander, session = Session(), Session()
    bystander.step('x = "untouched"'); session.step('x = "good"')
    say("first", session.step(asked["code"])); say("next", [session.step(asked["next"]), session.step(asked["next"])][1]); say("bystander", bystander.step("x"))
    def all_below():
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try: state, _, _, sid = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[:4]; yield int(pid), state, int(sid), len(os.listdir(f"/proc/{pid}/task"))
            except OSError: pass
    # The end of a session: whatever is alive of it.
    for pid, state, sid, _ in all_below():
        if sid == session.pid and state != "Z": os.kill(pid, 9)
    time.sleep(0.1)
    spared = (os.getsid(0), bystander.pid)
    say("left", any(sid not in spared and (state != "Z" or threads > 1) for _, state, sid, threads in all_below()))
    os._exit(0)
while os.wait()[0] != server: pass
os._exit(0)
`;
