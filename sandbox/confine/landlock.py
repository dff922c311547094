"""Landlock: what a process may do with which files, said by the process itself, without privileges (landlock(7)).

Theory of operation. A ruleset names the kinds of access it handles; a handled access is denied everywhere but beneath
the paths that have a rule for it. We handle every kind the kernel knows, so that what no rule mentions is denied:
making device nodes, ioctl on devices, and Unix sockets outside have no rule, ever. restrict() is for good, holds for
all children, and each further one can only take away.

Kernels differ in what they know, by ABI version; asking for an unknown kind is an error. `handled` is that table, and
the only place that degrades:

    ABI  Linux  brings
    1    5.13   files: read, write, execute, make and remove, each kind
    2    5.19   REFER: rename and link between directories (before: always refused, EXDEV)
    3    6.2    TRUNCATE (before: always allowed)
    4    6.7    TCP bind and connect (before: always allowed)
    5    6.10   IOCTL_DEV: ioctl on device nodes (before: always allowed)
    6    6.12   scopes: signals and abstract Unix sockets reach no process outside (before: they do)
    7    6.15   nothing to handle (audit)
    8    7.0    nothing to handle (all threads at once)
    9    7.1    RESOLVE_UNIX: connect to a Unix socket by path, where its server is outside (before: always allowed)

Later ones are used as far as this table goes. On every version modes, owners, times and extended attributes of files
are not guarded, nor stat and chdir; descriptors that are open already stay as they are.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct

from confine import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# linux/landlock.h, LANDLOCK_ACCESS_FS_*
FS_EXECUTE = 1 << 0
FS_WRITE_FILE = 1 << 1
FS_READ_FILE = 1 << 2
FS_READ_DIR = 1 << 3
FS_REMOVE_DIR = 1 << 4
FS_REMOVE_FILE = 1 << 5
FS_MAKE_CHAR = 1 << 6
FS_MAKE_DIR = 1 << 7
FS_MAKE_REG = 1 << 8
FS_MAKE_SOCK = 1 << 9
FS_MAKE_FIFO = 1 << 10
FS_MAKE_BLOCK = 1 << 11
FS_MAKE_SYM = 1 << 12
FS_REFER = 1 << 13
FS_TRUNCATE = 1 << 14
FS_IOCTL_DEV = 1 << 15
FS_RESOLVE_UNIX = 1 << 16
# LANDLOCK_ACCESS_NET_*
NET_BIND_TCP = 1 << 0
NET_CONNECT_TCP = 1 << 1
# LANDLOCK_SCOPE_*
SCOPE_ABSTRACT_UNIX_SOCKET = 1 << 0
SCOPE_SIGNAL = 1 << 1

#: Where the descriptors of `look_up` begin: out of the way of a program's own five.
_FIRST_KEPT = 10
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1

READ = FS_READ_FILE | FS_READ_DIR
"""Read files, list directories."""
EXECUTE = FS_EXECUTE
"""execve(2) of files; mapping a library needs READ only."""
WRITE = (
    FS_WRITE_FILE
    | FS_TRUNCATE
    | FS_MAKE_REG
    | FS_MAKE_DIR
    | FS_MAKE_SYM
    | FS_MAKE_FIFO
    | FS_MAKE_SOCK
    | FS_REMOVE_FILE
    | FS_REMOVE_DIR
    | FS_REFER
)
"""Write, make, rename and remove anything but device nodes. Beneath a device node: write to it."""

# What a rule on something that is not a directory may name; more is EINVAL (ACCESS_FILE in security/landlock/fs.c).
_ON_FILES = FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV | FS_RESOLVE_UNIX


def handled(abi: int) -> tuple[int, int, int]:
    """What a kernel of this ABI version (0: no Landlock) can be made to deny: FS_*, NET_* and SCOPE_* bits."""
    if abi < 1:
        return 0, 0, 0
    fs = (1 << 13) - 1  # FS_EXECUTE to FS_MAKE_SYM
    if abi >= 2:
        fs |= FS_REFER
    if abi >= 3:
        fs |= FS_TRUNCATE
    if abi >= 5:
        fs |= FS_IOCTL_DEV
    if abi >= 9:
        fs |= FS_RESOLVE_UNIX
    net = NET_BIND_TCP | NET_CONNECT_TCP if abi >= 4 else 0
    scoped = SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL if abi >= 6 else 0
    return fs, net, scoped


# What each version brought that programs could otherwise do, and the Linux it came with; as the table above, in the order of the versions.
_BROUGHT = (
    (3, "truncating files", "6.2"),
    (4, "TCP", "6.7"),
    (5, "ioctl on devices", "6.10"),
    (6, "signals and abstract Unix sockets", "6.12"),
    (9, "Unix sockets by path", "7.1"),
)


def describe(abi: int) -> str:
    """What a kernel of this ABI version guards, for a person; and what it leaves to the other layers, with the Linux that guards it."""
    guarded = [what for version, what, _ in _BROUGHT if version <= abi]
    left = [f"{what} ({linux})" for version, what, linux in _BROUGHT if version > abi]
    said = f"ABI {abi}: guards {', '.join(['opening, making, moving and removing files', *guarded])}"
    if left:
        said += f"; leaves to other layers, until the Linux in brackets: {', '.join(left)}"
    if abi < 2:
        said += "; files can't be moved from one directory to another (Linux 5.19)"
    return said


def granted(access: int, abi: int, is_directory: bool) -> int:
    """The part of a rule's access that a kernel of this ABI takes for such a path; 0 means the rule grants nothing."""
    return access & handled(abi)[0] & (~0 if is_directory else _ON_FILES)


