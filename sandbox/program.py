"""The program: the process that runs the caller's code.

Theory of operation
-------------------
It is forked from the warden before there is a job. It first gives up everything (``confine``): its identity, its capabilities, every
descriptor but five; landlock and seccomp come last. Then it waits for its job on descriptor 3. Until the caller's code starts,
what it does can be trusted; from then on nothing can, including what this file writes to descriptor 4.

It ends as a Python of its own would: threads are joined, atexit functions run, open files are flushed by clearing the main module; but without
tearing down an interpreter that is about to vanish anyway.
"""

from __future__ import annotations

import ast
import atexit
import builtins
import gc
import json
import linecache
import os
import signal
import sys
import threading
import traceback
import types

import frames
from confine import identity, kernel, landlock, limits, seccomp, tree

JOB_FD = 3
WORD_FD = 4
#: Exit status of a process that could not confine itself; nothing of the caller's ran (sysexits.h, EX_SOFTWARE).
NOT_CONFINED_STATUS = 70
#: How much of a last value's repr and of an exception's message is told, in characters.
_WORD_CHARS = 16_384
#: Given back when an exception ends the program, so that a MemoryError can still be told. Untouched, it costs address space only.
_RESERVE_BYTES = 4 << 20
_CODE_PATH = f"{tree.CODE}/main.py"
#: Programs yield to the warden: it must get a processor even beside a fork bomb (nice(2)).
_NICENESS = 5


# Kept under names of our own: the caller's code can empty the modules they come from.
_exit, _write, _dumps, _sys_names = os._exit, os.write, json.dumps, sys.__dict__


class LayerFailed(Exception):
    """A layer could not be put on. ``layer`` names it."""

    def __init__(self, layer: str, error: Exception) -> None:
        super().__init__(str(error))
        self.layer = layer


def confine(proc: int, outer_uid: int, readable: list[str], filter_program: bytes) -> None:
    """Put on every layer. Afterwards only descriptors 0 to 4 are open and nothing can be taken off again.

    ``proc``: a descriptor of a writable /proc. ``readable``: the paths of the tree's plan. Raises LayerFailed.
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
        kernel.close_range(WORD_FD + 1)
        layer = "landlock"
        rules = [(path, landlock.READ | landlock.EXECUTE) for path in readable]
        rules += [(path, landlock.READ) for path in ("/etc", "/proc", "/dev")]
        rules += [(f"/dev/{name}", landlock.READ | landlock.WRITE) for name in tree.DEVICES]
        rules += [(place, landlock.READ | landlock.EXECUTE | landlock.WRITE) for place in tree.WRITABLE]
        landlock.restrict(rules, tcp=True)
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
    with open(_CODE_PATH, "wb"):
        pass
    namespace: dict[str, object] = {"__builtins__": builtins}
    body, last = _compile(b"a = [1]\nlen(a)")
    exec(body, namespace)
    if last is not None:
        json.dumps(json.loads(json.dumps({"result": repr(eval(last, namespace))})))
    gc.collect()


def main() -> None:
    """Take the job from descriptor 3, run it, end the process. Never returns."""
    reserve = [bytes(_RESERVE_BYTES)]  # not bytearray, which would write to all of it
    kind, payload = frames.read(JOB_FD)
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
        module = _main_module(code)
        _end(module, *_run(module, code, reserve))
    finally:
        _exit(1)


def set_scene(environment: dict[str, str]) -> None:
    """In the zygote, once for all programs: give this interpreter what a Python just started has, and none of our modules.

    Whoever runs this has imported all of ours that it needs.
    """
    os.environ.clear()
    os.environ.update(environment)
    sys.dont_write_bytecode = True
    sys.argv = [_CODE_PATH]
    sys.path.insert(0, tree.WORK)
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


_OURS = frozenset(("zygote", "warden", "program", "frames", "sockets", "usage"))


def _main_module(code: bytes) -> types.ModuleType:
    """A new __main__, its source in a file, so that tracebacks, inspect and multiprocessing's spawn find it."""
    with open(_CODE_PATH, "wb") as file:
        file.write(code)
    module = types.ModuleType("__main__")
    module.__file__ = _CODE_PATH
    module.__dict__["__builtins__"] = builtins
    module.__dict__["__annotations__"] = {}
    sys.modules["__main__"] = module
    return module


def _run(module: types.ModuleType, code: bytes, reserve: list[bytes]) -> tuple[int, dict[str, object]]:
    """Run the code in ``module``; return the exit status and the program's own word."""
    word: dict[str, object] = {"result": None, "error": None}
    try:
        body, last = _compile(code)
        exec(body, module.__dict__)
        if last is not None:
            value = eval(last, module.__dict__)
            if value is not None:
                word["result"] = repr(value)[:_WORD_CHARS]
        return 0, word
    except SystemExit as leave:
        return _exit_status(leave.code), word
    except BaseException as error:
        reserve.clear()
        try:
            _show(error)
            word["error"] = _describe(error)
        except BaseException:
            pass  # the caller's code broke what tells of it; the status still does
        return 1, word


def _compile(code: bytes) -> tuple[types.CodeType, types.CodeType | None]:
    """The code as (statements, last expression or None), the way an interactive session sees it."""
    try:
        parsed = ast.parse(code, _CODE_PATH)
        last = None
        if parsed.body and isinstance(parsed.body[-1], ast.Expr):
            last = compile(ast.Expression(parsed.body[-1].value), _CODE_PATH, "eval", dont_inherit=True)
            del parsed.body[-1]
        # dont_inherit: this file's own `from __future__` is not the caller's
        return compile(parsed, _CODE_PATH, "exec", dont_inherit=True), last
    except Exception as error:
        raise error.with_traceback(None)  # the frames of the parser are of no use to the caller


def _exit_status(code: object) -> int:
    """What Python makes of SystemExit's argument (sys.exit)."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)
    return 1


def _strip(error: BaseException) -> None:
    """Take our own frames off the traceback of ``error`` and of what led to it."""
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        one = pending.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        trace = one.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        one.__traceback__ = trace
        pending += [one.__cause__, one.__context__]


def _show(error: BaseException) -> None:
    """Print an uncaught exception as Python would, through the caller's own sys.excepthook if there is one."""
    _strip(error)
    linecache.checkcache()
    try:
        sys.excepthook(type(error), error, error.__traceback__)
    except BaseException:
        traceback.print_exception(type(error), error, error.__traceback__)


def _describe(error: BaseException) -> dict[str, object]:
    line = error.lineno if isinstance(error, SyntaxError) and error.filename == _CODE_PATH else None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == _CODE_PATH:
            line = trace.tb_lineno
        trace = trace.tb_next
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    try:
        message = str(error)
    except BaseException:
        message = "<the exception could not be printed>"
    return {"type": name[:256], "message": message[:_WORD_CHARS], "line": line}


def _end(module: types.ModuleType, status: int, word: dict[str, object]) -> None:
    """End as an interpreter does (Py_FinalizeEx): threads, atexit functions, destructors, streams; then the word.

    The caller's code may have emptied any module: whatever fails here, nothing gets past the last line.
    """
    try:
        try:
            threading._shutdown()  # pyright: ignore
            atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
            module.__dict__.clear()
            gc.collect()
        except SystemExit as leave:
            status = _exit_status(leave.code)
        except BaseException as error:
            _show(error)
        for name in ("stdout", "stderr"):
            try:
                stream = _sys_names.get(name)
                if stream is not None:
                    stream.flush()
            except BaseException:
                status = status or 120  # what Python exits with when it can't flush its streams
        _write(WORD_FD, _dumps(word).encode())
    finally:
        _exit(status)
