"""What parses text in which a hostile program has a say: names in /proc, values of its own, its code; and what the kernel says of sockets."""

import ast
import io
import json
import os
import warnings
from unittest import mock

import display
import execute
import plots
import processes
import sockets
import step_usage
import usage
from confine import tree
from fuzz.target import Target, check, directory

#: From the third field on, as proc(5) counts them: each of the numbers says which it is.
_NUMBERS = [b"S", *(b"%d" % (100 + number) for number in range(4, 53))]


def _stat(data):
    """The name of a process is the program's to choose: nothing after it is read from it."""
    name = data[:15].replace(b"\0", b"")
    text = b"7 (" + name + b") " + b" ".join(_NUMBERS) + b"\n"
    with mock.patch("usage.open", lambda *_, **__: io.BytesIO(text), create=True):
        check(step_usage.stat_fields("7") == _NUMBERS, repr(name))
    with mock.patch("processes.open", lambda *_, **__: io.BytesIO(text), create=True):
        check(processes.stat_fields("7") == _NUMBERS, repr(name))
    child = mock.Mock(pid=7, watch=None, own_network=True)
    child.reach.pids.return_value = ["7"]
    with mock.patch("usage.read", lambda _: text), mock.patch("usage.file_system_bytes", lambda: 0), mock.patch("sockets.buffered_bytes", lambda: 0):
        meter = usage.Meter(child, None)
        check(meter.tick(1e9, 1 << 60) is None, repr(name))
        check(meter.threads == 120 and meter._seen_ticks == {"7 122": 114 + 115}, f"{meter._seen_ticks} for {name!r}")


def _status(data):
    """A status says its numbers after the name, which the kernel escapes (fs/proc/array.c)."""
    name = data[:15].replace(b"\0", b"").replace(b"\\", b"\\\\").replace(b"\n", b"\\n")
    text = b"Name:\t" + name + b"\nVmRSS:\t  3 kB\nRssAnon:\t 1 kB\nRssShmem:\t 1 kB\nVmPTE:\t 2 kB\n"
    # A carriage return in the name is one: the kernel leaves it as it is.
    with mock.patch("usage.read", lambda _: text):
        found = usage._resident("7"), usage.page_tables("7"), step_usage.anonymous_bytes(7)
    check(found == (3072, 2048, 2048), f"{found} for {name!r}")


def _diagnosis(data):
    """Attributes of a socket: a number, and an end to it, whatever the lengths in them say."""
    for wanted in (5, 7):
        check(sockets._memory(data, wanted) >= 0, "less than nothing")


def _code(data):
    """Code is parsed as Python does, or refused as Python does."""
    warnings.simplefilter("ignore")  # of the compiler's, about code that nobody will run
    refusals = (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError)
    try:
        wanted = ast.parse(data, "code.py")
    except refusals:
        wanted = None
    try:
        body, last = execute.parse(data, "code.py")
    except refusals as error:
        check(wanted is None or isinstance(error, (SyntaxError, RecursionError, ValueError)), f"refused: {error!r}")  # by the compiler, that is
        return
    check(wanted is not None and body is not None, "taken, though it is no Python")
    check(last is None or isinstance(wanted.body[-1], ast.Expr), "a value of what is no expression")


class _Odd:
    """A value that answers with ``answer`` to whatever asks how it looks; an exception is raised."""

    def __init__(self, answer):
        self._answer = answer

    def _say(self, *_, **__):
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer

    __repr__ = __str__ = _repr_png_ = _repr_html_ = _repr_mimebundle_ = _say


def _values(data):
    text = data.decode("latin1")
    yield from (data, text, bytearray(data), [text] * 20_000, {text: data}, _Odd(text), _Odd(data), _Odd(None), _Odd(ValueError(text)))
    yield from (_Odd((data, {})), _Odd(({"image/png": text, "text/html": data}, {})), type(text[:20].replace("\0", "") or "x", (), {})(), _Odd({"text/html": 7}))
    try:
        yield ast.literal_eval(text)
    except Exception:
        return


def _describe(data):
    """A short text that JSON can carry, whatever the value says of itself."""
    with directory() as place:
        kept, tree.WORK = tree.WORK, place
        try:
            for value in _values(data):
                told = display.describe(value)
                check(type(told) is str and len(told) <= 17_000, f"{len(told)} characters")
                json.loads(json.dumps({"result": told}))
            plots._note(mock.Mock(), data.decode("latin1"), None)
            plots._note(mock.Mock(), data, data.decode("latin1"))
            check(all(name.startswith("result-") for name in os.listdir(place)), "a file of another name")
        finally:
            tree.WORK = kept


TARGETS = [
    Target("py-stat", _stat, [b"python3", b") S 1 2", b"a\nb", b"((((", b"\xff\x00"], [b")", b"(", b" ", b"S", b"1", b"\n"], max_bytes=32, cases=300),
    Target("py-status", _status, [b"python3", b"x\nVmRSS: 9", b"\\n"], [b"VmRSS:", b"VmPTE:", b"\n", b"\t", b"\\"], max_bytes=32, cases=500),
    Target("py-sockets", _diagnosis, [b"\x08\0\5\0" + b"\1\0\0\0" * 9, b"\x24\0\7\0" + b"\xff" * 32, b"\4\0\0\0"], [b"\5\0", b"\7\0", b"\0\0", b"\4\0"], cases=1500),
    Target(
        "py-code",
        _code,
        [b"1", b"x = 1; x;", b"f(1) # ;\n", b"# coding: latin1\n'\xe9'", b"(\n1\n);", b"'''\n;'''", b"\xef\xbb\xbf1"],
        [b";", b"#", b"\n", b"\r", b"\x0c", b"(", b")", b"'''", b"\\", b"\0", b"# coding: utf-16\n", b"lambda:", b"\xff", b" ", b"\t"],
        max_bytes=512,
        cases=1000,
    ),
    Target("py-display", _describe, [b"[1, 2]", b"{'a': 1}", b"iVBORw0KGgo=", b"<html>", b"\xed\xa0\x80"], [b"[", b"{", b"'", b"\0", b"\ud800".replace(b"\\", b"\\"), b"1e999"], max_bytes=512, cases=120),
]
