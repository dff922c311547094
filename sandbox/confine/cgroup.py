"""cgroup v2: what the kernel counts, caps and kills for a whole process tree at once (Documentation/admin-guide/cgroup-v2.rst).

Theory of operation
-------------------
Used where a cgroup has been delegated to us with the memory controller in it, and nowhere else: a cgroup that somebody else manages is left
alone. Nothing of a sandbox depends on it; without one, rlimits and the warden's own watch stand alone.

    BASE/                       the cgroup the server was started in (or the one above, when a server has been here before)
      cordon-processes/         the server and its parents: a cgroup that hands controllers on may hold no process itself
      cordon-PID-NAMESPACE/     one for each zygote, named after its launcher; as root given to the zygote's id 0
        zygote/                 the zygote and the wardens
        sandbox-N/              the program of warden N, and all it starts

``BASE`` is put in order by the launcher, while it still sees the host (``open_subtree``), and put back when the last zygote has gone (``close``); a lock
on the directory keeps two servers from doing that at once. What a killed one left is swept by the next, by name. The zygote and the wardens
have a descriptor of the subtree, and no other way to it; the program has neither. It enters its cgroup itself, before it confines itself.
"""

from __future__ import annotations

import fcntl
import os
import re
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Optional

FIX = (
    "Start the server in a cgroup of its own: `systemd-run --user --scope -p Delegate=yes -- cordon serve` (as root without --user), or as a unit with "
    "`Delegate=yes`; in a container, mount cgroup v2 writable in a cgroup namespace of its own; where version 1 is in use, boot with "
    "`systemd.unified_cgroup_hierarchy=1`."
)

#: Where the processes of the base go.
PROCESSES = "cordon-processes"
_SUBTREE = re.compile(r"cordon-(\d+)-(\d+)")
_SANDBOX = re.compile(r"sandbox-(\d+)")
_ZYGOTE = "zygote"
#: memory is what it takes; the others are used where they are there. cpu gives each sandbox, and the server, an equal share of the processors.
_NEEDED = "memory"
_WANTED = (_NEEDED, "pids", "cpu")
#: How often to look for processes that were started while others were moved.
_MOVES = 20
#: How long killed processes may take to be gone.
_GONE_SECONDS = 5.0
#: How long the user's systemd may take to say whether it has delegated a unit.
_ASK_SECONDS = 5.0


class Unavailable(Exception):
    """There is no cgroup for us here; says why."""


def path_in(proc_cgroup: str) -> Optional[str]:
    """The path in the v2 hierarchy of the process whose /proc/PID/cgroup this is (cgroups(7)); None where there is no such hierarchy."""
    for line in proc_cgroup.splitlines():
        if line.startswith("0::/"):
            return line[3:]
    return None


def directory_of(path: str, mountinfo: str) -> Optional[str]:
    """Where the cgroup ``path`` can be seen, by /proc/PID/mountinfo (proc(5)); None when no mount shows it."""
    found = None
    for line in mountinfo.splitlines():
        mount, _, source = line.partition(" - ")
        fields = mount.split(" ")
        if not source.startswith("cgroup2 ") or len(fields) < 5:
            continue
        root, point = (_unescape(field) for field in fields[3:5])
        root = root.rstrip("/")
        if path == root or path.startswith(root + "/"):
            found = (point + path[len(root) :]).rstrip("/")  # a later mount may cover an earlier one
    return found


def _unescape(field: str) -> str:
    """Space, tab, newline and backslash are octal in mountinfo (proc(5))."""
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal.group(1), 8)), field)


def strangers(listed: list[int], parents: dict[int, int], server: int) -> list[int]:
    """Those of ``listed`` that were not started by what the cgroup was made for: the uppermost process in it that ``server`` descends from.

    ``parents``: the parent of every process. A number of 0 is a process of another process namespace.
    """

    def line(pid: int) -> list[int]:
        found: list[int] = []
        while pid > 0 and pid not in found:
            found.append(pid)
            pid = parents.get(pid, 0)
        return found

    first = next((pid for pid in reversed(line(server)) if pid in listed), server)
    return [pid for pid in listed if first not in line(pid)]


