"""Running the caller's code in this interpreter, the way a notebook runs a cell, and ending it.

It ends as a Python of its own would: threads are joined, atexit functions run, open files are flushed by clearing the main module; but without
tearing down an interpreter that is about to vanish anyway.

From the first line of the caller's code on nothing here can be trusted any more: it shares the interpreter with that code.
"""

from __future__ import annotations

import ast
import atexit
import builtins
import gc
import json
import linecache
import os
import sys
import traceback
import types

import display
import plots
from confine import tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Where the program says its own word (PROTOCOL.md, 4).
WORD_FD = 4
CODE_PATH = f"{tree.CODE}/main.py"
#: How much of an exception's message is told, in characters.
_WORD_CHARS = 16_384
#: How far before the end of the code a semicolon is looked for that keeps the last value quiet.
_QUIET_WITHIN_BYTES = 200

#: What stands between the caller's code and its libraries, and is of no use to the caller in a traceback.
_OWN_FILES = frozenset((__file__, display.__file__, plots.__file__))

# Kept under names of our own: the caller's code can empty the modules they come from.
_exit, _write, _dumps, _sys_names, _modules = os._exit, os.write, json.dumps, sys.__dict__, sys.modules


def main_module(code: bytes) -> types.ModuleType:
    """A new __main__, its source in a file, so that tracebacks, inspect and multiprocessing's spawn find it."""
    # Not by open(), which asks first what kind of file it is: this is on the way of every call.
    file = os.open(CODE_PATH, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    left = memoryview(code)
    while left:
        left = left[os.write(file, left) :]
    os.close(file)
    return empty_main_module(CODE_PATH)


def empty_main_module(path: str) -> types.ModuleType:
    """A new __main__ whose source is at ``path``."""
    module = types.ModuleType("__main__")
    module.__file__ = path
    module.__dict__["__builtins__"] = builtins
    module.__dict__["__annotations__"] = {}
    sys.modules["__main__"] = module
    return module


def run(module: types.ModuleType, code: bytes, reserve: list[bytes], path: str) -> tuple[int, dict[str, object]]:
    """Run the code, whose file is ``path``, in ``module``; return the exit status and the program's own word."""
    word: dict[str, object] = {"result": None, "error": None}
    status = 0
    try:
        body, last = parse(code, path)
        exec(body, module.__dict__)
        if last is not None:
            value = eval(last, module.__dict__)
            if value is not None:
                word["result"] = display.describe(value)
    except SystemExit as leave:
        status = _exit_status(leave.code)
    except BaseException as error:
        status = 1
        reserve.clear()
        try:
            _show(error)
            word["error"] = _describe(error, path)
        except BaseException:
            pass  # the caller's code broke what tells of it; the status still does
    plots.finish()  # however it ended: what was drawn until then may tell why
    return status, word


def parse(code: bytes, path: str) -> tuple[types.CodeType, types.CodeType | None]:
    """The code as (statements, last expression or None), the way a notebook sees it: a semicolon after the expression keeps its value quiet."""
    try:
        parsed = ast.parse(code, path)
        last = None
        if parsed.body and isinstance(parsed.body[-1], ast.Expr) and not _is_quiet(code, parsed.body[-1]):
            last = compile(ast.Expression(parsed.body[-1].value), path, "eval", dont_inherit=True)
            del parsed.body[-1]
        # dont_inherit: this file's own `from __future__` is not the caller's
        return compile(parsed, path, "exec", dont_inherit=True), last
    except Exception as error:
        raise error.with_traceback(None)  # the frames of the parser are of no use to the caller


def _is_quiet(code: bytes, last: ast.Expr) -> bool:
    """Whether a semicolon ends the last expression. Nothing but closing brackets, semicolons and comments can follow it."""
    if b";" not in code[-_QUIET_WITHIN_BYTES:]:
        return False
    lines = code.splitlines()[(last.end_lineno or 1) - 1 :]
    lines[0] = lines[0][last.end_col_offset :]
    return any(line.split(b"#")[0].rstrip().endswith(b";") for line in lines)


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
        traces: list[types.TracebackType] = []
        trace = one.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename not in _OWN_FILES:
                traces.append(trace)
            trace = trace.tb_next
        for index, trace in enumerate(traces):
            trace.tb_next = traces[index + 1] if index + 1 < len(traces) else None
        one.__traceback__ = traces[0] if traces else None
        pending += [one.__cause__, one.__context__]


def _show(error: BaseException) -> None:
    """Print an uncaught exception as Python would, through the caller's own sys.excepthook if there is one."""
    _strip(error)
    linecache.checkcache()
    try:
        sys.excepthook(type(error), error, error.__traceback__)
    except BaseException:
        traceback.print_exception(type(error), error, error.__traceback__)


def _describe(error: BaseException, path: str) -> dict[str, object]:
    line, message = None, None
    if isinstance(error, SyntaxError) and error.filename == path:
        # str() of it ends with the name of a file that the caller never named, and with the line, which is told anyway.
        line, message = error.lineno, error.msg
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            line = trace.tb_lineno
        trace = trace.tb_next
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    try:
        message = str(error) if message is None else str(message)
    except BaseException:
        message = "<the exception could not be printed>"
    return {"type": name[:256], "message": message[:_WORD_CHARS], "line": line}


def end(module: types.ModuleType, status: int, word: dict[str, object]) -> None:
    """End as an interpreter does (Py_FinalizeEx): threads, atexit functions, destructors, streams; then the word.

    The caller's code may have emptied any module: whatever fails here, nothing gets past the last line.
    """
    try:
        try:
            threading: Any = _modules.get("threading")  # as the interpreter itself asks: it is not ours to import (fork calls a hook of it in every sandbox)
            if threading is not None:
                threading._shutdown()
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
