"""What one step of a session uses, beside the states that stand still.

Theory of operation
-------------------
CPU time is the difference of a sum that only grows: what was reaped (getrusage), and the clocks of everything that is alive, the states among them, with what
those have reaped themselves. Like usage.py this also counts what it saw alive, for a process that nobody reaps takes its time with it.

Memory: a step may use as much as a single call, and what it took over from its state is in that. What its first process holds is counted whole (RssAnon, for which
the kernel keeps a number: a state of gigabytes is not walked for it), what its other processes hold by their shares (Pss). Only when the resident sum is over the
cap is either asked for. What all states hold together is counted the same way at the end of a step: sums first, shares if they are over.
"""

from __future__ import annotations

import os
import resource
import time

import sockets
import usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from make import Child
    from collections.abc import Iterable

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_KB = 1024


def cpu_total_us(states: Iterable[int], others: Iterable[int]) -> int:
    """CPU time of the sandbox so far: of all that was reaped, of the states, and of the other processes with what those have reaped; microseconds."""
    reaped = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = int((reaped.ru_utime + reaped.ru_stime) * 1e6)
    total += sum(clock_ns(pid) for pid in states) // 1000
    for pid in others:
        total += clock_ns(pid) // 1000
        fields = stat_fields(str(pid))
        if fields:
            total += (int(fields[13]) + int(fields[14])) * 1_000_000 // _TICKS_PER_SECOND
    return total


def clock_ns(pid: int) -> int:
    """CPU time of one process by its own clock (clock_getcpuclockid(3)), nanoseconds; 0 when it is gone."""
    try:
        return time.clock_gettime_ns((~pid << 3) | 2)
    except OSError:
        return 0


def stat_fields(name: str) -> list[bytes]:
    """/proc/PID/stat from the third field on (proc(5)); nothing when it is gone."""
    stat = usage.read(f"/proc/{name}/stat")
    # The name in parentheses is the program's to choose: count from the last parenthesis.
    return stat[stat.rindex(b")") + 2 :].split() if stat else []


def processes() -> list[int]:
    """Everything in this process namespace but process 1; zombies included."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and name != "1"]


def outside_bytes() -> int:
    """Memory that is no process's: of files and of sockets."""
    return usage.file_system_bytes() + sockets.buffered_bytes()


class StepMeter(usage.Meter):
    """The usage of one step, for Run. ``child``: its worker. ``states``: the processes that stand still, by number."""

    def __init__(self, child: Child, states: Iterable[int], before_us: int) -> None:
        """``before_us``: what cpu_total_us was before anything was done for this step."""
        super().__init__(child, None)
        self._worker = child.pid
        self._states = frozenset(states)
        self._before_us = before_us
        #: CPU ticks of everything when the step began.
        self._before_ticks = sum(_ticks(pid) for pid in [*self._states, child.pid])
        self._total_us = before_us

    def start(self) -> None:
        """The step begins. What was done for it is a part of it."""

    def tick(self, cpu_seconds: float, memory_bytes: int) -> str | None:
        """Look at the sandbox. Returns the limit that is reached, ``cpu`` or ``memory``, or None."""
        resident = reserved = 0
        ticks: dict[str, int] = {}
        others: list[int] = []
        for pid in processes():
            fields = stat_fields(str(pid))
            if not fields:
                continue
            # A number that is used again is another process: its start time is part of who it is.
            ticks[f"{pid} {fields[19].decode()}"] = int(fields[11]) + int(fields[12])
            if pid not in self._states:
                resident += int(fields[21]) * _PAGE_BYTES
                reserved += int(fields[20])
                if pid != self._worker:
                    others.append(pid)
        gone = [used for key, used in self._seen_ticks.items() if key not in ticks]
        self._gone_ticks += sum(gone)
        self._seen_ticks = ticks
        if self._live_us() >= cpu_seconds * 1e6:
            return "cpu"
        outside = outside_bytes()
        tables = 0
        if (resident + outside + reserved // usage.MAPPED_BY_TABLES) * 2 > memory_bytes:
            tables = sum(usage.page_tables(str(pid)) for pid in [self._worker, *others])
        used = resident + outside + tables
        self._near = used * 2 > memory_bytes
        # As in a single call, large tables are not walked.
        if used > memory_bytes and tables * usage.MOST_TABLES_SHARE <= memory_bytes:
            used = anonymous_bytes(self._worker) + sum(usage.exact(str(pid)) for pid in others) + outside + tables
        self._peak_bytes = max(self._peak_bytes, used)
        return "memory" if used > memory_bytes else None

    def _live_us(self) -> int:
        ticks = self._gone_ticks + sum(self._seen_ticks.values()) - self._before_ticks
        return ticks * 1_000_000 // _TICKS_PER_SECOND

    def cpu_us(self, reaped: resource.struct_rusage) -> int:
        """CPU time of the step in microseconds."""
        del reaped  # Run's other meter wants it
        return max(0, self._total_us - self._before_us, self._live_us())

    def peak_bytes(self, reaped: resource.struct_rusage) -> int:
        """The most memory that was seen in use, in bytes."""
        del reaped
        return self._peak_bytes

    def end(self, left: Iterable[int]) -> None:
        """Everything has stopped and nothing of it was killed: look for the last time. ``left``: all processes that are no states."""
        self._total_us = cpu_total_us(self._states, left)
        self._peak_bytes = max(self._peak_bytes, _status_bytes(self._worker, (b"VmHWM:",)))


def anonymous_bytes(pid: int) -> int:
    """Memory of one process that is no file's: in use or in common with those it was forked from; without its page tables."""
    return _status_bytes(pid, (b"RssAnon:", b"RssShmem:"))


def _ticks(pid: int) -> int:
    fields = stat_fields(str(pid))
    return int(fields[11]) + int(fields[12]) if fields else 0


def _status_bytes(pid: int, wanted: tuple[bytes, ...]) -> int:
    return sum(int(line.split()[1]) * _KB for line in usage.read(f"/proc/{pid}/status").split(b"\n") if line.startswith(wanted))
