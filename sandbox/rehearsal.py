"""A rehearsal in the zygote of what every warden and every program will do, so that none of them does it for the first time.

Theory of operation
-------------------
An interpreter learns from what it runs: after a few calls of a function it has bytecode for the kinds of objects that come by (PEP 659), and it keeps what it
has looked up. What a sandbox's processes learn is lost with them, and to learn is to write, each time to a page that was shared with the zygote and is copied
for it. Learned here, before the first fork, it is there in all of them.

Nothing of it stays but what was learned: no file, no process, no descriptor. Nothing is killed, and nothing runs but our own code.
"""

from __future__ import annotations

import os
import socket

import frames
import program
from make import Child
from run import Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from run import Limits

#: CPython 3.11 specializes a function after eight calls; others need fewer.
_ROUNDS = 12

#: A job that is over as soon as it has begun, and leaves no files.
_LIMITS: Limits = {
    "timeout_seconds": 0, "cpu_seconds": 1, "memory_mb": 1, "processes": 1, "open_files": 1, "file_size_mb": 1, "output_mb": 1, "files_out": 0, "files_out_mb": 1,
}  # fmt: skip


class _Rehearsed(Run):
    """A run of this very process, which is not killed at its end."""

    def _kill_all(self) -> None:
        self.dead = True


def rehearse() -> None:
    """Go through a job, on both sides, as often as it takes. Call it with one thread, before anything is forked."""
    for _ in range(_ROUNDS):
        program.rehearse()
        _run()


def _run() -> None:
    """The warden's part: the zygote is its own program, and what it is sent goes nowhere."""
    connection, node = socket.socketpair()
    stdin, stdout, stderr, job, word = (os.pipe() for _ in range(5))
    run = _Rehearsed(connection, Child(os.getpid(), stdin[1], stdout[0], stderr[0], job[1], word[0]), None)
    run.rehearse()
    os.write(stdout[1], b"1\n")
    for fd in (stdout[1], stderr[1], word[1]):
        os.close(fd)
    run.begin(_LIMITS, frames.encode(b"C", b""), b"")
    run.watch()
    run.finish()
    for fd in (stdin[0], stdout[0], stderr[0], job[0], word[0], run.ended):
        os.close(fd)
    connection.close()
    node.close()
