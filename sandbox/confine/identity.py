"""Who runs: user namespaces and the ids in them.

Theory of operation
-------------------
Two user namespaces, one in the other. The outer one is the zygote's and the wardens'. Run by root, its ids 0..65535 are mapped to
a block of host ids that no one uses, so that even its id 0 owns nothing on the host; run by an ordinary user, its id 0 is that
user, and there are no others. The inner one is the program's alone: one id, 1000, mapped to an outer id that is the
sandbox's own (as root) or the caller's. A program that became anything in its namespace would still be no one in the
warden's, whose mounts, processes and network namespace belong to the outer one.

The kernel counts RLIMIT_NPROC per user namespace (Linux 5.14), so the inner one also makes that limit the sandbox's own.
"""

from __future__ import annotations

import errno
import os

from . import kernel
from .kernel import CLONE_NEWUSER

#: Ids in the outer namespace when root made it.
BLOCK_SIZE = 65536
#: First host id of the first block: above every range that distributions and systemd assign (systemd's
#: UIDS-GIDS.md: containers end at 1879048191), below 2^31.
_FIRST_BLOCK = 1_900_000_000
_BLOCKS = 1500
#: The id a program sees itself as.
PROGRAM_ID = 1000


#: Where this user namespace has no such block (rootless containers): the end of what it has, but for the last ids, which are `nobody`'s and its kin's.
_SPARED_IDS = 256
_FEWEST_IDS = 512

#: What root needs to give each run an id of its own, and to end what runs under it.
OWN_ID_CAPABILITIES = ("CAP_SETUID", "CAP_SETGID", "CAP_CHOWN", "CAP_KILL")


def host_block(seed: int) -> int:
    """First host id of a block of unused ids; different servers (``seed``: a process id) get different ones mostly."""
    return _FIRST_BLOCK + (seed % _BLOCKS) * BLOCK_SIZE


def map_block(pid: int, first_host_id: int) -> None:
    """From the parent namespace, as root: map ids 0..65535 of process ``pid``'s new user namespace."""
    for name in ("uid_map", "gid_map"):
        _write(f"/proc/{pid}/{name}", f"0 {first_host_id} {BLOCK_SIZE}\n")


def unused_ids(seed: int) -> tuple[int, int]:
    """(first, number) of ids of this user namespace that nobody uses, for runs without a namespace of their own. Raises OSError when there are none."""
    first, count = host_block(seed), BLOCK_SIZE - 2
    ends: list[int] = []
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/self/{name}", encoding="ascii") as file:
            ranges = [(int(line.split()[0]), int(line.split()[2])) for line in file]
        if not any(start <= first and first + count < start + size for start, size in ranges):
            ends.append(max((start + size for start, size in ranges if size >= _FEWEST_IDS * 2), default=0))
    if not ends:
        return first + 1, count
    last = min(ends) - _SPARED_IDS
    if last < _FEWEST_IDS:
        raise OSError(errno.EINVAL, "this user namespace has no ids that are not in use: each run needs one of its own")
    return last - _FEWEST_IDS, _FEWEST_IDS


def map_self(proc: int, inner: int, outer_uid: int, outer_gid: int) -> None:
    """From inside a new user namespace: be ``inner`` there, and no one else.

    ``proc``: a descriptor of a /proc that may be written to. setgroups(2) is given up, as the kernel wants (user_namespaces(7)).
    """
    _write("self/setgroups", "deny", proc)
    _write("self/uid_map", f"{inner} {outer_uid} 1\n", proc)
    _write("self/gid_map", f"{inner} {outer_gid} 1\n", proc)


def become(identity: int) -> None:
    """Take ``identity`` for good, as user and as group, with no other groups."""
    os.setgroups([])
    os.setresgid(identity, identity, identity)
    os.setresuid(identity, identity, identity)


def take_files_back() -> None:
    """Undo ``take_files_of``: be to the file system who we are."""
    kernel.syscall("setfsgid", os.getegid())
    kernel.syscall("setfsuid", os.geteuid())


def enter_program_namespace(proc: int, outer_uid: int) -> None:
    """Become the program: in a user namespace of its own, in which no further one can be made.

    ``outer_uid``: the id in the warden's namespace to run as; 0 means to stay who we are (an ordinary user's sandbox).
    """
    if outer_uid != 0:
        become(outer_uid)
    uid, gid = os.getuid(), os.getgid()
    kernel.unshare(CLONE_NEWUSER)
    # A change of credentials makes a process undumpable (prctl(2)), and what it has in /proc root's: it could not map itself.
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
    map_self(proc, PROGRAM_ID, uid, gid)
    # A second lock on nested namespaces besides seccomp; the limit is this namespace's own (namespaces(7), /proc/sys/user).
    _write("sys/user/max_user_namespaces", "0", proc)


def volunteer_for_oom_kill(proc: int) -> None:
    """Let the kernel's out-of-memory killer choose the program before anything of ours (proc(5), oom_score_adj)."""
    _write("self/oom_score_adj", "1000", proc)


def take_files_of(owner: int) -> None:
    """From here on be ``owner`` to the file system, and only to it (setfsuid(2)).

    Takes the effective capabilities for files away with it, and gives them back with 0 (capabilities(7)). Raises OSError where the kernel did not do it: the
    calls themselves never fail.
    """
    for name in ("setfsgid", "setfsuid"):
        kernel.syscall(name, owner)
        if kernel.syscall(name, owner) != owner:
            raise kernel.failure(name, errno.EPERM, str(owner))


def processes_of_user() -> int:
    """How many processes and threads the user has who runs this, as far as /proc shows them: RLIMIT_NPROC counts them all."""
    own = f"\nUid:\t{os.getuid()}\t".encode()
    count = 0
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            # Not by the owner of its directory, which is root's for those that may not be looked into, as wardens (proc(5)).
            with open(f"/proc/{name}/status", "rb", buffering=0) as file:
                status = file.read(8192)
        except OSError:
            continue  # it ended
        if own in status:
            count += int(status.partition(b"\nThreads:\t")[2].split(b"\n")[0])
    return count


def _write(path: str, text: str, proc: int | None = None) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
