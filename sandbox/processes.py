"""The processes of a sandbox, all of them, as its warden finds and kills them.

Theory of operation
-------------------
In a process namespace of its own (``Namespace``) that is simple: whatever has a number there is the program's, and kill(-1) reaches it in one step.

Without one (``Descendants``) a sandbox is whatever descends from its warden. Nothing can get out of that: the warden is a subreaper (prctl(2),
PR_SET_CHILD_SUBREAPER), so that a process whose parent is gone becomes its child; programs may not become one, nor pass CLONE_PARENT, both refused by seccomp.
While the warden has a child at all there is something left, and waitpid(2) knows: a walk that misses somebody makes the killing longer,
never incomplete.

    as root           every run has a host id of its own; a short-lived child of the warden takes it and calls kill(-1), which the kernel
                      does in one step that no fork can slip through
    as ordinary user  the tree is stopped, from the warden down, until a walk finds nobody who still runs; then it is killed

Each guards those below it. The warden's end makes its processes the zygote's, the zygote's end makes them the launcher's; both kill what
they inherit. And each is told when the one above it ends, and then ends all below: any two of them can be killed and nothing survives. If all three are
killed at once, the program's first process ends with its warden, and what it started may stay: the next start finds it by what no process can take off
again (``end_orphans``). A warden is told to end, and only what it does not end is stopped and killed: who is stopped, and loses who
stopped it, hears nothing any more.
"""

from __future__ import annotations

import os
import select
import signal
import time

from confine import identity, kernel

#: Limits that every program has (confine/limits.py), nothing else of a user has all at 0, and no one can raise: as /proc/PID/limits names them.
_SIGNS = ("Max core file size", "Max locked memory", "Max msgqueue size", "Max nice priority", "Max realtime priority")
#: What wardens, zygotes and launchers run, by /proc/PID/cmdline.
_GUARDS_RUN = b"zygote.py"
#: How often a stopping walk is repeated before what was found is killed, stopped or not; each round is a millisecond at least.
_STOP_ROUNDS = 50
_ROUND_SECONDS = 0.001


class Namespace:
    """Everything in this process namespace, of which we are process 1."""

    #: Whether ``kill`` may have to be repeated.
    again = False

    def pids(self) -> list[str]:
        return [name for name in os.listdir("/proc") if name.isdigit() and name != "1"]

    def kill(self) -> None:
        os.kill(-1, signal.SIGKILL)


class Descendants:
    """Everything below this process, which is a subreaper. ``uid``: the host id that only they have; 0 where it is the caller's."""

    again = True

    def __init__(self, uid: int) -> None:
        self._uid = uid

    def pids(self) -> list[str]:
        return [str(pid) for pid in below(os.getpid())]

    def kill(self) -> None:
        if self._uid != 0:
            kill_user(self._uid)
        kill_tree(os.getpid())  # after the other it finds nobody, but does not depend on it


def adopt_orphans() -> None:
    """Become the parent of every process below whose own parent ends."""
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)


def be_told_of_parents_end() -> None:
    """Get SIGTERM when the parent ends; it may have ended before."""
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGTERM)


def below(pid: int, spared: frozenset[int] = frozenset()) -> list[int]:
    """What descends from ``pid``, parents first; without ``spared`` and those below them. Zombies are among them."""
    found: list[int] = []
    pending = [pid]
    while pending:
        children = _children(pending.pop())
        if children is None:
            return _below_by_parents(pid, spared)
        children = [child for child in children if child not in spared]
        found += children
        pending += children
    return found


def _children(pid: int) -> list[int] | None:
    """The children of a process; none if it has gone; None on a kernel that does not say (CONFIG_PROC_CHILDREN)."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb", buffering=0) as file:
                found += map(int, file.readall().split())
        except ProcessLookupError:
            continue
        except FileNotFoundError:
            if os.path.exists(f"/proc/self/task/{os.getpid()}/children"):
                continue
            return None
    return found


def _below_by_parents(pid: int, spared: frozenset[int]) -> list[int]:
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        fields = stat_fields(name) if name.isdigit() else None
        if fields:
            children.setdefault(int(fields[1]), []).append(int(name))
    found: list[int] = []
    pending = [pid]
    while pending:
        own = [child for child in children.get(pending.pop(), []) if child not in spared]
        found += own
        pending += own
    return found


def stat_fields(pid: str) -> list[bytes] | None:
    """/proc/PID/stat from the state on; None if it has gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            text = file.read(8192)
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses is the program's to choose: count from the last parenthesis (proc(5)).
    return text[text.rindex(b")") + 2 :].split() if text else None


