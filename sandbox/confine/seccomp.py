"""The system call filter: which calls a program may make at all, and with which arguments.

Theory of operation. A classic BPF program (bpf(4) as seccomp(2) restricts it) sees one call at a time as struct
seccomp_data {u32 nr; u32 arch; u64 ip; u64 args[6]} and answers what the kernel shall do. Ours is compiled here, from
names, for one architecture, so that no library has to be installed and every distribution runs the same filter:

    arch is not ours          -> ENOSYS     (i386 by `int 0x80`, 32-bit ARM: other numbers, unfiltered, so never)
    nr in ALLOWED             -> allow, or look at the arguments first (_checks)
    nr in ABSENT              -> ENOSYS     (callers have a fallback for kernels without them)
    nr known to syscalls.py   -> EPERM
    any other nr              -> ENOSYS     (calls newer than the table, and every x32 call: those have bit 30 set)

It is a list of what is allowed: a call that is forgotten here is refused. Refusals are errors rather than kills, so
that a program can say what went wrong, and libraries fall back.

clone3 is ABSENT because its flags are in memory, which a filter can't read: the C library then uses clone, whose flags
are in a register. Only arguments in registers are looked at. Where the kernel's parameter is an int, it ignores the
upper half of the register, so the filter must too; where it is a pointer, both halves count.

The numbers are found by binary search over ranges of equal answers, nine or so comparisons for any call; kernels since
5.11 remember which numbers are allowed whatever their arguments, and then don't run the program for them at all.
Conditional jumps reach 255 instructions forward; code is put together as a tree whose branches all end in an answer,
smaller branch first, and a branch farther away than that is reached by an unconditional jump (`_when`).
"""

from __future__ import annotations

import ctypes
import errno
import struct

from confine import kernel, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Callable

    # Instructions (code, jt, jf, k): struct sock_filter of linux/filter.h. Every path through a Code ends in an answer.
    Code = list[tuple[int, int, int, int]]

# What ordinary Python programs need: threads, subprocess, multiprocessing, asyncio, sqlite3, mmap, tempfile, numpy.
_FILES = """
    read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek
    open openat openat2 creat close close_range dup dup2 dup3 fcntl flock ioctl
    stat fstat lstat newfstatat statx statfs fstatfs access faccessat faccessat2
    truncate ftruncate fallocate fadvise64 readahead fsync fdatasync sync_file_range
    copy_file_range sendfile splice pipe pipe2
    getcwd chdir fchdir getdents getdents64 mkdir mkdirat rmdir rename renameat renameat2
    link linkat unlink unlinkat symlink symlinkat readlink readlinkat mknod mknodat umask
    getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr
"""
_METADATA = """
    chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes futimesat utimensat
"""
_MEMORY = """
    mmap mprotect munmap mremap brk msync mincore madvise mlock mlock2 munlock mlockall munlockall mseal membarrier
"""
_PROCESSES = """
    clone fork vfork execve execveat exit exit_group wait4 waitid
    kill tkill tgkill pidfd_open pidfd_send_signal
    getpid getppid gettid getpgid getpgrp setpgid getsid setsid
    getuid geteuid getresuid getgid getegid getresgid getgroups capget
    prctl arch_prctl personality set_tid_address set_robust_list rseq futex restart_syscall
    getrlimit setrlimit prlimit64 getrusage times sysinfo uname getcpu getpriority setpriority ioprio_get
    sched_yield sched_getaffinity sched_setaffinity sched_getparam sched_setparam sched_getscheduler sched_setscheduler
    sched_getattr sched_get_priority_max sched_get_priority_min sched_rr_get_interval
"""
_SIGNALS_AND_TIME = """
    rt_sigaction rt_sigprocmask rt_sigpending rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigqueueinfo
    rt_tgsigqueueinfo sigaltstack signalfd signalfd4 pause alarm getitimer setitimer
    time gettimeofday clock_gettime clock_getres clock_nanosleep nanosleep
    timer_create timer_settime timer_gettime timer_getoverrun timer_delete
    timerfd_create timerfd_settime timerfd_gettime getrandom
"""
_WAITING = """
    poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2
    eventfd eventfd2
"""
_SOCKETS = """
    socket socketpair connect bind listen accept accept4 getsockname getpeername shutdown
    sendto sendmsg sendmmsg recvfrom recvmsg recvmmsg setsockopt getsockopt
"""
# Not made by programs: a process that the machine's owner probes (uprobes) makes them from code the kernel put there.
_PROBES = "uretprobe uprobe"

