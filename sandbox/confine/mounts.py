"""Directories of the host that the policy opens to programs (sandbox.mounts), and how they are kept to that.

Theory of operation
-------------------
A directory is opened by its path with no symbolic link on the way (openat2(2), RESOLVE_NO_SYMLINKS), so that a directory that became a link after
the policy was checked is an error, not another directory. From then on only the descriptor counts: open_tree(2) makes a detached copy of that one mount,
mount_setattr(2) takes set-uid, devices, execution and, for ``ro``, writing away from it, and only then does move_mount(2) put it in its place. There is no moment at
which it could be seen with more rights. The copy is not recursive, and a directory with other file systems mounted below is refused: what those cover is not shown.

Links in it can't lead out: they are resolved in the sandbox's own file tree, in which the rest of the host has no name.

Run by an ordinary user, a program has that user's rights to the files. Run by root, it is an id that owns nothing; the mount is then seen through a mapping
of ids in which the directory's owner and group are the program's (mount_setattr(2), MOUNT_ATTR_IDMAP), on file systems that have it. Only that one owner is mapped: files of
others in it are nobody's. A directory that root owns is never mapped for writing.

What landlock leaves out for writable ones: making symbolic links, named pipes and sockets, which would wait there for a process of the host.
Sockets of the host that lie in a directory could be connected to, even where it is read-only: with mounts there are no Unix sockets but pairs (seccomp.build).
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from confine import kernel, landlock
from confine.kernel import CLONE_NEWUSER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    class Wanted(TypedDict):
        """One of ``mounts`` in the zygote's first line (PROTOCOL.md, 1)."""

        host: str
        inside: str
        mode: str


# fcntl.h and linux/openat2.h, linux/mount.h
_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_OPEN_TREE_CLONE = 1
_OPEN_TREE_CLOEXEC = os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 0x04
_MOUNT_ATTR_RDONLY = 0x01
_MOUNT_ATTR_NOSUID = 0x02
_MOUNT_ATTR_NODEV = 0x04
_MOUNT_ATTR_NOEXEC = 0x08
_MOUNT_ATTR_IDMAP = 0x00100000


class Mount:
    """A directory of the host: where it is, where programs find it, and whether they may write to it."""

    def __init__(self, host: str, inside: str, writable: bool) -> None:
        self.host = host
        self.inside = inside
        self.writable = writable

    @property
    def access(self) -> int:
        """What landlock grants beneath it."""
        if not self.writable:
            return landlock.READ
        return landlock.READ | (landlock.WRITE & ~(landlock.FS_MAKE_SYM | landlock.FS_MAKE_FIFO | landlock.FS_MAKE_SOCK))


def rules(mounts: list[Mount]) -> list[tuple[str, int]]:
    """What landlock is told of them: each directory, and for reading the one they stand in, so that they can be found."""
    places = {"/" + mount.inside.split("/")[1] for mount in mounts}
    return [(place, landlock.READ) for place in sorted(places)] + [(mount.inside, mount.access) for mount in mounts]


class UnsafeMount(Exception):
    """A directory that can't be opened to programs without opening more than it, or at all."""


def read(wanted: list[Wanted]) -> list[Mount]:
    """The mounts of the zygote's first line."""
    return [Mount(one["host"], one["inside"], one["mode"] == "rw") for one in wanted]


def check(mounts: list[Mount], bound: list[str]) -> None:
    """Refuse mounts that get in the way of ``bound``, what of the host a sandbox needs (the interpreter and its libraries).

    A program that could write there could change what the zygote runs outside of any sandbox. Raises UnsafeMount.
    """
    for mount in mounts:
        for path in bound:
            if _overlap(mount.inside, path):
                raise UnsafeMount(f"sandbox.mounts: inside {mount.inside} covers {path}, which the interpreter needs: choose another place")
            real = os.path.realpath(path)
            if mount.writable and _overlap(mount.host, real):
                raise UnsafeMount(f"sandbox.mounts: host {mount.host} is rw and overlaps {real}, which every program uses: open it ro, or another directory")


def _overlap(one: str, other: str) -> bool:
    return (one + "/").startswith(other + "/") or (other + "/").startswith(one + "/")


