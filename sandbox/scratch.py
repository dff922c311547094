"""A sandbox's writable places where it has no file system of its own: a directory of the host, watched while it runs, and taken away after it.

Theory of operation
-------------------
``make`` puts three directories under a name that can't be guessed, owned by the id the program runs as. Landlock lets the program reach nothing else.

A file system of one's own has a size; a directory has none. RLIMIT_FSIZE caps each file, and the warden adds up all of them now and then (``Watch``): bytes
as the disk counts them, so that holes cost nothing, and inodes, deleted files that are still open or mapped included. The look costs at most a tenth of a processor's time
and ends as soon as the number of inodes is over the cap; between two looks the program can write on.

What a program leaves is hostile. ``remove`` runs when all its processes are gone, opens directories relative to their parents and never follows a link, and needs
neither recursion nor paths: each directory it finds in another is moved up to the top first, so that any depth of nesting becomes one level.
"""

from __future__ import annotations

import errno
import os
import stat
import time

from confine import identity, tree

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE = 0o700
#: For the directory around the places, which the id of a run has to pass through, and the ids of others can't list.
_PASSABLE = 0o711
_MB = 1 << 20
#: Deeper than any ordinary program goes. The watch holds a descriptor for each level.
_DEEPEST = 200
#: A look is due after this long, or after so many times the processor time of the last one, whichever is later.
_LEAST_SECONDS = 0.1
_TIMES = 10


def make(root: str, uid: int) -> str:
    """Make the places of one sandbox under ``root`` and have this process use them. Returns their directory.

    ``uid`` owns the places (0: whoever we are). The directory around them stays ours: no program can change it.
    """
    path = os.path.join(root, f"{os.getpid()}-{os.urandom(16).hex()}")
    os.mkdir(path, _PASSABLE)
    for place in tree.relocate(path):
        os.mkdir(place, _MODE)
        if uid != 0:
            os.chown(place, uid, uid)
    return path


class Full(Exception):
    """More is there than may be."""


