"""The program's side of a session: processes that hold a state each, and fork the next step from it.

Theory of operation
-------------------
In a session the program's process does not end with its code: it waits, and so is a state. Asked for a step over its control socket
(descriptor 3; session.py is the other end), it forks a worker and passes it the descriptors that came with the request. The worker runs the
code, says how it went, and waits in the same place: it is a state itself now. Nothing of this recurses.

The fork is a double one: the worker becomes the warden's child, so that the warden learns from the kernel how it ended, and so that a program
that kills its parent kills no state.

From the first step on this is at the mercy of the code that ran: whatever a state does or says, it can break its own session only.
"""

from __future__ import annotations

import fcntl
import json
import linecache
import os
import signal
import socket
import sys

import execute
import frames
from confine import limits, tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    import types
    from typing import Any, Callable, NoReturn

#: The control socket of a state.
CONTROL_FD = 3
#: What goes over it. To a state: fork, with five descriptors, in the order they are to have. From a worker: it is there; its code has ended, and a byte of status.
FORK = b"f"
HELLO = b"h"
ENDED = b"e"
#: States that a session may hold, each a process that RLIMIT_NPROC counts.
MAX_STATES = 64
#: CPU time of a state beyond its own step's limit, seconds, for the forks that come later. A step's limit is the warden's to keep.
_STATE_CPU_SECONDS = 60
_DESCRIPTORS = 5
#: Given back when an exception ends the code, so that a MemoryError can still be told (program.py).
_RESERVE_BYTES = 4 << 20

# Kept under names of our own: the caller's code can empty the modules they come from.
_fork, _exit, _write, _close, _dup2, _getpid, _setsid, _closerange = os.fork, os._exit, os.write, os.close, os.dup2, os.getpid, os.setsid, os.closerange
_waitpid, _chdir, _dumps, _loads, _signal, _mask, _open = os.waitpid, os.chdir, json.dumps, json.loads, signal.signal, signal.pthread_sigmask, open
_recvmsg, _timer, _sys_names, _modules, _read_frame = socket.socket.recvmsg, signal.setitimer, sys.__dict__, sys.modules, frames.read
_EVERY_SIGNAL = signal.valid_signals()


def live(open_streams: Callable[[], None], rehearse: Callable[[], None]) -> NoReturn:
    """Be state 0, and in each worker that comes of it the next.

    ``open_streams`` makes sys.stdin and its kin anew, ``rehearse`` goes ahead where a step will go.
    """
    module = execute.empty_main_module(tree.CODE + "/step-0.py")
    threads = sys.modules.get("concurrent.futures.thread")
    # Made once: memory that was given back and is taken again is written to, all of it.
    reserve: list[bytes] = []
    try:
        while True:
            if not reserve:
                reserve.append(bytes(_RESERVE_BYTES))
            _wait_as_state()
            # Here is a worker, single-threaded, with descriptors 0 to 4 of its own.
            pid = _getpid()
            open_streams()
            rehearse()
            _write(CONTROL_FD, HELLO)
            job: dict[str, Any] = _loads(_read_frame(CONTROL_FD)[1])
            code = _read_frame(CONTROL_FD)[1]
            status, word = _step(module, job, code, reserve)
            threads = sys.modules.get("concurrent.futures.thread", threads)
            if _getpid() == pid:
                _join_threads(getattr(threads, "_threads_queues", ()))
            status = _flush(status)
            if _getpid() != pid:
                _exit(status)  # a child that the code forked and that ran on to the end
            try:
                _write(execute.WORD_FD, _dumps(word).encode())
            except OSError:
                pass  # the code closed it: no word then
            _write(CONTROL_FD, ENDED + bytes((status,)))
    finally:
        _exit(1)


