"""The file tree that a sandbox sees: built once for the zygote, completed once per sandbox.

Theory of operation
-------------------
``build`` runs once, in a fresh mount namespace. It mounts an empty tmpfs, binds the interpreter and its libraries into it,
read-only, at the paths they have outside (a virtual environment and a pyenv build name their own paths), writes the few files of
/etc that libraries need, and makes it the root with pivot_root(2). The old root is detached: nothing of the host has a name any more.

``complete`` runs once per sandbox, in a copy of that mount namespace: a /proc of the sandbox's own process namespace, read-only and
with the machine's private parts covered, and one tmpfs, capped in bytes and inodes, that is bound to every writable place.

What is bound is decided here and nowhere else (``Plan``); landlock takes its rules from the same plan, so that the two
layers can't drift apart.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys

from . import kernel, mounts
from .kernel import (
    MNT_DETACH,
    MS_BIND,
    MS_MOVE,
    MS_NODEV,
    MS_NOATIME,
    MS_NODIRATIME,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_RELATIME,
    MS_REMOUNT,
)

#: Where the program works, and what is kept of the code it was given. ``relocate`` changes these: ask for them when they are needed.
WORK = "/work"
CODE = "/code"
#: Every writable place of a sandbox; all are directories of one capped tmpfs.
WRITABLE = (WORK, CODE, "/tmp", "/dev/shm")
#: Where programs find room for temporary files (tempfile(3), TMPDIR).
TEMPORARY = "/tmp"
#: Where that tmpfs itself is mounted. No one needs to look at it.
_STORE = "/run/store"
_NEW_PROC = "/run/proc"
#: Where the parts of the host are kept that lie in a place a sandbox's own file system covers (an interpreter in /tmp).
_COVERED = "/run/covered"

DEVICES = ("null", "zero", "full", "random", "urandom")

#: Parts of /usr and /etc that programs need to start and libraries read at import; whatever is missing is passed over.
_SYSTEM = (
    "/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libx32",
    "/usr/share/zoneinfo", "/usr/share/locale", "/usr/share/i18n", "/usr/share/mime", "/usr/share/terminfo",
    "/usr/share/fonts", "/usr/share/fontconfig", "/usr/share/matplotlib", "/usr/share/tcltk", "/usr/share/proj", "/usr/share/gdal",
    "/usr/share/python3", "/usr/share/python-wheels", "/usr/share/python-babel-localedata",
    "/usr/local/share/fonts", "/var/cache/fontconfig",
    "/etc/ld.so.cache", "/etc/alternatives", "/etc/fonts", "/etc/matplotlibrc", "/etc/localtime", "/etc/timezone",
    "/etc/mime.types", "/etc/services", "/etc/protocols", "/etc/os-release", "/etc/ssl/openssl.cnf", "/etc/python3", f"/etc/python{sys.version_info[0]}.{sys.version_info[1]}",
)  # fmt: skip
#: On merged-/usr systems these are links into /usr; elsewhere directories of their own.
_TOP = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")

_ETC = {
    "passwd": "root:x:0:0:root:/nonexistent:/usr/sbin/nologin\n"
    f"sandbox:x:1000:1000:sandbox:{WORK}:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "group": "root:x:0:\nsandbox:x:1000:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost sandbox\n::1 localhost sandbox\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n",
    "hostname": "sandbox\n",
}

#: What a program may see of /proc besides its own processes: no secrets, and libraries read them.
PROC_SHOWN = ("cpuinfo", "meminfo", "stat", "uptime", "loadavg", "version", "filesystems", "vmstat")
_PROC_SHOWN = frozenset(("self", "thread-self", "mounts", "net", *PROC_SHOWN))

_AT_RECURSIVE = 0x8000
_AT_FDCWD = -100
_MOUNT_ATTR = 0x1 | 0x2 | 0x4  # RDONLY, NOSUID, NODEV: mount_setattr(2)

#: statvfs(3) flags that a less privileged namespace may not drop when it remounts (user_namespaces(7)), and their mount flags.
_LOCKED = (
    (os.ST_NOSUID, MS_NOSUID),
    (os.ST_NODEV, MS_NODEV),
    (os.ST_NOEXEC, MS_NOEXEC),
    (os.ST_NOATIME, MS_NOATIME),
    (os.ST_NODIRATIME, MS_NODIRATIME),
    (os.ST_RELATIME, MS_RELATIME),
)


class UnsafePrefix(Exception):
    """The interpreter lies in a directory that can't be opened to a sandbox without opening much more."""


class Plan:
    """What of the host a sandbox sees.

    ``bound``: absolute paths, the same inside and outside, none inside another. ``links``: (path, target) of symbolic links.
    ``mounts``: directories that the policy opens.
    """

    def __init__(self, bound: list[str], links: list[tuple[str, str]], opened: list[mounts.Mount]) -> None:
        self.bound = bound
        self.links = links
        self.mounts = opened

    def covered(self) -> list[str]:
        """Those of ``bound`` that a sandbox's writable places would hide."""
        return [path for path in self.bound if any(_inside(path, place) for place in WRITABLE)]


