"""The zygote: one Python that has already started, and forks a warden for every connection.

Theory of operation
-------------------
Started by Node with a clean environment, it reads its settings from stdin and listens on the path it is told, while it can still see it.
Then it goes in: new namespaces, its own file tree, no host any more. As process 1 of a process namespace it takes every sandbox with it when it
ends, however it ends; it ends when its stdin does. Only inside are packages imported that are to be preloaded.

    launcher   outside; waits for the zygote, passes on its exit status. As root it maps the ids.
    zygote     process 1 of the outer namespaces; listens, forks wardens
    warden     process 1 of a sandbox's own process namespace (warden.py)
    program    in a user namespace of its own, confined (program.py)
    keeper     has its memory in common with the program, and sleeps (keeper.py)

That is tier `strict`. In the others (PROTOCOL.md, 1) there are no namespaces, and the first four are an ordinary tree of processes, in which each
guards those below it (processes.py, open_tier.py).

Everything forked from here is forked while this process has nothing to do with any job: no job's data is ever in it.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys

# The far side's own modules lie next to this file, where -I keeps Python from looking. All are imported here: later they are out of sight.
_HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, _HERE)

import make  # noqa: E402
import open_tier  # noqa: E402
import processes  # noqa: E402
import program  # noqa: E402
import rehearsal  # noqa: E402
import scratch  # noqa: E402
import warden  # noqa: E402
import workspace  # noqa: E402
from confine import cgroup, identity, kernel, layers, mounts, tree  # noqa: E402
from confine.kernel import CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER, CLONE_NEWUTS, MS_PRIVATE, MS_REC  # noqa: E402

sys.path.remove(_HERE)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, TypedDict

    class Config(TypedDict):
        """The first line from Node (PROTOCOL.md, 1)."""

        directory: str
        disk_mb: int
        disk_inodes: int
        mounts: list[mounts.Wanted]
        tier: str
        without: list[str]
        preload: list[str]


#: Where stdin and stdout are kept while this process serves: no package that is imported here may read or print into the talk with Node.
_FROM_NODE = 8
_TO_NODE = 9
_FAILED_STATUS = 3
#: As root, what programs run as where directories of the host are mapped to one id.
_ONLY_ID = 1
#: More than calls that can run at once (sandbox.max_running).
_BACKLOG = 4096


#: Namespaces that the zygote enters besides those of users, mounts and processes.
_OTHERS = ((layers.NETWORK_NAMESPACE, CLONE_NEWNET), (layers.IPC_NAMESPACE, CLONE_NEWIPC), (layers.UTS_NAMESPACE, CLONE_NEWUTS))
#: With these a sandbox needs no one to end it, nor to clear away after it.
_SELF_ENDING = frozenset((layers.PID_NAMESPACE, layers.FILE_TREE))


def main() -> NoReturn:
    """Read the settings, enter the namespaces, serve until stdin ends."""
    os.dup2(0, _FROM_NODE, inheritable=False)
    os.dup2(1, _TO_NODE, inheritable=False)
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    _forget_ignored_signals()
    config: Config = json.loads(_read_line())
    layer = "workspace"
    place = None
    try:
        place = workspace.Workspace(config["directory"])
        layer = "zygote"
        has = layers.of(config["tier"], config["without"])
        isolated = config["tier"] == layers.STRICT
        # As root: connecting needs write permission on the socket, which is root's; nothing else of ours stays behind.
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        listener.bind(place.socket)
        listener.listen(_BACKLOG)
        what = tree.plan(mounts.read(config["mounts"]))
        as_root = os.geteuid() == 0
        ids = (1, identity.BLOCK_SIZE - 2) if as_root else (0, 1)
        # A mount knows one id.
        ids = (_ONLY_ID, 1) if as_root and what.mounts else ids
        cgroups = _open_cgroups(as_root) if has >= _SELF_ENDING else None
        on_interrupt = kernel.DEFAULT
        layer = "namespaces"
        if isolated:
            _enter(place, what, as_root, has, cgroups)
            # Process 1 of a namespace gets no signal it has no handler for: Python's for SIGINT would be one.
            on_interrupt = kernel.handle_signal(signal.SIGINT, kernel.DEFAULT)
            kernel.handle_signal(signal.SIGCHLD, kernel.IGNORE)  # wardens are reaped by the kernel
        else:
            layer = "identity"
            ids = open_tier.enter(place, what, config["tier"])
        layer = "file tree"
        if layers.FILE_TREE not in has:
            scratch.make(place.root, 0)  # for packages that write at import
        tree_settings = make.Settings(
            disk_bytes=config["disk_mb"] << 20,
            disk_inodes=config["disk_inodes"],
            what=what,
            has=has,
            isolated=isolated,
            own_id=ids[0] != 0,
            root=place.root,
            cgroups=None if cgroups is None else cgroups.descriptor,
            on_interrupt=on_interrupt,
        )
        if not isolated:
            layer = "landlock"
            open_tier.confine_zygote(place.root, what, has)
        layer = "interpreter"
        _start_site()
        program.set_scene(_environment(), own_places=not tree.relocated())
    except Exception as error:
        if place is not None:
            place.remove()
        _fail(layer, error)
    failed = _preload(config["preload"])
    program.make_streams()
    rehearsal.rehearse()
    gc.collect()
    gc.disable()
    gc.freeze()  # keeps the collector from touching, and so copying, pages that all sandboxes share
    _say({"event": "ready", "preload_failed": failed})
    _serve(listener, tree_settings, ids)


def _open_cgroups(as_root: bool) -> cgroup.Subtree | None:
    """Where the sandboxes' cgroups are made; None where there are none to be had."""
    try:
        return cgroup.open_subtree(os.getppid(), identity.host_block(os.getpid()) if as_root else None)
    except cgroup.Unavailable:
        return None  # known from the probe, and told there
    except OSError as error:
        print(f"cordon: no cgroup for the sandboxes: {error}", file=sys.stderr)
        return None


