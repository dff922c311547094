"""The warden's side of a session: a sandbox that many jobs use, one after the other, each beginning in a state that an earlier one left.

Theory of operation
-------------------
A state is a process that stands still in a read, and a snapshot of the files (snapshot.py). State 0 is the program's process as it waited for its job. For a step
the warden asks the process of the state it begins in to fork a worker (states.py), and sends that the code. If the worker's code ends, however it ends, the worker
is the next state. If it reaches a limit, is cancelled or dies, it is killed with all it started, the files are brought back, and it is as if the step had
never been.

Everything that ran the caller's code is hostile, states included, and what they say is not believed:
- who the worker is, the kernel says with its message (SO_PASSCRED); whether it lives, its pidfd says; how it died, waitpid(2), for it is the warden's child (states.py).
- between steps everything is stopped, and so uses nothing. What a program arranged to be continued by (a timer that sends SIGCONT) is seen by the clocks of the states,
  looked at every two seconds, and ends the session.
- at the end of a step all is stopped in one go (kill(2) with -1; a fork is not completed while a signal is pending, kernel/fork.c), and what is no state is killed,
  again and again until a look finds nothing. A program can kill a state by number; it then has lost that state, and its session only.

The next worker is forked ahead, when a step has been answered, from the state that most likely comes next: a step then costs what a single call does.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
import struct
import time

import files
import frames
import snapshot
import states
import step_usage
import usage
from confine import tree
from make import Child
from run import Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    from confine import cgroup
    from run import Limits

    class Settings(TypedDict):
        """The payload of frame S."""

        memory_mb: int
        disk_mb: int

_MB = 1 << 20
#: How often it is looked whether the states stand still.
_LOOK_SECONDS = 2.0
#: How long a state may take to fork.
_FORK_SECONDS = 10.0
#: How often what is no state is killed before the session is given up, and how long the killed may take to be gone each time.
_ROUNDS = 50
_DYING_SECONDS = 5.0
_CREDENTIALS = struct.Struct("=iII")  # struct ucred, unix(7)


class GivenUp(Exception):
    """The session can't go on; the message says why."""


