/** Goal: to read what the server, its user, or another run has in an environment, in memory, in a process, or on the machine. */

import { py, type Attack } from './attack.js';

export const attacks: readonly Attack[] = [
  { name: 'its own environment', wants: 'secret', code: py`return os.environ.get(C["env"])` },
  {
    name: 'the environment in C',
    wants: 'secret',
    code: py`
libc.getenv.restype = ctypes.c_char_p
return libc.getenv(C["env"].encode())`,
  },
  {
    name: '/proc/self/environ',
    wants: 'secret',
    code: py`return SECRET.findall(open("/proc/self/environ", "rb").read())`,
  },
  {
    name: 'the environment of its parent',
    wants: 'secret',
    code: py`return SECRET.findall(open(f"/proc/{os.getppid() if C['inside'] else C['victim']}/environ", "rb").read())`,
  },
  {
    name: 'the environment of process 1, or of the server',
    wants: 'secret',
    code: py`return SECRET.findall(open(f"/proc/{1 if C['inside'] else C['victim']}/environ", "rb").read())`,
  },
  {
    name: 'every environment in /proc',
    wants: 'secret',
    code: py`
found = set()
for name in os.listdir("/proc"):
    try: found.update(SECRET.findall(open(f"/proc/{name}/environ", "rb").read()))
    except OSError: pass
return found`,
  },
  {
    name: 'every command line in /proc',
    wants: 'secret',
    code: py`
found = set()
for name in os.listdir("/proc"):
    try: found.update(SECRET.findall(open(f"/proc/{name}/cmdline", "rb").read()))
    except OSError: pass
return found`,
  },
  {
    name: 'the command line of a process by guessing numbers',
    wants: 'secret',
    code: py`
found = set()
for pid in range(1, max(70000, C["victim"] + 1)):
    try: found.update(SECRET.findall(open(f"/proc/{pid}/cmdline", "rb").read()))
    except OSError: pass
    if found and pid >= C["victim"]: break
return found`,
  },
  {
    name: 'the memory of another process, by /proc/PID/mem',
    wants: 'secret',
    needs: 'kernel',
    code: py`
found, pid = set(), 1 if C["inside"] else C["victim"]
with open(f"/proc/{pid}/mem", "rb", 0) as mem:
    for line in open(f"/proc/{pid}/maps"):
        low, high = (int(x, 16) for x in line.split()[0].split("-"))
        if "[heap]" in line or line.rstrip().endswith(" 0"):
            try: mem.seek(low); found.update(SECRET.findall(mem.read(high - low)))
            except (OSError, OverflowError, ValueError): pass
return found`,
  },
  {
    name: 'its own memory, all of it',
    wants: 'secret',
    code: py`
found = set()
with open("/proc/self/mem", "rb", 0) as mem:
    for line in open("/proc/self/maps"):
        low, high = (int(x, 16) for x in line.split()[0].split("-"))
        if "r" in line.split()[1] and high < 1 << 47:
            try: mem.seek(low); found.update(SECRET.findall(mem.read(high - low)))
            except (OSError, OverflowError, ValueError): pass
return found`,
  },
  {
    name: 'the working directory of another process',
    wants: 'secret',
    code: py`return open(f"/proc/{1 if C['inside'] else C['victim']}/cwd/secret.txt").read()`,
  },
  {
    name: 'the root directory of another process',
    wants: 'secret',
    code: py`return open(f"/proc/{1 if C['inside'] else C['victim']}/root{C['secretFile']}").read()`,
  },
  {
    name: 'the descriptors of another process',
    code: py`return os.listdir(f"/proc/{1 if C['inside'] else C['victim']}/fd")`,
  },
  {
    name: 'the descriptors of its own it was not meant to have',
    controlPrelude: 'kept = os.open(C["secretFile"], os.O_RDONLY)',
    wants: 'secret',
    code: py`
found = []
for fd in range(3, 1024):
    try: os.set_blocking(fd, False); found.append(os.read(fd, 1000))
    except OSError: pass
return b"".join(found)`,
  },
  {
    name: 'descriptors left open that lead to a directory',
    controlPrelude: 'kept = os.open(C["open"], os.O_RDONLY)',
    wants: 'secret',
    code: py`
for fd in range(3, 1024):
    try: return open(os.open("secret.txt", os.O_RDONLY, dir_fd=fd)).read()
    except OSError: pass`,
  },
  {
    name: 'open descriptors beyond the streams and its one pipe',
    controlPrelude: 'kept = socket.socketpair()',
    code: py`
extra = {}
for fd in range(3, 1024):
    try: target = os.readlink(f"/proc/self/fd/{fd}")
    except OSError: continue
    if not (fd == 4 and target.startswith("pipe:")) and not target.startswith("/proc/"): extra[fd] = target
return extra`,
  },
  { name: 'private keys in a home', wants: 'secret', code: py`return open(C["home"] + "/.ssh/id_ed25519").read()` },
  { name: 'the policy', wants: 'secret', code: py`return open(C["open"] + "/policy.json").read()` },
  {
    name: 'a search of everything that can be read',
    wants: 'secret',
    options: { limits: { timeoutSeconds: 60, cpuSeconds: 60 } },
    code: py`
# The likely places first. What did not change since the secret was made (its inode did not: ctime, inode(7)) can't hold it, and is not read.
bases = ["/tmp", "/home", "/root", "/var", "/opt", "/srv", "/mnt", "/media", "/run", "/work", "/dev", "/code", "/etc", "/"] if C["inside"] else [C["open"]]
seen = set()
for base in bases:
    for directory, below, names in os.walk(base):
        below[:] = [name for name in below if os.path.join(directory, name) not in ("/proc", "/sys")]
        if directory in seen: below.clear(); continue
        seen.add(directory)
        for name in names:
            path = os.path.join(directory, name)
            try:
                about = os.stat(path)
                if about.st_mode & 0o170000 == 0o100000 and about.st_size < 1 << 20 and about.st_ctime >= C["since"]:
                    found = SECRET.findall(open(path, "rb").read())
                    if found: return found
            except OSError: pass`,
  },
  {
    name: 'homes of people',
    code: py`
found = []
for path in ("/root", "/home", C["home"]):
    try: found += [os.path.join(path, name) for name in os.listdir(path)]
    except OSError: pass
return found`,
  },
  { name: 'the password file', needs: 'root', code: py`return open("/etc/shadow").read()` },
  {
    name: 'the users of the machine',
    code: py`return [line for line in open("/etc/passwd") if line.startswith(("daemon:", "www-data:", "sshd:"))]`,
  },
  {
    name: 'the name of the machine',
    promisedIn: ['strict'],
    code: py`
name = socket.gethostname()
return name if name != "sandbox" else None`,
  },
  {
    name: 'the identity of the machine',
    needs: 'kernel',
    code: py`
for path in ("/etc/machine-id", "/var/lib/dbus/machine-id", "/sys/class/dmi/id/product_uuid", "/proc/sys/kernel/random/boot_id"):
    try: return open(path).read()
    except OSError: pass`,
  },
  { name: 'the kernel’s command line', code: py`return open("/proc/cmdline").read()` },
  {
    name: 'addresses of the kernel',
    needs: 'root',
    code: py`return [line for line in open("/proc/kallsyms") if not line.startswith("0000000000000000")][:1]`,
  },
  {
    name: 'the memory of the machine',
    needs: 'kernel',
    code: py`
for path in ("/dev/mem", "/proc/kcore", "/dev/kmem"):
    try: return open(path, "rb").read(4)
    except OSError: pass`,
  },
  {
    name: 'the kernel’s log',
    needs: 'kernel',
    code: py`
for path in ("/dev/kmsg", "/proc/kmsg"):
    try: return os.read(os.open(path, os.O_RDONLY | os.O_NONBLOCK), 100)
    except OSError: pass`,
  },
  { name: 'the kernel’s settings', code: py`return open("/proc/sys/kernel/pid_max").read()` },
  { name: 'the kernel’s keys', needs: 'kernel', code: py`return open("/proc/keys").read()` },
  {
    name: 'interrupts, timers and other side channels of /proc',
    needs: 'kernel',
    code: py`
found = []
for name in ("interrupts", "softirqs", "schedstat", "timer_list", "slabinfo", "diskstats", "partitions", "swaps", "locks", "modules", "iomem", "ioports", "vmallocinfo", "zoneinfo", "buddyinfo", "pagetypeinfo", "consoles", "config.gz"):
    try:
        if open(f"/proc/{name}", "rb").read(1): found.append(name)
    except OSError: pass
return found`,
  },
  { name: '/sys', code: py`return os.listdir("/sys/class") + os.listdir("/sys/kernel")` },
  {
    name: 'the devices of the machine',
    code: py`return set(os.listdir("/dev")) - {"null", "zero", "full", "random", "urandom", "fd", "stdin", "stdout", "stderr", "shm"}`,
  },
  {
    name: 'connections of the machine',
    code: py`return re.findall(f":{C['tcpPort']:04X} ", open("/proc/net/tcp").read())`,
  },
  { name: 'Unix sockets of the machine', code: py`return C["abstractName"] in open("/proc/net/unix").read()` },
  {
    name: 'mounts of the machine',
    code: py`return [line for line in open("/proc/mounts") if line.split()[2] in ("ext4", "xfs", "btrfs", "overlay", "9p", "virtiofs", "devtmpfs", "sysfs", "cgroup2") and line.split()[1] in ("/", "/home", "/root", "/sys", "/dev")]`,
  },
  {
    name: 'core dumps, by a program that crashes',
    controlPrelude:
      'import resource; resource.setrlimit(resource.RLIMIT_CORE, resource.getrlimit(resource.RLIMIT_CORE)[1:] * 2)',
    code: py`
import resource
return resource.getrlimit(resource.RLIMIT_CORE)[1]`,
    needs: 'kernel',
  },
  {
    name: 'how many processes there have been, by its own number',
    promisedIn: ['strict'],
    code: py`return os.getpid() if os.getpid() > 50 else None`,
    controlPrelude:
      'for _ in range(60):\n    if os.fork() == 0: os._exit(0)\n    os.wait()\nos.getpid = lambda: int(open("/proc/loadavg").read().split()[4])',
  },
  {
    name: 'the last process that anyone started',
    promisedIn: ['strict'],
    code: py`
last = int(open("/proc/loadavg").read().split()[4])
return last if last > 50 else None`,
    needs: 'kernel',
  },
  {
    name: 'how much went through the machine’s network',
    promisedIn: ['strict'],
    code: py`
counted = [int(cell) for line in list(open("/proc/net/dev"))[2:] for cell in line.split(":")[1].split()]
return sum(counted)`,
  },
];
