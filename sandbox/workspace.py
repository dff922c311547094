"""The directory of one zygote: where it listens, and below which its sandboxes have their places where they have no file system of their own.

Theory of operation
-------------------
Node chooses its name, the launcher makes it, for its owner alone, and takes it away at the end. A lock on it (flock(2)) says that it is in use: the
launcher holds it, and, where sandboxes leave something behind that does not end with the zygote, the zygote and the wardens hold the same open file, which the
kernel lets go of with the last of them, however they end. A process number would say less: it is used again, and means nothing in another container that
shares the directory.

If all of them are killed at once, everything stays. Then the next start takes it away (``sweep``), in a process of its own, for it may take long: first what runs
there still, then what it left, which is as hostile as what any run leaves, and goes the way that all of it goes (scratch.py). A directory of somebody else, one that
is in use, and what is not of this shape, is left alone.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal

import processes
import scratch
from confine import kernel

#: As src/backends/workspace.ts makes them.
_NAME = re.compile(r"cordon-\d+-[0-9a-f]{16}")
_SOCKET = "zygote.sock"
_ROOT = "root"
_MODE = 0o700
#: How long what is left of a zygote of the same server may take to end, after its launcher was killed.
_ENDING_SECONDS = 10


class Workspace:
    """The one of this zygote."""

    def __init__(self, path: str) -> None:
        """Make it, and begin to sweep what lies beside it. Raises OSError."""
        self.path = path
        self.socket = f"{path}/{_SOCKET}"
        #: Where sandboxes mount their file tree, or have their places.
        self.root = f"{path}/{_ROOT}"
        self._maker = os.getpid()
        self._descriptor = _make_locked(path)
        os.mkdir(self.root, _MODE)
        _sweep_aside(path, self._descriptor)

    def let_go(self) -> None:
        """In a process that leaves the host, or leaves nothing behind: hold it no longer, for those that do."""
        os.close(self._descriptor)

    def remove(self) -> None:
        """Take it away, with all that is left in it. Only who made it does: nothing in any other process."""
        if os.getpid() == self._maker:
            _remove(self.path, self._descriptor)


def _make_locked(path: str) -> int:
    while True:
        os.mkdir(path, _MODE)
        try:
            descriptor = _open(path)
        except FileNotFoundError:
            continue  # a sweep found it before it was locked
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            if os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(descriptor)):
                return descriptor
        except FileNotFoundError:
            pass  # just so
        os.close(descriptor)


def _open(path: str, parent: int | None = None) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)


def _sweep_aside(own: str, held: int) -> None:
    """Sweep beside ``own`` in a child, where there is anything to sweep. It ends with this process, if it has not ended before."""
    parent, name = os.path.split(own)
    if len(_names(parent)) == 1:
        return
    launcher = os.getpid()
    if os.fork() != 0:
        return
    try:
        os.close(held)
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == launcher:
            busy = sweep(parent)
            # Another zygote of this server may be on its way out just now, its launcher killed; if it is not, it is none of our business.
            signal.alarm(_ENDING_SECONDS)
            for path in busy:
                if path != own and os.path.basename(path).rpartition("-")[0] == name.rpartition("-")[0]:
                    _sweep_one(path, fcntl.LOCK_EX)
    finally:
        os._exit(0)


def sweep(parent: str) -> list[str]:
    """Take away what killed servers of this user left in ``parent``, as far as it goes: there is nobody to tell what stays. Returns those that are in use."""
    busy: list[str] = []
    for name in _names(parent):
        path = os.path.join(parent, name)
        try:
            _sweep_one(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            busy.append(path)
        except OSError:
            continue
    return busy


def _names(parent: str) -> list[str]:
    return [name for name in os.listdir(parent) if _NAME.fullmatch(name)]


def _sweep_one(path: str, how: int) -> None:
    descriptor = _open(path)
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            return
        fcntl.flock(descriptor, how)
        for uid in scratch.owners(_ROOT, descriptor):
            processes.end_orphans(uid)
        _remove(path, descriptor)
    finally:
        os.close(descriptor)


def _remove(path: str, descriptor: int) -> None:
    """Only what is ours by name, and the rest only if that was all."""
    for step in (
        lambda: os.unlink(_SOCKET, dir_fd=descriptor),
        lambda: scratch.sweep(_ROOT, parent=descriptor),
        lambda: os.rmdir(_ROOT, dir_fd=descriptor),
        lambda: os.rmdir(path),
    ):
        try:
            step()
        except OSError:
            continue