class State:
    """A process that stands still, and the files that belong to it."""

    def __init__(self, pid: int, control: socket.socket, depth: int) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.control = control
        #: Steps from state 0 to here.
        self.depth = depth
        self.directory = tree.WORK
        self.files: snapshot.Snapshot | None = None
        #: Memory, shared or not, that is no file's: it stands still like the process.
        self.bytes = 0

    @property
    def is_alive(self) -> bool:
        return not _is_dead(self.pidfd)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to this process, and no other that got its number."""
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            pass

    def kill(self) -> int:
        """Kill it, and let go of all but the pidfd, which is returned."""
        self.send(signal.SIGKILL)
        self.control.close()
        return self.pidfd


class Step(Run):
    """One step: as Run, but a worker that says that its code has ended stays."""

    def __init__(self, connection: socket.socket, child: Child, worker: State, meter: step_usage.StepMeter) -> None:
        super().__init__(connection, child, None)
        self.meter = self.step_meter = meter
        self.worker = worker
        #: What the worker said its code ended with; None until then.
        self.said: int | None = None
        self._heard = b""
        self._is_reaped = False
        worker.control.setblocking(False)
        self.poll.register(worker.control, select.POLLIN)

    def _is_end(self, fd: int) -> bool:
        if fd != self.worker.control.fileno():
            return super()._is_end(fd)
        heard = _hear(self.worker.control)
        if heard is None:
            self.poll.unregister(fd)  # closed by the code: only its death is told now
            return False
        # Only the worker itself is listened to: its children have this socket, too.
        if heard[1] == self.worker.pid:
            self._heard = (self._heard + heard[0])[:2]
        if len(self._heard) == 2 and self._heard[:1] == states.ENDED:
            self.said = self._heard[1]
        return self.said is not None

    def _note_end(self, wait_status: int) -> None:
        super()._note_end(wait_status)
        self._is_reaped = True

    def stop(self, states: set[int]) -> bool:
        """Everything stands still from here on. Whether the worker can be the next state."""
        self.stopped = time.monotonic()
        _stop_all()
        self.step_meter.end(pid for pid in step_usage.processes() if pid not in states)
        return self.cause == "exit" and self.said is not None and self.worker.is_alive

    def drain(self) -> None:
        """Read what is left; what is not kept has been killed."""
        self.dead = True
        self._reap(os.WNOHANG)
        self._drain()
        for fd in (self.child.stdout, self.child.stderr, self.child.word, *self.feeds, self.ended):
            os.close(fd)

    def discard(self) -> int:
        """Let go of a step that never began; returns the pidfd of its worker, which was killed."""
        for fd in (self.child.stdin, self.child.stdout, self.child.stderr, self.child.job, self.child.word, self.ended):
            os.close(fd)
        return self.worker.kill()

    def reap(self) -> None:
        """Take the status of the worker, if it was killed after all."""
        self._reap(os.WNOHANG)

    def answer(self, state: int | None, memory_bytes: int, disk_bytes: int) -> None:
        """Send the files that are new or changed, where the step is kept, and the report."""
        left_out = files.NOTHING_LEFT_OUT if state is None else self._collect()
        if state is not None:
            self.wait_status = (self.said or 0) << 8
        report = json.loads(self._report(self.limits, resource.getrusage(resource.RUSAGE_CHILDREN), int((self.stopped - self.started) * 1e6), left_out))
        if state is None and not self._is_reaped:
            report["exit_code"] = report["signal"] = None
        report.update(state=state, memory_bytes=memory_bytes, disk_bytes=disk_bytes)
        self._queue(b"D", json.dumps(report).encode())
        self._send_all()
        self.connection.settimeout(None)


class Session:
    """All states of one session, and the connection to Node."""

    def __init__(self, connection: socket.socket, child: Child, group: cgroup.Group | None, settings: Settings) -> None:
        self._connection = connection
        self._group = group
        self._memory_bytes = settings["memory_mb"] * _MB
        self._store = snapshot.Store(tree.WRITABLE, settings["disk_mb"] * _MB)
        self._incoming = b""
        self._next_id = 1
        control = socket.socket(fileno=child.job)
        control.setblocking(True)
        control.sendall(frames.encode(b"S", b""))
        for fd in (child.stdin, child.stdout, child.stderr, child.word):
            os.close(fd)
        first = State(child.pid, control, 0)
        first.files = self._store.take(None)
        first.bytes = _bytes_of(first.pid)
        self._states = {0: first}
        #: Which state's the files are just now; None when they are to be brought back.
        self._files_of: int | None = 0
        #: A step that was made ready ahead, and the state it begins in.
        self._ahead: tuple[int, Step] | None = None
        #: The step that is under way.
        self._running: Step | None = None
        #: Processes that were dropped and are on their way out, which takes its time with much memory: number and pidfd.
        self._dying: list[tuple[int, int]] = []
        self._clocks: dict[int, int] = {}
        self._before_us = 0

    def serve(self) -> None:
        """Do what Node asks until it lets go. Raises GivenUp, or Broken at the end."""
        code = stdin = b""
        given: list[bytes] = []
        likely = 0
        self._before_us = step_usage.cpu_total_us([self._states[0].pid], ())
        while True:
            self._make_ready(likely)
            kind, payload = self._frame()
            if kind == b"C":
                code = payload
            elif kind == b"I":
                stdin = payload
            elif kind == b"J":
                job = json.loads(payload)
                likely = self._step(job, job.pop("from"), code, stdin, given)
                code, stdin, given = b"", b"", []
            elif kind == b"A":
                given.append(payload)  # put when the files are those of the state that it is for
            elif kind == b"K":
                for state in json.loads(payload)["drop"]:
                    self._drop(state)
            elif kind != b"X":  # a cancel may come when its step has just ended
                raise frames.Broken(f"a frame of type {kind!r}, expected A, C, I, J, K or X")

    # Frames

    def _frame(self) -> tuple[bytes, bytes]:
        """The next frame; while none comes, look whether the states stand still."""
        self._clocks = {}
        wait = select.poll()
        wait.register(self._connection, select.POLLIN)
        while True:
            size = int.from_bytes(self._incoming[:4], "big") if len(self._incoming) >= 5 else 0
            if size > frames.MAX_PAYLOAD_BYTES:
                raise frames.Broken(f"a frame of {size} bytes, expected at most {frames.MAX_PAYLOAD_BYTES}")
            if len(self._incoming) >= 5 + size:
                frame, self._incoming = self._incoming[: 5 + size], self._incoming[5 + size :]
                return frame[4:5], frame[5:]
            if not wait.poll(_LOOK_SECONDS * 1000):
                self._look()
                continue
            piece = self._connection.recv(1 << 20)
            if not piece:
                raise frames.Broken("Node let go of the session")
            self._incoming += piece

    def _look(self) -> None:
        """Raises GivenUp when anything used a processor since the last look."""
        self._bury()
        held = list(self._states.values()) + ([self._ahead[1].worker] if self._ahead else [])
        clocks = {state.pid: step_usage.clock_ns(state.pid) for state in held}
        if any(self._clocks.get(pid, now) != now for pid, now in clocks.items()):
            raise GivenUp("something of the session ran between two of its steps")
        self._clocks = clocks

    # States

    def _bury(self) -> None:
        """Forget the states that a program killed: their numbers may be others' soon."""
        for number, state in list(self._states.items()):
            if not state.is_alive:
                self._drop(number)

    def _drop(self, number: int) -> None:
        if self._ahead is not None and self._ahead[0] == number:
            self._let_go_of_ahead()
        state = self._states.pop(number, None)
        if state is None:
            return
        self._dying.append((state.pid, state.kill()))
        if state.files is not None:
            self._store.drop(state.files)
        if self._files_of == number:
            self._files_of = None
        self._reap()

    def _let_go_of_ahead(self) -> None:
        if self._ahead is not None:
            self._dying.append((self._ahead[1].worker.pid, self._ahead[1].discard()))
            self._ahead = None
            self._reap()

    def _reap(self) -> None:
        """Reap the dead. A step that is under way takes the status of its worker as it does so: whoever reaps first is the only one to be told."""
        if self._running is not None:
            self._running.reap()
        else:
            _reap_children()

    def _make_ready(self, number: int) -> None:
        """See that a step is ready that begins in a state; there is none when the state is lost, or there are too many."""
        if self._ahead is not None and not self._ahead[1].worker.is_alive:
            self._let_go_of_ahead()  # killed while it waited, and not by the code that it was to run
        if self._ahead is not None or number not in self._states or len(self._states) >= states.MAX_STATES:
            return
        forked = self._fork(number)
        if forked is not None:
            child, worker = forked
            meter = step_usage.StepMeter(child, (one.pid for one in self._states.values()), self._before_us)
            self._ahead = number, Step(self._connection, child, worker, meter)

    def _fork(self, number: int) -> tuple[Child, State] | None:
        """Have a state fork a worker, which then stands still. None when it does not: the state is lost, and dropped."""
        state = self._states[number]
        pipes = [os.pipe() for _ in range(4)]
        stdin, stdout, stderr, word = pipes
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        given = struct.pack("=5i", stdin[0], stdout[1], stderr[1], theirs.fileno(), word[1])
        pid = 0
        try:
            state.control.sendmsg([states.FORK], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, given)], socket.MSG_DONTWAIT)
            state.send(signal.SIGCONT)
            pid = self._await_hello(state, ours)
        except OSError:
            pass
        state.send(signal.SIGSTOP)
        for fd in (stdin[0], stdout[1], stderr[1], word[1]):
            os.close(fd)
        theirs.close()
        if pid > 1 and pid not in {other.pid for other in self._states.values()}:
            try:
                worker = State(pid, ours, state.depth + 1)
                worker.send(signal.SIGSTOP)
                _await_middle(pid)
                return Child(pid, stdin[1], stdout[0], stderr[0], os.dup(ours.fileno()), word[0]), worker
            except ProcessLookupError:
                pass
        for fd in (stdin[1], stdout[0], stderr[0], word[0]):
            os.close(fd)
        ours.close()
        self._drop(number)
        return None

    def _await_hello(self, state: State, control: socket.socket) -> int:
        """The process that says hello, as the kernel names it; 0 when none does."""
        deadline = time.monotonic() + _FORK_SECONDS
        wait = select.poll()
        wait.register(control, select.POLLIN)
        wait.register(state.pidfd, select.POLLIN)
        while True:
            ready = wait.poll(max(0.0, deadline - time.monotonic()) * 1000)
            if control.fileno() not in [fd for fd, _ in ready]:
                return 0
            heard = _hear(control)
            if heard is None:
                return 0
            if heard[0] == states.HELLO:
                return heard[1]

    def _clear(self, spared: set[int]) -> None:
        """Kill everything but the processes ``spared``, which stand still. Raises GivenUp when there is no end to it."""
        for _ in range(_ROUNDS):
            _stop_all()
            for pid, fd in self._dying[:]:
                if _is_dead(fd):
                    self._dying.remove((pid, fd))
                    os.close(fd)
            # What has been sent SIGKILL does not come back from the kernel, and these have stood still before.
            passed = spared.union(pid for pid, _ in self._dying)
            alive: dict[int, int] = {}
            for pid in step_usage.processes():
                if pid in passed:
                    continue
                try:
                    fd = os.pidfd_open(pid)
                except OSError:
                    continue  # gone meanwhile
                # The state in /proc would not do: a process whose first thread has ended is called a zombie there, while others of it run.
                if _is_dead(fd):
                    os.close(fd)
                else:
                    alive[fd] = pid
            if not alive:
                return
            for fd in alive:
                try:
                    signal.pidfd_send_signal(fd, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            deadline = time.monotonic() + _DYING_SECONDS
            dying = select.poll()
            for fd in alive:
                dying.register(fd, select.POLLIN)
            left = set(alive)
            while left and time.monotonic() < deadline:
                for fd, _ in dying.poll((deadline - time.monotonic()) * 1000):
                    dying.unregister(fd)
                    left.discard(fd)
            for fd in alive:
                os.close(fd)
        raise GivenUp("the program left processes that could not be ended")

    # Steps

    def _step(self, limits: Limits, start: int, code: bytes, stdin: bytes, given: list[bytes]) -> int:
        """Run one step from the state ``start``, and answer. Returns the state that the next one most likely begins in."""
        if self._ahead is not None and self._ahead[0] != start:
            self._let_go_of_ahead()
        if start in self._states and self._files_of != start:
            self._bring_back(start)
        self._make_ready(start)
        if self._ahead is None:
            self._refuse("lost" if start not in self._states else "states")
            return start
        step = self._ahead[1]
        worker = step.worker
        if limits["files_out"] > 0:
            step.given = files.index(tree.WORK)
        try:
            for payload in given:
                self._files_of = None
                step.put(payload)
        except files.Unfit as error:
            self._refuse("input", why=str(error))
            self._bring_back(start)
            return start
        self._ahead = None
        self._running = step
        job = {**limits, "step": worker.depth, "directory": self._states[start].directory}
        if self._group is not None:
            # The step's own limits are kept by its meter: the cgroup has all the states in it, too.
            most_bytes = self._memory_bytes + limits["memory_mb"] * _MB
            self._group.limit(most_bytes - usage.file_system_bytes(), limits["processes"] + states.MAX_STATES + 1)
        step.begin(limits, frames.encode(b"J", json.dumps(job).encode()) + frames.encode(b"C", code), stdin)
        worker.send(signal.SIGCONT)
        self._files_of = None
        # A cancel that came close behind the job has been read with it.
        step.incoming, self._incoming = self._incoming, b""
        if step.incoming == frames.encode(b"X", b""):
            step.cause = "cancel"
        else:
            step.watch()
        self._incoming += step.incoming if len(step.incoming) < 5 else b""
        made = self._end(step, start)
        self._running = None
        if made is None:
            if start in self._states:
                self._bring_back(start)
            made = start
        self._before_us = step_usage.cpu_total_us([one.pid for one in self._states.values()], ())
        return made

    def _end(self, step: Step, start: int) -> int | None:
        """End a step and answer: keep the worker as a state, whose number is returned, or undo."""
        held = {one.pid for one in self._states.values()}
        keeps = step.stop(held)
        self._bury()
        held = {one.pid for one in self._states.values()}
        worker = step.worker
        self._clear(held | {worker.pid} if keeps else held)
        step.drain()
        keeps = keeps and step.cause == "exit" and worker.is_alive
        known = self._states[start].files if start in self._states else None
        # Where all there is would fit into what is left, the answer need not wait for the snapshot. Nothing runs before it is taken.
        is_roomy = self._store.left_bytes >= usage.file_system_bytes()
        if keeps and not is_roomy:
            try:
                self._keep_files(worker, known)
            except snapshot.Full:
                step.cause = "disk"
                keeps = False
        if not keeps:
            killed = worker.kill()
            self._clear(held)
            os.close(killed)
            step.reap()
            step.answer(None, self._held_bytes(), self._store.used_bytes)
            return None
        made = self._next_id
        self._next_id += 1
        worker.bytes = _bytes_of(worker.pid)
        self._states[made] = worker
        step.answer(made, self._held_bytes(), self._store.used_bytes)
        if worker.files is None:
            self._keep_files(worker, known)
        self._files_of = made
        return made

    def _keep_files(self, worker: State, known: snapshot.Snapshot | None) -> None:
        """Take the snapshot of a new state. Raises Full, or GivenUp."""
        _wait_until_stopped(worker.pid)
        try:
            worker.files = self._store.take(known)
        except (snapshot.Changed, OSError) as error:
            raise GivenUp(f"the files could not be looked at: {error}") from error
        worker.directory = _directory_of(worker.pid)

    def _held_bytes(self) -> int:
        """Memory of all states and files. An upper bound, unless that is over the cap: then the exact sum of shares."""
        outside = step_usage.outside_bytes()
        bound = sum(one.bytes for one in self._states.values()) + outside
        if bound <= self._memory_bytes:
            return bound
        return sum(usage.exact(str(one.pid)) + usage.page_tables(str(one.pid)) for one in self._states.values()) + outside

    def _bring_back(self, number: int) -> None:
        kept = self._states[number].files
        if kept is None:
            raise GivenUp("a state has no files")
        try:
            self._store.bring_back(kept)
        except (snapshot.Changed, OSError) as error:
            raise GivenUp(f"the files could not be brought back: {error}") from error
        self._files_of = number

    def _refuse(self, cause: str, **more: str) -> None:
        """Answer a step that could not begin."""
        report: dict[str, object] = {"cause": cause, "exit_code": None, "signal": None, "duration_us": 0, "cpu_us": 0, "peak_memory_bytes": 0}
        report.update(more, files_left_out=files.NOTHING_LEFT_OUT, state=None, memory_bytes=self._held_bytes(), disk_bytes=self._store.used_bytes)
        self._connection.sendall(frames.encode(b"D", json.dumps(report).encode()))


def serve(connection: socket.socket, child: Child, group: cgroup.Group | None, settings: Settings) -> None:
    """Serve one session until Node lets go of it, or it has to be given up."""
    try:
        Session(connection, child, group, settings).serve()
    except GivenUp as error:
        connection.settimeout(_DYING_SECONDS)
        connection.sendall(frames.encode(b"F", json.dumps({"layer": "session", "message": str(error)}).encode()))


def _is_dead(pidfd: int) -> bool:
    """Whether all of a process has ended."""
    look = select.poll()  # not select(2), which takes no descriptor above 1023
    look.register(pidfd, select.POLLIN)
    return bool(look.poll(0))


def _stop_all() -> None:
    """Stop everything in this process namespace but us."""
    try:
        os.kill(-1, signal.SIGSTOP)
    except ProcessLookupError:
        pass


def _reap_children() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0] != 0:
            pass
    except ChildProcessError:
        pass