def kill_user(uid: int) -> None:
    """Kill every process of ``uid``, which is nobody else's, in one step (kill(2), pid -1)."""
    pid = os.fork()
    if pid == 0:
        try:
            identity.become(uid)
            os.kill(-1, signal.SIGKILL)
        except ProcessLookupError:
            pass
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def kill_tree(pid: int, spared: frozenset[int] = frozenset()) -> None:
    """Stop and then kill what descends from ``pid``. One that was being forked meanwhile may be left: whoever calls this looks again."""
    for _ in range(_STOP_ROUNDS):
        running = [found for found in below(pid, spared) if not _stands_still(found)]
        if not running:
            break
        for found in running:
            tell(found, signal.SIGSTOP)
        time.sleep(_ROUND_SECONDS)
    for found in below(pid, spared):
        tell(found, signal.SIGKILL)


def let_end(pids: list[int], seconds: float) -> None:
    """Tell processes that end what is below them to do so (SIGTERM), and wait until they have, or the time is up. They are not reaped.

    To stop them instead, as kill_tree does with what is hostile, would leave them stopped for ever, should we be killed ourselves before the rest.
    """
    waiting = select.poll()
    left: dict[int, int] = {}
    for pid in pids:
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            continue  # it has gone
        waiting.register(fd, select.POLLIN)
        left[fd] = pid
        tell(pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while left and time.monotonic() < deadline:
        for fd, _ in waiting.poll(max(0.0, deadline - time.monotonic()) * 1000):
            waiting.unregister(fd)
            del left[fd]
            os.close(fd)
    for fd in left:
        os.close(fd)


def _stands_still(pid: int) -> bool:
    fields = stat_fields(str(pid))
    return fields is None or fields[0] in (b"T", b"t", b"Z", b"X")


def tell(pid: int, number: int) -> None:
    """Send a signal; one that has gone needs none."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def end_all_below(spared: frozenset[int] = frozenset()) -> None:
    """Kill and reap everything below this process but ``spared``; a subreaper's last deed, or its deed for a child that has died."""
    while True:
        kill_tree(os.getpid(), spared)
        if not _reap(spared):
            return
        time.sleep(_ROUND_SECONDS)


def children() -> list[int]:
    """The children of this process, and on a kernel that does not say which those are, theirs too."""
    own = _children(os.getpid())
    return _below_by_parents(os.getpid(), frozenset()) if own is None else own


def _reap(spared: frozenset[int]) -> bool:
    """Reap dead children but ``spared``. Whether there are others left."""
    left = False
    for child in children():
        if child in spared:
            continue
        try:
            left = os.waitpid(child, os.WNOHANG)[0] == 0 or left
        except ChildProcessError:
            pass  # a child of a child
    return left


def end_orphans(uid: int) -> None:
    """Kill the programs of user ``uid`` over which no warden, zygote or launcher stands any more; other users' and other zygotes' are left alone."""
    for _ in range(_STOP_ROUNDS):
        found = _orphans(uid)
        if not found:
            return
        # Stopped first, until no one is left who could fork while the others are killed.
        running = [pid for pid in found if not _stands_still(pid)]
        for pid in running:
            tell(pid, signal.SIGSTOP)
        if not running:
            for pid in found:
                tell(pid, signal.SIGKILL)
        time.sleep(_ROUND_SECONDS)
    for pid in _orphans(uid):
        tell(pid, signal.SIGKILL)


def _orphans(uid: int) -> list[int]:
    found = [int(name) for name in os.listdir("/proc") if name.isdigit() and _is_program(name, uid)]
    return [pid for pid in found if not _is_guarded(pid, found)]


def _is_program(pid: str, uid: int) -> bool:
    status = _status(pid)
    if status.get(b"Uid", b"").split()[:1] != [b"%d" % uid] or status.get(b"NoNewPrivs") != b"1" or status[b"State"][:1] in b"ZX":
        return False
    try:
        with open(f"/proc/{pid}/limits", encoding="ascii") as file:
            lines = file.read().splitlines()
    except OSError:
        return False
    # A name of 25 characters, the soft limit, the hard one (fs/proc/base.c).
    return {line[:25].rstrip() for line in lines if line[25:].split()[1:2] == ["0"]}.issuperset(_SIGNS)


def _is_guarded(pid: int, programs: list[int]) -> bool:
    """Whether what stands above a program, past other programs, is one of ours; in doubt it is."""
    while pid in programs:
        parent = _status(str(pid)).get(b"PPid")
        if parent is None:
            return True  # it has gone
        pid = int(parent)
    try:
        with open(f"/proc/{pid}/cmdline", "rb", buffering=0) as file:
            return _GUARDS_RUN in file.read(4096)
    except OSError:
        return True


def _status(pid: str) -> dict[bytes, bytes]:
    """/proc/PID/status; empty if it has gone."""
    try:
        with open(f"/proc/{pid}/status", "rb", buffering=0) as file:
            text = file.read(8192)
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(b":") for line in text.splitlines())}
