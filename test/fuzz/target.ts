/** What a fuzzed parser promises, and what is thrown at every one of them. */

export interface FuzzTarget {
  readonly name: string;
  /** Inputs to begin from. */
  readonly seeds: readonly (string | Uint8Array)[];
  /** Pieces of the language, put in by the mutator. */
  readonly words: readonly string[];
  /** Longest input made, bytes. */
  readonly maxBytes: number;
  /** How many cases `npm test` runs; fewer where one takes milliseconds. */
  readonly cases: number;
  /** Throws, or rejects, where the promise is broken; what the parser may refuse with is not passed on. */
  readonly run: (input: Uint8Array) => void | Promise<void>;
}

const MANY = 10 << 20;

/** Inputs that are small for whoever sends them and large for who reads them; each target gets every one. */
export const ABUSES: readonly (readonly [name: string, input: () => Buffer])[] = [
  ['10 MB of [', () => Buffer.alloc(MANY, '[')],
  ['10 MB of {"a":', () => Buffer.alloc(MANY, '{"a":')],
  ['100,000 lists in one another', () => Buffer.from('['.repeat(100_000) + ']'.repeat(100_000))],
  ['100,000 objects in one another', () => Buffer.from('{"a":'.repeat(100_000) + '1' + '}'.repeat(100_000))],
  ['a number of 1 MB', () => Buffer.alloc(1 << 20, '9')],
  ['an exponent of 1 MB', () => Buffer.from(`1e${'9'.repeat(1 << 20)}`)],
  ['the same key 50,000 times', () => Buffer.from(`{${Array.from({ length: 50_000 }, () => '"k":1').join()}}`)],
  ['50,000 keys', () => Buffer.from(`{${Array.from({ length: 50_000 }, (_, n) => `"k${n}":${n}`).join()}}`)],
  ['lone surrogates, escaped', () => Buffer.from('{"a\\ud800":"\\udc00\\ud800"}')],
  ['lone surrogates, as bytes', () => Buffer.from([0x22, 0xed, 0xa0, 0x80, 0xed, 0xb0, 0x80, 0x22])],
  ['bytes that are no UTF-8', () => Buffer.alloc(4096, 0xff)],
  ['NUL bytes', () => Buffer.alloc(1 << 20)],
  ['nothing', () => Buffer.alloc(0)],
  ['a byte order mark', () => Buffer.from('\uFEFF{}')],
  ['keys of the prototype', () => Buffer.from('{"__proto__":{"a":1},"constructor":{"prototype":{"a":1}}}')],
  ['a text of 5 MB', () => Buffer.from(`"${'a'.repeat(5 << 20)}"`)],
  ['a text of a million backslashes', () => Buffer.from(`"${'\\\\'.repeat(1 << 20)}"`)],
  ['a million lines', () => Buffer.alloc(1 << 20, '\n')],
];
