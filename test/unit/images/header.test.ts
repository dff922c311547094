import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { readHeader } from '../../../src/images/header.js';
import { FIXTURES } from '../../support/fixtures.js';

const MIME_TYPES: Readonly<Record<string, string>> = {
  png: 'image/png',
  jpg: 'image/jpeg',
  gif: 'image/gif',
  webp: 'image/webp',
};

const names = readdirSync(new URL('images/', FIXTURES)).filter((name) => !name.endsWith('.md'));
const read = (name: string) => readFileSync(new URL(`images/${name}`, FIXTURES));

for (const name of names) {
  test(`kind and size are read: ${name}`, () => {
    const mimeType = MIME_TYPES[name.split('.')[1] ?? ''];
    assert.deepEqual(readHeader(read(name)), { mimeType, width: 16, height: 12 });
  });

  test(`whatever is cut off, it does not throw: ${name}`, () => {
    const whole = read(name);
    for (let bytes = 0; bytes < Math.min(whole.length, 700); bytes += 1) readHeader(whole.subarray(0, bytes));
    assert.equal(readHeader(whole.subarray(0, 9)), null);
  });
}

test('of several sizes that a JPEG says the largest counts, whichever a decoder believes', () => {
  const frame = (width: number, height: number) => {
    const segment = Buffer.from([0xff, 0xc0, 0, 11, 8, 0, 0, 0, 0, 1, 1, 0x11, 0]);
    segment.writeUInt16BE(height, 5);
    segment.writeUInt16BE(width, 7);
    return segment;
  };
  const jpeg = Buffer.concat([
    Buffer.from([0xff, 0xd8]),
    frame(10, 10),
    Buffer.from([0xff, 0xff]), // fill bytes
    frame(60_000, 50_000).subarray(1),
    Buffer.from([0xff, 0xda, 0, 2]),
  ]);
  assert.deepEqual(readHeader(jpeg), { mimeType: 'image/jpeg', width: 60_000, height: 50_000 });
});

test('what is no image is none: text, SVG, a script that begins as a GIF, no size at all', () => {
  for (const bytes of [
    Buffer.from('hello'),
    Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'),
    Buffer.from('GIF99a=1;alert(1)'),
    Buffer.from('89504e470d0a1a0a0000000d494844520000000000000000', 'hex'),
    Buffer.alloc(0),
  ])
    assert.equal(readHeader(bytes), null);
});

test('no bytes make it throw', () => {
  const beginnings = names.map((name) => read(name).subarray(0, 16));
  fc.assert(
    fc.property(fc.constantFrom(...beginnings, Buffer.alloc(0)), fc.uint8Array({ maxLength: 64 }), (begin, rest) => {
      const header = readHeader(Buffer.concat([begin, rest]));
      if (header !== null) assert.ok(header.width > 0 && header.height > 0);
    }),
  );
});
