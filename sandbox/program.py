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
import keeper
import plots
import states
from confine import identity, kernel, landlock, layers, limits, seccomp, shared, tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

    from make import Settings

JOB_FD = 3
#: Exit status of a process that could not confine itself; nothing of the caller's ran (sysexits.h, EX_SOFTWARE).
NOT_CONFINED_STATUS = 70
#: Given back when an exception ends the program, so that a MemoryError can still be told. Untouched, it costs address space only.
_RESERVE_BYTES = 4 << 20
#: Programs yield to the warden: it must get a processor even beside a fork bomb (nice(2)).
_NICENESS = 5
_NO_JOB = b'{"timeout_seconds": 10, "cpu_seconds": 10, "memory_mb": 512, "processes": 64, "open_files": 256, "file_size_mb": 64, "output_mb": 8}'

# Kept under a name of our own: the caller's code can empty the module it comes from.
_exit = os._exit


#: Processes of the user that are not the program's and count all the same against RLIMIT_NPROC; and whether limits are set at all.
_processes_of_others = 0
_limited = True


class LayerFailed(Exception):
    """A layer could not be put on. ``layer`` names it."""

    def __init__(self, layer: str, error: Exception) -> None:
        super().__init__(str(error))
        self.layer = layer


def confine(proc: int, outer_uid: int, settings: Settings) -> None:
    """Put on every layer that the sandbox has. Afterwards only descriptors 0 to 4 are open and nothing can be taken off again.

    ``proc``: a descriptor of a writable /proc. ``outer_uid``: the id to run as, 0 for an ordinary user's. Raises LayerFailed.
    """
    global _processes_of_others, _limited
    has = settings.layers
    _limited = layers.RLIMITS in has
    layer = "process"
    try:
        os.setsid()
        os.nice(_NICENESS)
        os.umask(0o022)
        # The warden may not be looked into; the program may look at itself.
        kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
        if settings.isolated:
            identity.volunteer_for_oom_kill(proc)
        layer = "user namespace"
        if layers.USER_NAMESPACE in has:
            identity.enter_program_namespace(proc, outer_uid)
        elif outer_uid != 0:
            identity.become(outer_uid)
            kernel.prctl(kernel.PR_SET_DUMPABLE, 1)  # for /proc/self to be its own (prctl(2))
        elif not settings.isolated:
            _processes_of_others = identity.processes_of_user()
        layer = "capabilities"
        if layers.CAPABILITIES in has:
            kernel.drop_all_capabilities()
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        if layers.PID_NAMESPACE not in has:
            kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        layer = "landlock"
        if layers.LANDLOCK in has:
            rules = [(path, landlock.READ) for path in settings.of_itself]
            rules += [(place, landlock.READ | landlock.EXECUTE | landlock.WRITE) for place in tree.WRITABLE]
            landlock.restrict(rules, tcp=settings.isolated, looked_up=settings.landlock_rules)
        layer = "limits"
        if _limited:
            limits.apply_fixed()
        layer = "descriptors"
        kernel.close_range(execute.WORD_FD + 1)
        os.chdir(tree.WORK)
        layer = "seccomp"
        if layers.SECCOMP in has:
            seccomp.install(settings.filter_program if settings.isolated else shared.for_this_process(settings.filter_program))
    except Exception as error:  # whatever it was, the program must not start
        raise LayerFailed(layer, error) from error


def prepare(settings: Settings) -> None:
    """Do ahead of the job what needs no job: streams, names, and a rehearsal.

    After a fork the first write to a page copies it. The rehearsal goes where a job will go, so that it finds the pages copied.
    """
    if settings.own_processes:
        kernel.handle_signal(signal.SIGINT, settings.on_interrupt)
    else:
        _hear_again()
    if tree.relocated():
        _move_in()
    _reseed()
    gc.enable()
    _rehearse_job()
    rehearse()
    gc.collect()


def _rehearse_job() -> None:
    """Take a job that does nothing, and leave an empty file where the code will be."""
    reader, writer = os.pipe()
    os.write(writer, frames.encode(b"J", _NO_JOB))
    json.loads(frames.read(reader)[1])
    os.close(reader)
    os.close(writer)
    execute.main_module(b"")