def _enter(place: workspace.Workspace, what: tree.Plan, as_root: bool, has: frozenset[str], cgroups: cgroup.Subtree | None) -> None:
    """Leave the host. Returns in process 1 of the new namespaces only; the launcher never returns.

    An ordinary user gets the right to make namespaces from a user namespace, entered first. Root has it already, builds the tree as root
    (the interpreter may lie where only root may look), and then gives up being root.
    """
    caller_uid, caller_gid = os.getuid(), os.getgid()
    own_pids = CLONE_NEWPID if layers.PID_NAMESPACE in has else 0
    others = sum(flag for layer, flag in _OTHERS if layer in has)
    kernel.unshare(own_pids | (0 if as_root else CLONE_NEWUSER))
    if not as_root:
        proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        identity.map_self(proc, 0, caller_uid, caller_gid)
        os.close(proc)
    asks, answers = os.pipe(), os.pipe()
    launcher = os.getpid()
    if not own_pids:
        processes.adopt_orphans()
    pid = os.fork()
    if pid != 0:
        os.close(asks[1])
        os.close(answers[0])
        _be_launcher(pid, asks[0], answers[1], place, guards=not has >= _SELF_ENDING, cgroups=cgroups)
    if has >= _SELF_ENDING:
        place.let_go()
    os.close(asks[0])
    os.close(answers[1])
    if cgroups is not None:
        cgroups.enter()
    kernel.unshare(CLONE_NEWNS)
    if layers.FILE_TREE in has:
        tree.build(place.root, what, identity.host_block(launcher) + _ONLY_ID if as_root else None, own_proc=own_pids != 0)
    else:
        kernel.mount(None, "/", None, MS_REC | MS_PRIVATE, None)
    if as_root:
        # Another process namespace, because this one belongs to root's user namespace: the new one could not come back to it (setns(2)).
        kernel.unshare(CLONE_NEWUSER | CLONE_NEWNS | others | own_pids)
        os.write(asks[1], b"m")
        if os.read(answers[0], 1) != b"m":
            raise OSError("the launcher could not map the ids of the new user namespace")
        identity.become(0)
        pid = os.fork() if own_pids else 0
        if pid != 0:
            _wait_for(pid)
    elif others:
        kernel.unshare(others)
    os.close(asks[1])
    os.close(answers[0])
    if layers.UTS_NAMESPACE in has:
        socket.sethostname("sandbox")  # theirs begin as copies of this one
    if layers.CAPABILITIES in has:
        kernel.empty_bounding_set()
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)


def _be_launcher(zygote: int, asked: int, answer: int, place: workspace.Workspace, guards: bool, cgroups: cgroup.Subtree | None) -> NoReturn:
    """Stay outside: map the ids when asked to, wait for the zygote, end with its status, and leave nothing.

    ``guards``: whether sandboxes leave something behind that does not end with the zygote.
    """

    # There is something to do after the zygote's end, also when it is Node's that comes first.
    def end_zygote(*_: object) -> None:
        processes.tell(zygote, signal.SIGKILL)

    signal.signal(signal.SIGTERM, end_zygote)
    processes.be_told_of_parents_end()
    if os.read(asked, 1) == b"m":
        first = identity.host_block(os.getpid())
        if guards:
            for passed in (place.root, place.path):
                os.chmod(passed, open_tier.PASSABLE)
            os.chown(place.root, first, first)
        identity.map_block(zygote, first)
        os.write(answer, b"m")
    if guards:
        open_tier.guard(zygote, place)
    status = _end_of(zygote)
    if cgroups is not None:
        cgroups.close()
    place.remove()
    os._exit(status)


def _wait_for(pid: int) -> NoReturn:
    """Live as long as ``pid``, and end as it did."""
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    os._exit(_end_of(pid))