def relocate(directory: str) -> tuple[str, ...]:
    """Have this process and those it forks use places under ``directory``, of the host, where there is no file tree of their own. Returns all of them."""
    places = tuple(f"{directory}/{name}" for name in ("work", "code", "tmp"))
    globals().update(zip(("WORK", "CODE", "TEMPORARY", "WRITABLE"), (*places, places)))
    return places


def relocated() -> bool:
    """Whether the places are a directory of the host's."""
    return not WORK.startswith("/work")


def prefixes() -> list[str]:
    """The directories this interpreter is installed in: its virtual environment's, where it is in one, and its base.

    Found without running ``site`` (whose .pth files may run code of packages): this is the trusted side still.
    """
    found = [sys.base_prefix, sys.base_exec_prefix]
    candidate = os.path.dirname(os.path.dirname(sys.executable))
    if os.path.isfile(os.path.join(candidate, "pyvenv.cfg")):
        found.insert(0, candidate)
    return list(dict.fromkeys(os.path.abspath(path) for path in found))


def plan(opened: list[mounts.Mount]) -> Plan:
    """What to bind for the interpreter that runs this, and the directories ``opened`` by the policy.

    Of a prefix only the parts a Python installation consists of, never the directory itself: a project's own
    directory is often the virtual environment's too. Raises UnsafePrefix, UnsafeMount.
    """
    wanted: list[str] = list(_SYSTEM)
    for prefix in prefixes():
        if prefix == "/":
            raise UnsafePrefix("the interpreter's prefix is /, which would open the whole host to programs")
        wanted += [os.path.join(prefix, part) for part in ("bin", "lib", "lib64", "pyvenv.cfg", "share/fonts", "share/jupyter")]
    for path in sys.path:
        if os.path.isabs(path):
            wanted.append(path)
    links: list[tuple[str, str]] = []
    for path in _TOP:
        if os.path.islink(path):
            links.append((path, os.readlink(path)))
        else:
            wanted.append(path)
    # The interpreter's own binary may be a link to one elsewhere (uv, homebrew): follow it to where its library lies.
    real = os.path.realpath(sys.executable)
    home = os.path.dirname(os.path.dirname(real))
    if not any(_inside(real, path) for path in wanted) and home != "/":
        wanted += [os.path.join(home, "bin"), os.path.join(home, "lib")]
    for path in wanted:
        if path in (os.path.expanduser("~"), "/", "/home", "/root", "/etc", "/var"):
            raise UnsafePrefix(f"the interpreter keeps modules directly in {path}, which would open it to programs")
    existing = sorted({_inner(path) for path in wanted if os.path.exists(path)})
    bound: list[str] = []
    for path in existing:
        if not any(_inside(path, other) for other in bound):
            bound.append(path)
    mounts.check(opened, bound)
    return Plan(bound, links, opened)


def _inner(path: str) -> str:
    """The path with links in its directory part resolved where that part is one of the top links (/lib -> usr/lib)."""
    for top in _TOP:
        if os.path.islink(top) and path.startswith(top + "/"):
            return os.path.join("/", os.readlink(top), path[len(top) + 1 :])
    return path


def _inside(path: str, other: str) -> bool:
    return path == other or path.startswith(other + "/")


def build(root: str, what: Plan, program_id: int | None, own_proc: bool) -> None:
    """Make ``root`` (an empty directory) the root of this process's mount namespace, showing what ``what`` names.

    The mount namespace must be this process's own, and so must the process namespace for a /proc of it (``own_proc``); otherwise the tree
    gets the host's. ``program_id``: the host's id that programs run as; None where that is the caller. Raises OSError naming the path that could
    not be mounted, UnsafeMount.
    """
    kernel.mount(None, "/", None, MS_REC | MS_PRIVATE, None)
    kernel.mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=1m,nr_inodes=4096")
    # For the zygote itself: some packages want to write at import. No sandbox sees it: its own is mounted over it.
    os.mkdir(root + "/tmp")
    kernel.mount("tmpfs", root + "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=16m,nr_inodes=4096")
    for path in what.bound:
        _bind(path, root + path)
    for place, path in enumerate(what.covered()):
        _bind(path, f"{root}{_COVERED}/{place}")
    for path, target in what.links:
        os.symlink(target, root + path)
    for directory in ("/proc", "/run/proc", "/run/store", "/dev", *WRITABLE):
        os.makedirs(root + directory, 0o755, exist_ok=True)
    os.makedirs(root + "/etc", exist_ok=True)
    for name, text in _ETC.items():
        with open(f"{root}/etc/{name}", "x", encoding="utf-8") as file:
            file.write(text)
    for name in DEVICES:
        _bind_device(f"/dev/{name}", f"{root}/dev/{name}")
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"), ("stderr", "/proc/self/fd/2")):
        os.symlink(target, f"{root}/dev/{name}")
    mounts.attach(root, what.mounts, program_id)
    # A new /proc is only to be had while an unobstructed one is in sight: mount it before the old root goes.
    mount_proc(root + "/proc", own_proc)
    os.chdir(root)
    kernel.pivot_root(".", ".")
    # The old root is stacked on top of the new one now (pivot_root(2), "pivot_root(".", ".")"): take it off.
    kernel.umount2(".", MNT_DETACH)
    os.chdir("/")
    kernel.mount(None, "/", None, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, None)


