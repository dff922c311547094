"""The keeper: a process that has a program's memory in common with it, so that nobody waits for that memory to be taken apart.

Theory of operation
-------------------
When a process ends, the kernel first takes its memory apart, page by page, and then tells its parent: 0.4 ms for a Python, several times that with large
packages. Not while another process shares the memory (CLONE_VM, clone(2)): then the end is told at once, with all that is known of it, the most memory
included (do_exit in kernel/exit.c notes it before). Taking apart is left to whoever shares it last, and that is the keeper, which is killed without being waited for.

The keeper is made by the program's process once it is confined, so it is confined alike: whatever the caller's code makes of memory that both have, it could have
done in any other child. It never runs a line of Python: it is pause(2) of the C library, on a stack of its own, with every signal blocked. Its end is told to no one
(exit signal 0), so that the program's own waits do not find it (wait(2), __WCLONE).

An answer may go out before the keeper is gone only if nobody in the sandbox can do anything any more. The warden takes that from the kernel alone:

    the program's process has ended     its pidfd says so
    there was never anyone else         no number was given out after the keeper's (/proc/loadavg, last field, counts in the reader's namespace)
    the keeper has not run since        it was given no processor since it fell asleep (/proc/PID/schedstat, third field), and once it is killed it gets none for its own code

Numbers begin again only after as many processes as there are numbers: more than can be made before the warden's first look, which ends the keeper's use. In all other
cases, and on kernels that do not say, the warden waits for all to be gone, as ever.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time

import processes
from confine import kernel

#: linux/sched.h. The lowest byte is the signal that tells of the end: none.
_CLONE_VM = 0x00000100
#: wait(2): children of all kinds.
_WALL = 0x40000000
_STACK_BYTES = 4 << 10
_STACK_ALIGNMENT = 16
#: How often to look whether a keeper that has just been made sleeps, and the pause after the first look: half of the one after the next. It needs microseconds.
_LOOKS = 8
_PAUSE_SECONDS = 0.0001
#: More than is in either of the files of /proc.
_READ_BYTES = 256

#: The kernel's set of signals (rt_sigprocmask(2)), and all of them.
_Mask = ctypes.c_char * 8
_ALL_SIGNALS = b"\xff" * 8
_Stack = ctypes.c_char * _STACK_BYTES
_clone = kernel.libc.clone
_clone.argtypes, _clone.restype = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p), ctypes.c_int
_pause = ctypes.cast(kernel.libc.pause, ctypes.c_void_p)

#: In the program: the keeper's number and its stack, while it has one.
_made: list[tuple[int, ctypes.Array[ctypes.c_char]]] = []


def make() -> int:
    """In the program's process: make its keeper. Returns its number, 0 if it can't be made."""
    stack = _Stack()
    top = (ctypes.addressof(stack) + _STACK_BYTES) & -_STACK_ALIGNMENT
    # Not by signal.pthread_sigmask, which makes an object of each signal.
    mask = _Mask()
    kernel.syscall("rt_sigprocmask", signal.SIG_SETMASK, _ALL_SIGNALS, mask, len(_ALL_SIGNALS))
    try:
        pid: int = _clone(_pause, top, _CLONE_VM, None)
    finally:
        kernel.syscall("rt_sigprocmask", signal.SIG_SETMASK, mask, None, len(_ALL_SIGNALS))
    if pid <= 0:
        return 0
    _made.append((pid, stack))
    return pid


def count() -> int:
    """In the program's process: how many keepers the kernel counts among its processes. Also one that was killed is, as long as the program lives."""
    return len(_made)


def end() -> None:
    """In the program's process, which will not end soon: end the keeper, and leave nothing of it."""
    for pid, _ in _made:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, _WALL)
    _made.clear()


class Keeper:
    """A keeper, as the warden sees it."""

    def __init__(self, pid: int) -> None:
        """``pid``: its number; 0: there is none."""
        self._pid = pid
        #: How many processes it is to the kernel, as long as the program lives, even if it is killed before: nobody buries it.
        self.count = 1 if pid else 0
        self._runs = b""
        if pid == 0:
            return
        try:
            self._counter = os.open("/proc/loadavg", os.O_RDONLY | os.O_CLOEXEC)
            self._schedule = os.open(f"/proc/{pid}/schedstat", os.O_RDONLY | os.O_CLOEXEC)
            self._runs = self._runs_asleep()
        except OSError:
            pass
        if not self._runs:
            self.let_go()

    def let_go(self) -> None:
        """From now on the program ends as any process does."""
        if self._pid != 0:
            processes.tell(self._pid, signal.SIGKILL)
            self._pid = 0

    def is_all_there_is(self) -> bool:
        """Whether, now that the program's first process has ended, nothing else is left in the process namespace, and nothing but a SIGKILL awaits the keeper."""
        if self._pid == 0:
            return False
        try:
            last = os.pread(self._counter, _READ_BYTES, 0).split()[-1]
            return int(last) == self._pid and self._times_run() == self._runs
        except ProcessLookupError:
            return False  # the program has killed and buried it

    def _runs_asleep(self) -> bytes:
        """How often it had been given a processor when it slept; nothing if it does not fall asleep."""
        for look in range(_LOOKS):
            runs = self._times_run()
            stat = processes.stat_fields(str(self._pid))
            # A kernel that does not count says 0: it has run, or it would not sleep.
            if stat is not None and stat[0] == b"S" and self._times_run() == runs != b"0":
                return runs
            time.sleep(_PAUSE_SECONDS * 2**look)
        return b""

    def _times_run(self) -> bytes:
        return os.pread(self._schedule, _READ_BYTES, 0).split()[2]
