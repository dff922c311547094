/** Making new inputs of old ones, by a generator whose seed says everything: the same seed, the same inputs. */

/** Numbers in [0, 1), by xorshift32 (G. Marsaglia, "Xorshift RNGs", 2003). */
export function generator(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state = (state ^ (state << 5)) >>> 0;
    return state / 2 ** 32;
  };
}

/** Bytes and integers at the edges of what parsers distinguish. */
const EDGES: readonly Buffer[] = [
  ...[0, 1, 0x7f, 0x80, 0xc0, 0xed, 0xf4, 0xff].map((byte) => Buffer.from([byte])),
  ...[0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x1_0001, 0x4000_0001].map((number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(number >>> 0);
    return bytes;
  }),
];

/** One input of one or two others: bytes changed, pieces taken out, doubled, moved, put in. */
export function mutate(
  random: () => number,
  corpus: readonly Uint8Array[],
  words: readonly string[],
  maxBytes: number,
): Buffer {
  const pick = <T>(list: readonly T[]): T | undefined => list[Math.floor(random() * list.length)];
  let bytes = Buffer.from(pick(corpus) ?? Buffer.alloc(0));
  const rounds = 1 + Math.floor(random() ** 2 * 8);
  for (let round = 0; round < rounds; round += 1) {
    const at = Math.floor(random() * (bytes.length + 1));
    const length = Math.floor(random() ** 3 * (bytes.length - at + 1));
    const put = (piece: Uint8Array, replaced = 0) => {
      bytes = Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at + replaced)]);
    };
    switch (Math.floor(random() * 8)) {
      case 0:
        if (at < bytes.length) bytes[at] = (bytes[at] ?? 0) ^ (1 << Math.floor(random() * 8));
        break;
      case 1:
        put(Buffer.from([Math.floor(random() * 256)]), 1);
        break;
      case 2:
        put(Buffer.alloc(0), length);
        break;
      case 3:
        put(Buffer.from(bytes.subarray(at, at + length)));
        break;
      case 4: {
        const other = pick(corpus) ?? bytes;
        const from = Math.floor(random() * (other.length + 1));
        put(other.subarray(from, from + Math.floor(random() * 64)), Math.floor(random() * 8));
        break;
      }
      case 5:
        put(pick(EDGES) ?? Buffer.alloc(1), random() < 0.5 ? 4 : 0);
        break;
      default:
        put(Buffer.from(pick(words) ?? ' '), random() < 0.3 ? length : 0);
    }
  }
  return bytes.subarray(0, maxBytes);
}
