"""A directory as a hostile program may leave it, made of bytes: each line is one deed, and its first byte says which."""

import os
import socket

_PER_TREE = 60
#: Deeper than what is collected.
_DEEPEST = 60
#: Lines to begin from, and pieces of them.
SEEDS = [
    b"fa\nfb\ndc\nfc/d\nsx\npq\nu../outside\nhA\n",
    b"f" + b"n" * 250 + b"\nf\xff\nf\xe2\x80\xae\nda/b\nfa/b/c\nla\n",
    b"dd\nfd/1\nfd/2\nh2\ngd/1\nrd/1\nwnew\nt\n" + b"d" + b"/".join([b"e"] * 40) + b"\n",
]
WORDS = [b"f", b"d", b"u", b"h", b"p", b"s", b"g", b"r", b"w", b"\n", b"a/b", b"../", b"/", b"\xff", b"\xc2\x85", b"\\", b" ", b"..", b".", b"__pycache__"]


def make(top, data):
    """Do what the lines say below ``top``; what can't be done is not done. Nothing is made elsewhere."""
    for line in data.split(b"\n")[:_PER_TREE]:
        kind, name = line[:1], line[1:]
        parts = [part for part in name.split(b"/") if part not in (b"", b".", b"..")][:_DEEPEST]
        if not parts:
            continue
        path = os.path.join(os.fsencode(top), *parts)
        try:
            if kind != b"r":
                os.makedirs(os.path.dirname(path), exist_ok=True)
            _do(kind, path, name, os.fsencode(top))
        except (OSError, ValueError):
            continue


def _do(kind, path, name, top):
    if kind == b"d":
        os.makedirs(path, exist_ok=True)
    elif kind == b"u":
        os.symlink(name, path + b".link")
    elif kind == b"p":
        os.mkfifo(path)
    elif kind == b"s":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
    elif kind == b"h":
        with os.scandir(top) as entries:
            first = min((entry.path for entry in entries if entry.is_file(follow_symlinks=False)), default=None)
        if first is not None:
            os.link(first, path)
    elif kind == b"g":
        with open(path, "wb") as file:
            file.truncate(1 << 20)
            file.seek(1 << 18)
            file.write(name)
    elif kind == b"r":
        os.rmdir(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
    elif kind == b"w":
        if not os.path.isfile(path):
            return  # opening a FIFO would wait for a reader
        with open(path, "ab") as file:
            file.write(name * 100)
    elif not os.path.lexists(path):
        with open(path, "wb") as file:
            file.write(name)


def listing(top):
    """Everything below ``top`` that a state of a session keeps: name -> (kind and mode, content or target or number of names)."""
    found = {}
    for at, directories, files in os.walk(os.fsencode(top)):
        for name in directories + files:
            path = os.path.join(at, name)
            seen = os.lstat(path)
            what = None
            if os.path.islink(path):
                what = os.readlink(path)
            elif seen.st_mode & 0o170000 == 0o100000:
                with open(path, "rb") as file:
                    what = (file.read(), seen.st_nlink)
            found[path] = (seen.st_mode, what)
    return found
