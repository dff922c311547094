"""What is read from Node, and from the control sockets of a session's states."""

import json
import os
import select
import socket

import files
import frames
import run
import session
import states
import warden
from fuzz.target import Target, check, directory

_WORDS = [b"A", b"C", b"I", b"J", b"X", b"S", b"K", b"\0\0\0\0X", b"\0\0\0\1C", b"\0\0\0\5A", b"\0\1a", b"{}", b"\0\0\0"]
_SEEDS = [
    frames.encode(b"X", b""),
    frames.encode(b"A", b"\0\3a/bxyz") + frames.encode(b"C", b"print(1)") + frames.encode(b"I", b"") + frames.encode(b"J", b"{}"),
    frames.encode(b"K", b'{"drop": [1, 2]}') + frames.encode(b"X", b""),
    b"\xff\xff\xff\xffC",
    b"\0\0\0",
]


def _expected(data):
    """The frames in ``data`` as they are in the specification."""
    found = []
    while len(data) >= 5:
        size = int.from_bytes(data[:4], "big")
        if size > frames.MAX_PAYLOAD_BYTES or len(data) < 5 + size:
            break
        found.append((data[4:5], data[5 : 5 + size]))
        data = data[5 + size :]
    return found


def _pieces(data):
    """So few that a socket holds all of them: each takes a kilobyte of the buffer, however little is in it."""
    size = max(1 + len(data) % 7, len(data) // 64)
    return [data[at : at + size] for at in range(0, len(data), size)]


def _read_frames(data):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        found = []
        try:
            while True:
                found.append(frames.read(ours.fileno()))
        except frames.Broken:
            pass
    check(found == _expected(data), f"{found} of {data!r}")


def _read_session_frames(data):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        one = session.Session.__new__(session.Session)
        one._connection, one._incoming, one._clocks = ours, b"", {}
        one._look = lambda: None
        found = []
        try:
            for piece in _pieces(data):
                theirs.sendall(piece)
            theirs.shutdown(socket.SHUT_WR)
            while True:
                found.append(one._frame())
        except frames.Broken:
            pass
    check(found == _expected(data), f"{found} of {data!r}")


def _cancelled(data):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        one = run.Run.__new__(run.Run)
        one.connection, one.incoming = ours, b""
        check(not one._cancelled(), "nothing was sent")
        said = b""
        try:
            for piece in _pieces(data):
                theirs.sendall(piece)
                said += piece
                is_cancel = one._cancelled()
                check(is_cancel == (said == frames.encode(b"X", b"")), f"{is_cancel} for {said!r}")
                if is_cancel:
                    return
        except frames.Broken:
            check(len(said) >= 5 and said[:5] != frames.encode(b"X", b"") or len(said) > 5, f"refused {said!r}")


class _BecameSession(Exception):
    """A frame S came first: from there on it is a session's."""


class _Recorder:
    """In the place of a Run: what the warden would do with the job."""

    def __init__(self, where):
        self.where = where
        self.done = []

    @property
    def child(self):
        raise _BecameSession

    def put(self, payload):
        self.done.append(files.put(self.where, payload))

    def refuse(self, why):
        self.done.append(why)

    def begin(self, limits, job, stdin):
        del limits
        json.loads(frames.encode(b"J", b"")[5:] or b"null")
        self.done.append((job, stdin))

    def watch(self):
        pass

    def finish(self):
        pass


def _take_job(data):
    """The job of one sandbox: it begins once, with what was sent, or not at all; no file lies outside."""
    with directory() as place:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.sendall(data)
            theirs.shutdown(socket.SHUT_WR)
            recorder = _Recorder(place)
            try:
                warden._serve(ours, recorder)
            except (frames.Broken, ValueError, RecursionError):
                return  # what Node sends as J is JSON; a warden that finds it is not ends, and its sandbox with it
            except _BecameSession:
                return


def _hear(data):
    """A state says what it wants: the end of a step is heard only from the worker itself, as its first two bytes."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        ours.setblocking(False)
        step = session.Step.__new__(session.Step)
        step.worker = session.State.__new__(session.State)
        step.worker.control, step.worker.pid = ours, os.getpid() if len(data) % 2 else 1
        step.said, step._heard, step.poll = None, b"", select.poll()
        step.poll.register(ours, select.POLLIN)
        is_end = False
        for piece in _pieces(data):
            theirs.sendall(piece)
            is_end = step._is_end(ours.fileno()) or is_end
        is_worker = step.worker.pid == os.getpid()
        ended = data[1] if is_worker and data[:1] == states.ENDED and len(data) > 1 else None
        check(step.said == ended and is_end == (ended is not None), f"{step.said} of {data!r}")


def _put(data):
    """A file is where it belongs, whole, or there are words for why not."""
    with directory() as place:
        try:
            name, known = files.put(place, data)
        except files.Unfit as error:
            check(str(error).isprintable() and len(str(error)) < 500, repr(str(error)))
            return
        size = int.from_bytes(data[:2], "big")
        check(name == data[2 : 2 + size], "another name")
        with open(os.path.join(os.fsencode(place), name), "rb") as file:
            check(file.read() == data[2 + size :], "another content")
        check(known["bytes"] == len(data[2 + size :]), "another size")


_NAMES = [b"\0\1a", b"\0\3a/bxyz", b"\0\x05../..x", b"\0\2\xc3\xbcx", b"\xff\xffa", b"\0\0", b"\0\4a\0bcx", b"\1\x90" + b"n/" * 200]

TARGETS = [
    Target("py-frames", _read_frames, _SEEDS, _WORDS, cases=1500),
    Target("py-session-frames", _read_session_frames, _SEEDS, _WORDS, cases=1500),
    Target("py-cancelled", _cancelled, [*_SEEDS, b"\0\0\0\0XX"], _WORDS, max_bytes=64, cases=1500),
    Target("py-job", _take_job, _SEEDS, _WORDS, cases=400),
    Target("py-control", _hear, [b"e\0", b"h", b"he\0", b"e\xff", b"ee"], [b"e", b"h", b"f", b"\0"], max_bytes=64, cases=1500),
    Target("py-put", _put, _NAMES, [b"/", b"..", b".", b"\0", b"a", b"\0\1", b"\0\5", b"\xff"], max_bytes=2048, cases=800),
]
