"""Frames: a big-endian 32-bit length of the payload, one byte of type, the payload (PROTOCOL.md, 2)."""

from __future__ import annotations

import os

#: The largest frame the far side accepts: a program's code, its standard input and its files come in one frame each. The policy's caps
#: end before it (src/policy/schema.ts), and Node is trusted: this is against nonsense.
MAX_PAYLOAD_BYTES = (1 << 30) + (1 << 16)
_HEADER_BYTES = 5


class Broken(Exception):
    """The peer closed the connection, or sent what is no frame."""


def encode(kind: bytes, payload: bytes) -> bytes:
    """One frame; ``kind`` is a single byte."""
    return len(payload).to_bytes(4, "big") + kind + payload


def read(fd: int) -> tuple[bytes, bytes]:
    """Wait for one frame on ``fd`` and return (kind, payload). Raises Broken at the end of the stream."""
    header = _read_exactly(fd, _HEADER_BYTES)
    size = int.from_bytes(header[:4], "big")
    if size > MAX_PAYLOAD_BYTES:
        raise Broken(f"a frame of {size} bytes, expected at most {MAX_PAYLOAD_BYTES}")
    return header[4:], _read_exactly(fd, size)


def _read_exactly(fd: int, size: int) -> bytes:
    parts: list[bytes] = []
    while size > 0:
        part = os.read(fd, min(size, 1 << 20))
        if not part:
            raise Broken("the connection ended")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