def _hear(control: socket.socket) -> tuple[bytes, int] | None:
    """What was said on a control socket, and by which process. None at its end."""
    try:
        said, extra, _, _ = control.recvmsg(64, socket.CMSG_SPACE(_CREDENTIALS.size), socket.MSG_DONTWAIT)
    except BlockingIOError:
        return b"", 0
    except OSError:
        return None
    if not said:
        return None
    for level, kind, data in extra:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            return said, _CREDENTIALS.unpack(data)[0]
    return said, 0


def _wait_until_stopped(pid: int) -> None:
    """Wait until every thread of a process that was sent SIGSTOP has noticed. Raises GivenUp."""
    deadline = time.monotonic() + _DYING_SECONDS
    while time.monotonic() < deadline:
        try:
            threads = os.listdir(f"/proc/{pid}/task")
        except FileNotFoundError:
            return
        if all(step_usage.stat_fields(f"{pid}/task/{thread}")[:1] in ([], [b"T"], [b"Z"]) for thread in threads):
            return
        time.sleep(0.0002)
    raise GivenUp("the program could not be stopped")


def _await_middle(pid: int) -> None:
    """Wait until a worker is our child: what forked it then is gone, with its copy of a state's memory, and does not have to be killed in the step's time."""
    deadline = time.monotonic() + _FORK_SECONDS
    while time.monotonic() < deadline and step_usage.stat_fields(str(pid))[1:2] not in ([], [b"1"]):
        time.sleep(0.0005)


def _bytes_of(pid: int) -> int:
    return step_usage.anonymous_bytes(pid) + usage.page_tables(str(pid))


def _directory_of(pid: int) -> str:
    """The working directory of a process; that of all where it is none any more."""
    try:
        directory = os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return tree.WORK
    return tree.WORK if directory.endswith(" (deleted)") else directory
