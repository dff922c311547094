"""The zygote where there are no namespaces: tiers `confined` and `none`, and `strict` with its process namespace switched off.

Theory of operation
-------------------
The four roles are those of zygote.py. What namespaces did is done by hand here:

    launcher   stays free of every layer; the last of ours to end: whatever the zygote leaves, processes and directories, it takes away (``guard``)
    zygote     in tier `confined` behind landlock and a filter of its own before it imports any package (``confine_zygote``): a package's import may read what a
               program may read, and write below the directory of the sandboxes. Buries wardens that were killed, with all that was below them (``Wards``)

Each of them is told by the kernel when the one above it ends (PR_SET_PDEATHSIG), by SIGTERM, and then ends all that is below it. Signals of a
terminal, which go to all of them at once, are not for them: the server says when it is over, by closing stdin.

As root every run gets a host id of its own, from a block that no one uses; for that the zygote keeps the right to change ids, and no other that root has.
"""

from __future__ import annotations

import os
import signal

import processes
import outer_ids
import scratch
from confine import identity, kernel, landlock, layers, seccomp, shared, tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    import workspace

#: More likely to be chosen when memory runs out than the server and what else the user runs (proc(5), oom_score_adj).
_OOM_SCORE = b"500"
#: How long a warden may take to end what is below it before that is done for it. Node gives all of them two seconds (zygote.ts).
_ENDING_SECONDS = 0.7
#: For the directories on the way to those of the runs: the ids of the runs pass through, and can't list.
PASSABLE = 0o711


def enter(place: workspace.Workspace, what: tree.Plan, tier: str) -> tuple[int, int]:
    """Become the zygote; the launcher never returns. Returns (first, number) of the ids that programs run as; (0, 1): as the caller.

    Raises OSError when an id can't be had, or can't reach what it needs.
    """
    ids = _ids(place, what, tier)
    processes.adopt_orphans()
    _ignore_terminal()
    launcher = os.getpid()
    pid = os.fork()
    if pid != 0:
        guard(pid, place)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)  # until it serves: an import may keep it from looking at signals
    if os.getppid() != launcher:
        os._exit(1)
    with open("/proc/self/oom_score_adj", "wb", buffering=0) as file:
        file.write(_OOM_SCORE)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    return ids


def _ids(place: workspace.Workspace, what: tree.Plan, tier: str) -> tuple[int, int]:
    """See ``enter``. In tier `none`, which promises nothing, who can't have ids of the runs' own goes without."""
    if os.geteuid() != 0:
        return 0, 1
    have = kernel.effective_capabilities()
    missing = [name for name in identity.OWN_ID_CAPABILITIES if not have & 1 << kernel.CAPABILITIES[name]]
    try:
        if missing:
            raise OSError(f"root has no {', '.join(missing)} here, and each run needs an id of its own: give it these, or run the server as an ordinary user")
        ids = identity.unused_ids(int.from_bytes(os.urandom(4), "big"))
        # An id of a run has to pass through; it can't list, and connecting to the socket takes the right to write to it.
        os.chmod(place.path, PASSABLE)
        os.chmod(place.root, PASSABLE)
        closed = outer_ids.check(ids[0], place.root, what)
    except OSError:
        if tier == layers.NONE:
            return 0, 1
        raise
    what.bound = [path for path in what.bound if path not in closed]
    return ids


def _ignore_terminal() -> None:
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)


def guard(zygote: int, place: workspace.Workspace) -> NoReturn:
    """Be the launcher: outlive the zygote, and take away all that it leaves. Needs to be a subreaper already."""
    _ignore_terminal()

    # Told to end, or the server gone: the zygote ends everything, in order. It may have ended already.
    def end(*_: object) -> None:
        processes.tell(zygote, signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    processes.be_told_of_parents_end()
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == zygote:
            break
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    processes.let_end(processes.children(), _ENDING_SECONDS)  # its wardens, which are ours now, have been told by its end
    processes.end_all_below()
    place.remove()
    os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))


def confine_zygote(root: str, what: tree.Plan, has: frozenset[str]) -> None:
    """Before any package is imported: leave to this process, and all below it, what a program may have and what a warden needs."""
    if layers.CAPABILITIES in has:
        kernel.empty_bounding_set()  # the programs, which will not be root, could not do it for themselves
        held = kernel.effective_capabilities()
        kernel.keep_capabilities(name for name in identity.OWN_ID_CAPABILITIES if held & 1 << kernel.CAPABILITIES[name])
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    if layers.LANDLOCK in has:
        rules = [(path, landlock.READ | landlock.EXECUTE) for path in what.bound]
        rules += [(f"/dev/{name}", landlock.READ | landlock.WRITE) for name in tree.DEVICES]
        rules += [("/proc", landlock.READ), (root, landlock.READ | landlock.EXECUTE | landlock.WRITE)]
        landlock.restrict(rules, tcp=False)
    if layers.SECCOMP in has:
        seccomp.install(shared.zygote_filter())


def _heard(*_: object) -> None:
    """A signal that only has to interrupt (signal.set_wakeup_fd)."""


class Wards:
    """The wardens of a zygote that is not process 1."""

    def __init__(self, root: str) -> None:
        self._root = root
        self.pids: set[int] = set()
        #: Readable when one may have ended.
        self.ended, writer = os.pipe()
        os.set_blocking(self.ended, False)
        os.set_blocking(writer, False)
        processes.adopt_orphans()
        signal.signal(signal.SIGCHLD, _heard)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._end)
        processes.be_told_of_parents_end()

    def bury(self) -> None:
        """Reap those that have ended, and what came to us from below those that were killed."""
        os.read(self.ended, 4096)
        orphans = False
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            orphans = orphans or pid not in self.pids or status != 0
            self.pids.discard(pid)
        if orphans:
            processes.end_all_below(frozenset(self.pids))
            self._sweep()

    def _sweep(self) -> None:
        """Take away the directories whose makers are gone."""
        scratch.sweep(self._root, frozenset((*self.pids, os.getpid())))

    def end_all(self) -> None:
        """End every sandbox, and take away what they leave: the launcher, which would, may have been killed."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        processes.let_end(list(self.pids), _ENDING_SECONDS)
        processes.end_all_below()
        scratch.sweep(self._root)

    def _end(self, *_: object) -> None:
        self.end_all()
        os._exit(1)
