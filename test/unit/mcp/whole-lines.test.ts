import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { wholeLines } from '../../../src/mcp/whole-lines.js';

/** What comes out, piece by piece, of what goes in so. */
async function through(pieces: readonly string[], maxBytes = 100): Promise<string[]> {
  const lines = wholeLines(maxBytes);
  const seen: string[] = [];
  lines.on('data', (piece: Buffer) => seen.push(piece.toString()));
  const ended = once(lines, 'end');
  for (const piece of pieces) lines.write(Buffer.from(piece));
  lines.end();
  await ended;
  return seen;
}

test('a line comes in one piece, however it was cut', async () => {
  assert.deepEqual(await through(['a', 'b', 'c\n', 'd\n']), ['abc\n', 'd\n']);
});

test('what comes in one piece stays so, and the beginning of the next line waits for its end', async () => {
  assert.deepEqual(await through(['a\nb\nc', 'd', '\ne']), ['a\nb\n', 'cd\n']);
});

test('a line that is too long ends the stream, before it has ended and after', async () => {
  for (const pieces of [['xxxx', 'xxxx', 'xxxx'], ['xxxxxxxxxxxx\n']]) {
    await assert.rejects(through(pieces, 10), /exceeded maximum size of 10 bytes/);
  }
  assert.deepEqual(await through(['x\n', 'y\n', 'z\n'], 2), ['x\n', 'y\n', 'z\n']);
});
