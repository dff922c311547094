/**
 * What an image says of itself in its first bytes: kind and size. Nothing is decoded; the bytes are hostile, and so is what they say, but a
 * decoder allocates by it, so it is asked first.
 *
 * Sources: PNG (W3C, 2025) 5.6 and 11.2.1; JPEG (ITU-T T.81) annex B; GIF89a (CompuServe, 1990) 18 and 20; WebP (RFC 9649) 2.4 to 2.7.
 */

type ImageType = 'image/png' | 'image/jpeg' | 'image/gif' | 'image/webp';

export interface ImageHeader {
  readonly mimeType: ImageType;
  /** Pixels, at least 1. */
  readonly width: number;
  readonly height: number;
}

/** Kind and size of an image; null where the bytes don't begin as one. Never throws. */
export function readHeader(bytes: Uint8Array): ImageHeader | null {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (const read of [png, jpeg, gif, webp]) {
    try {
      const header = read(view);
      if (header !== null) return header.width > 0 && header.height > 0 ? header : null;
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      return null; // it ends before it has said its size
    }
  }
  return null;
}

const PNG_SIGNATURE = Buffer.from('89504e470d0a1a0a', 'hex');

function png(bytes: Buffer): ImageHeader | null {
  if (!bytes.subarray(0, 8).equals(PNG_SIGNATURE)) return null;
  const isHeader = bytes.toString('latin1', 12, 16) === 'IHDR';
  return { mimeType: 'image/png', width: isHeader ? bytes.readUInt32BE(16) : 0, height: bytes.readUInt32BE(20) };
}

/** Markers that begin a frame, and with it say a size: SOF0 to SOF15 but DHT, JPG and DAC, which lie among them. */
const isFrame = (marker: number) => marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
const START_OF_SCAN = 0xda;
/** Markers without a length: TEM and RST0 to SOI. */
const isBare = (marker: number) => marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8);

function jpeg(bytes: Buffer): ImageHeader | null {
  if (bytes[0] !== 0xff || bytes[1] !== 0xd8 || bytes[2] !== 0xff) return null;
  let [width, height] = [0, 0];
  for (let at = 2; ;) {
    if (bytes.readUInt8(at) !== 0xff) return { mimeType: 'image/jpeg', width: 0, height: 0 };
    const marker = bytes.readUInt8(at + 1);
    if (marker === 0xff)
      at += 1; // fill bytes may stand before a marker
    else if (marker === START_OF_SCAN) return { mimeType: 'image/jpeg', width, height };
    else if (isBare(marker)) at += 2;
    else {
      if (isFrame(marker)) {
        // The largest, should there be several: decoders differ in which of them they believe.
        height = Math.max(height, bytes.readUInt16BE(at + 5));
        width = Math.max(width, bytes.readUInt16BE(at + 7));
      }
      at += 2 + Math.max(2, bytes.readUInt16BE(at + 2));
    }
  }
}

function gif(bytes: Buffer): ImageHeader | null {
  if (!/^GIF8[79]a$/.test(bytes.toString('latin1', 0, 6))) return null;
  return { mimeType: 'image/gif', width: bytes.readUInt16LE(6), height: bytes.readUInt16LE(8) };
}

function webp(bytes: Buffer): ImageHeader | null {
  if (bytes.toString('latin1', 0, 4) !== 'RIFF' || bytes.toString('latin1', 8, 12) !== 'WEBP') return null;
  const size = (width: number, height: number): ImageHeader => ({ mimeType: 'image/webp', width, height });
  switch (bytes.toString('latin1', 12, 16)) {
    case 'VP8X':
      return size(bytes.readUIntLE(24, 3) + 1, bytes.readUIntLE(27, 3) + 1);
    case 'VP8L': {
      const bits = bytes.readUInt32LE(21);
      return size((bits & 0x3fff) + 1, ((bits >>> 14) & 0x3fff) + 1);
    }
    case 'VP8 ':
      return size(bytes.readUInt16LE(26) & 0x3fff, bytes.readUInt16LE(28) & 0x3fff);
    default:
      return size(0, 0);
  }
}
