"""The resource limits of a program's processes (setrlimit(2)), set as hard limits just before the caller's code runs.

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


def apply(*, cpu_seconds: float, memory_mb: int, processes: int, open_files: int, file_size_mb: int) -> None:
    """Set every limit, soft and hard. None can be raised again without CAP_SYS_RESOURCE in the initial namespace."""
    cpu = int(cpu_seconds) + _CPU_GRACE_SECONDS
    for kind, value in (
        (resource.RLIMIT_CPU, cpu),
        # Memory in use is the warden's to watch; this ends at once what asks for far too much, in a MemoryError that can be caught.
        (resource.RLIMIT_DATA, (memory_mb + _RESERVED_MB) * _MB),
        (resource.RLIMIT_NPROC, processes),
        (resource.RLIMIT_NOFILE, open_files),
        (resource.RLIMIT_FSIZE, file_size_mb * _MB),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_NICE, 0),
        (resource.RLIMIT_RTPRIO, 0),
        (resource.RLIMIT_SIGPENDING, 1024),
    ):
        hard = resource.getrlimit(kind)[1]
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        resource.setrlimit(kind, (value, value))