def probe() -> tuple[int, str]:
    """The ABI version of this kernel, and, where that is 0, why there is none."""
    try:
        return kernel.syscall("landlock_create_ruleset", None, 0, _CREATE_RULESET_VERSION), ""
    except OSError as error:
        if error.errno == errno.ENOSYS:
            return 0, "the kernel has no Landlock (CONFIG_SECURITY_LANDLOCK, Linux 5.13)"
        if error.errno == errno.EOPNOTSUPP:
            return 0, "Landlock is built in but not enabled: add landlock to the lsm= list of the kernel's command line"
        if error.errno == errno.EPERM:
            return 0, "a seccomp filter around this process refuses Landlock's system calls"
        return 0, str(error)


def abi() -> int:
    """The ABI version of this kernel's Landlock; 0 where there is none (probe() says why)."""
    return probe()[0]


def look_up(rules: Iterable[tuple[str, int]]) -> list[bytes]:
    """Rules as the kernel takes them, for `restrict` in processes forked from this one: to find the paths is most of what it costs.

    Each holds a descriptor of its path that stays open, above those that a program has. Raises as `restrict` does.
    """
    version, kept = abi(), list[bytes]()
    for path, access in rules:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
        kept.append(_pack(fcntl.fcntl(parent, fcntl.F_DUPFD_CLOEXEC, _FIRST_KEPT), path, access, version))
        os.close(parent)
    return kept


def restrict(rules: Iterable[tuple[str, int]], *, tcp: bool, missing_ok: bool = False, looked_up: Iterable[bytes] = ()) -> int:
    """Confine the calling thread, and all it will start, to `rules`; returns the ABI version that was enforced.

    rules: (path, access), access made of READ, EXECUTE and WRITE, for the path and all beneath it; symbolic links are
    followed now. What makes sense only for directories is left out where the path is none. tcp: leave TCP alone (where
    a network namespace confines it); otherwise bind and connect are denied, from ABI 4 on. missing_ok: skip paths that
    don't exist. looked_up: further rules, of `look_up`. Where the kernel can, signals and abstract sockets are kept inside.

    Call it with one thread, no_new_privs set (or CAP_SYS_ADMIN). Raises OSError, FileNotFoundError for a missing path,
    and then nothing is confined; ValueError for a rule that grants nothing.
    """
    version, reason = probe()
    if version == 0:
        raise OSError(errno.EOPNOTSUPP, f"landlock: {reason}")
    fs, net, scoped = handled(version)
    # struct landlock_ruleset_attr; kernels that know a shorter one take this as long as the rest is zero.
    attr = struct.pack("=QQQ", fs, 0 if tcp else net, scoped)
    ruleset = kernel.syscall("landlock_create_ruleset", attr, len(attr), 0)
    try:
        kernel.repeat("landlock_add_rule", ((ruleset, _RULE_PATH_BENEATH, rule, 0) for rule in looked_up))
        for path, access in rules:
            try:
                _add_rule(ruleset, path, access, version)
            except FileNotFoundError:
                if not missing_ok:
                    raise
        _restrict_self(ruleset)
    finally:
        os.close(ruleset)
    return version


def _add_rule(ruleset: int, path: str, access: int, version: int) -> None:
    parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        kernel.syscall("landlock_add_rule", ruleset, _RULE_PATH_BENEATH, _pack(parent, path, access, version), 0)
    finally:
        os.close(parent)


def _pack(parent: int, path: str, access: int, version: int) -> bytes:
    """struct landlock_path_beneath_attr, for the descriptor `parent` of `path`."""
    rights = granted(access, version, stat.S_ISDIR(os.fstat(parent).st_mode))
    if rights == 0:
        raise ValueError(f"landlock: the rule for {path} grants nothing of {access:#x} under ABI {version}")
    return struct.pack("=Qi", rights, parent)


def _restrict_self(ruleset: int) -> None:
    try:
        kernel.syscall("landlock_restrict_self", ruleset, 0)
    except OSError as error:
        if error.errno == errno.EPERM:
            raise OSError(error.errno, "landlock: no_new_privs must be set before restricting") from None
        if error.errno == errno.E2BIG:
            raise OSError(error.errno, "landlock: 16 rulesets are stacked on this process already") from None
        raise
