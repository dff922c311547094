"""Making new inputs of old ones, as test/fuzz/mutate.ts does: the same seed, the same inputs."""

import random
import struct

#: Bytes and integers at the edges of what parsers distinguish.
_EDGES = [bytes((byte,)) for byte in (0, 1, 0x7F, 0x80, 0xC0, 0xED, 0xF4, 0xFF)]
_EDGES += [struct.pack(">I", number) for number in (0, 1, 5, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0x1_0001, 0x4000_0001)]


def generator(seed):
    """Random numbers of which the seed says everything."""
    return random.Random(seed)


def mutate(chance, corpus, words, max_bytes):
    """One input of one or two others: bytes changed, pieces taken out, doubled, moved, put in."""
    data = bytearray(chance.choice(corpus))
    for _ in range(1 + int(chance.random() ** 2 * 8)):
        at = int(chance.random() * (len(data) + 1))
        length = int(chance.random() ** 3 * (len(data) - at + 1))
        way = chance.randrange(8)
        if way == 0:
            if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
        elif way == 1:
            data[at : at + 1] = bytes((chance.randrange(256),))
        elif way == 2:
            del data[at : at + length]
        elif way == 3:
            data[at:at] = data[at : at + length]
        elif way == 4:
            other = chance.choice(corpus)
            start = int(chance.random() * (len(other) + 1))
            data[at : at + chance.randrange(8)] = other[start : start + chance.randrange(64)]
        elif way == 5:
            data[at : at + (4 if chance.random() < 0.5 else 0)] = chance.choice(_EDGES)
        else:
            data[at : at + (length if chance.random() < 0.3 else 0)] = chance.choice(words)
    return bytes(data[:max_bytes])