def attach(root: str, mounts: list[Mount], program_id: int | None) -> None:
    """Put ``mounts`` below ``root``, in this process's own mount namespace.

    ``program_id``: the host's id that programs run as; None where they run as the caller. Raises UnsafeMount, and OSError naming the directory.
    """
    for mount in mounts:
        try:
            _attach(root + mount.inside, mount, program_id)
        except OSError as error:
            raise UnsafeMount(f"sandbox.mounts: {mount.host} can't be mounted: {_explain(error)}") from error


def _explain(error: OSError) -> str:
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return f"{error}: it is not a directory, or a link since the policy was read"
    return str(error)


def _attach(target: str, mount: Mount, program_id: int | None) -> None:
    # struct open_how of linux/openat2.h
    how = struct.pack("=QQQ", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, 0, _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS)
    source = kernel.syscall("openat2", _AT_FDCWD, os.fsencode(mount.host), how, len(how))
    tree = -1
    try:
        _refuse_mounts_below(mount.host)
        owner = os.fstat(source)
        tree = kernel.syscall("open_tree", source, b"", _AT_EMPTY_PATH | _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC)
        flags = _MOUNT_ATTR_NOSUID | _MOUNT_ATTR_NODEV | _MOUNT_ATTR_NOEXEC | (0 if mount.writable else _MOUNT_ATTR_RDONLY)
        _set_attributes(tree, flags, 0)
        if program_id is not None:
            _give_to_program(tree, mount, owner, program_id)
        os.makedirs(target, 0o755, exist_ok=True)
        kernel.syscall("move_mount", tree, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)
    finally:
        os.close(source)
        if tree >= 0:
            os.close(tree)


def _set_attributes(tree: int, flags: int, user_namespace: int) -> None:
    attributes = (ctypes.c_uint64 * 4)(flags, 0, 0, user_namespace)  # struct mount_attr: attr_set, attr_clr, propagation, userns_fd
    kernel.syscall("mount_setattr", tree, b"", _AT_EMPTY_PATH, attributes, 32)


def _refuse_mounts_below(host: str) -> None:
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        points = [_unescape(line.split(" ")[4]) for line in file]
    below = next((point for point in points if point.startswith(host + "/")), None)
    if below is not None:
        raise UnsafeMount(f"sandbox.mounts: another file system is mounted below {host}, at {below}: name directories that hold none")


def _unescape(text: str) -> str:
    """proc(5): space, tab, newline and backslash are octal in mountinfo."""
    for character in " \t\n\\":
        text = text.replace(f"\\{ord(character):03o}", character)
    return text


def _give_to_program(tree: int, mount: Mount, owner: os.stat_result, program_id: int) -> None:
    """Let the directory's owner, and no one else, be the program's id as seen through this mount."""
    if mount.writable and owner.st_uid == 0:
        raise UnsafeMount(
            f"sandbox.mounts: {mount.host} is rw and belongs to root, and no program writes as root: give it to another user (chown), or run cordon as an ordinary one"
        )
    mapping = _map_ids(owner.st_uid, owner.st_gid, program_id)
    try:
        _set_attributes(tree, _MOUNT_ATTR_IDMAP, mapping)
    except OSError as error:
        if mount.writable or error.errno != errno.EINVAL:
            raise UnsafeMount(
                f"sandbox.mounts: {mount.host} can't be mounted rw by root: its file system doesn't map ids ({error}); run cordon as the directory's owner"
            ) from error
        os.write(2, f"cordon: sandbox.mounts: the file system of {mount.host} doesn't map ids: programs can read there what everybody can\n".encode())
    finally:
        os.close(mapping)


def _map_ids(uid: int, gid: int, program_id: int) -> int:
    """A descriptor of a user namespace whose only ids are ``uid`` and ``gid``, each mapped to ``program_id``: the form mount_setattr(2) takes a mapping in."""
    told, tell = os.pipe()
    held, hold = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(hold)
            kernel.unshare(CLONE_NEWUSER)
            # Our number in the process namespace that /proc shows, which need not be this process's own.
            os.write(tell, os.readlink("/proc/self").encode())
            os.read(held, 1)
        finally:
            os._exit(0)
    os.close(tell)
    os.close(held)
    try:
        number = int(os.read(told, 32) or b"0")
        for name, own in (("uid_map", uid), ("gid_map", gid)):
            fd = os.open(f"/proc/{number}/{name}", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, f"{own} {program_id} 1\n".encode())
            finally:
                os.close(fd)
        return os.open(f"/proc/{number}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(told)
        os.close(hold)
        os.waitpid(child, 0)
