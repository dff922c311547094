"""The files of a session's states: what they were, kept out of the program's sight, and how to bring them back.

Theory of operation
-------------------
A snapshot is the tree of names below every writable place, with kind, mode, times and content. Content lies in one memfd of the warden's, which
no program has a name for; files that did not change share it between snapshots. Freed content is punched out of the memfd, and offsets are
never used again, so there is nothing to manage but a count.

Whether a file changed is decided by its content alone. Writing through a mapping leaves no trace in the times of a tmpfs, and the times can be set.
What lies sparse stays so: only data is read (lseek(2), SEEK_DATA).

The tree is hostile. While it is walked everything in the sandbox is stopped or dead; it is walked from directory to directory by descriptors
(openat(2)), no link is followed, only what is a regular file is opened, and going up is checked by inode, so that only one descriptor is held however
deep it goes. Should something change under the walk after all, the walk fails (``Changed``), and with it only this session's step.

The warden is the program to the file system (identity.take_files_of), so that no mode it can set keeps it out, and it reaches nothing else.

Bringing back writes into the inode that is still there, so that the descriptors and mappings of a state keep their file. What is gone is made anew.
"""

from __future__ import annotations

import errno
import os
import stat

from confine import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: O_NONBLOCK: should it be a FIFO after all, opening it must not wait.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
#: Compared and copied by pieces that stay in a processor's cache.
_PIECE_BYTES = 128 << 10
# fallocate(2): linux/falloc.h
_KEEP_SIZE_PUNCH_HOLE = 0x01 | 0x02
_ABSENT = (errno.ENOENT, errno.ENXIO)


class Changed(Exception):
    """The tree changed while it was walked: something ran that should not have."""


class Full(Exception):
    """The content does not fit into what the session may keep."""


class Content:
    """What is in a file: its size, and where its data lies: (offset in the file, length, offset in the store)."""

    __slots__ = ("size", "pieces", "uses")

    def __init__(self, size: int, pieces: list[tuple[int, int, int]]) -> None:
        self.size = size
        self.pieces = pieces
        self.uses = 0


class Entry:
    """One name: a directory (``children``), a regular file (``content``), a symbolic link (``target``), or a FIFO or socket (neither)."""

    __slots__ = ("mode", "modified_ns", "inode", "links", "children", "content", "target")

    def __init__(self, found: os.stat_result) -> None:
        self.mode = found.st_mode
        self.modified_ns = found.st_mtime_ns
        self.inode = found.st_ino
        self.links = found.st_nlink
        self.children: dict[str, Entry] | None = {} if stat.S_ISDIR(found.st_mode) else None
        self.content: Content | None = None
        self.target: str | None = None


class Snapshot:
    """The files of one state: an entry for each writable place, and the content of each regular file by its inode."""

    def __init__(self) -> None:
        self.places: dict[str, Entry] = {}
        self.contents: dict[int, Content] = {}