def _find() -> tuple[str, list[str]]:
    """The directory of the base, and which controllers are to be had there. Raises Unavailable."""
    with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        path = path_in(file.read())
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        mountinfo = file.read()
    if path is None:
        raise Unavailable("this kernel has no cgroup v2 (4.5), or uses version 1 alone")
    if path.endswith("/" + PROCESSES):
        path = os.path.dirname(path)
    base = directory_of(path, mountinfo)
    if base is None or not os.path.isdir(base):
        raise Unavailable(f"cgroup v2 is not mounted where it shows {path}, the cgroup of this process")
    there = _words(base + "/cgroup.controllers")
    if _NEEDED not in there:
        bound = any(" - cgroup " in line and re.search(r"[ ,]memory\b", line.partition(" - ")[2]) for line in mountinfo.splitlines())
        why = "memory is bound to cgroup version 1 on this machine" if bound else f"{path} has {', '.join(there) or 'no controllers'}, and not memory"
        raise Unavailable(f"cgroup v2 is there, without what it takes: {why}")
    for name in ("", "/cgroup.procs", "/cgroup.subtree_control"):
        if not os.access(base + name, os.W_OK):
            raise Unavailable(f"{path} can't be written to: it is read-only, or somebody else's")
    if not _is_delegated(base):
        raise Unavailable(f"{path} is managed by systemd, and not delegated")
    kind = _words(base + "/cgroup.type")
    if kind not in ([], ["domain"]):
        raise Unavailable(f"{path} is of type {' '.join(kind)}")
    return base, [name for name in _WANTED if name in there]


