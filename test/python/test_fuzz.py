"""A short run of each fuzz target, the same every time; `npm run fuzz` goes on from here for as long as it is told."""

import unittest

from fuzz import targets
from fuzz.mutation import generator, mutate

_SEED = 20_261_123
#: Inputs that are small for whoever sends them and large for who reads them, or none at all.
_ABUSES = [b"", b"\0" * 4096, b"\xff" * 4096, b"[" * 4096, b"\n" * 4096, b"a/" * 2048, b"\0\0\0\0" * 512, b"(" * 4096]


class Fuzz(unittest.TestCase):
    def test_every_target_keeps_its_promise(self):
        for target in targets.ALL:
            with self.subTest(target=target.name):
                chance = generator(_SEED)
                corpus = list(target.seeds)
                for data in corpus + _ABUSES:
                    target.run(data)
                for number in range(target.cases):
                    data = mutate(chance, corpus, target.words, target.max_bytes)
                    try:
                        target.run(data)
                    except Exception as error:
                        raise AssertionError(f"case {number}: {data!r}") from error
                    # A short chain of changes on changes.
                    if number % 3 == 0:
                        at = len(target.seeds) + number // 3 % 50
                        corpus[at : at + 1] = [data]


if __name__ == "__main__":
    unittest.main()