class Store:
    """Takes snapshots, keeps them, and brings files back to one."""

    def __init__(self, places: tuple[str, ...], cap_bytes: int) -> None:
        """``cap_bytes``: of content, all snapshots together."""
        self._places = places
        self._cap_bytes = cap_bytes
        self._fd = os.memfd_create("snapshots", os.MFD_CLOEXEC)
        self._end = 0
        self.used_bytes = 0

    @property
    def left_bytes(self) -> int:
        """How much content may still be kept."""
        return self._cap_bytes - self.used_bytes

    def take(self, before: Snapshot | None) -> Snapshot:
        """A snapshot of what is there now; content that is as in ``before`` is shared with it. Raises Full, Changed or OSError."""
        taken = Snapshot()
        try:
            for place in self._places:
                self._take_place(place, taken, before.contents if before else {})
        except BaseException:
            self.drop(taken)
            raise
        return taken

    def drop(self, snapshot: Snapshot) -> None:
        """Let go of a snapshot; content that no other has is freed."""
        for content in snapshot.contents.values():
            content.uses -= 1
            if content.uses == 0:
                self._free(content.pieces)
        snapshot.contents = {}
        snapshot.places = {}

    def bring_back(self, snapshot: Snapshot) -> None:
        """Make the files what they were. Raises OSError (no room left for them), or Changed."""
        stale: set[int] = set()
        links: dict[int, int] = {}
        try:
            for place, entry in snapshot.places.items():
                self._clear_place(place, entry, stale, links)
            for place, entry in snapshot.places.items():
                self._fill_place(place, entry, stale, links)
        finally:
            for fd in links.values():
                os.close(fd)
            snapshot.contents = _contents(snapshot)

    # Taking

    def _take_place(self, place: str, taken: Snapshot, known: dict[int, Content]) -> None:
        with _Walk(os.open(place, _DIRECTORY)) as walk:
            root = taken.places[place] = Entry(os.fstat(walk.fd))
            stack = [iter(self._take_directory(walk, root, taken, known))]
            while stack:
                below = next(stack[-1], None)
                if below is None:
                    stack.pop()
                    if stack:
                        walk.leave()
                    continue
                walk.enter(below[0], below[1].inode)
                stack.append(iter(self._take_directory(walk, below[1], taken, known)))

    def _take_directory(self, walk: _Walk, directory: Entry, taken: Snapshot, known: dict[int, Content]) -> list[tuple[str, Entry]]:
        """Take what is in the directory the walk is in; return the directories in it."""
        assert directory.children is not None
        below: list[tuple[str, Entry]] = []
        for name, found in walk.entries():
            entry = directory.children[name] = Entry(found)
            if stat.S_ISDIR(found.st_mode):
                below.append((name, entry))
            elif stat.S_ISREG(found.st_mode):
                entry.content = taken.contents.get(found.st_ino)
                if entry.content is None:
                    entry.content = self._take_file(walk.fd, name, found, known.get(found.st_ino))
                    entry.content.uses += 1
                    taken.contents[found.st_ino] = entry.content
            elif stat.S_ISLNK(found.st_mode):
                entry.target = os.readlink(name, dir_fd=walk.fd)
        return below

    def _take_file(self, at: int, name: str, found: os.stat_result, known: Content | None) -> Content:
        fd = _open_same(name, _READ, at, found.st_ino)
        try:
            if known is not None and self._is_same(fd, known):
                return known
            pieces: list[tuple[int, int, int]] = []
            try:
                for offset, length in _data(fd, found.st_size):
                    pieces.append((offset, length, self._keep(fd, offset, length)))
            except BaseException:
                self._free(pieces)
                raise
            return Content(found.st_size, pieces)
        finally:
            os.close(fd)

    def _keep(self, fd: int, offset: int, length: int) -> int:
        """Copy a piece of a file into the store; return where it lies."""
        pages = _whole_pages(length)
        if self.used_bytes + pages > self._cap_bytes:
            raise Full
        start = self._end
        self._end += pages
        self.used_bytes += pages
        done = 0
        while done < length:
            piece = os.pread(fd, min(_PIECE_BYTES, length - done), offset + done)
            if not piece:
                self._free([(offset, length, start)])
                raise Changed
            os.pwrite(self._fd, piece, start + done)
            done += len(piece)
        return start

    def _free(self, pieces: list[tuple[int, int, int]]) -> None:
        for _, length, start in pieces:
            pages = _whole_pages(length)
            kernel.syscall("fallocate", self._fd, _KEEP_SIZE_PUNCH_HOLE, start, pages)
            self.used_bytes -= pages

    def _is_same(self, fd: int, content: Content) -> bool:
        size = os.fstat(fd).st_size
        if size != content.size or list(_data(fd, size)) != [(offset, length) for offset, length, _ in content.pieces]:
            return False
        for offset, length, start in content.pieces:
            for done in range(0, length, _PIECE_BYTES):
                wanted = min(_PIECE_BYTES, length - done)
                if os.pread(fd, wanted, offset + done) != os.pread(self._fd, wanted, start + done):
                    return False
        return True

    # Bringing back: first everything goes that is not to be, then what is missing comes; the other way round there might be no room.
    #
    # ``stale``: inodes of files whose content is to be written. ``links``: of files with several names, by the inode that the snapshot has for them, a
    # descriptor of the one that is there.

    def _clear_place(self, place: str, root: Entry, stale: set[int], links: dict[int, int]) -> None:
        with _Walk(os.open(place, _DIRECTORY)) as walk:
            stack = [iter(self._clear_directory(walk, root, stale, links))]
            while stack:
                below = next(stack[-1], None)
                if below is None:
                    stack.pop()
                    if stack:
                        walk.leave()
                    continue
                walk.enter(below[0], None)
                stack.append(iter(self._clear_directory(walk, below[1], stale, links)))

    def _clear_directory(self, walk: _Walk, wanted: Entry, stale: set[int], links: dict[int, int]) -> list[tuple[str, Entry]]:
        """Remove what does not belong into the directory the walk is in, and empty the files that changed; return the directories that stay."""
        assert wanted.children is not None
        os.fchmod(walk.fd, 0o700)  # until it gets back its own when all in it is there again
        below: list[tuple[str, Entry]] = []
        for name, found in list(walk.entries()):
            entry = wanted.children.get(name)
            if entry is not None and stat.S_IFMT(entry.mode) == stat.S_IFMT(found.st_mode):
                if entry.children is not None:
                    below.append((name, entry))
                    continue
                if entry.content is not None and entry.inode == found.st_ino:
                    fd = _open_same(name, _READ, walk.fd, found.st_ino)
                    try:
                        if found.st_ino not in stale and not self._is_same(fd, entry.content):
                            stale.add(found.st_ino)
                            os.fchmod(fd, 0o600)
                            os.close(os.open(name, _WRITE | os.O_TRUNC, dir_fd=walk.fd))
                        if entry.links > 1 and entry.inode not in links:
                            links[entry.inode] = os.dup(fd)
                    finally:
                        os.close(fd)
                    continue
                if entry.target is not None and entry.target == os.readlink(name, dir_fd=walk.fd):
                    continue
                if entry.content is None and entry.target is None:
                    continue  # a FIFO or a socket
            _remove(walk.fd, name, found)
        return below

    def _fill_place(self, place: str, root: Entry, stale: set[int], links: dict[int, int]) -> None:
        with _Walk(os.open(place, _DIRECTORY)) as walk:
            root.inode = os.fstat(walk.fd).st_ino
            stack = [(root, iter(self._fill_directory(walk, root, stale, links)))]
            while stack:
                directory, more = stack[-1]
                below = next(more, None)
                if below is None:
                    os.fchmod(walk.fd, stat.S_IMODE(directory.mode))
                    os.utime(walk.fd, ns=(directory.modified_ns, directory.modified_ns))
                    stack.pop()
                    if stack:
                        walk.leave()
                    continue
                name, entry = below
                walk.enter(name, None)
                entry.inode = os.fstat(walk.fd).st_ino
                stack.append((entry, iter(self._fill_directory(walk, entry, stale, links))))

    def _fill_directory(self, walk: _Walk, wanted: Entry, stale: set[int], links: dict[int, int]) -> list[tuple[str, Entry]]:
        """Make what is missing in the directory the walk is in; return the directories in it."""
        assert wanted.children is not None
        have = {name: found for name, found in walk.entries()}
        below: list[tuple[str, Entry]] = []
        for name, entry in wanted.children.items():
            there = have.get(name)
            if entry.children is not None:
                if there is None:
                    os.mkdir(name, 0o700, dir_fd=walk.fd)
                below.append((name, entry))
            elif entry.content is not None:
                self._fill_file(walk.fd, name, entry, entry.content, there, stale, links)
            elif there is None:
                if entry.target is not None:
                    os.symlink(entry.target, name, dir_fd=walk.fd)
                else:
                    os.mknod(name, entry.mode, dir_fd=walk.fd)
            if entry.children is None and entry.content is None:
                os.utime(name, ns=(entry.modified_ns, entry.modified_ns), dir_fd=walk.fd, follow_symlinks=False)
        return below

    def _fill_file(
        self, at: int, name: str, entry: Entry, content: Content, there: os.stat_result | None, stale: set[int], links: dict[int, int]
    ) -> None:
        other = links.get(entry.inode)
        if other is not None and (there is None or there.st_ino != os.fstat(other).st_ino):
            # One more name of a file that is there.
            if there is not None:
                os.unlink(name, dir_fd=at)
            os.link(f"/proc/self/fd/{other}", name, dst_dir_fd=at, follow_symlinks=True)
            there = os.fstat(other)
        if there is None:
            fd = os.open(name, _WRITE | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=at)
        else:
            fd = _open_same(name, _WRITE if there.st_ino in stale else _READ, at, there.st_ino)
        try:
            inode = os.fstat(fd).st_ino
            if there is None or inode in stale:
                self._write(fd, content)
                stale.discard(inode)
            if other is None and entry.links > 1:
                links[entry.inode] = os.dup(fd)
            entry.inode = inode
            os.fchmod(fd, stat.S_IMODE(entry.mode))
            os.utime(fd, ns=(entry.modified_ns, entry.modified_ns))
        finally:
            os.close(fd)

    def _write(self, fd: int, content: Content) -> None:
        """Fill an empty file."""
        os.ftruncate(fd, content.size)
        for offset, length, start in content.pieces:
            done = 0
            while done < length:
                piece = os.pread(self._fd, min(_PIECE_BYTES, length - done), start + done)
                done += os.pwrite(fd, piece, offset + done)


