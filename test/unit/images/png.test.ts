import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { encodePng } from '../../../src/images/png.js';
import { decodePng } from '../../support/png.js';

test('every image comes back pixel for pixel; the alpha channel is there if it is needed', () => {
  const image = fc
    .tuple(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 12 }), fc.boolean())
    .chain(([width, height, opaque]) =>
      fc
        .uint8Array({ minLength: width * height * 4, maxLength: width * height * 4 })
        .map((rgba) => ({ width, height, rgba: rgba.map((byte, at) => (opaque && at % 4 === 3 ? 255 : byte)) })),
    );
  fc.assert(
    fc.property(image, ({ width, height, rgba }) => {
      const decoded = decodePng(encodePng(rgba, width, height));
      const isOpaque = rgba.every((byte, at) => at % 4 !== 3 || byte === 255);
      const expected = isOpaque ? rgba.filter((_, at) => at % 4 !== 3) : rgba;
      assert.deepEqual([decoded.width, decoded.height, decoded.channels], [width, height, isOpaque ? 3 : 4]);
      assert.ok(decoded.bytes.equals(expected));
    }),
  );
});

test('a drawing is small: slopes and areas cost next to nothing', () => {
  const [width, height] = [600, 400];
  const rgba = new Uint8Array(width * height * 4).map((_, at) => {
    const [x, y] = [(at >> 2) % width, Math.floor((at >> 2) / width)];
    return at % 4 === 3 ? 255 : y > 200 ? 255 : (x + y) & 0xff;
  });
  assert.ok(encodePng(rgba, width, height).length < 10_000);
});