METADATA: frozenset[str] = frozenset(_METADATA.split())
"""Calls that change mode, owner or times of a file: allowed unless build() is told otherwise."""

ALLOWED: frozenset[str] = METADATA.union(
    *(group.split() for group in (_FILES, _MEMORY, _PROCESSES, _SIGNALS_AND_TIME, _WAITING, _SOCKETS, _PROBES))
)
"""The calls a program may make, by the kernel's names; those in CHECKED only with some arguments."""

ABSENT: frozenset[str] = frozenset(
    """
    clone3 memfd_create memfd_secret io_uring_setup io_uring_enter io_uring_register
    landlock_create_ruleset landlock_add_rule landlock_restrict_self
    cachestat map_shadow_stack futex_waitv futex_wake futex_wait futex_requeue statmount listmount listns
    lsm_get_self_attr lsm_set_self_attr lsm_list_modules setxattrat getxattrat listxattrat removexattrat
    open_tree_attr file_getattr file_setattr rseq_slice_yield
    inotify_init inotify_init1 inotify_add_watch inotify_rm_watch
    """.split()
)
"""Refused with ENOSYS, as by a kernel without them: libraries that use these fall back on it, and give up on EPERM.

inotify would tell of every process of the machine that opens a file of the library: the mounts are the sandbox's own, the files are not.
"""

# linux/audit.h: ELF machine number, 64-bit, little-endian
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# linux/seccomp.h
_SECCOMP_SET_MODE_FILTER = 1
_SECCOMP_GET_ACTION_AVAIL = 2
_SECCOMP_FILTER_FLAG_TSYNC = 1
_SECCOMP_RET_ERRNO = 0x00050000
_SECCOMP_RET_ALLOW = 0x7FFF0000

# linux/bpf_common.h; K: the other operand is the constant k
_LD_W_ABS = 0x20
_ALU_AND_K = 0x54
_JMP_JA = 0x05
_JMP_JEQ_K = 0x15
_JMP_JGE_K = 0x35
_JMP_JSET_K = 0x45
_RET_K = 0x06

# offsets in struct seccomp_data
_NR = 0
_ARCH = 4


def _low(argument: int) -> Code:
    """Load the lower half of an argument: all the kernel sees of an int."""
    return [(_LD_W_ABS, 0, 0, 16 + 8 * argument)]


_ALLOW: Code = [(_RET_K, 0, 0, _SECCOMP_RET_ALLOW)]


def _refuse(code: int) -> Code:
    return [(_RET_K, 0, 0, _SECCOMP_RET_ERRNO | code)]


def _when(jump: int, k: int, then: Code, otherwise: Code) -> Code:
    """`then` if what was loaded compares so with k, else `otherwise`."""
    if len(then) <= len(otherwise):
        if len(then) <= 255:
            return [(jump, 0, len(then), k), *then, *otherwise]
        return [(jump, 1, 0, k), (_JMP_JA, 0, 0, len(then)), *then, *otherwise]
    if len(otherwise) <= 255:
        return [(jump, len(otherwise), 0, k), *otherwise, *then]
    return [(jump, 0, 1, k), (_JMP_JA, 0, 0, len(otherwise)), *otherwise, *then]


def _when_one_of(values: Iterable[int], then: Code, otherwise: Code) -> Code:
    code = otherwise
    for value in sorted(values, reverse=True):
        code = _when(_JMP_JEQ_K, value, then, code)
    return code


# linux/sched.h. No namespaces; and no CLONE_PARENT, by which a child would become the warden's instead of its maker's.
# CLONE_NEWTIME is not one of them: in clone's flags that bit belongs to the signal number.
_CLONE_PARENT = 0x00008000
_CLONE_REFUSED = (
    kernel.CLONE_NEWNS
    | kernel.CLONE_NEWCGROUP
    | kernel.CLONE_NEWUTS
    | kernel.CLONE_NEWIPC
    | kernel.CLONE_NEWUSER
    | kernel.CLONE_NEWPID
    | kernel.CLONE_NEWNET
    | _CLONE_PARENT
)


def _check_clone() -> Code:
    """clone(unsigned long flags, ...): the kernel takes the lower half (kernel/fork.c)."""
    return _low(0) + _when(_JMP_JSET_K, _CLONE_REFUSED, _refuse(errno.EPERM), _ALLOW)


