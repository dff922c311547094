"""One job on its way: the warden's poll loop, from handing the job to the program to the report of how it ended.

Theory of operation
-------------------
One poll loop (``watch``) runs until the program's first process has ended or a limit is reached. Then everything in the process namespace is
killed, first, and what is left in the pipes is read, second: nobody can write to them any more, so there is an end to it (``finish``).

The program can write anything to its pipes; nothing here looks at any of it.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import select
import signal
import socket
import time

import files
import frames
import usage
from confine import tree
from make import Child

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    from confine import cgroup

    class Limits(TypedDict):
        """The payload of frame J."""

        timeout_seconds: float
        cpu_seconds: float
        memory_mb: int
        processes: int
        open_files: int
        file_size_mb: int
        output_mb: float
        files_out: int
        files_out_mb: float


_MB = 1 << 20
#: One read of a pipe, which is what a pipe holds (pipe(7)).
_PIECE_BYTES = 64 << 10
#: What may wait for Node before the program's pipes are left full: a fast printer then waits as it would for a terminal.
_BACKLOG_BYTES = 1 << 20
#: The most that is taken of the program's own word.
_WORD_BYTES = 256 << 10
#: How often the tree's memory and CPU time are looked at, and how often when half of the memory is in use: what a program can
#: take between two looks is how far it can get over its limit.
_TICK_SECONDS = 0.02
_CLOSE_TICK_SECONDS = 0.004
#: How long a little output may wait for more before it is sent: most programs end first, and Node is woken once, for all of it.
_LINGER_SECONDS = 0.003
_LINGER_BYTES = 16 << 10
#: How long Node may take to read the end of a job, or a piece of the files.
_FLUSH_SECONDS = 30.0
#: The limits of a job that is over as soon as it has begun.
_NO_JOB = b'{"timeout_seconds": 0, "cpu_seconds": 1, "memory_mb": 1, "files_out": 0}'

class Run:
    """One job: the state of the poll loop."""

    def __init__(self, connection: socket.socket, child: Child, group: cgroup.Group | None) -> None:
        self.connection = connection
        self.child = child
        self.group = group
        #: What goes to the program: descriptor -> what is left to write.
        self.feeds: dict[int, memoryview] = {}
        #: The program's streams that have not ended: descriptor -> type of frame.
        self.streams = {child.stdout: b"O", child.stderr: b"E"}
        self.word = b""
        #: What Node has not taken yet.
        self.backlog: list[memoryview] = []
        self.backlog_bytes = 0
        #: When to send what waits (monotonic clock), and whether Node has to take some of it first.
        self.send_at = float("inf")
        self.blocked = False
        self.cause = "exit"
        self.wait_status = 0
        self.meter = usage.Meter(child, group)
        self.incoming = b""
        #: The files that were put there for the program, as they were.
        self.given: dict[bytes, files.Known] = {}
        #: True once everything in the sandbox has been killed.
        self.dead = False
        self.ended = os.pidfd_open(child.pid)
        self.poll = select.poll()
        self.poll.register(self.ended, select.POLLIN)
        self.poll.register(child.word, select.POLLIN)
        for fd in (child.stdin, child.stdout, child.stderr, child.job, child.word):
            os.set_blocking(fd, False)

    def rehearse(self) -> None:
        """Go, ahead of the job, where the job will go: after a fork the first write to a page copies it, and takes its time."""
        streams = dict(self.streams)
        self.limits = json.loads(_NO_JOB)
        self.output_left = 0
        self.meter.start()
        self.started = time.monotonic()
        self.watch()  # its time is up at once
        self.poll.poll(0)
        self.dead = True
        self._drain()  # nothing has been printed
        self.connection.settimeout(None)
        nothing = files.collect(tree.WORK, 0, 0, {}, self._queue)
        frames.encode(b"D", self._report(self.limits, resource.getrusage(resource.RUSAGE_CHILDREN), 0, nothing))
        self.cause, self.dead, self.streams = "exit", False, streams

    def put(self, payload: bytes) -> None:
        """Put a file there for the program, which has not started yet. Raises files.Unfit."""
        watch = self.child.watch
        name, known = files.put(tree.WORK, payload) if watch is None else files.put(tree.WORK, payload, watch.admit)
        self.given[name] = known

    def refuse(self, why: str) -> None:
        """Report that the job was not begun."""
        measured = {"exit_code": None, "signal": None, "duration_us": 0, "cpu_us": 0, "peak_memory_bytes": 0}
        report = {"cause": "input", "why": why, **measured, "files_left_out": files.NOTHING_LEFT_OUT}
        self.connection.sendall(frames.encode(b"D", json.dumps(report).encode()))

    def begin(self, limits: Limits, job: bytes, stdin: bytes) -> None:
        """Give the program its job: from here on it is the caller's code that runs."""
        self.meter.start()
        if self.group is not None:
            self.group.limit(usage.limit_of_group(self.child, limits["memory_mb"] * _MB), limits["processes"] + self.child.keeper.count)
        self.started = time.monotonic()
        for fd, data in ((self.child.job, job), (self.child.stdin, stdin)):
            self.feeds[fd] = memoryview(data)
            self._feed(fd)
        self.limits = limits
        self.output_left = int(limits["output_mb"] * _MB)
        os.set_blocking(self.connection.fileno(), False)

    def watch(self) -> None:
        """Run until the program's first process has ended, or a limit is reached."""
        gc.disable()
        poll = self.poll
        connection = self.connection.fileno()
        deadline = self.started + self.limits["timeout_seconds"]
        next_tick = self.started + _TICK_SECONDS
        interested: dict[int, int] = {}
        while True:
            wanted = dict.fromkeys(self.feeds, select.POLLOUT)
            if self.backlog_bytes < _BACKLOG_BYTES:
                wanted.update(dict.fromkeys(self.streams, select.POLLIN))
            wanted[connection] = select.POLLIN | (select.POLLOUT if self.blocked else 0)
            if wanted != interested:
                for fd in interested.keys() - wanted.keys():
                    poll.unregister(fd)
                for fd, events in wanted.items():
                    poll.register(fd, events)
                interested = wanted
            now = time.monotonic()
            if now >= deadline:
                self.cause = "wall"
                return
            if now >= next_tick:
                self.child.keeper.let_go()  # it has the memory of the program, and would count twice
                self._reap(os.WNOHANG)  # orphans would count as processes of the program
                over = self.meter.tick(self.limits["cpu_seconds"], self.limits["memory_mb"] * _MB) or self._beyond()
                if over is not None:
                    self.cause = over
                    return
                next_tick = time.monotonic() + (_CLOSE_TICK_SECONDS if self.meter.near else _TICK_SECONDS)
            if now >= self.send_at:
                self._flush()
            pause = max(0.0, min(deadline, next_tick, self.send_at) - now)
            for fd, events in poll.poll(pause * 1000 + 0.5):
                if self._is_end(fd):
                    return
                if fd == connection:
                    if events & (select.POLLIN | select.POLLHUP | select.POLLERR) and self._cancelled():
                        self.cause = "cancel"
                        return
                    if events & select.POLLOUT:
                        self._flush()
                elif fd == self.child.word:
                    if not self._take_word():
                        poll.unregister(fd)
                elif fd in self.feeds:
                    self._feed(fd)
                elif fd in self.streams and not self._relay(fd):
                    self.cause = "output"
                    return

    def finish(self) -> None:
        """Kill everything, then read what is left in the pipes and in the working directory, then report."""
        stopped = time.monotonic()
        self._kill_all()
        self._drain()
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        left_out = self._collect()
        self._queue(b"D", self._report(self.limits, used, int((stopped - self.started) * 1e6), left_out))
        self._send_all()  # in one go, so that Node wakes once

    def _is_end(self, fd: int) -> bool:
        """Whether an event on ``fd`` is the end of the job."""
        return fd == self.ended

    def _drain(self) -> None:
        """Read what is left in the program's pipes; what is sent from here on waits for Node."""
        while self._take_word():
            pass
        # All writers are gone, so what the pipes hold is all there will be.
        for fd in list(self.streams):
            while fd in self.streams:
                if not self._relay(fd):
                    if self.cause == "exit":
                        self.cause = "output"
                    break
        if self.word:
            self._queue(b"P", self.word)
        self.connection.setblocking(True)
        self.connection.settimeout(_FLUSH_SECONDS)

    def _collect(self) -> files.Report:
        """Send the files that the program left; see files.collect."""
        if self.limits["files_out"] == 0:
            return files.NOTHING_LEFT_OUT
        return files.collect(tree.WORK, self.limits["files_out"], int(self.limits["files_out_mb"] * _MB), self.given, self._pass_on)

    def _pass_on(self, kind: bytes, payload: bytes) -> None:
        """A frame to Node, once everything is dead: little ones together, and never much at a time."""
        self._queue(kind, payload)
        if self.backlog_bytes > _BACKLOG_BYTES:
            self._send_all()

    def _send_all(self) -> None:
        self.connection.sendall(b"".join(self.backlog))
        self.backlog, self.backlog_bytes = [], 0

    def _beyond(self) -> str | None:
        """The limit that is reached of those that only a sandbox without namespaces has to look after itself."""
        if self.child.watch is None:
            return None
        pids = self.child.reach.pids()
        # Above the limit because the user's other processes ended meanwhile (limits.py): it is kept within twice.
        if not self.child.own_count and self.meter.threads > 2 * self.limits["processes"]:
            return "processes"
        return "disk_full" if self.child.watch.over(pids, self.limits["file_size_mb"]) else None

    def _report(self, limits: Limits, used: resource.struct_rusage, duration_us: int, left_out: files.Report) -> bytes:
        """The payload of frame D."""
        cpu_us = self.meter.cpu_us(used)
        exit_code, signal_number = None, None
        if os.WIFSIGNALED(self.wait_status):
            signal_number = os.WTERMSIG(self.wait_status)
        else:
            exit_code = os.WEXITSTATUS(self.wait_status)
        cause = self.cause
        if cause == "exit" and signal_number in (signal.SIGXCPU, signal.SIGKILL) and cpu_us >= limits["cpu_seconds"] * 1e6:
            cause = "cpu"  # the kernel was quicker than the tick
        if cause == "exit" and signal_number == signal.SIGKILL and self.group is not None and self.group.hit_memory_limit():
            cause = "memory"
        report = {
            "cause": cause,
            "exit_code": exit_code,
            "signal": signal_number,
            "duration_us": duration_us,
            "cpu_us": cpu_us,
            "peak_memory_bytes": self.meter.peak_bytes(used),
            "files_left_out": left_out,
        }
        return json.dumps(report, ensure_ascii=False).encode()

    def _feed(self, fd: int) -> None:
        """Write what the pipe takes; close it when all is written or nobody reads any more."""
        left = self.feeds[fd]
        try:
            while left:
                left = left[os.write(fd, left) :]
        except BlockingIOError:
            self.feeds[fd] = left
            return
        except (BrokenPipeError, ConnectionResetError):
            pass
        del self.feeds[fd]
        os.close(fd)

    def _relay(self, fd: int) -> bool:
        """Pass on one piece of a stream. False when that was more than the job may print."""
        try:
            piece = os.read(fd, _PIECE_BYTES)
        except BlockingIOError:
            # Only possible after the end, when somebody outside our reach still held the pipe: take it as the end.
            if self.dead:
                del self.streams[fd]
            return True
        if not piece:
            del self.streams[fd]
            return True
        within = piece[: self.output_left]
        self.output_left -= len(within)
        if within:
            if not self.backlog:
                self.send_at = time.monotonic() + _LINGER_SECONDS
            self._queue(self.streams[fd], within)
            if self.backlog_bytes > _LINGER_BYTES:
                self._flush()
        return len(within) == len(piece)

    def _take_word(self) -> bool:
        """Read a piece of the program's own word. False at its end, or when there is nothing more just now."""
        try:
            piece = os.read(self.child.word, _PIECE_BYTES)
        except BlockingIOError:
            return False
        if len(self.word) < _WORD_BYTES:
            self.word += piece[: _WORD_BYTES - len(self.word)]
        return bool(piece)

    def _cancelled(self) -> bool:
        """Read what Node sent. Raises Broken when it let go."""
        try:
            piece = os.read(self.connection.fileno(), 4096)
        except BlockingIOError:
            return False
        if not piece:
            raise frames.Broken("Node let go of the sandbox")
        self.incoming += piece
        # X, the only frame that may come now, is five bytes.
        if len(self.incoming) < 5:
            return False
        if self.incoming != frames.encode(b"X", b""):
            raise frames.Broken(f"{self.incoming[:5]!r} while the program runs, expected X")
        return True

    def _queue(self, kind: bytes, payload: bytes) -> None:
        frame = frames.encode(kind, payload)
        self.backlog.append(memoryview(frame))
        self.backlog_bytes += len(frame)

    def _flush(self) -> None:
        """Send what Node takes now."""
        self.send_at = float("inf")
        self.blocked = False
        try:
            while self.backlog:
                sent = self.connection.send(self.backlog[0])
                self.backlog_bytes -= sent
                if sent == len(self.backlog[0]):
                    self.backlog.pop(0)
                else:
                    self.backlog[0] = self.backlog[0][sent:]
        except BlockingIOError:
            self.blocked = True

    def _kill_all(self) -> None:
        """Kill and reap everything in this sandbox but us."""
        if self.cause == "exit" and self.child.keeper.is_all_there_is():
            # It sleeps, and nobody is left who could wake it: it ends with us.
            self._note_end(os.waitpid(self.child.pid, 0)[1])
            self.dead = True
            return
        if self.group is not None:
            self.group.kill()
        reach = self.child.reach
        while not reach.again or self._reap(os.WNOHANG):
            try:
                reach.kill()
            except ProcessLookupError:
                pass
            if not reach.again and not self._reap(0):
                break
        self.dead = True

    def _reap(self, options: int) -> bool:
        """Take the status of dead children, waiting as ``options`` say (waitpid(2)). False when there are no children left."""
        while True:
            try:
                pid, status = os.waitpid(-1, options)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.child.pid:
                self._note_end(status)

    def _note_end(self, wait_status: int) -> None:
        """The program's first process has been reaped."""
        self.wait_status = wait_status
