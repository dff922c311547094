"""Opening what a program left, though it closed that to itself: what is the program's, or the user's, is opened with its owner's rights, and those can give themselves back."""

from __future__ import annotations

import os

_MODE = 0o700


def any_mode(name: str | bytes, flags: int, parent: int | None = None) -> int:
    """open(2) of ``name`` relative to the directory ``parent``, for reading, whatever its mode, which is the owner's alone then. Never what a link leads to."""
    try:
        return os.open(name, flags, dir_fd=parent)
    except PermissionError:
        # Give its rights back to that very file and not to a name (open(2), O_PATH; proc(5), fd).
        held = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            os.chmod(f"/proc/self/fd/{held}", _MODE)
            return os.open(f"/proc/self/fd/{held}", flags & ~os.O_NOFOLLOW)
        finally:
            os.close(held)
