"""What looks at directories that a hostile program made: collecting, snapshots, counting, removing."""

import json
import os
import stat

import files
import scratch
import snapshot
from confine import tree
from fuzz import hostile_tree
from fuzz.target import Target, check, directory


def _collect(data):
    """Frames N and B that fit each other, of regular files inside; the report is short and printable."""
    with directory() as place:
        hostile_tree.make(place, data)
        sent = []
        report = files.collect(place, 20, 3 << 20, {}, lambda kind, payload: sent.append((kind, payload)))
        left, name, content = 0, None, b""
        for kind, payload in [*sent, (b"N", b'{"name": "", "bytes": 0}')]:
            if kind == b"B":
                check(0 < len(payload) <= min(left, 64 << 10), "more than was said")
                left -= len(payload)
                content += payload
                continue
            check(left == 0, "less than was said")
            if name is not None:
                path = os.path.join(place, name)
                seen = os.lstat(path)
                check(stat.S_ISREG(seen.st_mode) and seen.st_nlink == 1, "no regular file of one name")
                with open(path, "rb") as file:
                    check(file.read() == content, "another content")
            told = json.loads(payload)
            name, left, content = told["name"], told["bytes"], b""
            check("\n" not in name and ".." not in name.split("/") and "\\" not in name, repr(name))
        check(len(report["examples"]) <= min(10, report["count"]), "more examples than there are")
        for example in report["examples"]:
            check(all(text.isprintable() and len(text) <= 500 for text in example.values()), repr(example))
        files.index(place)


def _snapshot(data):
    """Whatever is done to the files, bringing them back makes them what they were."""
    first, _, rest = data.partition(b"\n\n")
    with directory() as place:
        hostile_tree.make(place, first)
        before = hostile_tree.listing(place)
        store = snapshot.Store((place,), 64 << 20)
        try:
            kept = store.take(None)
            hostile_tree.make(place, rest)
            after = hostile_tree.listing(place)
            later = store.take(kept)
            store.bring_back(kept)
            check(hostile_tree.listing(place) == before, "not what it was")
            store.bring_back(later)
            check(hostile_tree.listing(place) == after, "not what it was later")
            store.drop(kept)
            store.drop(later)
            check(store.used_bytes == 0, "content that nobody has any more was kept")
        finally:
            os.close(store._fd)


def _count_and_remove(data):
    """Without a file system of its own a sandbox's files are counted, and all of them removed, whatever they are."""
    with directory() as place:
        around = os.path.join(place, f"{os.getpid()}-run")
        os.mkdir(around)
        kept = tree.WRITABLE
        tree.WRITABLE = tuple(os.path.join(around, name) for name in ("work", "tmp"))
        try:
            for path in tree.WRITABLE:
                os.mkdir(path)
                hostile_tree.make(path, data)
            scratch.Watch(around, 1 << 30, 100_000).over([str(os.getpid())], 1)
            scratch.remove(around)
            check(os.listdir(place) == [], "something stayed")
        finally:
            tree.WRITABLE = kept


_TWO = [seed + b"\n" + other for seed in hostile_tree.SEEDS for other in hostile_tree.SEEDS]
TARGETS = [
    Target("py-collect", _collect, hostile_tree.SEEDS, hostile_tree.WORDS, max_bytes=1024, cases=100),
    Target("py-snapshot", _snapshot, _TWO, [*hostile_tree.WORDS, b"\n\n"], max_bytes=2048, cases=60),
    Target("py-scratch", _count_and_remove, hostile_tree.SEEDS, hostile_tree.WORDS, max_bytes=1024, cases=100),
]
