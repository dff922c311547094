"""What a fuzzed part of the far side promises."""

import contextlib
import os
import subprocess
import tempfile

#: A file system in memory, as a sandbox's is, where there is one.
_IN_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class Target:
    """``run(input)`` raises where the promise is broken; what the part may refuse with is not passed on."""

    def __init__(self, name, run, seeds, words, max_bytes=4096, cases=400):
        self.name = name
        self.run = run
        self.seeds = seeds
        self.words = words
        self.max_bytes = max_bytes
        #: How many cases `npm test` runs; fewer where one takes milliseconds.
        self.cases = cases


def check(holds, what):
    """Not an assert statement: nothing may switch it off."""
    if not holds:
        raise AssertionError(what)


@contextlib.contextmanager
def directory():
    """An empty directory beside one that nothing may change, gone afterwards; no descriptor may stay open."""
    place = tempfile.mkdtemp(prefix="fuzz-", dir=_IN_MEMORY)
    inside, outside = os.path.join(place, "inside"), os.path.join(place, "outside")
    for path in (inside, outside):
        os.mkdir(path)
    with open(os.path.join(outside, "secret"), "w", encoding="utf-8") as file:
        file.write("secret")
    before = descriptors()
    try:
        yield inside
        check(descriptors() == before, "a descriptor was left open")
        check(os.listdir(outside) == ["secret"] and os.path.getsize(os.path.join(outside, "secret")) == 6, "something outside was changed")
        check(sorted(os.listdir(place)) == ["inside", "outside"], "something was made outside")
    finally:
        subprocess.run(["rm", "-rf", place], check=True)  # shutil.rmtree recurses


def descriptors():
    """How many are open."""
    return len(os.listdir("/proc/self/fd"))
