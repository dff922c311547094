"""The program: the process that runs the caller's code.

Theory of operation
-------------------
It is forked from the warden before there is a job. It first gives up everything (``confine``): its identity, its capabilities, every
descriptor but five; landlock and seccomp come last. Then it waits for its job on descriptor 3. Until the caller's code starts,
what it does can be trusted; from then on nothing can, including what this file writes to descriptor 4.
"""

from __future__ import annotations

import builtins
import gc
import json
import os
import signal
import sys

import display
import execute
import frames
import plots
import states
from confine import identity, kernel, landlock, limits, seccomp, tree

JOB_FD = 3
#: Exit status of a process that could not confine itself; nothing of the caller's ran (sysexits.h, EX_SOFTWARE).
NOT_CONFINED_STATUS = 70
#: Given back when an exception ends the program, so that a MemoryError can still be told. Untouched, it costs address space only.
_RESERVE_BYTES = 4 << 20
#: Programs yield to the warden: it must get a processor even beside a fork bomb (nice(2)).
_NICENESS = 5

# Kept under a name of our own: the caller's code can empty the module it comes from.
_exit = os._exit


class LayerFailed(Exception):
    """A layer could not be put on. ``layer`` names it."""

    def __init__(self, layer: str, error: Exception) -> None:
        super().__init__(str(error))
        self.layer = layer


def confine(proc: int, outer_uid: int, readable: list[str], mounted: list[tuple[str, int]], filter_program: bytes) -> None:
    """Put on every layer. Afterwards only descriptors 0 to 4 are open and nothing can be taken off again.

    ``proc``: a descriptor of a writable /proc. ``readable``: the paths of the tree's plan; ``mounted``: its mounts, as landlock rules. Raises LayerFailed.
    """
    layer = "process"
    try:
        os.setsid()
        os.nice(_NICENESS)
        os.umask(0o022)
        # The warden may not be looked into; the program may look at itself.
        kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
        identity.volunteer_for_oom_kill(proc)
        layer = "user namespace"
        identity.enter_program_namespace(proc, outer_uid)
        layer = "capabilities"
        kernel.drop_all_capabilities()
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        layer = "descriptors"
        kernel.close_range(execute.WORD_FD + 1)
        layer = "landlock"
        rules = [(path, landlock.READ | landlock.EXECUTE) for path in readable]
        rules += [(path, landlock.READ) for path in ("/etc", "/proc", "/dev")]
        rules += [(f"/dev/{name}", landlock.READ | landlock.WRITE) for name in tree.DEVICES]
        rules += [(place, landlock.READ | landlock.EXECUTE | landlock.WRITE) for place in tree.WRITABLE]
        landlock.restrict(rules + mounted, tcp=True)
        os.chdir(tree.WORK)
        layer = "seccomp"
        seccomp.install(filter_program)
    except Exception as error:  # whatever it was, the program must not start
        raise LayerFailed(layer, error) from error


def prepare() -> None:
    """Do ahead of the job what needs no job: streams, names, and a rehearsal.

    After a fork the first write to a page copies it. The rehearsal goes where a job will go, so that it finds the pages copied.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _open_streams()
    _reseed()
    gc.enable()
    with open(execute.CODE_PATH, "wb"):
        pass
    _rehearse()
    gc.collect()


def _rehearse() -> None:
    namespace: dict[str, object] = {"__builtins__": builtins}
    body, last = execute.parse(b"a = [1]\nlen(a)")
    exec(body, namespace)
    if last is not None:
        json.dumps(json.loads(json.dumps({"result": display.describe(eval(last, namespace))})))
    plots.finish()


def main() -> None:
    """Take the job from descriptor 3, run it, end the process. Never returns."""
    reserve = [bytes(_RESERVE_BYTES)]  # not bytearray, which would write to all of it
    kind, payload = frames.read(JOB_FD)
    if kind == b"S":
        states.live(_open_streams, _rehearse)
    if kind != b"J":
        os._exit(NOT_CONFINED_STATUS)
    job = json.loads(payload)
    _, code = frames.read(JOB_FD)
    os.close(JOB_FD)
    limits.apply(
        cpu_seconds=job["cpu_seconds"],
        memory_mb=job["memory_mb"],
        processes=job["processes"],
        open_files=job["open_files"],
        file_size_mb=job["file_size_mb"],
    )
    try:
        module = execute.main_module(code)
        execute.end(module, *execute.run(module, code, reserve))
    finally:
        _exit(1)


def set_scene(environment: dict[str, str]) -> None:
    """In the zygote, once for all programs: give this interpreter what a Python just started has, and none of our modules.

    Whoever runs this has imported all of ours that it needs.
    """
    os.environ.clear()
    os.environ.update(environment)
    sys.dont_write_bytecode = True
    sys.argv = [execute.CODE_PATH]
    sys.path.insert(0, tree.WORK)
    plots.watch()
    for name in [name for name in sys.modules if name in _OURS or name.startswith("confine")]:
        del sys.modules[name]


def _reseed() -> None:
    """Give each program random numbers of its own where a library drew its seed when the zygote imported it.

    ``random`` does so itself after a fork; numpy's legacy generator does not.
    """
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def _open_streams() -> None:
    sys.stdin = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)
    # By line, as on a terminal: what was printed before a timeout or a crash has to come out.
    sys.stdout = open(1, "w", encoding="utf-8", errors="surrogateescape", buffering=1, closefd=False)
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr


_OURS = frozenset(("zygote", "warden", "make", "run", "program", "execute", "display", "plots", "files", "frames", "sockets", "usage", "states", "session", "snapshot", "step_usage"))
