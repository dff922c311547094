"""What a sandbox's processes use, measured from /proc by the warden.

Theory of operation
-------------------
Whose processes they are, processes.py knows. Memory is looked at in two steps: the resident sets
are cheap to read and can only be too high (pages shared with the zygote, and between the program's own processes, count in each), so
only when their sum is over the cap are the exact shares asked for (Pss in /proc/PID/smaps_rollup, which makes the kernel walk page tables).
Page tables are not in them: what has been mapped says how large they can be, and only when that matters is it asked how large they are.
What lies in the sandbox's file system and in the buffers of its sockets is memory too and is added.

With a cgroup the kernel counts both, exactly, and keeps the memory's limit itself.

CPU time is, without, that of the reaped (getrusage) or, if higher, the sum over what was seen alive: a process whose parent ignores SIGCHLD is never
reaped by anyone and its time would vanish with it.
"""

from __future__ import annotations

import os
import time

import sockets
from confine import tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    import resource

    from confine import cgroup
    from make import Child

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_KB = 1024
#: What one byte of page tables maps at least: an entry of 8 bytes for a page.
MAPPED_BY_TABLES = _PAGE_BYTES // 8
#: Page tables of more than this part of the memory are no ordinary program's: then the resident sets count as they are.
MOST_TABLES_SHARE = 8


class Meter:
    """The usage of one job. ``group``: the cgroup that it is in, where it is in one of ours."""

    def __init__(self, child: Child, group: cgroup.Group | None) -> None:
        self._group = group
        self._child = child
        self._first = child.pid
        #: Processes and threads at the last look.
        self.threads = 0
        self._peak_bytes = 0
        self._before_us = 0
        #: CPU ticks of each process when last seen.
        self._seen_ticks: dict[str, int] = {}
        self._gone_ticks: int = 0
        self._near = False

    @property
    def near(self) -> bool:
        """Whether more than half of the memory was in use at the last look: the next should come soon."""
        return self._near

    def start(self) -> None:
        """The job begins: what the process used to get ready is ours, not the program's."""
        if self._group is not None:
            self._before_us = self._group.cpu_us()
            return
        # The CPU-time clock of another process: clock_getcpuclockid(3) as glibc makes it.
        self._before_us = int(time.clock_gettime((~self._first << 3) | 2) * 1e6)

    def tick(self, cpu_seconds: float, memory_bytes: int) -> str | None:
        """Look at the tree. Returns the limit that is reached, ``cpu`` or ``memory``, or None."""
        if self._group is not None:
            self._group.sample()
            return "cpu" if self._group.cpu_us() - self._before_us >= cpu_seconds * 1e6 else None
        resident = reserved = 0
        ticks: dict[str, int] = {}
        processes = self._child.reach.pids()
        threads = 0
        for name in processes:
            stat = read(f"/proc/{name}/stat")
            if stat:
                # The name in parentheses is the program's to choose: count from the last parenthesis (proc(5)).
                fields = stat[stat.rindex(b")") + 2 :].split()
                # A number that is used again is another process: its start time is part of who it is.
                ticks[f"{name} {fields[19].decode()}"] = int(fields[11]) + int(fields[12])
                resident += int(fields[21]) * _PAGE_BYTES
                reserved += int(fields[20])
                threads += int(fields[17])
        self.threads = threads
        self._gone_ticks += sum(used for key, used in self._seen_ticks.items() if key not in ticks)
        self._seen_ticks = ticks
        if self._live_us() >= cpu_seconds * 1e6:
            return "cpu"
        # A directory of the host's is on a disk (scratch.py).
        outside = file_system_bytes() if self._child.watch is None else 0
        # What can't be measured counts at its most against the limit, and is not told as used.
        supposed = 0 if self._child.own_network else sockets.most_buffered_bytes(processes, memory_bytes)
        if supposed > memory_bytes:
            return "memory"  # with no look at the rest, which takes its time
        if self._child.own_network:
            outside += sockets.buffered_bytes()
        tables = 0
        if (resident + outside + supposed + reserved // MAPPED_BY_TABLES) * 2 > memory_bytes:
            tables = sum(map(page_tables, processes))
        used = resident + outside + tables
        self._near = (used + supposed) * 2 > memory_bytes
        # A walk over large tables takes long, and the program goes on meanwhile.
        if used + supposed > memory_bytes and tables * MOST_TABLES_SHARE <= memory_bytes:
            used = sum(map(exact, processes)) + outside + tables
        self._peak_bytes = max(self._peak_bytes, used)
        if used + supposed > memory_bytes:
            return "memory"
        return None

    def _live_us(self) -> int:
        ticks = self._gone_ticks + sum(self._seen_ticks.values())
        return ticks * 1_000_000 // _TICKS_PER_SECOND - self._before_us

    def cpu_us(self, reaped: resource.struct_rusage) -> int:
        """CPU time of the job in microseconds; ``reaped`` is RUSAGE_CHILDREN after all are gone."""
        if self._group is not None:
            return self._group.cpu_us() - self._before_us
        from_kernel = int((reaped.ru_utime + reaped.ru_stime) * 1e6) - self._before_us
        return max(0, from_kernel, self._live_us())

    def peak_bytes(self, reaped: resource.struct_rusage) -> int:
        """The most memory that was seen in use, in bytes; at least the largest process's own peak."""
        if self._group is not None:
            return self._group.peak_bytes()
        return max(self._peak_bytes, reaped.ru_maxrss * _KB)


def read(path: str) -> bytes:
    """What is in a file of /proc; nothing when its process is gone.

    Its lines end with a newline alone: the kernel escapes that in the name of a process, which is the program's to choose, and leaves a carriage return as it
    is (proc_task_name in fs/proc/array.c), at which ``splitlines`` would begin another.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(8192)
    except (FileNotFoundError, ProcessLookupError):
        return b""


def exact(name: str) -> int:
    """The share of memory of one process, without files it mapped and without its page tables, in bytes."""
    total = 0
    try:
        text = read(f"/proc/{name}/smaps_rollup")
    except PermissionError:
        return _resident(name)  # it is above the exact share, never below
    for line in text.splitlines():
        if line.startswith((b"Pss_Anon:", b"Pss_Shmem:")):
            total += int(line.split()[1]) * _KB
    return total


def _resident(name: str) -> int:
    return sum(int(line.split()[1]) * _KB for line in read(f"/proc/{name}/status").split(b"\n") if line.startswith(b"VmRSS:"))


def page_tables(name: str) -> int:
    """Memory that one process's page tables take, in bytes."""
    for line in read(f"/proc/{name}/status").split(b"\n"):
        if line.startswith(b"VmPTE:"):
            return int(line.split()[1]) * _KB
    return 0


def limit_of_group(child: Child, memory_bytes: int) -> int:
    """What a cgroup may take of ``memory_bytes``: what the warden wrote into a file system of the sandbox's own is memory, and counted where the warden is."""
    return memory_bytes - (file_system_bytes() if child.watch is None else 0)


def file_system_bytes() -> int:
    """What lies in the sandbox's own file system, in bytes."""
    seen = os.statvfs(tree.WORK)
    return (seen.f_blocks - seen.f_bfree) * seen.f_frsize