class _Walk:
    """A place in a tree: one descriptor, however deep."""

    def __init__(self, fd: int) -> None:
        """``fd``: the directory to begin in, taken over."""
        self.fd = fd
        found = os.fstat(fd)
        self._device = found.st_dev
        self._inodes = [found.st_ino]

    def __enter__(self) -> _Walk:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    def entries(self) -> Iterator[tuple[str, os.stat_result]]:
        """What is in the directory, without what is mounted there."""
        for name in os.listdir(self.fd):
            try:
                found = os.stat(name, dir_fd=self.fd, follow_symlinks=False)
            except FileNotFoundError:
                raise Changed from None
            if found.st_dev == self._device:
                yield name, found

    def enter(self, name: str, inode: int | None) -> None:
        """Go into a directory; ``inode``: which it must be."""
        try:
            below = os.open(name, _DIRECTORY, dir_fd=self.fd)
        except OSError as error:
            raise Changed from error
        os.close(self.fd)
        self.fd = below
        found = os.fstat(below)
        if found.st_dev != self._device or inode not in (None, found.st_ino):
            raise Changed
        self._inodes.append(found.st_ino)

    def leave(self) -> None:
        """Go up."""
        above = os.open("..", _DIRECTORY, dir_fd=self.fd)
        os.close(self.fd)
        self.fd = above
        self._inodes.pop()
        if os.fstat(above).st_ino != self._inodes[-1]:
            raise Changed


