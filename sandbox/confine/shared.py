# pyright: reportPrivateUsage=false
"""What the filter and landlock say more where a program shares the host's namespaces (tier `confined`).

Theory of operation. Namespaces leave nothing to reach; without them these two layers close each door by itself, and what they can't tell
apart they close for all. Landlock guards what files hold, and, where the kernel's ABI has it, TCP, signals and abstract sockets. The filter sees the
arguments that are in registers, and does the rest:

    sockets      none, of no family: Unix sockets of the host have paths that landlock does not guard before ABI 9, and UDP is never guarded. Pairs
                 stay (asyncio, multiprocessing), but for datagram ones: those could be sent to any name (unix(7)). Their buffers stay small: nobody else
                 counts them (sockets.py).
    processes    as root each run has an id of its own, and the kernel refuses it everybody else's. As an ordinary user it has the user's: then
                 priorities and schedulers can be changed of oneself only, signals by files (F_SETOWN) not at all, and, before landlock's ABI 6,
                 signals be sent to the first process's own number, its group's, and to no other.
    metadata     modes, owners and times are not guarded by landlock. As root the run owns nothing of the host. As an ordinary user it would own all
                 that the user does: changing modes and times does nothing there and says that it did, as on a file system that has none (`quiet` of
                 vfat, mount(8)), for copying a file would fail otherwise (shutil.copy); changing owners is refused.
    truncate     is guarded from ABI 3 on: before, by path and by opening for reading it is refused.
    watching     inotify and extended attributes are not guarded: refused.

Nothing of this is needed, nor done, in tier `strict`.
"""

from __future__ import annotations

import errno
import os
import sys

from confine import seccomp, syscalls, tree
from confine.seccomp import _ALLOW, _JMP_JEQ_K, _JMP_JSET_K, _low, _refuse, _when, _when_one_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from confine.seccomp import Code

#: linux/socket.h, linux/net.h
_AF_UNIX = 1
_SOCK_STREAM, _SOCK_SEQPACKET = 1, 5
#: asm-generic/socket.h: SO_SNDBUF, SO_RCVBUF
_SO_BUFFERS = (7, 8)
#: linux/fcntl.h: who is sent which signal when a file is ready.
_F_SETOWN, _F_SETSIG, _F_SETOWN_EX, _F_NOTIFY = 8, 10, 15, 1026
#: linux/resource.h
_PRIO_PROCESS = 0
#: linux/prctl.h
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4

_SOCKETS = ("socket", "bind", "listen", "connect", "accept", "accept4", "sendmmsg")
_MODES_AND_TIMES = ("chmod", "fchmod", "fchmodat", "fchmodat2", "utime", "utimes", "futimesat", "utimensat")
_OWNERS = ("chown", "fchown", "lchown", "fchownat")
_WATCHES = ("inotify_init", "inotify_init1", "inotify_add_watch", "inotify_rm_watch")
_ATTRIBUTES = ("getxattr", "lgetxattr", "fgetxattr", "listxattr", "llistxattr", "flistxattr")
_SIGNALS = ("kill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo")
_NEEDED_TO_CONFINE = (
    "prctl", "capset", "setresuid", "setresgid", "setgroups", "setfsuid", "setfsgid", "seccomp",
    "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self",
)  # fmt: skip
#: Calls that change a process by its number, which is their first argument.
_OF_PROCESSES = ("sched_setaffinity", "sched_setparam", "sched_setscheduler")

#: Stands for a process's own number until it has one; above all there can be (proc(5), pid_max), and like nothing else in a filter.
_OWN_PID = 0x7E5AA57E

_DONE: Code = [(seccomp._RET_K, 0, 0, seccomp._SECCOMP_RET_ERRNO)]


def filter_program(own_id: bool, abi: int, pid: int = _OWN_PID) -> bytes:
    """The filter of a program's first process, and all it will start. ``own_id``: nobody else has its user id. ``abi``: landlock's.

    ``pid``: its number; where it is not known yet, `for_this_process` puts it in. To compile a filter takes longer than all else that is done for a run.
    """
    answers: dict[str, Code] = dict.fromkeys(_SOCKETS, _refuse(errno.EACCES))
    answers.update(dict.fromkeys(_WATCHES, _refuse(errno.ENOSYS)))
    answers.update(dict.fromkeys(_ATTRIBUTES, _refuse(errno.EOPNOTSUPP)))
    answers["socketpair"] = _pairs()
    answers["sendto"] = _send_to_the_peer()
    answers["setsockopt"] = _buffers_as_they_are()
    answers["prctl"] = _prctl()
    if abi < 3:
        answers["truncate"] = _refuse(errno.EACCES)
        answers["openat2"] = _refuse(errno.ENOSYS)  # its flags are in memory
        answers["open"] = _no_truncation(1)
        answers["openat"] = _no_truncation(2)
    if not own_id:
        answers.update(dict.fromkeys(_MODES_AND_TIMES, _DONE))
        answers.update(dict.fromkeys(_OWNERS, _refuse(errno.EPERM)))
        answers.update(dict.fromkeys(_OF_PROCESSES, _only_to((0, pid))))
        answers["setpriority"] = _low(0) + _when(_JMP_JEQ_K, _PRIO_PROCESS, _low(1) + _when(_JMP_JEQ_K, 0, _ALLOW, _refuse(errno.EPERM)), _refuse(errno.EPERM))
        answers["fcntl"] = _low(1) + _when_one_of((_F_SETOWN, _F_SETSIG, _F_SETOWN_EX, _F_NOTIFY), _refuse(errno.EPERM), _ALLOW)
        if abi < 6:
            answers.update(dict.fromkeys(_SIGNALS, _only_to((pid,))))
            answers["kill"] = _only_to((0, pid))
            answers.update(dict.fromkeys(("tkill", "pidfd_open", "pidfd_send_signal"), _refuse(errno.EPERM)))
    return seccomp.build(syscalls.machine(), inet=False, answers=answers)