# asm-generic/ioctls.h, linux/fs.h. What isatty, os.get_terminal_size, os.set_inheritable, socket.setblocking and
# shutil ask for. Everything else is refused: among it TIOCSTI and TIOCLINUX, which type into a terminal, TIOCSETD,
# which loads line disciplines, and what file systems, network devices, namespaces and process descriptors offer.
_IOCTLS = {
    "TCGETS": 0x5401,
    "TIOCGPGRP": 0x540F,
    "TIOCOUTQ": 0x5411,
    "TIOCGWINSZ": 0x5413,
    "FIONREAD": 0x541B,
    "FIONBIO": 0x5421,
    "FIONCLEX": 0x5450,
    "FIOCLEX": 0x5451,
    "FIOASYNC": 0x5452,
    "TCGETS2": 0x802C542A,
    "FICLONE": 0x40049409,
    "FICLONERANGE": 0x4020940D,
}


def _check_ioctl() -> Code:
    """ioctl(unsigned int fd, unsigned int cmd, ...): a cmd that a descriptor doesn't know answers ENOTTY anyway."""
    return _low(1) + _when_one_of(_IOCTLS.values(), _ALLOW, _refuse(errno.ENOTTY))


# linux/socket.h, linux/net.h, linux/in.h
_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10
_SOCK_STREAM, _SOCK_DGRAM, _SOCK_SEQPACKET = 1, 2, 5
_SOCK_FLAGS = 0o2000000 | 0o4000  # SOCK_CLOEXEC | SOCK_NONBLOCK
_IPPROTO_TCP, _IPPROTO_UDP = 6, 17


def _socket_type() -> Code:
    return [*_low(1), (_ALU_AND_K, 0, 0, 0xFFFFFFFF & ~_SOCK_FLAGS)]


def _check_socket(inet: bool, host_files: bool) -> Code:
    """socket(int family, int type, int protocol): Unix sockets; with `inet` also TCP and UDP, nothing raw, no SCTP.

    With `host_files` no Unix sockets: one could connect to a socket of the host that lies among those files, and where it
    connects to is in memory. Landlock can refuse that only from ABI 9 on.
    """
    no_family, no_type = _refuse(errno.EAFNOSUPPORT), _refuse(errno.ESOCKTNOSUPPORT)
    no_protocol = _refuse(errno.EPROTONOSUPPORT)
    types = (_SOCK_STREAM, _SOCK_DGRAM, _SOCK_SEQPACKET)
    unix = no_family if host_files else _socket_type() + _when_one_of(types, _ALLOW, no_type)
    tcp = _low(2) + _when_one_of((0, _IPPROTO_TCP), _ALLOW, no_protocol)
    udp = _low(2) + _when_one_of((0, _IPPROTO_UDP), _ALLOW, no_protocol)
    internet = _socket_type() + _when(_JMP_JEQ_K, _SOCK_STREAM, tcp, _when(_JMP_JEQ_K, _SOCK_DGRAM, udp, no_type))
    others = _when_one_of((_AF_INET, _AF_INET6), internet, no_family) if inet else no_family
    return _low(0) + _when(_JMP_JEQ_K, _AF_UNIX, unix, others)


def _check_socketpair(host_files: bool) -> Code:
    """socketpair(int family, int type, int protocol, ...). One of a pair of datagram sockets can send to any other by name."""
    types = (_SOCK_STREAM, _SOCK_SEQPACKET, *(() if host_files else (_SOCK_DGRAM,)))
    unix = _socket_type() + _when_one_of(types, _ALLOW, _refuse(errno.ESOCKTNOSUPPORT))
    return _low(0) + _when(_JMP_JEQ_K, _AF_UNIX, unix, _refuse(errno.EAFNOSUPPORT))


# asm-generic/socket.h: BPF programs on sockets (SO_ATTACH_FILTER, _BPF, _REUSEPORT_CBPF, _REUSEPORT_EBPF)
_SOL_SOCKET = 1
_SO_ATTACH = (26, 50, 51, 52)
# linux/tcp.h: protocols of the kernel's own on top of TCP, such as TLS
_SOL_TCP = 6
_TCP_ULP = 31


def _check_setsockopt() -> Code:
    """setsockopt(int fd, int level, int optname, ...)"""
    refused = _refuse(errno.ENOPROTOOPT)
    return _low(1) + _when(
        _JMP_JEQ_K,
        _SOL_SOCKET,
        _low(2) + _when_one_of(_SO_ATTACH, refused, _ALLOW),
        _when(_JMP_JEQ_K, _SOL_TCP, _low(2) + _when(_JMP_JEQ_K, _TCP_ULP, refused, _ALLOW), _ALLOW),
    )


# linux/stat.h: plain files (0 means one, too), named pipes, sockets; never a device
_S_IFMT = 0o170000
_MKNOD_TYPES = (0, 0o100000, 0o010000, 0o140000)