def _open_same(name: str, flags: int, at: int, inode: int) -> int:
    """Open what lstat(2) said is a regular file. Raises Changed when it is another by now."""
    try:
        fd = os.open(name, flags, dir_fd=at)
    except OSError as error:
        raise Changed from error
    found = os.fstat(fd)
    if found.st_ino != inode or not stat.S_ISREG(found.st_mode):
        os.close(fd)
        raise Changed
    return fd


def _data(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Where a file has data: (offset, length)."""
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno in _ABSENT:
                return
            raise
        if start >= size:
            return
        at = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        if at <= start:
            return
        yield start, at - start


def _whole_pages(length: int) -> int:
    return (length + _PAGE_BYTES - 1) // _PAGE_BYTES * _PAGE_BYTES


def _remove(at: int, name: str, found: os.stat_result) -> None:
    """Remove one entry with all below it."""
    if not stat.S_ISDIR(found.st_mode):
        os.unlink(name, dir_fd=at)
        return
    with _Walk(os.dup(at)) as walk:
        walk.enter(name, found.st_ino)
        os.fchmod(walk.fd, 0o700)
        stack = [(name, iter(list(walk.entries())))]
        while stack:
            entry, seen = next(stack[-1][1], ("", None))
            if seen is None:
                walk.leave()
                os.rmdir(stack.pop()[0], dir_fd=walk.fd)
            elif stat.S_ISDIR(seen.st_mode):
                walk.enter(entry, seen.st_ino)
                os.fchmod(walk.fd, 0o700)
                stack.append((entry, iter(list(walk.entries()))))
            else:
                os.unlink(entry, dir_fd=walk.fd)


def _contents(snapshot: Snapshot) -> dict[int, Content]:
    """The content of each regular file by its inode, found anew."""
    found: dict[int, Content] = {}
    pending = list(snapshot.places.values())
    while pending:
        entry = pending.pop()
        if entry.children is not None:
            pending += entry.children.values()
        elif entry.content is not None:
            found[entry.inode] = entry.content
    return found
