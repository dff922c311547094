"""The warden: process 1 of a sandbox. It feeds the program, relays and caps its output, keeps the limits, and reports.

Theory of operation
-------------------
The zygote forks the warden into a new process namespace, with one connection to Node. The warden makes the rest of
the sandbox (``_make``), forks the program, which confines itself, and says ``R`` to Node: a ready sandbox waits, at no cost, in
a look at its connection. When the job has come it goes to the program, and one poll loop (``_watch``) runs until the program's first process
has ended or a limit is reached. Then everything in the namespace is killed, first, and what is left in the pipes is
read, second: nobody can write to them any more, so there is an end to it. Where nothing but the program's keeper is left (keeper.py), that
sleeps, and ends with the warden.

Being process 1 makes this simple and hard to get around: whatever the program starts, however it detaches itself, is in this
process namespace, is killed by kill(-1), and becomes the warden's child when its parent is gone. The kernel ignores every
signal from inside the namespace that process 1 has no handler for (pid_namespaces(7)), SIGKILL and SIGSTOP included. If the warden ends, all end.

The program can write anything to its pipes; the warden looks at none of it.
"""

from __future__ import annotations

import json
import os
import select
import signal
import traceback

import files
import frames
import processes
import session
from confine import cgroup, identity, kernel
from make import Settings, Unmade, clear_away, make
from run import Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import NoReturn

#: How long a sandbox that has done its work waits for Node to let go of it.
_LINGER_MS = 1000
_ZYGOTE_ENDED = "the zygote has ended"


def main(connection: socket.socket, pid: int, outer_uid: int, settings: Settings) -> NoReturn:
    """Be the warden of one sandbox, from making it to its end. Runs as process 1 of a new process namespace.

    ``pid``: this process as the zygote knows it. ``outer_uid``: the id, in the zygote's user namespace, that the program
    runs as; 0 for an ordinary user's.
    """
    status = 1
    group = None
    try:
        try:
            # Neither the program nor anything else without capabilities may look into this process (ptrace(2), proc(5)).
            kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
            if settings.own_processes:
                kernel.handle_signal(signal.SIGCHLD, kernel.DEFAULT)
            else:
                _outlive_no_one(settings.zygote)
            try:
                group = _make_group(settings, pid)
                child = make(outer_uid, settings, group)
                if not settings.own_processes and os.getppid() != settings.zygote:
                    raise frames.Broken(_ZYGOTE_ENDED)
            except Unmade as error:
                _send_all(connection, b"F", json.dumps({"layer": error.layer, "message": str(error)}).encode())
            else:
                run = Run(connection, child, group)
                run.rehearse()
                waiting = select.poll()
                waiting.register(connection, select.POLLIN)
                waiting.register(run.ended, select.POLLIN)
                _send_all(connection, b"R", json.dumps({"pid": pid}).encode())
                if connection.fileno() not in [fd for fd, _ in waiting.poll()]:
                    raise frames.Broken("the program was killed before it had a job")  # as when memory runs out: nobody is to get this sandbox
                _serve(connection, run)
                _let_node_go_first(connection)
                status = 0
        except (frames.Broken, BrokenPipeError, ConnectionResetError):
            status = 0  # Node let go of this sandbox: with process 1, all of it goes
        except BaseException:
            traceback.print_exc()  # to the zygote's stderr, for people; Node sees the connection end
        finally:
            if not settings.own_processes:
                # The zygote and Node may end at the same time: the second word must not break off what the first one began.
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
    finally:
        try:
            connection.close()
            clear_away(settings)
            if group is not None:
                identity.take_files_back()
                group.remove()
        finally:
            os._exit(status)


def _make_group(settings: Settings, pid: int) -> cgroup.Group | None:
    if settings.cgroups is None:
        return None
    try:
        return cgroup.Group(settings.cgroups, pid)
    except OSError as error:
        raise Unmade("cgroup", str(error)) from error


def _outlive_no_one(zygote: int) -> None:
    """Not being process 1: be the one that orphans come to, and end the sandbox when the zygote ends, which the kernel tells by a signal (prctl(2))."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    processes.adopt_orphans()

    def end(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise frames.Broken(_ZYGOTE_ENDED)

    signal.signal(signal.SIGTERM, end)
    processes.be_told_of_parents_end()
    if os.getppid() != zygote:
        raise frames.Broken(_ZYGOTE_ENDED)


def _serve(connection: socket.socket, run: Run) -> None:
    """Wait for the one job, run it, report; or be told that a session begins."""
    code = stdin = b""
    unfit = ""
    while True:
        kind, payload = frames.read(connection.fileno())
        if kind == b"C":
            code = payload
        elif kind == b"I":
            stdin = payload
        elif kind == b"A":
            try:
                if not unfit:
                    run.put(payload)
            except files.Unfit as error:
                unfit = str(error)
        elif kind == b"J":
            break
        elif kind == b"S":
            session.serve(connection, run.child, run.group, json.loads(payload))
            return
        elif kind == b"X":
            raise frames.Broken("cancelled before there was a job")
        else:
            raise frames.Broken(f"a frame of type {kind!r}, expected A, C, I, J, S or X")
    if unfit:
        run.refuse(unfit)
        return
    run.begin(json.loads(payload), frames.encode(b"J", payload) + frames.encode(b"C", code), stdin)
    run.watch()
    run.finish()


def _let_node_go_first(connection: socket.socket) -> None:
    """Wait until Node has closed the connection, which it does when the answer is on its way: until then it needs the processors more than our end does."""
    answered = select.poll()
    answered.register(connection, select.POLLIN)
    answered.poll(_LINGER_MS)


def _send_all(connection: socket.socket, kind: bytes, payload: bytes) -> None:
    connection.sendall(frames.encode(kind, payload))
