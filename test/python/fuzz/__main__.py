"""`python -m fuzz [--seconds N] [--target NAME] [--seed N]`: every target in turn, guided by coverage; see test/fuzz/fuzz.ts."""

import argparse
import hashlib
import sys
import time

from fuzz import targets
from fuzz.coverage import Coverage
from fuzz.mutation import generator, mutate

#: An input that takes longer than this is a finding, too. Tracing makes everything some ten times slower.
_SLOW_SECONDS = 10
_MOST_TO_BEGIN_FROM = 4000


def _attempt(coverage, target, data):
    """(Whether the input reached what is new, what is broken or None)."""
    before = time.process_time()
    try:
        is_new = coverage.reaches_new(lambda: target.run(data))
    except Exception as error:
        return False, f"{type(error).__name__}: {error}"
    took = time.process_time() - before
    return is_new, f"it took {took:.0f} s of CPU time" if took > _SLOW_SECONDS else None


def _fuzz(target, seconds, seed):
    """(Inputs, those to begin from, what is broken or None)."""
    chance = generator(seed)
    coverage = Coverage()
    corpus = list(target.seeds)
    for one in corpus:
        coverage.reaches_new(lambda one=one: target.run(one))
    cases = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = mutate(chance, corpus, target.words, target.max_bytes)
        cases += 1
        is_new, broken = _attempt(coverage, target, data)
        if broken is not None:
            path = f"fuzz-{target.name}-{hashlib.sha256(data).hexdigest()[:12]}.bin"
            with open(path, "wb") as file:
                file.write(data)
            return cases, len(corpus), f"{path}: {broken}"
        if is_new and len(corpus) < _MOST_TO_BEGIN_FROM:
            corpus.append(data)
    return cases, len(corpus), None


def main():
    """Exit status 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="fuzz")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--target", choices=[target.name for target in targets.ALL])
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    status = 0
    for target in targets.ALL:
        if options.target not in (None, target.name):
            continue
        cases, kept, broken = _fuzz(target, options.seconds, options.seed)
        print(f"{target.name:18}{cases:9} inputs, {kept} to begin from" + (f"\n  BROKEN {broken}" if broken else ""), flush=True)
        status = status or int(broken is not None)
    return status


sys.exit(main())
