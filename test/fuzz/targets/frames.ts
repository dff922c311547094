/** The reader of what comes from a sandbox: a whole number of frames in order, or a violation; never more than was sent. */
import assert from 'node:assert/strict';
import { frameReader, ProtocolViolation } from '../../../src/frames.js';
import type { FuzzTarget } from '../target.js';

function frame(kind: string, payload: string): Buffer {
  const header = Buffer.alloc(5);
  header.writeUInt32BE(Buffer.byteLength(payload));
  header.write(kind, 4);
  return Buffer.concat([header, Buffer.from(payload)]);
}

/** All that is read of `bytes` when they come in pieces that end where `cuts` says. */
function read(bytes: Buffer, pieceBytes: number): { frames: string[]; refused: boolean } {
  const frames: string[] = [];
  const take = frameReader((kind, payload) => frames.push(kind + payload.toString('latin1')));
  try {
    for (let at = 0; at < bytes.length; at += pieceBytes) take(bytes.subarray(at, at + pieceBytes));
    return { frames, refused: false };
  } catch (error) {
    assert.ok(error instanceof ProtocolViolation, String(error));
    return { frames, refused: true };
  }
}

export const frames: FuzzTarget = {
  name: 'frames',
  seeds: [
    frame('R', '{"pid": 1}'),
    Buffer.concat([frame('O', 'out'), frame('E', 'err'), frame('P', '{}'), frame('D', '{"cause":"exit"}')]),
    frame('F', '{"layer":"x","message":"y"}'),
    Buffer.from([0, 0, 0, 0, 0x4f]),
    Buffer.from([0xff, 0xff, 0xff, 0xff, 0x4f]),
  ],
  words: ['R', 'O', 'E', 'P', 'D', 'F', 'X', '\0\0\0\0O', '\0\u0001\0\0E'],
  maxBytes: 4096,
  cases: 4000,
  run(input) {
    const bytes = Buffer.from(input);
    const whole = read(bytes, Math.max(1, bytes.length));
    assert.ok(
      whole.frames.reduce((total, one) => total + one.length + 4, 0) <= bytes.length,
      'more came out than went in',
    );
    // However it is cut, the same frames come, and the same is refused.
    if (bytes.length <= 4096) assert.deepEqual(read(bytes, 1 + (bytes.length % 7)), whole);
  },
};