def for_this_process(program: bytes) -> bytes:
    """A filter of `filter_program` with the number of the process that calls this."""
    return program.replace(_OWN_PID.to_bytes(4, sys.byteorder), os.getpid().to_bytes(4, sys.byteorder))


def zygote_filter() -> bytes:
    """The filter of the zygote and the wardens, into which packages may be imported: no sockets, and none of what it takes to leave the confinement.

    What it takes to confine a program, and to give it an id of its own, stays; whoever has no right to that is refused it by the kernel.
    """
    answers: dict[str, Code] = dict.fromkeys(("socket", "bind", "listen", "connect", "sendmmsg"), _refuse(errno.EACCES))
    answers.update(dict.fromkeys(_NEEDED_TO_CONFINE, _ALLOW))
    answers["kill"] = _ALLOW  # -1 as well: processes.py ends a run by it
    answers["socketpair"] = _pairs()
    answers["sendto"] = _send_to_the_peer()
    return seccomp.build(syscalls.machine(), inet=False, answers=answers)


def _only_to(pids: tuple[int, ...]) -> Code:
    return _low(0) + _when_one_of(pids, _ALLOW, _refuse(errno.EPERM))


def _pairs() -> Code:
    """socketpair(int family, int type, int protocol, ...): what is connected for good."""
    types = seccomp._socket_type() + _when_one_of((_SOCK_STREAM, _SOCK_SEQPACKET), _ALLOW, _refuse(errno.ESOCKTNOSUPPORT))
    return _low(0) + _when(_JMP_JEQ_K, _AF_UNIX, types, _refuse(errno.EAFNOSUPPORT))


def _send_to_the_peer() -> Code:
    """sendto(fd, buffer, length, flags, address, int address_length): without an address, send(2)."""
    return _low(5) + _when(_JMP_JEQ_K, 0, _ALLOW, _refuse(errno.EACCES))


def _buffers_as_they_are() -> Code:
    """setsockopt(int fd, int level, int optname, ...): buffers keep their size, as with a kernel that has reached its limit (socket(7), SO_SNDBUF)."""
    sizes = _low(2) + _when_one_of(_SO_BUFFERS, _DONE, seccomp._check_setsockopt())
    return _low(1) + _when(_JMP_JEQ_K, seccomp._SOL_SOCKET, sizes, seccomp._check_setsockopt())


def _prctl() -> Code:
    """As in every tier, but: the warden must be able to look at what the program has open, and the first process to end with it."""
    return _low(0) + _when_one_of((_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE), _refuse(errno.EPERM), seccomp._check_prctl())


def _no_truncation(flags_argument: int) -> Code:
    """open(path, int flags, mode), openat(dirfd, path, int flags, mode): landlock sees the writing only where it is asked for, by O_WRONLY or O_RDWR."""
    writing: Code = [*_low(flags_argument), (seccomp._ALU_AND_K, 0, 0, os.O_ACCMODE), *_when_one_of((os.O_WRONLY, os.O_RDWR), _ALLOW, _refuse(errno.EACCES))]
    return _low(flags_argument) + _when(_JMP_JSET_K, os.O_TRUNC, writing, _ALLOW)


#: Of /proc/self. Not here: `net`, `task` (which has another `net`), `mounts` and its kin, which tell of the host, and what leads to other places.
_OF_ITSELF = (
    "auxv", "cgroup", "cmdline", "comm", "environ", "fd", "fdinfo", "io", "limits", "loginuid", "maps", "numa_maps", "oom_adj", "oom_score",
    "oom_score_adj", "pagemap", "personality", "sched", "schedstat", "smaps", "smaps_rollup", "stat", "statm", "status", "timers", "wchan",
)  # fmt: skip


def readable_of_all() -> list[str]:
    """What every program may read besides the interpreter and its libraries: of the machine what holds no secret."""
    return [path for path in (f"/proc/{name}" for name in tree.PROC_SHOWN) if os.access(path, os.R_OK)]


def readable_of_itself() -> list[str]:
    """What a program may read of itself, as far as this kernel has it. The paths lead each process to its own."""
    return [path for path in (f"/proc/self/{name}" for name in _OF_ITSELF) if os.path.exists(path)]
