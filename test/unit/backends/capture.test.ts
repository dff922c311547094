import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createCapture } from '../../../src/backends/capture.js';

function captured(keptBytes: number, ...pieces: (string | Uint8Array)[]) {
  const capture = createCapture(keptBytes);
  for (const piece of pieces) capture.add(Buffer.from(piece));
  return capture.finish();
}

test('nothing is nothing', () => {
  assert.deepEqual(captured(100), { text: '', totalBytes: 0, omittedBytes: 0 });
});

test('up to the cap all is kept, in order', () => {
  assert.deepEqual(captured(10, 'abc', '', 'defg', 'hij'), { text: 'abcdefghij', totalBytes: 10, omittedBytes: 0 });
});

test('one byte over the cap leaves out one byte, in the middle', () => {
  assert.deepEqual(captured(10, 'abcdefghijk'), {
    text: 'abcde\n[... 1 bytes left out ...]\nghijk',
    totalBytes: 11,
    omittedBytes: 1,
  });
});

test('head and tail are the first and the last bytes, however they come', () => {
  for (const size of [1, 3, 7, 1000]) {
    const all = Array.from({ length: 1000 }, (_, n) => String.fromCharCode(97 + (n % 26))).join('');
    const pieces = Array.from({ length: Math.ceil(1000 / size) }, (_, n) => all.slice(n * size, (n + 1) * size));
    const { text } = captured(20, ...pieces);
    assert.equal(text, `${all.slice(0, 10)}\n[... 980 bytes left out ...]\n${all.slice(-10)}`);
  }
});

test('what is kept does not change when the buffer it came in is used again', () => {
  const capture = createCapture(10);
  const buffer = Buffer.from('first');
  capture.add(buffer);
  buffer.fill('x');
  assert.equal(capture.finish().text, 'first');
});

test('a cap of nothing keeps nothing, and counts', () => {
  assert.deepEqual(captured(0, 'abc'), { text: '\n[... 3 bytes left out ...]\n', totalBytes: 3, omittedBytes: 3 });
});

test('bad UTF-8 and NUL become U+FFFD, a byte order mark stays', () => {
  assert.equal(captured(100, Uint8Array.of(0xff, 0x61, 0xc3, 0x28, 0x00)).text, '\ufffda\ufffd(\ufffd');
  assert.equal(captured(100, '\ufeffx').text, '\ufeffx');
});

test('a character that comes in two pieces is whole', () => {
  const bytes = Buffer.from('€');
  assert.equal(captured(100, bytes.subarray(0, 1), bytes.subarray(1)).text, '€');
});

test('a character is never cut by the cap, and its bytes count as left out', () => {
  for (const character of ['é', '€', '😀']) {
    for (let kept = 8; kept < 24; kept += 1) {
      const { text, omittedBytes } = captured(kept, character.repeat(100));
      const [head = '', rest = ''] = text.split(/\n\[\.\.\. \d+ bytes left out \.\.\.\]\n/);
      assert.match(head + rest, new RegExp(`^(${character})*$`, 'u'));
      assert.equal(Buffer.byteLength(head + rest) + omittedBytes, 100 * Buffer.byteLength(character));
    }
  }
});

test('whatever comes: counts are right, text is valid and bounded, head and tail are true', () => {
  fc.assert(
    fc.property(fc.nat(200), fc.array(fc.uint8Array({ maxLength: 100 }), { maxLength: 20 }), (kept, pieces) => {
      const { text, totalBytes, omittedBytes } = captured(kept, ...pieces);
      const all = Buffer.concat(pieces);
      assert.equal(totalBytes, all.length);
      assert.ok(!text.includes('\0') && !/\p{Surrogate}/u.test(text));
      if (all.length <= kept) assert.equal(omittedBytes, 0);
      else assert.ok(omittedBytes >= all.length - kept && omittedBytes <= all.length);
      // A bad byte becomes three; the line about what is left out has less than 60 characters.
      assert.ok(Buffer.byteLength(text) <= 3 * kept + 60);
    }),
  );
});

test('100 MB cost no more memory than the cap and one piece', () => {
  const capture = createCapture(1024);
  const piece = Buffer.alloc(64 * 1024, 'x');
  const before = process.memoryUsage().arrayBuffers;
  let most = 0;
  for (let n = 0; n < 1600; n += 1) {
    capture.add(piece);
    if (n % 100 === 0) {
      globalThis.gc?.();
      most = Math.max(most, process.memoryUsage().arrayBuffers - before);
    }
  }
  assert.equal(capture.finish().totalBytes, 1600 * 64 * 1024);
  assert.ok(most < 64 << 20, `${most} bytes`);
});