def mount_proc(target: str, own_proc: bool) -> None:
    """Mount a /proc of our process namespace; or, if that is the host's, the host's."""
    if own_proc:
        kernel.mount("proc", target, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "hidepid=2" if target == _NEW_PROC else None)
    else:
        kernel.mount("/proc", target, None, MS_BIND | MS_REC, None)


def _bind(source: str, target: str) -> None:
    """Bind ``source``, with whatever is mounted below it, read-only, without set-uid and devices."""
    if os.path.isdir(source):
        os.makedirs(target, 0o755, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
        with open(target, "x", encoding="utf-8"):
            pass
    kernel.mount(source, target, None, MS_BIND | MS_REC, None)
    attributes = (ctypes.c_uint64 * 4)(_MOUNT_ATTR)  # struct mount_attr: attr_set, attr_clr, propagation, userns_fd
    try:
        kernel.syscall("mount_setattr", _AT_FDCWD, target.encode(), _AT_RECURSIVE, attributes, 32)
    except OSError as error:
        if error.errno != errno.ENOSYS:  # before Linux 5.12
            raise
        _remount_read_only(target)


def _remount_read_only(target: str) -> None:
    """The way of kernels before 5.12: one mount at a time, keeping the flags that are locked."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        points = [line.split(" ")[4].replace("\\040", " ") for line in file]
    for point in {point for point in points if _inside(point, target)}:
        have = os.statvfs(point).f_flag
        keep = sum(flag for seen, flag in _LOCKED if have & seen)
        kernel.mount(None, point, None, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | keep, None)


def _bind_device(source: str, target: str) -> None:
    with open(target, "x", encoding="utf-8"):
        pass
    kernel.mount(source, target, None, MS_BIND, None)


def proc_masks() -> list[tuple[kernel.Argument, ...]]:
    """The calls of mount(2) that cover, in a sandbox's /proc before it is in its place, what anyone may read and a program has no business with."""
    masks: list[tuple[kernel.Argument, ...]] = []
    for name in os.listdir("/proc"):
        if name.isdigit() or name in _PROC_SHOWN:  # a process may be gone by now
            continue
        seen = os.lstat(f"/proc/{name}").st_mode
        # What only root may read is closed already: a program is not root, not even as its own namespace sees it.
        if stat.S_ISLNK(seen) or not seen & stat.S_IROTH:
            continue
        masks.append(((_STORE if stat.S_ISDIR(seen) else "/dev/null").encode(), f"{_NEW_PROC}/{name}".encode(), None, MS_BIND, None))
    return masks


def complete(disk_bytes: int, disk_inodes: int, uid: int, masks: list[tuple[kernel.Argument, ...]], covered: list[str], own_proc: bool) -> None:
    """Give this sandbox its /proc and its writable places.

    Needs a mount namespace of its own. ``uid``, as seen in this user namespace, owns the writable places; 0 is an ordinary user's sandbox;
    ``masks`` come from ``proc_masks``, asked once; ``covered`` from the plan; ``own_proc`` as for ``build``.
    """
    mount_proc(_NEW_PROC, own_proc)
    if uid == 0:
        kernel.umount2("/proc", MNT_DETACH)
    # Otherwise the zygote was made by root, and its mounts are locked in the less privileged namespace it entered (mount_namespaces(7)).
    # Its /proc then stays below this one, out of reach without CAP_SYS_ADMIN.
    kernel.repeat("mount", masks)
    if masks:
        kernel.mount(None, _NEW_PROC, None, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, None)
    kernel.mount(_NEW_PROC, "/proc", None, MS_MOVE, None)

    options = f"size={disk_bytes},nr_inodes={disk_inodes},mode=711"
    kernel.mount("tmpfs", _STORE, "tmpfs", MS_NOSUID | MS_NODEV, options)
    for place in WRITABLE:
        inside = _STORE + "/" + place.strip("/").replace("/", "-")
        os.mkdir(inside, 0o700)
        os.chown(inside, uid, uid)
        kernel.mount(inside, place, None, MS_BIND, None)
    for place, path in enumerate(covered):
        source = f"{_COVERED}/{place}"
        if os.path.isdir(source):
            os.makedirs(path, 0o755, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o444))
        kernel.mount(source, path, None, MS_BIND | MS_REC, None)
