"""Whether the runs of a root's server, which have ids of their own in tiers without namespaces, could work: tried with such an id, before there is any run."""

from __future__ import annotations

import os
import signal

from confine import identity, tree

#: Of an installation: without one of these it is none.
_PARTS = ("bin", "lib", "lib64", "pyvenv.cfg")


def check(uid: int, directory: str, what: tree.Plan) -> list[str]:
    """Try to reach ``directory``, and all that ``what`` opens, as ``uid``, and to see its processes. Returns what of it is closed and no loss.

    Raises OSError with what to do.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            identity.become(uid)
            closed = [] if os.access(directory, os.X_OK) else [directory]
            closed += [path for path in what.bound if not os.access(path, os.R_OK | os.X_OK if os.path.isdir(path) else os.R_OK)]
            os.write(writer, b"\n".join(map(os.fsencode, ["", *closed])) + b"\n")
            signal.pause()
        finally:
            os._exit(1)
    os.close(writer)
    said = os.read(reader, 1 << 16)
    os.close(reader)
    seen = os.path.exists(f"/proc/{pid}/stat")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    if not seen:
        raise OSError("/proc hides the processes of others here (hidepid): the runs, which have ids of their own, could not be watched")
    closed = [os.fsdecode(path) for path in said.split(b"\n") if path]
    if directory in closed:
        raise OSError(f"{directory} can't be reached by the ids of the runs: set TMPDIR to a directory that everyone may pass through")
    # Parts of the system that only root may look at are no loss; the interpreter is.
    needed = [os.path.dirname(os.path.realpath(os.__file__)), *(os.path.join(prefix, part) for prefix in tree.prefixes() for part in _PARTS)]
    for path in closed:
        if any(need == path or need.startswith(path + "/") or path.startswith(need + "/") for need in needed):
            raise OSError(f"the interpreter's {path} can be read by root only, and programs run under other ids")
    return closed
