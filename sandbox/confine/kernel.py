"""The kernel calls the far side makes that Python's standard library has no function for.

Everything goes through syscall(2) of the C library, by name: one binding, one error path, no difference between glibc
and musl, nor between libraries too old to know a call. Each function raises OSError with the call's name in its words.

This module is imported by every process on its way into a sandbox: nothing here may import more than ctypes and os.
"""

from __future__ import annotations

import ctypes
import errno
import os

from confine import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Union

    # int: a word; bytes: a pointer to NUL-terminated bytes; None: NULL; array: a pointer to it
    Argument = Union[int, bytes, None, "ctypes.Array[Any]"]

# clone(2), unshare(2), setns(2): linux/sched.h
CLONE_NEWTIME = 0x00000080
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

# mount(2): linux/mount.h
MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_NOSYMFOLLOW = 256
MS_NOATIME = 1024
MS_NODIRATIME = 2048
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21

# umount2(2): linux/fs.h
MNT_FORCE = 1
MNT_DETACH = 2
MNT_EXPIRE = 4
UMOUNT_NOFOLLOW = 8

# prctl(2): linux/prctl.h
PR_SET_PDEATHSIG = 1
PR_GET_DUMPABLE = 3
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_GET_SECCOMP = 21
PR_SET_SECCOMP = 22
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_SECUREBITS = 28
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_GET_NO_NEW_PRIVS = 39
PR_SET_THP_DISABLE = 41
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

# capabilities(7): linux/capability.h
CAPABILITIES = {
    "CAP_CHOWN": 0,
    "CAP_DAC_OVERRIDE": 1,
    "CAP_DAC_READ_SEARCH": 2,
    "CAP_FOWNER": 3,
    "CAP_FSETID": 4,
    "CAP_KILL": 5,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_SETPCAP": 8,
    "CAP_NET_BIND_SERVICE": 10,
    "CAP_NET_ADMIN": 12,
    "CAP_NET_RAW": 13,
    "CAP_IPC_LOCK": 14,
    "CAP_SYS_CHROOT": 18,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
    "CAP_SYS_NICE": 23,
    "CAP_SYS_RESOURCE": 24,
    "CAP_MKNOD": 27,
    "CAP_SETFCAP": 31,
}

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
# Declared as pointers, words of any kind pass whole and without a Python object made for each: numbers (not cut to 32 bits), bytes, arrays, NULL.
libc.syscall.argtypes = (ctypes.c_void_p,) * 7
_UNUSED = tuple((0,) * unused for unused in range(7))


def failure(call: str, code: int, *details: object) -> OSError:
    """The OSError of a failed call (PermissionError and its kin by `code`): "mount /proc: Operation not permitted"."""
    return OSError(code, f"{' '.join(map(str, (call, *details)))}: {os.strerror(code)}")


def _call(name: str, details: tuple[object, ...], arguments: tuple[Argument, ...]) -> int:
    # Unused registers are zeroed: prctl and some newer calls answer EINVAL to rubbish in them.
    result: int = libc.syscall(syscalls.number(name), *arguments, *_UNUSED[6 - len(arguments)])
    if result == -1:
        raise failure(name, ctypes.get_errno(), *details)
    return result


def syscall(name: str, *arguments: Argument) -> int:
    """Make the system call `name` (syscall(2)) and return its result. Raises OSError with its errno and name."""
    return _call(name, (), arguments)


def repeat(name: str, calls: Iterable[tuple[Argument, ...]]) -> None:
    """Make the system call `name` with each of these arguments: at half the price, where every sandbox makes thirty. Raises OSError at the first that fails."""
    number, call = syscalls.number(name), libc.syscall
    for arguments in calls:
        if call(number, *arguments, *_UNUSED[6 - len(arguments)]) == -1:
            raise failure(name, ctypes.get_errno(), *(one for one in arguments if isinstance(one, bytes)))


def prctl(option: int, a2: int | bytes = 0, a3: int = 0, a4: int = 0, a5: int = 0) -> int:
    """Operations on this process (prctl(2)); `option` is one of PR_*."""
    return _call("prctl", ("option", option), (option, a2, a3, a4, a5))


def unshare(flags: int) -> None:
    """Leave the namespaces named by CLONE_NEW* bits for new ones (unshare(2)). Needs a single thread for NEWUSER."""
    _call("unshare", (hex(flags),), (flags,))


