"""Files on their way into a working directory, and out of one.

Theory of operation
-------------------
``put`` writes what the caller sent, before its program starts. ``collect`` brings out what a program left, after everything of it is dead.
Nothing changes any more by then, yet the tree was made by the program, to do harm: it is walked from directory to directory by descriptors
(openat(2)), never by a path, so that neither a symbolic link nor the length of a path matters; no link is followed, and only regular files are
opened. Nothing recurses, and depth, entries, bytes and time have an end. What does not come out is counted, and for the first of it the reason is told.

This is the warden's: what it imports, it has imported before the program ran, for the program's directory is on ``sys.path``.
"""

from __future__ import annotations

import binascii
import errno
import itertools
import json
import os
import stat
import time

import opening

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypedDict

    class Example(TypedDict):
        """One that was left out. Both texts are short and printable."""

        name: str
        why: str

    class Report(TypedDict):
        """What did not come out: ``files_left_out`` of frame D."""

        count: int
        examples: list[Example]

    class Known(TypedDict):
        """A file as it was at some time: nothing that is still so comes out."""

        inode: int
        bytes: int
        modified_ns: int
        changed_ns: int
        #: CRC-32 of the content where it is known: then the content decides, and not the times.
        crc: int | None


_PIECE_BYTES = 64 << 10
#: Directories in directories; what lies deeper is left out. Each level holds a descriptor while it is walked.
_MOST_DEEP = 32
#: The longest name that comes out, with its directories, bytes of UTF-8; the longest part of one is the file system's (255).
_MOST_NAME_BYTES = 1024
#: Entries that are looked at, and how long all of it may take.
_MOST_ENTRIES = 100_000
_MOST_SECONDS = 20.0
_MOST_EXAMPLES = 10
_SHOWN_CHARACTERS = 100
#: How far the times of a file that was put lie back: any write is then later, though the kernel's clock moves in steps of milliseconds.
_BACKDATED_NS = 1_000_000_000

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: O_NONBLOCK: should it be a FIFO after all, opening it must not wait for a writer.
_TO_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_TO_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
#: Spaces, that ``str.isprintable`` counts with the control characters.
_SPACES = frozenset("\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000")
#: What Python leaves behind by itself. Nobody asked for it, and it is not counted.
_UNASKED = frozenset((b"__pycache__",))

_KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


NOTHING_LEFT_OUT: Report = {"count": 0, "examples": []}


class Unfit(Exception):
    """A file that can't be put where it is to be; the message says which, and why."""


def put(where: str, payload: bytes, fits: Callable[[int], bool] = lambda _: True) -> tuple[bytes, Known]:
    """Write the file of one frame A into the directory ``where``; one of that name that is there already is replaced.

    ``fits``: whether there is room for so many bytes, where the file system does not know. Returns its name, and what it is now. Raises Unfit.
    """
    end = 2 + int.from_bytes(payload[:2], "big")
    name, content = payload[2:end], memoryview(payload)[end:]
    *directories, last = name.split(b"/")
    at = -1
    try:
        if not fits(len(content)):
            raise OSError(errno.ENOSPC, "")
        at = os.open(where, _DIRECTORY)
        for part in directories:
            _refuse_odd(part)
            try:
                os.mkdir(part, 0o755, dir_fd=at)
            except FileExistsError:
                pass
            below = os.open(part, _DIRECTORY, dir_fd=at)
            os.close(at)
            at = below
        _refuse_odd(last)
        try:
            os.unlink(last, dir_fd=at)
        except FileNotFoundError:
            pass
        file = os.open(last, _TO_WRITE, 0o644, dir_fd=at)
        try:
            left = content
            while left:
                left = left[os.write(file, left) :]
            earlier = os.fstat(file).st_mtime_ns - _BACKDATED_NS
            os.utime(file, ns=(earlier, earlier))
            return name, _known(os.fstat(file), binascii.crc32(content))
        finally:
            os.close(file)
    except OSError as error:
        why = "its disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else os.strerror(error.errno or errno.EIO)
        raise Unfit(f"the file {_shown(name)} could not be put into the working directory: {why}") from error
    finally:
        if at >= 0:
            os.close(at)


