/** Reading a PNG without any code of ours: every checksum is checked, and the pixels are there to be looked at. */
import assert from 'node:assert/strict';
import { crc32, inflateSync } from 'node:zlib';

export interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly channels: number;
  /** By rows, `channels` bytes each. */
  readonly bytes: Buffer;
}

/** Fails for whatever is no whole PNG of 8 bits a channel, grey or coloured, not interlaced. */
export function decodePng(png: Buffer): Pixels {
  assert.equal(png.toString('latin1', 0, 8), '\x89PNG\r\n\x1a\n');
  const data: Buffer[] = [];
  let header: Buffer = Buffer.alloc(0);
  let ended = false;
  for (let at = 8; at < png.length;) {
    assert.ok(!ended, 'bytes after the end');
    const length = png.readUInt32BE(at);
    const type = png.toString('latin1', at + 4, at + 8);
    const body = png.subarray(at + 8, at + 8 + length);
    assert.equal(
      png.readUInt32BE(at + 8 + length),
      crc32(png.subarray(at + 4, at + 8 + length)),
      `checksum of ${type}`,
    );
    if (type === 'IHDR') header = body;
    if (type === 'IDAT') data.push(body);
    ended = type === 'IEND';
    at += 12 + length;
  }
  assert.ok(ended, 'no end');
  const [width, height] = [header.readUInt32BE(0), header.readUInt32BE(4)];
  const channels = { 0: 1, 2: 3, 4: 2, 6: 4 }[header[9] ?? -1];
  assert.ok(channels !== undefined && header[8] === 8 && header[12] === 0, 'a kind that is not read here');
  const rows = inflateSync(Buffer.concat(data));
  const rowBytes = width * channels;
  assert.equal(rows.length, (rowBytes + 1) * height);
  const bytes = Buffer.alloc(rowBytes * height);
  for (let y = 0; y < height; y += 1) {
    const filter = rows[y * (rowBytes + 1)];
    for (let x = 0; x < rowBytes; x += 1) {
      const to = y * rowBytes + x;
      const left = x < channels ? 0 : (bytes[to - channels] ?? 0);
      const above = y === 0 ? 0 : (bytes[to - rowBytes] ?? 0);
      const corner = x < channels || y === 0 ? 0 : (bytes[to - rowBytes - channels] ?? 0);
      const guess = [0, left, above, (left + above) >> 1, paeth(left, above, corner)][filter ?? -1];
      assert.ok(guess !== undefined, `filter ${filter}`);
      bytes[to] = (rows[y * (rowBytes + 1) + 1 + x] ?? 0) + guess;
    }
  }
  return { width, height, channels, bytes };
}

/** How many different colours there are, as far as it matters: a blank image has one. */
export function colours({ bytes, channels }: Pixels): number {
  const seen = new Set<string>();
  for (let at = 0; at < bytes.length && seen.size < 1000; at += channels) {
    seen.add(bytes.toString('latin1', at, at + channels));
  }
  return seen.size;
}

function paeth(left: number, above: number, corner: number): number {
  const far = (value: number) => Math.abs(left + above - corner - value);
  return [left, above, corner].reduce((best, next) => (far(next) < far(best) ? next : best));
}
