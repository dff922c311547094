"""The resource limits of a program's processes (setrlimit(2)), set as hard limits before the caller's code runs.

They are per process, except RLIMIT_NPROC; what the whole tree may use together is the warden's to watch.
"""

from __future__ import annotations

import resource

_MB = 1 << 20
#: Private memory that numeric libraries reserve at import and never touch, and RLIMIT_DATA counts all the same: OpenBLAS takes about 130 MB
#: and as much again for each thread (measured: 0.3.21, 4 threads at most, src/backends/zygote.ts), and loops for ever when it is refused.
_RESERVED_MB = 1024
#: Seconds of CPU time after the tree's limit at which the kernel itself ends one process, in case the warden could not.
_CPU_GRACE_SECONDS = 2


def apply_fixed() -> None:
    """Set the limits that are the same for every program."""
    for kind, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_NICE, 0),
        (resource.RLIMIT_RTPRIO, 0),
        (resource.RLIMIT_SIGPENDING, 1024),
    ):
        _set(kind, value)


def apply(*, cpu_seconds: float, memory_mb: int, processes: int, open_files: int, file_size_mb: int) -> None:
    """Set the limits of one job."""
    _set(resource.RLIMIT_CPU, int(cpu_seconds) + _CPU_GRACE_SECONDS)
    # Memory in use is the warden's to watch; this ends at once what asks for far too much, in a MemoryError that can be caught.
    _set(resource.RLIMIT_DATA, (memory_mb + _RESERVED_MB) * _MB)
    _set(resource.RLIMIT_NPROC, processes)
    _set(resource.RLIMIT_NOFILE, open_files)
    _set(resource.RLIMIT_FSIZE, file_size_mb * _MB)


def _set(kind: int, value: int) -> None:
    """Soft and hard, but no higher than it is. It can't be raised again without CAP_SYS_RESOURCE in the initial namespace."""
    hard = resource.getrlimit(kind)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, value))
