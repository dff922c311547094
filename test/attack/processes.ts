/** Goal: to reach other processes: to see, signal, trace, slow down or outlive them. */

import { py, type Attack } from './attack.js';

/** A victim of its own for each control: most attacks do not leave one alive. Inside, it is process 1 or a process of the host. */
const PRELUDE = `
import subprocess
victim = subprocess.Popen([sys.executable, "-I", "-c", "import time; print('up', flush=True); time.sleep(60)"], stdout=subprocess.PIPE)
victim.stdout.readline()
C["victims"] = [victim.pid]`;

/** Inside: the warden, a process of the host by its number there, the server, and a guess at what is near. */
const TARGETS = 'targets = C.get("victims") or [1, C["victim"], C["server"], os.getppid(), os.getpid() - 1]';

const against = (name: string, body: string, more: Partial<Attack> = {}): Attack => ({
  name,
  controlPrelude: PRELUDE,
  code: `${TARGETS}\ntargets = [pid for pid in targets if pid > 0]\nfound = []\nlast = OSError('nothing was reached')\nfor pid in targets:\n    try:\n${body
    .trim()
    .split('\n')
    .map((line) => `        ${line}`)
    .join('\n')}\n    except OSError as error: last = error\nif found: return found\nraise last`,
  endsSandbox: true,
  ...more,
});

/**
 * Without scoped signals (landlock before ABI 6) an ordinary user's warden has the program's own id, so a signal to it is no error. It
 * is process 1: the kernel drops the signal (pid_namespaces(7)), and that the warden reports the outcome after all is the proof.
 */
const REACHED = 'if pid != 1: found.append(pid)';

const signals = ['SIGKILL', 'SIGSTOP', 'SIGTERM', 'SIGSEGV', 'SIGUSR1', 'SIGINT'];
const NR = (x86: number, arm: number): string => `{"x86_64": ${x86}}.get(os.uname().machine, ${arm})`;