def _refuse_odd(part: bytes) -> None:
    """Names were checked by Node; this is the second lock."""
    if part in (b"", b".", b"..") or b"\0" in part:
        raise OSError(errno.EINVAL, "")


def index(where: str) -> dict[bytes, Known]:
    """What lies in the directory ``where`` now, as far as ``collect`` would look: to be told later what is new."""
    return {name: _known(found, None) for name, _, _, found in _walk(where, _Report()) if stat.S_ISREG(found.st_mode)}


def collect(where: str, most_files: int, most_bytes: int, known: dict[bytes, Known], send: Callable[[bytes, bytes], None]) -> Report:
    """Send the files in the directory ``where`` that are new, or changed since they were ``known``, as frames N and B.

    At most ``most_files``, and ``most_bytes`` of them together; by name, directory for directory. Returns what was left out.
    """
    report = _Report()
    files_left, bytes_left = most_files, most_bytes
    deadline = time.monotonic() + _MOST_SECONDS
    for name, at, last, found in _walk(where, report):
        why = _unfit(name, found)
        if why is not None:
            report.add(name, why)
            continue
        before = known.get(name)
        if before is not None and before["crc"] is None and before == _known(found, None):
            continue
        if found.st_size > bytes_left or files_left == 0 or time.monotonic() > deadline:
            if before is not None and before["crc"] is not None and _is_still(at, last, found, before):
                continue
            report.add(name, _too_much(found.st_size, files_left, most_files, bytes_left, most_bytes))
            continue
        try:
            if before is not None and _is_still(at, last, found, before):
                continue
            file = opening.any_mode(last, _TO_READ, at)
        except OSError as error:
            report.add(name, f"it can't be read: {error.strerror}")
            continue
        try:
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode) or found.st_size > bytes_left:
                report.add(name, "it changed while it was looked at")
                continue
            files_left -= 1
            bytes_left -= found.st_size
            _send(file, name, found.st_size, send)
        finally:
            os.close(file)
    return report.told()


def _send(file: int, name: bytes, size: int, send: Callable[[bytes, bytes], None]) -> None:
    """Frames N and B of one file: never more than was said; less, where it got shorter."""
    send(b"N", json.dumps({"name": name.decode(), "bytes": size}).encode())
    while size > 0:
        piece = os.read(file, min(size, _PIECE_BYTES))
        if not piece:
            return
        send(b"B", piece)
        size -= len(piece)


def _walk(where: str, report: _Report) -> Iterator[tuple[bytes, int, bytes, os.stat_result]]:
    """Every entry that is no directory, sorted: its name from ``where``, the directory it is in, its last part, and lstat(2) of it.

    The descriptor of the directory holds until the next entry is asked for. What can't be walked is added to ``report``.
    """
    top = opening.any_mode(where, _DIRECTORY)
    stack: list[tuple[int, bytes, Iterator[bytes]]] = []
    entries_left = _MOST_ENTRIES
    try:
        device = os.fstat(top).st_dev
        names, entries_left = _names(top, b"", entries_left, report)
        stack.append((top, b"", names))
        while stack:
            at, above, names = stack[-1]
            last = next(names, None)
            if last is None:
                os.close(at)
                stack.pop()
                continue
            if last in _UNASKED:
                continue
            name = above + last
            try:
                found = os.stat(last, dir_fd=at, follow_symlinks=False)
                if not stat.S_ISDIR(found.st_mode):
                    yield name, at, last, found
                    continue
                if found.st_dev != device:
                    continue  # mounted here: not what the program left
                if len(stack) > _MOST_DEEP:
                    report.add(name, f"it lies more than {_MOST_DEEP} directories deep")
                    continue
                below = opening.any_mode(last, _DIRECTORY, at)
            except OSError as error:
                report.add(name, f"it can't be looked into: {error.strerror}")
                continue
            stack.append((below, name + b"/", iter(())))
            names, entries_left = _names(below, name, entries_left, report)
            stack[-1] = (below, name + b"/", names)
    finally:
        for at, _, _ in stack:
            os.close(at)


