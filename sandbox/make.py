"""Making one sandbox: from a process that the zygote has just forked to a confined program that waits for its job.

Runs in the warden, before there is a job. What is made here is made once and never changed; a sandbox that can't be made whole is not made.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys

import execute
import program
import sockets
from confine import cgroup, identity, kernel, mounts, seccomp, syscalls, tree
from confine.kernel import CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUTS

# ioctl(2) requests and flags to bring up an interface: linux/sockios.h, linux/if.h
_SIOCSIFFLAGS = 0x8914
_IFF_UP_RUNNING = 0x41


class Settings:
    """What the zygote knows once and every sandbox needs."""

    def __init__(self, disk_bytes: int, disk_inodes: int, what: tree.Plan, cgroups: int | None) -> None:
        self.disk_bytes = disk_bytes
        self.disk_inodes = disk_inodes
        self.readable = what.bound
        self.mounted = mounts.rules(what.mounts)
        self.covered = what.covered()
        #: A descriptor of the directory that the sandboxes' cgroups are made in, where there is one.
        self.cgroups = cgroups
        self.private_proc = tree.private_proc_names()
        self.filter_program = seccomp.build(syscalls.machine(), inet=True, host_files=bool(what.mounts))


class Unmade(Exception):
    """The sandbox could not be made. ``layer`` says what failed."""

    def __init__(self, layer: str, message: str) -> None:
        super().__init__(message)
        self.layer = layer


class Child:
    """The program's first process, and our ends of its pipes."""

    def __init__(self, pid: int, stdin: int, stdout: int, stderr: int, job: int, word: int) -> None:
        self.pid = pid
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.job = job
        self.word = word


def make(outer_uid: int, settings: Settings, group: cgroup.Group | None) -> Child:
    """Make the sandbox around this process, which becomes its warden, and the program in it, in ``group``. Raises Unmade."""
    layer = "namespaces"
    try:
        kernel.unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)
        socket.sethostname("sandbox")
        _bring_up_loopback()
        layer = "mount tree"
        proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        sockets.shrink_tcp(proc)
        tree.complete(settings.disk_bytes, settings.disk_inodes, outer_uid, settings.private_proc, settings.covered)
    except OSError as error:
        raise Unmade(layer, str(error)) from error
    child = _fork_program(proc, outer_uid, settings, group)
    os.close(proc)
    # Whatever is imported from here on would come from where the program writes: nothing is.
    sys.path.clear()
    try:
        # What is put into the working directory is the program's, and what lies there is looked at as the program (setfsuid(2)).
        identity.take_files_of(outer_uid)
        # What is left to do needs these: killing the program, reading its use of memory, and what it closed to itself.
        kernel.keep_capabilities(("CAP_KILL", "CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"))
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    except OSError as error:
        raise Unmade("capabilities", str(error)) from error
    confined = os.read(child.word, 4096)
    if confined != b"+\n":
        try:
            failed = json.loads(confined[1:])
            raise Unmade(str(failed["layer"]), str(failed["message"]))
        except (ValueError, KeyError, TypeError):
            raise Unmade("program", f"it ended before it was confined (it said {confined!r})") from None
    return child


def _bring_up_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        request = b"lo".ljust(16, b"\0") + _IFF_UP_RUNNING.to_bytes(2, "little") + bytes(22)
        kernel.syscall("ioctl", control.fileno(), _SIOCSIFFLAGS, request)


def _enter_cgroup(group: cgroup.Group | None) -> None:
    """In the program's process: into its cgroup, which is the only one that it sees from then on."""
    try:
        if group is not None:
            group.enter()
        kernel.unshare(CLONE_NEWCGROUP)
    except OSError as error:
        raise program.LayerFailed("cgroup", error) from error


def _fork_program(proc: int, outer_uid: int, settings: Settings, group: cgroup.Group | None) -> Child:
    stdin, stdout, stderr, word = (os.pipe() for _ in range(4))
    # A socket, because descriptors can be sent over it: in a session each step gets pipes of its own (session.py).
    job = tuple(end.detach() for end in socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM))
    pid = os.fork()
    if pid == 0:
        try:
            # To above the five first, so that none is overwritten before it is moved; the rest is closed in one go later.
            high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (stdin[0], stdout[1], stderr[1], job[0], word[1], proc)]
            held = high.pop()
            for place, fd in enumerate(high):
                os.dup2(fd, place, inheritable=place < 3)
            try:
                _enter_cgroup(group)
                program.confine(held, outer_uid, settings.readable, settings.mounted, settings.filter_program)
                program.prepare()
            except program.LayerFailed as error:
                os.write(execute.WORD_FD, b"!" + json.dumps({"layer": error.layer, "message": str(error)}).encode())
                os._exit(program.NOT_CONFINED_STATUS)
            os.write(execute.WORD_FD, b"+\n")
            program.main()
        finally:
            os._exit(program.NOT_CONFINED_STATUS)
    for theirs in (stdin[0], stdout[1], stderr[1], job[0], word[1]):
        os.close(theirs)
    return Child(pid, stdin[1], stdout[0], stderr[0], job[1], word[0])
