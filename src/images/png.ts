/**
 * Writing a PNG. The decoder could as well, but it makes drawings, which are mostly one colour, ten times larger than need be: it neither
 * tries filters nor compresses hard. Format: PNG (W3C, 2025); the choice of filters is the one that 12.7 there recommends.
 */
import { crc32, deflateSync } from 'node:zlib';

const SIGNATURE = Buffer.from('89504e470d0a1a0a', 'hex');
const BIT_DEPTH = 8;
const COLOUR_RGB = 2;
const COLOUR_RGBA = 6;

/** An image of 8 bits a channel as a PNG. @param rgba four bytes a pixel, by rows; without an alpha channel in the file where all are opaque */
export function encodePng(rgba: Uint8Array, width: number, height: number): Buffer {
  const channels = isOpaque(rgba) ? 3 : 4;
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([BIT_DEPTH, channels === 3 ? COLOUR_RGB : COLOUR_RGBA, 0, 0, 0], 8);
  const rows = filtered(rgba, width, height, channels);
  return Buffer.concat([
    SIGNATURE,
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(rows)),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

/** Whether no pixel lets anything through. */
export function isOpaque(rgba: Uint8Array): boolean {
  for (let at = 3; at < rgba.length; at += 4) if (rgba[at] !== 0xff) return false;
  return true;
}

/** Each row by the filter whose differences are the smallest in sum, its number in front. */
function filtered(rgba: Uint8Array, width: number, height: number, channels: number): Buffer {
  const rowBytes = width * channels;
  const out = Buffer.alloc((rowBytes + 1) * height);
  let row = new Uint8Array(rowBytes);
  let above = new Uint8Array(rowBytes);
  const tries = FILTERS.map(() => new Uint8Array(rowBytes));
  for (let y = 0; y < height; y += 1) {
    for (let x = 0, from = y * width * 4, to = 0; x < width; x += 1, from += 4) {
      for (let channel = 0; channel < channels; channel += 1, to += 1) row[to] = rgba[from + channel] ?? 0;
    }
    let best = 0;
    let bestSum = Infinity;
    for (const [index, predict] of FILTERS.entries()) {
      const tried = tries[index];
      if (tried === undefined) continue;
      let sum = 0;
      for (let at = 0; at < rowBytes; at += 1) {
        const left = at < channels ? 0 : (row[at - channels] ?? 0);
        const corner = at < channels ? 0 : (above[at - channels] ?? 0);
        const difference = ((row[at] ?? 0) - predict(left, above[at] ?? 0, corner)) & 0xff;
        tried[at] = difference;
        sum += difference < 128 ? difference : 256 - difference;
      }
      if (sum < bestSum) [best, bestSum] = [index, sum];
    }
    out[y * (rowBytes + 1)] = best;
    out.set(tries[best] ?? row, y * (rowBytes + 1) + 1);
    [row, above] = [above, row];
  }
  return out;
}

/** What is subtracted, by the number of the filter: none, left, above, average, Paeth. */
const FILTERS: readonly ((left: number, above: number, corner: number) => number)[] = [
  () => 0,
  (left) => left,
  (_, above) => above,
  (left, above) => (left + above) >> 1,
  (left, above, corner) => {
    const guess = left + above - corner;
    const [toLeft, toAbove, toCorner] = [Math.abs(guess - left), Math.abs(guess - above), Math.abs(guess - corner)];
    if (toLeft <= toAbove && toLeft <= toCorner) return left;
    return toAbove <= toCorner ? above : corner;
  },
];

function chunk(type: string, data: Buffer): Buffer {
  const out = Buffer.alloc(data.length + 12);
  out.writeUInt32BE(data.length, 0);
  out.write(type, 4, 'latin1');
  out.set(data, 8);
  out.writeUInt32BE(crc32(out.subarray(4, -4)), out.length - 4);
  return out;
}