def rehearse() -> None:
    """Run a program that does nothing: in the zygote to learn what it takes (rehearsal.py), in the program to have its pages copied."""
    namespace: dict[str, object] = {"__builtins__": builtins}
    body, last = execute.parse(b"a = [1]\nlen(a)", execute.CODE_PATH)
    exec(body, namespace)
    if last is not None:
        json.dumps(json.loads(json.dumps({"result": display.describe(eval(last, namespace))})))
    plots.finish()


def main() -> None:
    """Take the job from descriptor 3, run it, end the process. Never returns."""
    reserve = [bytes(_RESERVE_BYTES)]  # not bytearray, which would write to all of it
    kind, payload = frames.read(JOB_FD)
    if kind == b"S":
        keeper.end()
        states.live(lambda: _set_streams(*_open_streams()), rehearse)
    if kind != b"J":
        os._exit(NOT_CONFINED_STATUS)
    job = json.loads(payload)
    _, code = frames.read(JOB_FD)
    os.close(JOB_FD)
    if _limited:
        limits.apply(
            cpu_seconds=job["cpu_seconds"],
            memory_mb=job["memory_mb"],
            processes=job["processes"] + _processes_of_others + keeper.count(),
            open_files=job["open_files"],
            file_size_mb=job["file_size_mb"],
        )
    try:
        module = execute.main_module(code)
        execute.end(module, *execute.run(module, code, reserve, execute.CODE_PATH))
    finally:
        _exit(1)


def set_scene(environment: dict[str, str], own_places: bool) -> None:
    """In the zygote, once for all programs: give this interpreter what a Python just started has, and none of our modules.

    ``own_places``: the working directory has the same name in every sandbox. Whoever runs this has imported all of ours that it needs.
    """
    os.environ.clear()
    os.environ.update(environment)
    sys.dont_write_bytecode = True
    if own_places:
        sys.argv = [execute.CODE_PATH]
        sys.path.insert(0, tree.WORK)
    plots.watch()
    for name in [name for name in sys.modules if name in _OURS or name.startswith("confine")]:
        del sys.modules[name]


def _hear_again() -> None:
    """Do on signals what every Python does, where our own processes ignore some and have handlers for others."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def _move_in() -> None:
    """Use the places of this one sandbox, where they have not the same names in all."""
    execute.CODE_PATH = f"{tree.CODE}/main.py"
    sys.argv = [execute.CODE_PATH]
    sys.path.insert(0, tree.WORK)
    os.environ.update(HOME=tree.TEMPORARY, TMPDIR=tree.TEMPORARY, MPLCONFIGDIR=f"{tree.TEMPORARY}/.matplotlib")
    tempfile = sys.modules.get("tempfile")
    if tempfile is not None:
        vars(tempfile)["tempdir"] = None  # a module that was preloaded may have asked for it


def _reseed() -> None:
    """Give each program random numbers of its own where a library drew its seed when the zygote imported it.

    ``random`` does so itself after a fork; numpy's legacy generator does not.
    """
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def make_streams() -> None:
    """In the zygote, once for all programs: sys.stdin and its kin, of descriptors 0 to 2, whatever those are.

    Made while they are pipes here, as they will be there: what kind of file a stream is of, it asks only once.
    """
    kept = [os.dup(fd) for fd in range(3)]
    reader, writer = os.pipe()
    try:
        for fd, end in enumerate((reader, writer, writer)):
            os.dup2(end, fd)
        _set_streams(*_open_streams())
    finally:
        for fd, own in enumerate(kept):
            os.dup2(own, fd)
            os.close(own)
        os.close(reader)
        os.close(writer)


def _open_streams() -> tuple[TextIO, TextIO, TextIO]:
    return (
        open(0, encoding="utf-8", errors="surrogateescape", closefd=False),
        # By line, as on a terminal: what was printed before a timeout or a crash has to come out.
        open(1, "w", encoding="utf-8", errors="surrogateescape", buffering=1, closefd=False),
        open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False),
    )


def _set_streams(stdin: TextIO, stdout: TextIO, stderr: TextIO) -> None:
    sys.stdin = sys.__stdin__ = stdin
    sys.stdout = sys.__stdout__ = stdout
    sys.stderr = sys.__stderr__ = stderr


_OURS = frozenset(
    (
        "zygote", "warden", "make", "run", "program", "execute", "display", "plots", "files", "frames", "sockets", "usage",
        "processes", "scratch", "open_tier", "rehearsal", "states", "session", "snapshot", "step_usage",
        "workspace", "opening", "outer_ids", "keeper",
    )
)  # fmt: skip
