"""Making one sandbox: from a process that the zygote has just forked to a confined program that waits for its job.

Runs in the warden, before there is a job. What is made here is made once and never changed; a sandbox that can't be made whole is not made.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import sys

import execute
import keeper
import processes
import program
import scratch
import sockets
from confine import cgroup, identity, kernel, landlock, layers, mounts, seccomp, shared, syscalls, tree
from confine.kernel import CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUTS

# linux/socket.h, linux/net.h, asm-generic/fcntl.h
_AF_UNIX, _AF_INET = 1, 2
_SOCK_STREAM, _SOCK_DGRAM, _SOCK_CLOEXEC = 1, 2, 0o2000000
#: ioctl(2) to bring up an interface, and struct ifreq with its flags IFF_UP and IFF_RUNNING: linux/sockios.h, linux/if.h
_SIOCSIFFLAGS = 0x8914
_LOOPBACK_UP = b"lo".ljust(16, b"\0") + (0x41).to_bytes(2, sys.byteorder) + bytes(22)
_TwoInts = ctypes.c_int * 2


#: The namespaces a warden makes for its sandbox, by layer; the one of processes it was born into, that of users is the program's own.
_NAMESPACES = (
    (layers.NETWORK_NAMESPACE, CLONE_NEWNET),
    (layers.IPC_NAMESPACE, CLONE_NEWIPC),
    (layers.UTS_NAMESPACE, CLONE_NEWUTS),
)


class Settings:
    """What the zygote knows once and every sandbox needs.

    ``has``: its layers. ``isolated``: whether the tier has namespaces. ``own_id``: whether each run has a user id that nobody else has.
    ``root``: where directories are made for sandboxes without a file system of their own.
    ``on_interrupt``: what the kernel is to do on SIGINT in a program (kernel.handle_signal), where there are namespaces.
    """

    def __init__(
        self,
        disk_bytes: int,
        disk_inodes: int,
        what: tree.Plan,
        has: frozenset[str],
        isolated: bool,
        own_id: bool,
        root: str,
        cgroups: int | None,
        on_interrupt: int,
    ) -> None:
        self.disk_bytes = disk_bytes
        self.disk_inodes = disk_inodes
        self.layers = has
        self.isolated = isolated
        self.root = root
        self.on_interrupt = on_interrupt
        self.zygote = os.getpid()
        self.namespaces = CLONE_NEWNS if isolated else 0
        for layer, flag in _NAMESPACES:
            self.namespaces |= flag if layer in has else 0
        self.own_processes = layers.PID_NAMESPACE in has
        #: Landlock's rules for what is the same in every sandbox.
        self.landlock_rules = landlock.look_up(_shared_rules(what, isolated)) if layers.LANDLOCK in has else []
        #: What a program may read of itself; whose inodes each finds anew.
        self.of_itself = ["/proc"] if isolated else shared.readable_of_itself()
        self.covered = what.covered()
        #: A descriptor of the directory that the sandboxes' cgroups are made in, where there is one.
        self.cgroups = cgroups
        self.proc_masks = tree.proc_masks() if layers.PROC_MASKS in has else []
        self.filter_program = b""
        if layers.SECCOMP in has:
            self.filter_program = (
                seccomp.build(syscalls.machine(), inet=True, host_files=bool(what.mounts)) if isolated else shared.filter_program(own_id, landlock.abi())
            )


def _shared_rules(what: tree.Plan, isolated: bool) -> list[tuple[str, int]]:
    rules = [(path, landlock.READ | landlock.EXECUTE) for path in what.bound]
    rules += [(path, landlock.READ) for path in (("/etc", "/dev") if isolated else shared.readable_of_all())]
    rules += [(f"/dev/{name}", landlock.READ | landlock.WRITE) for name in tree.DEVICES]
    return rules + mounts.rules(what.mounts)


class Unmade(Exception):
    """The sandbox could not be made. ``layer`` says what failed."""

    def __init__(self, layer: str, message: str) -> None:
        super().__init__(message)
        self.layer = layer


class Child:
    """The program's first process, and our ends of its pipes."""

    #: How all processes of the sandbox are found and killed.
    reach: processes.Namespace | processes.Descendants = processes.Namespace()
    #: What is on the disk, where the sandbox has no file system of its own.
    watch: scratch.Watch | None = None
    #: Whether its sockets can be told from others.
    own_network = True
    #: Whether the kernel counts its processes apart from all others.
    own_count = True
    #: Who has its memory in common with it.
    keeper = keeper.Keeper(0)

    def __init__(self, pid: int, stdin: int, stdout: int, stderr: int, job: int, word: int) -> None:
        self.pid = pid
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.job = job
        self.word = word


