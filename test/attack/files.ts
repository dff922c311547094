/** Goal: to read, write, or find out about files outside, and to change what later programs run. */

import { py, type Attack } from './attack.js';

/** Opening a file to write, without writing: the control must not change the machine. */
const openToWrite = (path: string): string => `return os.open(${path}, os.O_WRONLY | os.O_CLOEXEC) > 0`;

export const attacks: readonly Attack[] = [
  { name: 'reading a file by its path', wants: 'secret', code: py`return open(C["secretFile"]).read()` },
  {
    name: 'reading a file by way of ..',
    wants: 'secret',
    code: py`return open("/tmp/../" * 20 + C["secretFile"]).read()`,
  },
  {
    name: 'reading a file through /proc/self/root',
    wants: 'secret',
    code: py`return open("/proc/self/root" + C["secretFile"]).read()`,
  },
  {
    name: 'reading a file through a symbolic link',
    wants: 'secret',
    code: py`
os.symlink(C["secretFile"], "link")
return open("link").read()`,
  },
  {
    name: 'reading a file through a symbolic link to the root',
    wants: 'secret',
    code: py`
os.symlink("/", "root")
return open("root" + C["secretFile"]).read()`,
  },
  {
    name: 'reading a file through a hard link',
    wants: 'secret',
    needs: 'kernel',
    code: py`
os.link(C["secretFile"], os.path.join(C["writable"], C["planted"]) if not C["inside"] else "hard")
return open(os.path.join(C["writable"], C["planted"]) if not C["inside"] else "hard").read()`,
  },
  {
    name: 'reading a file relative to a descriptor of /',
    wants: 'secret',
    code: py`
top = os.open("/", os.O_PATH)
return open(os.open(C["secretFile"].lstrip("/"), os.O_RDONLY, dir_fd=top)).read()`,
  },
  {
    name: 'reading a file through /proc/self/fd of an O_PATH descriptor',
    wants: 'secret',
    code: py`
fd = os.open(C["secretFile"], os.O_PATH)
return open(f"/proc/self/fd/{fd}").read()`,
  },
  {
    name: 'reading a file by a child program',
    wants: 'secret',
    code: py`
import subprocess
return subprocess.run(["cat", C["secretFile"]], capture_output=True, text=True).stdout`,
  },
  {
    name: 'reading a file with a static binary of its own making',
    wants: 'secret',
    code: py`
import shutil, subprocess
shutil.copy("/bin/cat", "mycat")
return subprocess.run(["./mycat", C["secretFile"]], capture_output=True, text=True).stdout`,
  },
  {
    name: 'reading a file by open_by_handle_at',
    wants: 'secret',
    needs: 'root',
    code: py`
handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + bytes(128)); mount = ctypes.c_int()
call(libc.name_to_handle_at(-100, C["secretFile"].encode(), handle, ctypes.byref(mount), 0))
top = os.open(C["open"], os.O_RDONLY)
return os.read(call(libc.open_by_handle_at(top, handle, os.O_RDONLY)), 100).decode()`,
  },
  {
    name: 'reading a file by openat2 with an escape from the resolution',
    wants: 'secret',
    needs: 'kernel',
    code: py`
how = struct.pack("QQQ", os.O_RDONLY, 0, 0)
return os.read(call(libc.syscall(437, -100, C["secretFile"].encode(), how, len(how))), 100).decode()`,
  },
  {
    name: 'reading a file by mapping it',
    wants: 'secret',
    code: py`
import mmap
with open(C["secretFile"], "rb") as f: return mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)[:]`,
  },
  {
    name: 'reading a file as a module',
    wants: 'secret',
    code: py`
import importlib.machinery, importlib.util
loader = importlib.machinery.SourceFileLoader("m", C["secretFile"])
return loader.get_data(C["secretFile"]).decode()`,
  },
  {
    name: 'reading a file by sqlite',
    wants: 'secret',
    code: py`
import sqlite3
try: sqlite3.connect(C["secretFile"]).execute("select * from x")
except sqlite3.DatabaseError as e:
    if "not a database" in str(e): return open(C["secretFile"]).read()`,
  },
  { name: 'whether a file exists', promisedIn: ['strict'], code: py`return os.path.exists(C["secretFile"])` },
  { name: 'size and times of a file', promisedIn: ['strict'], code: py`return os.stat(C["secretFile"]).st_size` },
  { name: 'access(2) on a file', promisedIn: ['strict'], code: py`return os.access(C["secretFile"], os.R_OK)` },
  { name: 'listing a directory', code: py`return os.listdir(C["open"])` },
  {
    name: 'entering a directory',
    promisedIn: ['strict'],
    code: py`
os.chdir(C["open"])
return os.getcwd()`,
  },
  {
    name: 'listing the server’s temporary directory',
    code: py`return [name for name in os.listdir(C["tmpdir"]) if name.startswith(("cordon-", "canary-", "attack-"))]`,
  },
  {
    name: 'making a file',
    code: py`
open(os.path.join(C["writable"], C["planted"]), "w").write("x")
return True`,
  },
  {
    name: 'making a nameless file',
    needs: 'kernel',
    code: py`return os.open(C["writable"], os.O_TMPFILE | os.O_WRONLY) > 0`,
  },
  { name: 'writing to a file', code: openToWrite('C["secretFile"]') },
  {
    name: 'making a directory',
    code: py`
os.mkdir(os.path.join(C["writable"], C["planted"]))
return True`,
  },
  {
    name: 'making a link',
    code: py`
os.symlink("x", os.path.join(C["writable"], C["planted"]))
return True`,
  },
  {
    name: 'making a named pipe',
    code: py`
os.mkfifo(os.path.join(C["writable"], C["planted"]))
return True`,
  },
  {
    name: 'renaming a file',
    file: true,
    code: py`
os.rename(C["file"], C["file"] + "2")
return True`,
  },
  {
    name: 'removing a file',
    file: true,
    code: py`
os.unlink(C["file"])
return True`,
  },
  {
    name: 'changing the mode of a file',
    code: py`
os.chmod(C["secretFile"], 0o604)
return os.stat(C["secretFile"]).st_mode & 0o777 == 0o604`,
  },
  {
    name: 'changing the times of a file',
    code: py`
os.utime(C["secretFile"], (1, 1))
return os.stat(C["secretFile"]).st_mtime == 1`,
  },
  {
    name: 'setting an extended attribute',
    needs: 'kernel',
    code: py`
path = C["secretFile"] if not C["inside"] else "own"
if C["inside"]: open("own", "w").close()
os.setxattr(path, "user.x", b"1")
return True`,
  },
  {
    name: 'cutting a file short',
    file: true,
    code: py`
os.truncate(C["file"], 1)
return os.path.getsize(C["file"]) == 1`,
  },
  { name: 'writing to the interpreter’s library', needs: 'root', code: openToWrite('json.__file__') },
  {
    name: 'writing to the interpreter',
    needs: 'root',
    code: py`
try: return os.open(os.path.realpath(sys.executable), os.O_WRONLY) > 0
except OSError as e: return e.errno == errno.ETXTBSY`,
  },
  { name: 'writing to a system program', needs: 'root', code: openToWrite('"/bin/cat"') },
  {
    name: 'making a file beside the interpreter’s library',
    needs: 'root',
    code: py`return os.open(os.path.dirname(os.__file__), os.O_TMPFILE | os.O_WRONLY) > 0`,
  },
  { name: 'making a file in /etc', needs: 'root', code: py`return os.open("/etc", os.O_TMPFILE | os.O_WRONLY) > 0` },
  {
    name: 'making a file in /usr/bin',
    needs: 'root',
    code: py`return os.open("/usr/bin", os.O_TMPFILE | os.O_WRONLY) > 0`,
  },
  { name: 'making a file in /', needs: 'root', code: py`return os.open("/", os.O_TMPFILE | os.O_WRONLY) > 0` },
  {
    name: 'changing the owner of a library file',
    needs: 'root',
    code: py`
os.chown(json.__file__, -1, -1)
os.chown(json.__file__, os.stat(json.__file__).st_uid, -1)
return True`,
  },
  {
    name: 'changing the mode of a library file',
    needs: 'root',
    code: py`
before = os.stat(json.__file__)
os.chmod(json.__file__, before.st_mode & 0o777)
return os.stat(json.__file__).st_ctime_ns != before.st_ctime_ns`,
  },
  { name: 'writing to the kernel’s core pattern', needs: 'root', code: openToWrite('"/proc/sys/kernel/core_pattern"') },
  {
    name: 'writing to another setting of the kernel',
    needs: 'root',
    code: py`
for path in ("/proc/sys/kernel/hostname", "/proc/sys/vm/overcommit_memory", "/proc/sys/kernel/modprobe", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/user/max_user_namespaces"):
    try: return os.open(path, os.O_WRONLY) > 0
    except OSError: pass`,
  },
  { name: 'the magic request key', needs: 'kernel', code: openToWrite('"/proc/sysrq-trigger"') },
  {
    name: 'writing to /sys',
    needs: 'kernel',
    code: py`
for path in ("/sys/kernel/uevent_helper", "/sys/kernel/mm/transparent_hugepage/enabled", "/sys/power/state", "/sys/kernel/profiling"):
    try: return os.open(path, os.O_WRONLY) > 0
    except OSError: pass`,
  },
  {
    name: 'its own oom_score_adj made better',
    needs: 'root',
    code: py`
open("/proc/self/oom_score_adj", "w").write("-500")
return True`,
  },
  {
    name: 'its own id maps',
    needs: 'kernel',
    code: py`return [os.open(f"/proc/self/{name}", os.O_WRONLY) for name in ("uid_map", "gid_map", "setgroups")]`,
  },
  { name: 'writing to its own memory file', code: openToWrite('"/proc/self/mem"') },
  {
    name: 'a device node',
    needs: 'root',
    code: py`
import stat
path = "device"
os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
return open(path, "w").write("x")`,
  },
  {
    name: 'a block device',
    needs: 'root',
    code: py`
import stat
os.mknod("disk", 0o666 | stat.S_IFBLK, os.makedev(7, 99))
return True`,
  },
  {
    name: 'a terminal',
    needs: 'kernel',
    code: py`
for path in ("/dev/ptmx", "/dev/tty", "/dev/console", "/dev/tty0"):
    try: return os.open(path, os.O_RDWR | os.O_NOCTTY) > 0
    except OSError: pass`,
  },
  {
    name: 'a disk of the machine',
    needs: 'kernel',
    code: py`
for name in os.listdir("/dev"):
    try:
        import stat
        if stat.S_ISBLK(os.stat(f"/dev/{name}").st_mode): return os.read(os.open(f"/dev/{name}", os.O_RDONLY), 1)
    except OSError: pass`,
  },
  {
    name: 'a new root by chroot',
    needs: 'root',
    code: py`
os.chroot(C["open"])
return True`,
  },
  {
    name: 'out of the root by chroot and ..',
    wants: 'secret',
    needs: 'root',
    code: py`
os.mkdir("jail"); top = os.open(".", os.O_RDONLY); os.chroot("jail"); os.fchdir(top)
for _ in range(50): os.chdir("..")
os.chroot(".")
return open(C["secretFile"]).read()`,
  },
  {
    name: 'a new mount',
    needs: 'root',
    // In a mount namespace of its own, and private: else it would be the machine's, where systemd shares all mounts.
    controlPrelude: 'call(libc.unshare(0x20000)); call(libc.mount(None, b"/", None, 0x44000, None))',
    code: py`
call(libc.mount(b"none", C["writable"].encode(), b"tmpfs", 0, None))
return True`,
  },
  {
    name: 'a writable remount of the library',
    needs: 'root',
    code: py`
call(libc.unshare(0x20000)); call(libc.mount(None, b"/", None, 0x44000, None))
call(libc.mount(b"/usr/lib", b"/usr/lib", None, 0x1000, None))
call(libc.mount(None, b"/usr/lib", None, 0x1020, None))
return os.open("/usr/lib", os.O_TMPFILE | os.O_WRONLY) > 0`,
  },
  {
    name: 'taking a mount away',
    needs: 'root',
    code: py`
if not C["inside"]:
    call(libc.unshare(0x20000)); call(libc.mount(None, b"/", None, 0x44000, None)); call(libc.mount(b"none", C["writable"].encode(), b"tmpfs", 0, None))
for path in ("/proc", "/proc/sys", "/tmp", "/work", "/dev/shm", C["writable"]):
    if libc.umount2(path.encode(), 2) == 0: return path`,
  },
  {
    name: 'a new user namespace, to mount in it',
    needs: 'kernel',
    code: py`
call(libc.unshare(0x10000000 | 0x20000))
return True`,
  },
  {
    name: 'gaining rights by a set-user-id program of its own',
    needs: 'root',
    code: py`
import shutil, subprocess
path = os.path.join(C["writable"] if not C["inside"] else "/tmp", C["planted"])
shutil.copy("/usr/bin/id", path); os.chmod(path, 0o4755)
return " euid=0" in subprocess.run([path], capture_output=True, text=True, preexec_fn=lambda: os.setresuid(12345, 12345, -1) if not C["inside"] else None).stdout or not C["inside"]`,
  },
  { name: 'running without no_new_privs', code: py`return "NoNewPrivs:\t0" in open("/proc/self/status").read()` },
  { name: 'running without a filter', code: py`return "Seccomp:\t0" in open("/proc/self/status").read()` },
  {
    name: 'a capability of any kind',
    needs: 'root',
    code: py`return [line for line in open("/proc/self/status") if line.startswith(("CapPrm", "CapEff", "CapInh", "CapAmb")) and int(line.split()[1], 16)]`,
  },
  {
    // Nothing can be gained from it under no_new_privs; an ordinary user can only lower it in a user namespace (capabilities(7)).
    name: 'a capability in the bounding set',
    needs: 'root',
    promisedIn: ['strict'],
    code: py`return [line for line in open("/proc/self/status") if line.startswith("CapBnd") and int(line.split()[1], 16)]`,
  },
  {
    name: 'becoming another user',
    needs: 'root',
    code: py`
for uid in (0, 1, 65534):
    for setter in (os.setuid, os.setgid, lambda n: os.setgroups([n])):
        try: setter(uid); return f"now {uid}"
        except OSError: pass`,
  },
  {
    name: 'the parts of the tree no one should look at',
    controlPrelude: 'os.makedirs(C["writable"] + "/run/store"); C["run"] = C["writable"]',
    code: py`
found = []
for path in ("/run/store", "/run/proc", "/run/covered"):
    try: found.append(os.listdir(C.get("run", "") + path) or path)
    except OSError: pass
return found`,
  },
  {
    name: 'another sandbox’s files through the store',
    controlPrelude: 'C["run"] = C["open"]',
    code: py`
found = []
for base in (C.get("run"), "/run/store/work", "/run/store/tmp", "/run/store/dev-shm", "/run/store/code"):
    try: found += [name for name in os.listdir(base) if name != "main.py"]  # its own, under another name
    except (OSError, TypeError): pass
return found`,
  },
  {
    name: 'being told when anyone opens a file of the library',
    code: py`
fd = call(libc.inotify_init1(0o4000))
return call(libc.inotify_add_watch(fd, json.__file__.encode(), 0x20)) > 0`,
  },
  {
    name: 'being told of what happens in a directory of the library, by a signal',
    code: py`
import fcntl
signal.signal(signal.SIGIO, signal.SIG_IGN)
return fcntl.fcntl(os.open(os.path.dirname(json.__file__), os.O_RDONLY), 1026, 1) == 0`,
  },
  {
    name: 'holding up whoever opens a file of the user’s, by a lease',
    code: py`
import fcntl
path = os.path.join(C["writable"], C["planted"]) if not C["inside"] else "leased"
open(path, "w").close()
return fcntl.fcntl(os.open(path, os.O_RDONLY), 1024, fcntl.F_WRLCK if C["inside"] else fcntl.F_RDLCK) == 0`,
  },
];