def _check_mknod(mode_argument: int) -> Code:
    """mknod(path, umode_t mode, dev), mknodat(dirfd, path, umode_t mode, dev)"""
    return [
        *_low(mode_argument),
        (_ALU_AND_K, 0, 0, _S_IFMT),
        *_when_one_of(_MKNOD_TYPES, _ALLOW, _refuse(errno.EPERM)),
    ]


# linux/stat.h. chmod(path, umode_t mode) and its kin: umode_t is 16 bits.
_S_ISUID_ISGID = 0o6000
_CHMODS = {"chmod": 1, "fchmod": 1, "fchmodat": 2, "fchmodat2": 2}


def _check_chmod(mode_argument: int) -> Code:
    """Where files of the host can be written: none that runs as its owner when somebody outside starts it.

    Making a file with such a mode is no way around it: writing to it takes the mode away (chmod(2)).
    """
    return _low(mode_argument) + _when(_JMP_JSET_K, _S_ISUID_ISGID, _refuse(errno.EPERM), _ALLOW)


def _check_personality() -> Code:
    """personality(unsigned int): ask for it (0xffffffff), or the ordinary one; none without address randomization."""
    return _low(0) + _when_one_of((0, 0xFFFFFFFF), _ALLOW, _refuse(errno.EPERM))


# linux/fcntl.h: being told when somebody opens a file (inotify's forerunner), or holding him up until the lease is given back
_FCNTL_REFUSED = (1024, 1026)  # F_SETLEASE, F_NOTIFY


def _check_fcntl() -> Code:
    """fcntl(unsigned int fd, unsigned int cmd, ...)"""
    return _low(1) + _when_one_of(_FCNTL_REFUSED, _refuse(errno.EPERM), _ALLOW)


# linux/prctl.h. Not here, and so refused: SET_SECCOMP, SET_MM, SET_SYSCALL_USER_DISPATCH, SCHED_CORE, SET_PTRACER,
# SET_CHILD_SUBREAPER (orphans are the warden's), SET_TSC, capabilities and securebits.
_PRCTLS = {
    "PR_SET_PDEATHSIG": 1,
    "PR_GET_PDEATHSIG": 2,
    "PR_GET_DUMPABLE": 3,
    "PR_SET_DUMPABLE": 4,
    "PR_SET_NAME": 15,
    "PR_GET_NAME": 16,
    "PR_GET_SECCOMP": 21,
    "PR_CAPBSET_READ": 23,
    "PR_SET_TIMERSLACK": 29,
    "PR_GET_TIMERSLACK": 30,
    "PR_GET_CHILD_SUBREAPER": 37,
    "PR_SET_NO_NEW_PRIVS": 38,
    "PR_GET_NO_NEW_PRIVS": 39,
    "PR_SET_THP_DISABLE": 41,
    "PR_GET_THP_DISABLE": 42,
    "PR_SVE_GET_VL": 51,
    "PR_SET_VMA": 0x53564D41,
    "PR_GET_AUXV": 0x41555856,
}


def _check_prctl() -> Code:
    """prctl(int option, ...)"""
    return _low(0) + _when_one_of(_PRCTLS.values(), _ALLOW, _refuse(errno.EPERM))


def _check_kill() -> Code:
    """kill(pid_t pid, int sig): anyone by number, but not all at once by -1, which would take the states of a session with it (session.py)."""
    return _low(0) + _when(_JMP_JEQ_K, 0xFFFFFFFF, _refuse(errno.EPERM), _ALLOW)


def _check_prlimit64() -> Code:
    """prlimit64(pid_t pid, resource, const struct rlimit64 *new, old): one's own limits, by pid 0, and nobody else's."""
    return _low(0) + _when(_JMP_JEQ_K, 0, _ALLOW, _refuse(errno.EPERM))


def _spare_the_warden(argument: int = 0) -> Code:
    """sched_setaffinity(pid_t pid, ...) and its kin: anyone in sight but process 1, whose id may be the program's own (an ordinary user has no other)."""
    return _low(argument) + _when(_JMP_JEQ_K, 1, _refuse(errno.EPERM), _ALLOW)


# linux/resource.h
_PRIO_PROCESS, _PRIO_USER = 0, 2


def _check_setpriority() -> Code:
    """setpriority(int which, id_t who, int priority): as above; not all of a user's processes at once, the warden among them."""
    others = _low(0) + _when(_JMP_JEQ_K, _PRIO_USER, _refuse(errno.EPERM), _ALLOW)
    return _low(0) + _when(_JMP_JEQ_K, _PRIO_PROCESS, _spare_the_warden(1), others)