def _is_delegated(base: str) -> bool:
    """Whether systemd, where it runs, has given the cgroup away (systemd's CGROUP_DELEGATION.md)."""
    if not os.path.isdir("/run/systemd/system") or _is_marked(base):
        return True
    uid = os.geteuid()
    if uid == 0 or os.stat(base).st_uid != uid:
        return False
    import subprocess  # rarely needed, and not small

    # The manager of a user's own units owns them all, and (252) marks none: it has to be asked.
    where = {"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": f"/run/user/{uid}"}
    ask = ["systemctl", "--user", "show", "--property=Delegate", "--", os.path.basename(base)]
    try:
        said = subprocess.run(ask, env=where, stdin=subprocess.DEVNULL, capture_output=True, timeout=_ASK_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return said.stdout.strip() == b"Delegate=yes"


def _is_marked(directory: str) -> bool:
    for name in ("user.delegate", "trusted.delegate"):
        try:
            if os.getxattr(directory, name) == b"1":
                return True
        except OSError:
            pass
    return False


class Subtree:
    """The cgroups of one zygote, in ``base``. ``descriptor`` is their directory's: all that is left of it inside."""

    def __init__(self, base: str, name: str, controllers: list[str]) -> None:
        self.base = base
        self._name = name
        self.controllers = controllers
        self.descriptor = os.open(f"{base}/{name}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def enter(self) -> None:
        """Take this process to where the zygote lives."""
        _write(f"{_ZYGOTE}/cgroup.procs", "0", self.descriptor)

    def close(self) -> None:
        """Kill what is left, remove all of it, and put the base back in order when no other zygote uses it. In the launcher, at the end."""
        os.close(self.descriptor)
        with _Locked(self.base):
            _remove_subtree(self.base, self._name)
            _restore(self.base, self.controllers)


def open_subtree(server: int, owner: Optional[int]) -> Subtree:
    """Make the cgroups of a zygote.

    ``server``: the process that this is done for. ``owner``: the host's id for the zygote's root, where this is root. Raises Unavailable where
    nothing is to be had, and OSError where it should be and is not.
    """
    base, controllers = _find()
    with _Locked(base):
        _sweep(base)
        if any(name not in _words(base + "/cgroup.subtree_control") for name in controllers):
            _empty(base, server)
            controllers = _hand_on(base, controllers)
        name = f"cordon-{os.getpid()}-{os.stat('/proc/self/ns/pid').st_ino}"
        os.mkdir(f"{base}/{name}")
        try:
            _hand_on(f"{base}/{name}", controllers)
            os.mkdir(f"{base}/{name}/{_ZYGOTE}")
            if owner is not None:
                # Not the limits: they stay ours. To move a process takes the cgroup.procs of where it goes and of what is above both places.
                for path in ("", "/cgroup.procs", "/cgroup.threads", "/cgroup.subtree_control", f"/{_ZYGOTE}", f"/{_ZYGOTE}/cgroup.procs"):
                    os.chown(f"{base}/{name}{path}", owner, owner)
            return Subtree(base, name, controllers)
        except BaseException:
            _remove_subtree(base, name)
            _restore(base, controllers)
            raise


def _empty(base: str, server: int) -> None:
    """Move the processes of the base one down. Raises Unavailable when not all are ours."""
    if not os.path.exists(base + "/cgroup.type"):
        return  # the root of all cgroups may hold processes
    for _ in range(_MOVES):
        listed = [int(pid) for pid in _words(base + "/cgroup.procs")]
        if not listed:
            return
        others = strangers(listed, _parents(), server)
        if others:
            raise Unavailable(f"{base} is shared with processes that don't belong to this server: {', '.join(map(str, others[:5]))}")
        os.makedirs(f"{base}/{PROCESSES}", exist_ok=True)
        _move(listed, f"{base}/{PROCESSES}")
    raise Unavailable(f"{base} has new processes all the time")


def _restore(base: str, controllers: list[str]) -> None:
    """The base as it was before the first zygote, unless there is another."""
    if not os.path.isdir(f"{base}/{PROCESSES}") or any(_SUBTREE.fullmatch(name) for name in os.listdir(base)):
        return
    try:
        _write(base + "/cgroup.subtree_control", " ".join("-" + name for name in controllers))
        for _ in range(_MOVES):
            listed = [int(pid) for pid in _words(f"{base}/{PROCESSES}/cgroup.procs")]
            if not listed:
                break
            _move(listed, base)
        os.rmdir(f"{base}/{PROCESSES}")
    except OSError:
        pass  # somebody else has begun to use it: the next server finds it in order as it is


def _move(pids: Iterable[int], directory: str) -> None:
    for pid in pids:
        try:
            _write(directory + "/cgroup.procs", str(pid))
        except ProcessLookupError:
            pass  # it has ended


def _hand_on(directory: str, controllers: list[str]) -> list[str]:
    """Let the children of a cgroup have ``controllers``; returns those they got. Raises OSError when memory is not among them."""
    got: list[str] = []
    for name in controllers:
        try:
            _write(directory + "/cgroup.subtree_control", "+" + name)
            got.append(name)
        except OSError:
            if name == _NEEDED:
                raise
    return got


def _sweep(base: str) -> None:
    """Remove what killed servers left: of this process namespace, where their launcher would have a number, and has none."""
    namespace = os.stat("/proc/self/ns/pid").st_ino
    for name in os.listdir(base):
        match = _SUBTREE.fullmatch(name)
        if match and int(match.group(2)) == namespace and not is_alive(int(match.group(1))):
            _remove_subtree(base, name)


def _remove_subtree(base: str, name: str) -> None:
    directory = f"{base}/{name}"
    try:
        for child in os.listdir(directory):
            if child == _ZYGOTE or _SANDBOX.fullmatch(child):
                _remove(f"{directory}/{child}")
        os.rmdir(directory)
    except OSError:
        pass  # the next server's sweep comes by again


def is_alive(pid: int) -> bool:
    """Whether there is a process ``pid``."""
    try:
        os.kill(pid, 0)
        return True
    except OSError as error:
        return not isinstance(error, ProcessLookupError)


def sweep_sandboxes(subtree: int) -> None:
    """In the zygote: remove the cgroups whose warden is gone without having done it (it was killed)."""
    for name in os.listdir(subtree):
        match = _SANDBOX.fullmatch(name)
        if match and not is_alive(int(match.group(1))):
            try:
                os.rmdir(name, dir_fd=subtree)
            except OSError:
                pass  # its processes are on their way out


class Group:
    """The cgroup of one program, from its warden's side."""

    def __init__(self, subtree: int, number: int) -> None:
        """Make it. ``number``: the warden's, as the zygote knows it."""
        self._subtree = subtree
        self._name = f"sandbox-{number}"
        os.mkdir(self._name, dir_fd=subtree)
        directory = os.open(self._name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=subtree)
        # Out of the way of the program's five.
        self._directory = fcntl.fcntl(directory, fcntl.F_DUPFD_CLOEXEC, 10)
        os.close(directory)
        self._sampled_peak_bytes = 0
        _write("memory.oom.group", "1", self._directory)  # 4.19
        swap_max = self._open("memory.swap.max")
        if swap_max is not None:  # absent where the kernel can't swap
            os.write(swap_max, b"0")
            os.close(swap_max)
        # Open from now on: the warden will be somebody else to the file system (identity.take_files_of).
        self._memory_max = self._open("memory.max")
        self._pids_max = self._open("pids.max")
        #: Whether it keeps the limit on processes.
        self.counts_processes = self._pids_max is not None
        self._kill = self._open("cgroup.kill")

    def enter(self) -> None:
        """Take this process into it: all it starts from here on is in it, too."""
        _write("cgroup.procs", "0", self._directory)

    def limit(self, memory_bytes: int, processes: int) -> None:
        """Cap the memory of the whole tree, kernel memory and its pages of files included, and its processes and threads."""
        for descriptor, value in ((self._memory_max, memory_bytes), (self._pids_max, processes)):
            if descriptor is not None:
                os.write(descriptor, str(value).encode())

    def cpu_us(self) -> int:
        """CPU time of all processes that were ever in it, in microseconds."""
        return _field(self._read("cpu.stat"), "usage_usec")

    def sample(self) -> None:
        """Look at the memory in use now, for kernels that don't keep the peak."""
        self._sampled_peak_bytes = max(self._sampled_peak_bytes, int(self._read("memory.current")))

    def peak_bytes(self) -> int:
        """The most memory that was in use: the kernel's own count (memory.peak, 5.19), else the most that ``sample`` saw."""
        try:
            return int(self._read("memory.peak"))
        except FileNotFoundError:
            return self._sampled_peak_bytes

    def hit_memory_limit(self) -> bool:
        """Whether the kernel has killed it because it wanted more memory than ``limit`` allows."""
        events = self._read("memory.events")
        # oom alone: this cgroup's own limit and not the machine's memory; oom_kill alone is the other way round.
        return _field(events, "oom") > 0 and _field(events, "oom_kill") > 0

    def kill(self) -> None:
        """Kill everything in it at once, whatever it forks meanwhile (cgroup.kill, 5.14)."""
        if self._kill is not None:
            os.write(self._kill, b"1")

    def remove(self) -> None:
        """Kill everything in it and remove it. By who made it: see identity.take_files_back."""
        os.close(self._directory)
        _remove(self._name, self._subtree)

    def _read(self, name: str) -> str:
        return _read(name, self._directory)

    def _open(self, name: str) -> Optional[int]:
        """A descriptor to write to; None where this kernel or this cgroup has no such file."""
        try:
            return os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=self._directory)
        except FileNotFoundError:
            return None


def _remove(directory: str, dir_fd: Optional[int] = None) -> None:
    """Kill what is in a cgroup that has no further ones below, wait until it is gone, remove it. What can't be removed is left to a sweep."""
    try:
        _write(directory + "/cgroup.kill", "1", dir_fd)
    except OSError:
        pass
    try:
        events = os.open(directory + "/cgroup.events", os.O_RDONLY | os.O_CLOEXEC, dir_fd=dir_fd)
    except OSError:
        return
    try:
        poll = select.poll()
        poll.register(events, select.POLLPRI)  # it changed
        deadline = time.monotonic() + _GONE_SECONDS
        while _field(os.pread(events, 4096, 0).decode(), "populated") != 0 and time.monotonic() < deadline:
            poll.poll(100)
        os.rmdir(directory, dir_fd=dir_fd)
    except OSError:
        pass
    finally:
        os.close(events)


class _Locked:
    """With this, no other server puts ``directory`` in order."""

    def __init__(self, directory: str) -> None:
        self._descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def _parents() -> dict[int, int]:
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                stat = _read(f"/proc/{name}/stat")
            except OSError:
                continue
            parents[int(name)] = int(stat[stat.rindex(")") + 2 :].split()[1])
    return parents


def _field(text: str, name: str) -> int:
    """A value of a flat keyed file: lines of a name and a number."""
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def _words(path: str) -> list[str]:
    """What a file lists; nothing where there is none."""
    try:
        return _read(path).split()
    except FileNotFoundError:
        return []


def _read(path: str, dir_fd: Optional[int] = None) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        pieces: list[bytes] = []
        while piece := os.read(descriptor, 1 << 16):
            pieces.append(piece)
        return b"".join(pieces).decode(errors="surrogateescape")
    finally:
        os.close(descriptor)


def _write(path: str, text: str, dir_fd: Optional[int] = None) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