def make(outer_uid: int, settings: Settings, group: cgroup.Group | None) -> Child:
    """Make the sandbox around this process, which becomes its warden, and the program in it, in ``group``. Raises Unmade."""
    has = settings.layers
    watch = None
    layer = "namespaces"
    try:
        if settings.namespaces:
            kernel.unshare(settings.namespaces)
        if layers.NETWORK_NAMESPACE in has:
            _bring_up_loopback()
        layer = "mount tree"
        proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        if layers.NETWORK_NAMESPACE in has:
            sockets.shrink_tcp(proc)
        if layers.FILE_TREE in has:
            tree.complete(settings.disk_bytes, settings.disk_inodes, outer_uid, settings.proc_masks, settings.covered, settings.own_processes)
        else:
            if settings.own_processes:
                tree.mount_proc("/proc", own_proc=True)
            layer = "directory"
            watch = scratch.Watch(scratch.make(settings.root, outer_uid), settings.disk_bytes, settings.disk_inodes)
    except OSError as error:
        raise Unmade(layer, str(error)) from error
    child = _fork_program(proc, outer_uid, settings, group)
    os.close(proc)
    # Whatever is imported from here on would come from where the program writes: nothing is.
    sys.path.clear()
    child.watch = watch
    child.own_network = layers.NETWORK_NAMESPACE in has
    child.own_count = settings.isolated or outer_uid != 0 or (group is not None and group.counts_processes)
    if not settings.own_processes:
        child.reach = processes.Descendants(0 if settings.isolated else outer_uid)
    try:
        # What is put into the working directory is the program's, and what lies there is looked at as the program (setfsuid(2)).
        if outer_uid != 0:
            identity.take_files_of(outer_uid)
            if not settings.own_processes:
                processes.be_told_of_parents_end()  # changing one's ids has taken it back (prctl(2))
        kernel.keep_capabilities(_kept(outer_uid, settings))
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    except OSError as error:
        raise Unmade("capabilities", str(error)) from error
    confined = os.read(child.word, 4096)
    if not confined.startswith(b"+"):
        try:
            failed = json.loads(confined[1:])
            raise Unmade(str(failed["layer"]), str(failed["message"]))
        except (ValueError, KeyError, TypeError):
            raise Unmade("program", f"it ended before it was confined (it said {confined!r})") from None
    child.keeper = keeper.Keeper(int(confined))
    return child


def _kept(outer_uid: int, settings: Settings) -> list[str]:
    """The capabilities for what is left to do."""
    # Killing the program, reading its use of memory, and directories that it closed to itself.
    kept = ["CAP_KILL", "CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"] if settings.isolated else []
    if outer_uid != 0 and not settings.isolated:
        kept.append("CAP_KILL")
    if outer_uid != 0 and layers.FILE_TREE not in settings.layers:
        kept += ["CAP_SETUID", "CAP_SETGID"]  # to touch what it left with its own rights only (scratch.py), and to kill as it does (processes.py)
    return kept


def clear_away(settings: Settings) -> None:
    """The sandbox's end, where it does not come by itself with this process: nothing of it runs any more, nothing of it lies on the disk."""
    if not settings.own_processes:
        processes.end_all_below()
    if layers.FILE_TREE not in settings.layers and tree.relocated():
        if settings.own_processes:
            processes.Namespace().kill()
        if os.geteuid() == 0:
            identity.take_files_of(0)
        scratch.remove(os.path.dirname(tree.WORK))


def _bring_up_loopback() -> None:
    control = kernel.syscall("socket", _AF_INET, _SOCK_DGRAM | _SOCK_CLOEXEC, 0)
    try:
        kernel.syscall("ioctl", control, _SIOCSIFFLAGS, _LOOPBACK_UP)
    finally:
        os.close(control)


def _enter_cgroup(group: cgroup.Group | None, isolated: bool) -> None:
    """In the program's process: into its cgroup, which is the only one that it sees from then on."""
    try:
        if group is not None:
            group.enter()
        if isolated:
            kernel.unshare(CLONE_NEWCGROUP)
    except OSError as error:
        raise program.LayerFailed("cgroup", error) from error


def _fork_program(proc: int, outer_uid: int, settings: Settings, group: cgroup.Group | None) -> Child:
    stdin, stdout, stderr, word = (os.pipe() for _ in range(4))
    # A socket, because descriptors can be sent over it: in a session each step gets pipes of its own (session.py).
    job = _TwoInts()
    kernel.syscall("socketpair", _AF_UNIX, _SOCK_STREAM | _SOCK_CLOEXEC, 0, job)
    pid = os.fork()
    if pid == 0:
        try:
            # To above the five first, so that none is overwritten before it is moved; the rest is closed in one go later.
            high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (stdin[0], stdout[1], stderr[1], job[0], word[1], proc)]
            held = high.pop()
            for place, fd in enumerate(high):
                os.dup2(fd, place, inheritable=place < 3)
            try:
                _enter_cgroup(group, settings.isolated)
                program.confine(held, outer_uid, settings)
                program.prepare(settings)
            except program.LayerFailed as error:
                os.write(execute.WORD_FD, b"!" + json.dumps({"layer": error.layer, "message": str(error)}).encode())
                os._exit(program.NOT_CONFINED_STATUS)
            os.write(execute.WORD_FD, b"+%d\n" % (keeper.make() if settings.own_processes else 0))
            program.main()
        finally:
            os._exit(program.NOT_CONFINED_STATUS)
    for theirs in (stdin[0], stdout[1], stderr[1], job[0], word[1]):
        os.close(theirs)
    return Child(pid, stdin[1], stdout[0], stderr[0], job[1], word[0])