def _names(at: int, name: bytes, entries_left: int, report: _Report) -> tuple[Iterator[bytes], int]:
    """The names in a directory, sorted, and how many more entries may be looked at."""
    try:
        with os.scandir(at) as entries:
            names = [os.fsencode(entry.name) for entry in itertools.islice(entries, entries_left)]
            if len(names) == entries_left and next(entries, None) is not None:
                report.add(name or b".", f"there are more than {_MOST_ENTRIES} files and directories, and the rest was not looked at")
    except OSError as error:
        report.add(name or b".", f"it can't be looked into: {error.strerror}")
        return iter(()), entries_left
    names.sort()
    return iter(names), entries_left - len(names)


def _unfit(name: bytes, found: os.stat_result) -> str | None:
    """Why an entry is none that could come out, or None."""
    for is_kind, what in _KINDS:
        if is_kind(found.st_mode):
            return f"it is {what}, and only regular files come back"
    if found.st_nlink > 1:
        return "it has several names (hard links): copy it instead"
    if len(name) > _MOST_NAME_BYTES:
        return f"its name is longer than {_MOST_NAME_BYTES} bytes"
    try:
        text = name.decode()
    except UnicodeDecodeError:
        return "its name is not valid UTF-8"
    if not text.isprintable() and not all(character.isprintable() or character in _SPACES for character in text):
        return "its name has invisible or control characters"
    if "\\" in text:
        return "its name has a backslash"
    return None


def _too_much(size: int, files_left: int, most_files: int, bytes_left: int, most_bytes: int) -> str:
    if files_left == 0:
        return f"at most {most_files} files come back"
    if size > bytes_left:
        return f"it is {size} bytes long; {most_bytes} come back from one run, and {bytes_left} of them were left"
    return f"collecting took more than {_MOST_SECONDS:.0f} s"


def _known(found: os.stat_result, crc: int | None) -> Known:
    return {"inode": found.st_ino, "bytes": found.st_size, "modified_ns": found.st_mtime_ns, "changed_ns": found.st_ctime_ns, "crc": crc}


def _is_still(at: int, last: bytes, found: os.stat_result, before: Known) -> bool:
    """Whether a file's content is what it was. Writing through a mapping leaves no trace in the times of a tmpfs: it is read."""
    if before["crc"] is None or found.st_size != before["bytes"]:
        return False
    file = opening.any_mode(last, _TO_READ, at)
    try:
        crc, left = 0, found.st_size
        while left > 0:
            piece = os.read(file, min(left, _PIECE_BYTES))
            if not piece:
                return False
            crc = binascii.crc32(piece, crc)
            left -= len(piece)
        return crc == before["crc"]
    finally:
        os.close(file)


class _Report:
    """Counts what is left out, and remembers the first of it."""

    def __init__(self) -> None:
        self._count = 0
        self._examples: list[Example] = []

    def add(self, name: bytes, why: str) -> None:
        self._count += 1
        if len(self._examples) < _MOST_EXAMPLES:
            self._examples.append({"name": _shown(name), "why": why})

    def told(self) -> Report:
        return {"count": self._count, "examples": self._examples}


def _shown(name: bytes) -> str:
    """A name on one line, short, and everything in it to be seen."""
    text = name[: 4 * _SHOWN_CHARACTERS].decode("utf-8", "backslashreplace")
    seen = "".join(character if character.isprintable() else f"\\u{ord(character):04x}" for character in text)
    return seen if len(seen) <= _SHOWN_CHARACTERS else f"{seen[: _SHOWN_CHARACTERS - 1]}…"