class Watch:
    """Looks at what a sandbox keeps on the disk."""

    def __init__(self, path: str, disk_bytes: int, disk_inodes: int) -> None:
        self._path = path
        self._bytes = disk_bytes
        self._inodes = disk_inodes
        self._due = 0.0

    def over(self, pids: list[str], file_size_mb: int) -> bool:
        """Whether there is more than may be; looks only when a look is due. ``pids``: all that may hold files that have no name any more."""
        now = time.monotonic()
        if now < self._due:
            return False
        used = time.thread_time()
        try:
            self._count(pids, file_size_mb * _MB)
            return False
        except Full:
            return True
        finally:
            done = time.monotonic()
            # By what it cost: on a busy machine it takes long and costs little, and a program that makes the machine busy must not be looked at less.
            self._due = done + max(_LEAST_SECONDS, done - now, (time.thread_time() - used) * _TIMES)

    def _count(self, pids: list[str], file_size_bytes: int) -> None:
        self._seen: set[tuple[int, int]] = set()
        self._total = 0
        top = os.open(self._path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            for place in tree.WRITABLE:
                inside = _look_into(os.path.basename(place), top)
                try:
                    self._count_directory(inside)
                finally:
                    os.close(inside)
        finally:
            os.close(top)
        for pid in pids:
            self._count_open(pid)
            self._count_mapped(pid, file_size_bytes)

    def _add(self, found: os.stat_result) -> None:
        key = (found.st_dev, found.st_ino)
        if key in self._seen:
            return
        self._seen.add(key)
        self._total += found.st_blocks * 512
        if self._total > self._bytes or len(self._seen) > self._inodes:
            raise Full

    def _count_directory(self, top: int) -> None:
        pending = [(top, _names(top))]
        try:
            while pending:
                fd, names = pending[-1]
                if not names:
                    pending.pop()
                    if fd != top:
                        os.close(fd)
                    continue
                name = names.pop()
                try:
                    found = os.stat(name, dir_fd=fd, follow_symlinks=False)
                    self._add(found)
                    if stat.S_ISDIR(found.st_mode):
                        if len(pending) == _DEEPEST:
                            raise Full
                        below = _look_into(name, fd)
                        pending.append((below, _names(below)))
                except PermissionError:
                    raise Full from None  # what can't be looked into can't be kept within anything
                except OSError:
                    continue  # it has just gone, or is something else now: the next look sees
        finally:
            for fd, _ in pending:
                if fd != top:
                    os.close(fd)

    def _count_open(self, pid: str) -> None:
        """Files without a name that a process has open."""
        try:
            descriptors = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            return
        for descriptor in descriptors:
            try:
                found = os.stat(f"/proc/{pid}/fd/{descriptor}")
            except OSError:
                continue
            if found.st_nlink == 0 and stat.S_ISREG(found.st_mode):
                self._add(found)

    def _count_mapped(self, pid: str, file_size_bytes: int) -> None:
        """Files without a name that a process has mapped: how large they are nobody tells, so each counts as the largest there may be."""
        try:
            with open(f"/proc/{pid}/maps", "rb") as file:
                lines = [line for line in file if line.endswith(b" (deleted)\n")]
        except OSError:
            return
        own = os.fsencode(self._path)
        known = {inode for _, inode in self._seen} if lines else set[int]()
        for line in lines:
            fields = line.split(None, 5)
            if not fields[5].startswith(own):
                continue
            inode = int(fields[4])
            if inode in known:
                continue
            known.add(inode)
            self._total += file_size_bytes
            if self._total > self._bytes:
                raise Full


def _names(fd: int) -> list[str]:
    return os.listdir(fd)


def _look_into(name: str, parent: int) -> int:
    """Open a directory below ``parent`` to count what is in it. Its mode is the program's, and is changed only where there is no other way in."""
    try:
        fd = os.open(name, _DIRECTORY, dir_fd=parent)
    except PermissionError:
        return _open_directory(name, parent)
    try:
        os.stat(".", dir_fd=fd)  # takes the right to search it
        return fd
    except PermissionError:
        os.close(fd)
        return _open_directory(name, parent)


def _open_directory(name: str, parent: int) -> int:
    """Open a directory below ``parent``, whatever its mode, which is ours then. Never what a link leads to."""
    try:
        fd = os.open(name, _DIRECTORY, dir_fd=parent)
    except PermissionError:
        # Its owner took its own rights away: give them back, to that very directory and not to a name (open(2), O_PATH; proc(5), fd).
        held = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            os.chmod(f"/proc/self/fd/{held}", _MODE)
            return os.open(f"/proc/self/fd/{held}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        finally:
            os.close(held)
    if os.fstat(fd).st_mode & _MODE != _MODE:
        os.fchmod(fd, _MODE)
    return fd


def remove(path: str) -> None:
    """Take away a directory of ``make`` and all that is in it; nothing of it may run any more. Missing is fine. Raises OSError when something stays."""
    try:
        around = os.open(path, _DIRECTORY)
    except FileNotFoundError:
        return
    try:
        for place in os.listdir(around):
            # With the rights of whom it belongs to: what a program left can't turn those of root against anyone.
            owner = os.stat(place, dir_fd=around, follow_symlinks=False).st_uid
            _act_as(owner)
            try:
                inside = _open_directory(place, around)
                try:
                    _empty(inside)
                finally:
                    os.close(inside)
            finally:
                _act_as(os.geteuid())
            os.rmdir(place, dir_fd=around)
    finally:
        os.close(around)
    os.rmdir(path)


def _act_as(owner: int) -> None:
    if os.geteuid() == 0:
        identity.take_files_of(owner)


def sweep(root: str, makers: frozenset[int] = frozenset()) -> None:
    """Take away all directories under ``root`` but those that ``makers`` made, as far as it goes: there is nobody to tell what stays."""
    try:
        names = os.listdir(root)
    except FileNotFoundError:
        return  # the server took it away: it is over
    for name in names:
        if int(name.partition("-")[0]) in makers:
            continue
        try:
            remove(os.path.join(root, name))
        except OSError:
            continue


def _empty(top: int) -> None:
    """Take away all that is in the directory ``top``, with three descriptors for any depth."""
    moved = 0
    while True:
        names = os.listdir(top)
        if not names:
            return
        for name in names:
            if _unlink(name, top):
                continue
            below = _open_directory(name, top)
            try:
                for inner in os.listdir(below):
                    if _unlink(inner, below):
                        continue
                    # To move a directory is to write to it, too, for its `..` changes (rename(2)): it must be opened, whatever its mode.
                    os.close(_open_directory(inner, below))
                    moved = _move_up(inner, below, top, moved)
            finally:
                os.close(below)
            os.rmdir(name, dir_fd=top)


def _move_up(name: str, below: int, top: int, moved: int) -> int:
    """Move a directory from ``below`` to ``top``, under a number above ``moved``; returns the number."""
    while True:
        moved += 1
        try:
            os.rename(name, f".{moved}", src_dir_fd=below, dst_dir_fd=top)
            return moved
        except (FileExistsError, NotADirectoryError):
            continue  # the program had a file or a full directory of that name
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise


def _unlink(name: str, parent: int) -> bool:
    """Take away anything but a directory. False for a directory."""
    try:
        os.unlink(name, dir_fd=parent)
        return True
    except IsADirectoryError:
        return False