def _end_of(pid: int) -> int:
    """Wait until ``pid`` has ended, and bury others meanwhile. Returns its status, as a shell would tell it."""
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == pid:
            break
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # its number may be anyone's by now
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def _serve(listener: socket.socket, settings: make.Settings, ids: tuple[int, int]) -> NoReturn:
    """A warden for every connection, until stdin ends. ``ids``: the first of those that the programs run as, and how many there are."""
    own_pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC) if settings.own_processes else -1
    wards = None if settings.own_processes else open_tier.Wards(settings.root)
    first, number = ids
    made = 0
    poll = select.poll()
    poll.register(_FROM_NODE, select.POLLIN)
    poll.register(listener, select.POLLIN)
    if wards is not None:
        poll.register(wards.ended, select.POLLIN)
    commands = b""
    while True:
        for fd, _ in poll.poll():
            if fd == _FROM_NODE:
                piece = os.read(_FROM_NODE, 4096)
                if not piece:
                    if wards is not None:
                        wards.end_all()
                    os._exit(0)  # and with process 1 every sandbox
                commands += piece
                while b"\n" in commands:
                    line, commands = commands.split(b"\n", 1)
                    _obey(line, wards)
                continue
            if wards is not None and fd == wards.ended:
                wards.bury()
                continue
            connection, _ = listener.accept()
            if settings.cgroups is not None:
                cgroup.sweep_sandboxes(settings.cgroups)
            # As root each sandbox has another id; used again only after all others.
            pid = _fork_warden(connection, first + made % number, settings, own_pid_namespace, listener.fileno())
            made += 1
            if wards is not None:
                wards.pids.add(pid)


def _fork_warden(connection: socket.socket, outer_uid: int, settings: make.Settings, own: int, listener: int) -> int:
    # Only the next child enters the new process namespace; this process stays (unshare(2)), and wants its own back for
    # the child after that (setns(2)).
    if settings.own_processes:
        kernel.unshare(CLONE_NEWPID)
    tell, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        for fd in (listener, own, _FROM_NODE, _TO_NODE):
            if fd >= 0:
                os.close(fd)
        seen_as = int.from_bytes(os.read(tell, 4), "big")
        os.close(tell)
        os.close(told)
        warden.main(connection, seen_as, outer_uid, settings)
    os.write(told, pid.to_bytes(4, "big"))
    os.close(tell)
    os.close(told)
    if settings.own_processes:
        kernel.setns(own, CLONE_NEWPID)
    connection.close()
    return pid


def _obey(line: bytes, wards: open_tier.Wards | None) -> None:
    pid = int(json.loads(line)["kill"])
    if wards is not None and pid not in wards.pids:
        return  # it was quicker, and the number may be anyone's by now
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it was quicker


def _forget_ignored_signals() -> None:
    """What is ignored stays so over fork and exec (signal(7)): a run must not show that the server was started by nohup, say."""
    for number in signal.valid_signals():
        # The two that Python itself ignores, as every Python does.
        if signal.getsignal(number) is signal.SIG_IGN and number not in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)


def _start_site() -> None:
    """What -S put off: site-packages and their .pth files, which may run code, so only in here."""
    import site

    site.main()


def _preload(modules: list[str]) -> dict[str, str]:
    """Import ``modules``; returns those that failed, with the reason. Each is announced: Node kills a zygote whose import hangs."""
    failed: dict[str, str] = {}
    for name in modules:
        _say({"event": "importing", "module": name})
        try:
            importlib.import_module(name)
        except BaseException as error:
            failed[name] = f"{type(error).__name__}: {error}"
    return failed


def _environment() -> dict[str, str]:
    """The whole environment of a program. Nothing of the server's is in it."""
    binaries = [os.path.join(prefix, "bin") for prefix in tree.prefixes()]
    path = ":".join(dict.fromkeys([*binaries, "/usr/local/bin", "/usr/bin", "/bin"]))
    return {
        "PATH": path,
        "HOME": tree.TEMPORARY,
        "USER": "sandbox",
        "LOGNAME": "sandbox",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "MPLCONFIGDIR": f"{tree.TEMPORARY}/.matplotlib",
        "MPLBACKEND": "Agg",
        **({"TMPDIR": tree.TEMPORARY} if tree.relocated() else {}),
        **{name: value for name, value in os.environ.items() if name.endswith("_NUM_THREADS")},
    }


def _read_line() -> bytes:
    """One line from stdin, and not a byte more: what follows is for later."""
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(_FROM_NODE, 1)
        if not piece:
            os._exit(0)
        line += piece
    return line


def _say(event: dict[str, object]) -> None:
    os.write(_TO_NODE, json.dumps(event).encode() + b"\n")


def _fail(layer: str, error: Exception) -> NoReturn:
    _say({"event": "failed", "layer": layer, "message": f"{type(error).__name__}: {error}"})
    os._exit(_FAILED_STATUS)


if __name__ == "__main__":
    main()
