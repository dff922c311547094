"""Which layers a sandbox has: those of its tier, but for those that are switched off (PROTOCOL.md, 1, `tier` and `without`).

Layers are switched off by tests, one at a time, to see that the others hold without it, and by `cordon doctor --without`. src/backends/layers.ts is
the other half, and says what each stops.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

FILE_TREE = "file tree"
PID_NAMESPACE = "pid namespace"
NETWORK_NAMESPACE = "network namespace"
IPC_NAMESPACE = "ipc namespace"
UTS_NAMESPACE = "uts namespace"
USER_NAMESPACE = "user namespace"
LANDLOCK = "landlock"
SECCOMP = "seccomp"
CAPABILITIES = "capabilities"
RLIMITS = "rlimits"
PROC_MASKS = "proc masks"

STRICT, CONFINED, NONE = "strict", "confined", "none"

_ALL = (
    FILE_TREE, PID_NAMESPACE, NETWORK_NAMESPACE, IPC_NAMESPACE, UTS_NAMESPACE, USER_NAMESPACE,
    LANDLOCK, SECCOMP, CAPABILITIES, RLIMITS, PROC_MASKS,
)  # fmt: skip
_OF_TIER = {
    STRICT: frozenset(_ALL),
    CONFINED: frozenset((LANDLOCK, SECCOMP, CAPABILITIES, RLIMITS)),
    NONE: frozenset((RLIMITS,)),
}


def of(tier: str, without: Iterable[str]) -> frozenset[str]:
    """The layers to put on. Raises ValueError on a name that is none: a layer that was misspelt would stay on unnoticed."""
    off = frozenset(without)
    if tier not in _OF_TIER or not off <= frozenset(_ALL):
        raise ValueError(f"tier {tier!r} without {sorted(off)}, expected one of {sorted(_OF_TIER)} and names of {list(_ALL)}")
    return _OF_TIER[tier] - off