def _checks(inet: bool, host_files: bool) -> dict[str, Callable[[], Code]]:
    checks: dict[str, Callable[[], Code]] = {
        "clone": _check_clone,
        "fcntl": _check_fcntl,
        "ioctl": _check_ioctl,
        "socket": lambda: _check_socket(inet, host_files),
        "socketpair": lambda: _check_socketpair(host_files),
        "setsockopt": _check_setsockopt,
        "mknod": lambda: _check_mknod(1),
        "mknodat": lambda: _check_mknod(2),
        "personality": _check_personality,
        "prctl": _check_prctl,
        "prlimit64": _check_prlimit64,
        "kill": _check_kill,
        "setpriority": _check_setpriority,
        **dict.fromkeys(("sched_setaffinity", "sched_setparam", "sched_setscheduler"), _spare_the_warden),
    }
    if host_files:
        checks.update({name: lambda mode=mode: _check_chmod(mode) for name, mode in _CHMODS.items()})
    return checks


CHECKED: frozenset[str] = frozenset(_checks(inet=True, host_files=False))
"""The calls of ALLOWED whose arguments are looked at."""


def build(machine: str, *, inet: bool, metadata: bool = True, host_files: bool = False, answers: dict[str, Code] | None = None) -> bytes:
    """Compile the filter: an array of struct sock_filter for install().

    machine: `x86_64` or `aarch64`, as uname -m says it. inet: TCP and UDP sockets may be made: only where a network
    namespace of its own leaves nothing to reach but itself. metadata: METADATA is allowed; refuse it (EPERM) where
    the program runs under an id that owns files of the host, for Landlock doesn't guard modes, owners and times. host_files: directories
    of the host are mounted: no Unix sockets but pairs, no set-uid and set-gid modes. answers: other answers to some calls, by name (shared.py).
    """
    allowed = ALLOWED if metadata else ALLOWED - METADATA
    checks = _checks(inet, host_files)
    missing = _refuse(errno.ENOSYS)
    others = answers or {}
    codes: dict[int, Code] = {}
    for name, number in syscalls.NUMBERS[machine].items():
        if name in others:
            codes[number] = others[name]
        elif name in checks and name in allowed:
            codes[number] = checks[name]()
        elif name in allowed:
            codes[number] = _ALLOW
        else:
            codes[number] = missing if name in ABSENT else _refuse(errno.EPERM)

    ranges: list[tuple[int, Code]] = []  # first number, answer; up to the next first number
    for number in range(max(codes) + 2):  # the last one stands for all above: unknown, or x32
        answer = codes.get(number, missing)
        if not ranges or ranges[-1][1] != answer:
            ranges.append((number, answer))

    native = [(_LD_W_ABS, 0, 0, _NR), *_search(ranges)]
    program = [(_LD_W_ABS, 0, 0, _ARCH), *_when(_JMP_JEQ_K, _AUDIT_ARCH[machine], native, missing)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def _search(ranges: list[tuple[int, Code]]) -> Code:
    if len(ranges) == 1:
        return ranges[0][1]
    middle = len(ranges) // 2
    return _when(_JMP_JGE_K, ranges[middle][0], _search(ranges[middle:]), _search(ranges[:middle]))


class _SockFprog(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


_OneSockFprog = _SockFprog * 1


def install(program: bytes) -> None:
    """Put a filter of build() on this process, all its threads and everything it will start, for good (seccomp(2)).

    no_new_privs must be set. Raises OSError, and then no thread has the filter.
    """
    fprog = _OneSockFprog((len(program) // 8, program))
    try:
        thread = kernel.syscall("seccomp", _SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC, fprog)
    except OSError as error:
        if error.errno == errno.EACCES:
            raise OSError(error.errno, "seccomp: no_new_privs must be set before a filter is installed") from None
        if error.errno in (errno.ENOSYS, errno.EINVAL):
            raise OSError(error.errno, f"seccomp: {probe() or 'the kernel refused the program as malformed'}") from None
        raise
    if thread != 0:
        raise OSError(errno.ESRCH, f"seccomp: thread {thread} has another filter, so that none was installed")


def probe() -> str:
    """Why no filter can be installed on this machine; empty when one can."""
    try:
        syscalls.machine()
    except OSError as error:
        return str(error.strerror)
    try:
        kernel.syscall("seccomp", _SECCOMP_GET_ACTION_AVAIL, 0, struct.pack("=I", _SECCOMP_RET_ERRNO))
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EINVAL):
            return "the kernel has no seccomp filters (CONFIG_SECCOMP_FILTER, Linux 4.14)"
        return str(error.strerror)
    return ""
