import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { frameHeader, frameReader, ProtocolViolation, type ReceivedKind } from '../../src/frames.js';

type Frame = readonly [kind: ReceivedKind, payload: string];

function encode(frames: readonly Frame[]): Buffer {
  return Buffer.concat(
    frames.map(([kind, payload]) => {
      const header = Buffer.alloc(5);
      header.writeUInt32BE(Buffer.byteLength(payload, 'latin1'));
      header.write(kind, 4);
      return Buffer.concat([header, Buffer.from(payload, 'latin1')]);
    }),
  );
}

/** Everything that is read when `bytes` come cut at `cuts`. */
function readInPieces(bytes: Buffer, cuts: readonly number[]): Frame[] {
  const seen: Frame[] = [];
  const read = frameReader((kind, payload) => seen.push([kind, payload.toString('latin1')]));
  let start = 0;
  for (const cut of [...cuts.map((at) => at % (bytes.length + 1)), bytes.length].sort((one, other) => one - other)) {
    read(bytes.subarray(start, cut));
    start = cut;
  }
  return seen;
}

test('a header is the length of the payload, big-endian, and a letter', () => {
  assert.deepEqual([...frameHeader('J', 0x01020304)], [1, 2, 3, 4, 'J'.charCodeAt(0)]);
  assert.deepEqual([...frameHeader('X', 0)], [0, 0, 0, 0, 'X'.charCodeAt(0)]);
});

test('frames come out as they went in, wherever the stream is cut', () => {
  const kinds = fc.constantFrom<ReceivedKind>('R', 'O', 'E', 'P', 'N', 'B', 'D', 'F');
  const payload = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes).toString('latin1'));
  fc.assert(
    fc.property(
      fc.array(fc.tuple(kinds, payload), { maxLength: 8 }),
      fc.array(fc.nat(), { maxLength: 12 }),
      (frames, cuts) => {
        assert.deepEqual(readInPieces(encode(frames), cuts), frames);
      },
    ),
  );
});

test('byte by byte is no different', () => {
  const frames: Frame[] = [
    ['R', '{"pid":1}'],
    ['O', ''],
    ['D', 'x'.repeat(16 * 1024)],
  ];
  const bytes = encode(frames);
  assert.deepEqual(readInPieces(bytes, [...bytes.keys()]), frames);
});

test('a frame is told as soon as it is whole, and not before', () => {
  const seen: string[] = [];
  const read = frameReader((kind) => seen.push(kind));
  const bytes = encode([
    ['O', 'abc'],
    ['E', 'd'],
  ]);
  read(bytes.subarray(0, 7));
  assert.deepEqual(seen, []);
  read(bytes.subarray(7, 8));
  assert.deepEqual(seen, ['O']);
  read(bytes.subarray(8));
  assert.deepEqual(seen, ['O', 'E']);
});

for (const [kind, limit] of [
  ['R', 1024],
  ['O', 65_536],
  ['E', 65_536],
  ['P', 262_144],
  ['N', 8192],
  ['B', 64 * 1024],
  ['D', 16 * 1024],
  ['F', 8192],
] as const) {
  test(`a frame ${kind} may have ${limit} bytes and not one more, refused by its header alone`, () => {
    assert.equal(readInPieces(encode([[kind, 'x'.repeat(limit)]]), []).length, 1);
    const header = Buffer.alloc(5);
    header.writeUInt32BE(limit + 1);
    header.write(kind, 4);
    assert.throws(
      () => readInPieces(header, []),
      (error: Error) => {
        assert.ok(error instanceof ProtocolViolation);
        assert.equal(error.message, `a frame ${kind} of ${limit + 1} bytes, expected at most ${limit}`);
        return true;
      },
    );
  });
}

test('frames of any other type are a violation, those that only Node sends included', () => {
  for (let code = 0; code < 256; code += 1) {
    if ('ROEPNBDF'.includes(String.fromCharCode(code))) continue;
    assert.throws(() => readInPieces(Buffer.from([0, 0, 0, 0, code]), []), ProtocolViolation);
  }
});

test('names of an object’s own machinery are no types', () => {
  assert.throws(() => readInPieces(Buffer.from('constructor'), []), ProtocolViolation);
});

test('any bytes at all are frames or a violation, and nothing else', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        readInPieces(Buffer.from(bytes), []);
      } catch (error) {
        assert.ok(error instanceof ProtocolViolation);
      }
    }),
  );
});