def _wait_as_state() -> None:
    """Hold the state, and fork a worker whenever the warden asks for one. Returns only in a worker."""
    for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
        _timer(timer, 0)  # one that the code left behind would kill the state at its next use
    mask = _mask(signal.SIG_BLOCK, _EVERY_SIGNAL)
    # What is killed at the end of a step is not to stay as a zombie that counts as a process.
    on_child = _signal(signal.SIGCHLD, signal.SIG_IGN)
    _reap()
    control = socket.socket(fileno=CONTROL_FD)
    control.setblocking(True)
    while True:
        try:
            asked, given = _receive(control)
        except Exception:
            _exit(1)
        if asked != FORK or len(given) != _DESCRIPTORS:
            _exit(0)  # the warden let go of this state
        _reap()
        generator = _generator()
        middle = _fork()
        if middle == 0:
            try:
                if _fork() != 0:
                    _exit(0)
            except BaseException:
                _exit(1)
            break
        try:
            _waitpid(middle, 0)
        except ChildProcessError:
            pass  # ignoring SIGCHLD, one is told when it has gone, but not how
        for fd in given:
            _close(fd)
    control.detach()
    _setsid()
    for place, fd in enumerate(given):
        _dup2(fd, place, inheritable=place < CONTROL_FD)
        _close(fd)
    if generator is not None:
        generator[0].setstate(generator[1])
    _signal(signal.SIGCHLD, signal.SIG_DFL if on_child is None else on_child)
    _mask(signal.SIG_SETMASK, mask)


def _receive(control: socket.socket) -> tuple[bytes, list[int]]:
    """One request with the descriptors that came with it, none of them below five."""
    asked, extra, _, _ = _recvmsg(control, 1, socket.CMSG_SPACE(4 * _DESCRIPTORS), socket.MSG_CMSG_CLOEXEC)
    given: list[int] = []
    for level, kind, data in extra:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            given += [int.from_bytes(data[at : at + 4], sys.byteorder) for at in range(0, len(data) - 3, 4)]
    if any(fd <= execute.WORD_FD for fd in given):
        # The code closed some of its own, and these took their places: out of each other's way.
        low, given = given, [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, execute.WORD_FD + 1) for fd in given]
        for fd in low:
            _close(fd)
    return asked, given


def _generator() -> tuple[Any, Any] | None:
    """The generator of module ``random``, where it is in use, and what it stands at: a fork seeds it anew, but in a session it is part of the state."""
    try:
        used = sys.modules["random"]._inst
        return used, used.getstate()
    except Exception:
        return None


def _reap() -> None:
    try:
        while _waitpid(-1, os.WNOHANG)[0] != 0:
            pass
    except OSError:
        pass  # no children


def _step(module: types.ModuleType, job: dict[str, Any], code: bytes, reserve: list[bytes]) -> tuple[int, dict[str, object]]:
    """Run one step in this worker."""
    path = f"{tree.CODE}/step-{job['step']}.py"
    for directory in (job["directory"], tree.WORK):
        try:
            _chdir(directory)
            break
        except OSError:
            pass  # closed by its mode, or gone: this process has that of its state
    limits.apply(
        cpu_seconds=job["cpu_seconds"] + _STATE_CPU_SECONDS,
        memory_mb=job["memory_mb"],
        processes=job["processes"] + MAX_STATES + 1,
        open_files=job["open_files"],
        file_size_mb=job["file_size_mb"],
    )
    try:
        with _open(path, "wb") as file:
            file.write(code)
        linecache.checkcache()
    except OSError:
        # The disk is full, say, and this step may be the one that makes room: tracebacks find the source in memory.
        text = code.decode("utf-8", "replace")
        linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)
    module.__file__ = path
    sys.argv = [path]
    sys.modules["__main__"] = module
    return execute.run(module, code, reserve, path)


def _join_threads(pooled: Any) -> None:
    """Wait for threads as an interpreter's end does, for no thread goes on in a state. Those of executors wait for ever, and are left."""
    try:
        threading: Any = _modules["threading"]  # not there, it has started none
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon and thread not in pooled:
                thread.join()
    except BaseException:
        pass


def _flush(status: int) -> int:
    for name in ("stdout", "stderr"):
        try:
            stream = _sys_names.get(name)
            if stream is not None:
                stream.flush()
        except BaseException:
            status = status or 120  # as Python itself says it
    return status