export const attacks: readonly Attack[] = [
  {
    name: 'the list of processes',
    controlPrelude: 'C["own"] = os.getpid()',
    code: py`
# itself, and its keeper, which is its child
own = {os.getpid(), *map(int, open(f"/proc/self/task/{os.getpid()}/children").read().split())}
return [pid for pid in os.listdir("/proc") if pid.isdigit() and int(pid) not in own]`,
  },
  { name: 'a process of the host by its number', code: py`return os.listdir(f"/proc/{C['victim']}")` },
  {
    name: 'whether a process of the host is alive',
    code: py`
os.kill(C["victim"], 0)
return True`,
  },
  ...signals.map((name) =>
    // What was stopped goes on: that it could be stopped is enough, and a warden that stands still is only a wait.
    against(
      `${name} by kill`,
      `os.kill(pid, signal.${name})${name === 'SIGSTOP' ? '; os.kill(pid, signal.SIGCONT)' : ''}\n${REACHED}`,
    ),
  ),
  against('SIGKILL by tgkill', `call(libc.syscall(${NR(234, 131)}, pid, pid, 9))\n${REACHED}`),
  against('SIGKILL by tkill', `call(libc.syscall(${NR(200, 130)}, pid, 9))\n${REACHED}`),
  against('SIGKILL by sigqueue', `call(libc.sigqueue(pid, 9, None))\n${REACHED}`),
  against(
    'SIGKILL by a process descriptor',
    `fd = call(libc.syscall(434, pid, 0))\ncall(libc.syscall(424, fd, 9, None, 0))\n${REACHED}`,
  ),
  against(
    'a signal to another process group',
    `
group = os.getpgid(pid)  # 0: it is outside of what can be seen
if group == 0: raise OSError("outside")
os.killpg(group, 0)
found.append(group)`,
  ),
  {
    name: 'SIGIO made SIGKILL, sent to another process by a pipe',
    controlPrelude: PRELUDE,
    code: py`
import fcntl
for pid in C.get("victims") or [1, C["victim"]]:
    r, w = os.pipe()
    fcntl.fcntl(r, 10, 9); fcntl.fcntl(r, fcntl.F_SETOWN, pid); fcntl.fcntl(r, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    os.write(w, b"x")  # sends it; what it is sent to may take a moment to die
    for _ in range(10):
        try: state = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0]
        except OSError: break
        if state == "Z": return pid
        time.sleep(0.01)`,
    endsSandbox: true,
  },
  against('ptrace attach', 'call(libc.ptrace(16, pid, None, None))\nfound.append(pid)', { needs: 'kernel' }),
  against('ptrace seize', 'call(libc.ptrace(0x4206, pid, None, None))\nfound.append(pid)', { needs: 'kernel' }),
  against(
    'reading memory by process_vm_readv',
    `
buffer = ctypes.create_string_buffer(16)
address = int(open(f"/proc/{pid}/maps").readline().split("-")[0], 16)
local = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 16); remote = (ctypes.c_void_p * 2)(address, 16)
found.append(call(libc.process_vm_readv(pid, local, 1, remote, 1, 0)))`,
    { needs: 'kernel' },
  ),
  against('reading memory by /proc/PID/mem', 'open(f"/proc/{pid}/mem", "rb")\nfound.append(pid)', { needs: 'kernel' }),
  against('writing memory by /proc/PID/mem', 'open(f"/proc/{pid}/mem", "r+b", 0)\nfound.append(pid)', {
    needs: 'kernel',
  }),
  against('the map of another’s memory', 'found += filter(None, [open(f"/proc/{pid}/maps").read(10)])'),
  against(
    'a descriptor of another process',
    'fd = call(libc.syscall(434, pid, 0))\nfound.append(call(libc.syscall(438, fd, 0, 0)))',
    { needs: 'kernel' },
  ),
  against(
    'comparing kernel objects by kcmp',
    `found.append(call(libc.syscall(${NR(312, 272)}, os.getpid(), pid, 1, 0, 0)) + 1)`,
    { needs: 'kernel' },
  ),
  against(
    'another’s memory thrown away by process_madvise',
    `
fd = call(libc.syscall(434, pid, 0))
address = int(open(f"/proc/{pid}/maps").readline().split("-")[0], 16)
found.append(call(libc.syscall(440, fd, (ctypes.c_void_p * 2)(address, 4096), 1, 20, 0)))`,
    { needs: 'kernel' },
  ),
  against('a lower priority for another', 'os.setpriority(os.PRIO_PROCESS, pid, 19)\nfound.append(pid)'),
  against('a processor for another', 'os.sched_setaffinity(pid, {0})\nfound.append(pid)'),
  against('a scheduler for another', `os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))\nfound.append(pid)`),
  against(
    'a lower limit for another',
    'import resource\nresource.prlimit(pid, resource.RLIMIT_CPU, (1, 1))\nfound.append(pid)',
  ),
  against('the limits of another', 'import resource\nfound.append(resource.prlimit(pid, resource.RLIMIT_NOFILE))'),
  against('a disk priority for another', `call(libc.syscall(${NR(251, 30)}, 1, pid, 3 << 13))\nfound.append(pid)`),
  against(
    'making the kernel kill another first',
    'open(f"/proc/{pid}/oom_score_adj", "w").write("1000")\nfound.append(pid)',
  ),
  against(
    'moving the pages of another',
    `found.append(call(libc.syscall(${NR(279, 239)}, pid, 0, None, None, None, 0)) + 1)`,
    { needs: 'kernel' },
  ),
  against('what another has open', 'found += os.listdir(f"/proc/{pid}/fd")', { needs: 'kernel' }),
  against('where another’s program is', 'found.append(os.readlink(f"/proc/{pid}/exe"))', { needs: 'kernel' }),
  against('the namespaces of another', 'found.append(os.readlink(f"/proc/{pid}/ns/pid"))', { needs: 'kernel' }),
  against('the system call another is in', 'found.append(open(f"/proc/{pid}/syscall").read())', { needs: 'kernel' }),
  against('the kernel stack of another', 'found.append(open(f"/proc/{pid}/stack").read())', { needs: 'kernel' }),
  against(
    'the session of another',
    'sid = os.getsid(pid)\nfound.append(sid or 0) if sid else None\nif not sid: raise OSError("outside")',
    { needs: 'kernel', promisedIn: ['strict'] },
  ),
  {
    name: 'becoming a tracer of its own child',
    needs: 'kernel',
    code: py`
pid = os.fork()
if pid == 0:
    libc.ptrace(0, 0, None, None); os.kill(os.getpid(), signal.SIGSTOP); os._exit(0)
os.waitpid(pid, os.WUNTRACED)  # it has stopped
result = libc.ptrace(24, pid, None, None)
os.kill(pid, 9)
try: os.waitpid(pid, 0)
except ChildProcessError: pass
return result == 0`,
  },
  {
    name: 'taking orphans from the warden as a sub-reaper',
    code: py`
call(libc.prctl(36, 1, 0, 0, 0))
return True`,
  },
  {
    name: 'a child that is its parent’s sibling (CLONE_PARENT)',
    code: py`
pid = call(libc.syscall({"x86_64": 56}.get(os.uname().machine, 220), 0x8000 | 17, None, None, None, None))
if pid == 0: os._exit(0)
return pid`,
  },
  {
    name: 'the right for others to trace it',
    needs: 'kernel',
    code: py`
call(libc.prctl(0x59616d61, -1, 0, 0, 0))
return True`,
  },
  ...(
    [
      ['user', 0x10000000, false],
      ['mount', 0x20000, true],
      ['process', 0x20000000, true],
      ['network', 0x40000000, true],
      ['IPC', 0x8000000, true],
      ['UTS', 0x4000000, true],
      ['cgroup', 0x2000000, true],
      ['time', 0x80, true],
    ] as const
  ).flatMap(([name, flag, root]): Attack[] => [
    {
      name: `a new ${name} namespace by unshare`,
      needs: root ? 'root' : 'kernel',
      code: `call(libc.unshare(${flag}))\nreturn True`,
    },
    ...(name === 'time'
      ? []
      : [
          {
            name: `a new ${name} namespace by clone`,
            needs: root ? ('root' as const) : ('kernel' as const),
            code: `pid = call(libc.syscall(${NR(56, 220)}, ${flag} | 17, None, None, None, None))\nif pid == 0: os._exit(0)\nreturn pid`,
          },
        ]),
  ]),
  {
    name: 'clone3, whose flags no filter can see',
    needs: 'kernel',
    code: py`
args = (ctypes.c_uint64 * 11)(0x10000000, 0, 0, 0, 17)
pid = call(libc.syscall(435, args, 88))
if pid == 0: os._exit(0)
return pid`,
  },
];