def setns(fd: int, flags: int) -> None:
    """Enter the namespace `fd` refers to (setns(2)); a pidfd works too, with CLONE_NEW* bits, since 5.8."""
    _call("setns", (hex(flags),), (fd, flags))


def mount(source: str | None, target: str, fstype: str | None, flags: int = 0, data: str | None = None) -> None:
    """Mount, bind, move, or change the flags of a mount (mount(2)); `flags` is made of MS_*."""
    words = (None if source is None else os.fsencode(source), os.fsencode(target), None if fstype is None else fstype.encode())
    _call("mount", (source or fstype or "", "on", target), (*words, flags, None if data is None else data.encode()))


def umount2(target: str, flags: int = 0) -> None:
    """Unmount (umount2(2)); `flags` is made of MNT_* and UMOUNT_NOFOLLOW."""
    _call("umount2", (target,), (os.fsencode(target), flags))


def pivot_root(new: str, old: str) -> None:
    """Make the mount `new` the root of this mount namespace, and put the old root at `old` (pivot_root(2))."""
    _call("pivot_root", (new, old), (os.fsencode(new), os.fsencode(old)))


def close_range(first: int, last: int = 2**32 - 1) -> None:
    """Close the descriptors first..last, both included (close_range(2)), also before 5.9 (needs /proc there)."""
    if first > last:
        return
    try:
        _call("close_range", (first, last), (first, last, 0))
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        # Descriptors may lie above a limit that was lowered later: only /proc knows the highest.
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))
        os.closerange(first, min(last, highest) + 1)


# capget(2), capset(2): version 3 of the interface, 64 capabilities as two 32-bit halves. The types are kept: ctypes makes one anew that nobody holds.
_Header, _Halves = ctypes.c_uint32 * 2, ctypes.c_uint32 * 6
_HEADER = _Header(0x20080522, 0)


def effective_capabilities() -> int:
    """The effective capabilities of this thread as a bit set (capget(2)): 0 is none."""
    halves = _Halves()
    _call("capget", (), (_HEADER, halves))
    return halves[0] | halves[3] << 32


def keep_capabilities(names: Iterable[str]) -> None:
    """Hold the capabilities `names` (of CAPABILITIES) and no others (capabilities(7)).

    Effective and permitted become these, inheritable and ambient empty. An execve can give others as far as the bounding set has them
    (`empty_bounding_set`) and no_new_privs is not set. Raises PermissionError when a capability to be kept is not held.
    """
    kept = 0
    for name in names:
        kept |= 1 << CAPABILITIES[name]
    try:
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    except OSError as error:
        if error.errno != errno.EINVAL:  # before 4.3 there is no ambient set
            raise
    low, high = kept & 0xFFFFFFFF, kept >> 32
    # effective, permitted, inheritable; the low half, then the high half
    _call("capset", (hex(kept),), (_HEADER, _Halves(low, low, 0, high, high, 0)))


def empty_bounding_set() -> None:
    """Let no file that is executed give a capability, now that what is held by itself may be more (capabilities(7)).

    A new user namespace begins with a full set. Only a holder of CAP_SETPCAP can empty it; without, it is left as it is.
    """
    if not effective_capabilities() & 1 << CAPABILITIES["CAP_SETPCAP"]:
        return
    # Some forty calls, in every sandbox: straight to the kernel, without the words that _call has ready for a failure.
    number, call, zeroes = syscalls.number("prctl"), libc.syscall, _UNUSED[4]
    for capability in range(64):
        if call(number, PR_CAPBSET_DROP, capability, *zeroes) == 0:
            continue
        code = ctypes.get_errno()
        if code == errno.EINVAL:  # one past the last capability this kernel knows
            return
        raise failure("prctl", code, "option", PR_CAPBSET_DROP)


def drop_all_capabilities() -> None:
    """Give up every capability, for this process and, where the bounding set can be emptied, all it will ever start."""
    empty_bounding_set()
    keep_capabilities(())


#: What the kernel itself may do with a signal (signal(7)): asm-generic/signal-defs.h, SIG_DFL and SIG_IGN.
DEFAULT, IGNORE = 0, 1
_set_handler = ctypes.pythonapi.PyOS_setsig
_set_handler.argtypes, _set_handler.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p


def handle_signal(number: int, handler: int) -> int:
    """Have the kernel do DEFAULT or IGNORE on a signal, or call what a call of this returned. Returns what it did before.

    What Python knows of it (signal.getsignal) stays: a fork that gives it back what it did before is again as Python thinks it is.
    """
    return _set_handler(number, handler) or DEFAULT
