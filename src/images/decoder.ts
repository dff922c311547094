/**
 * A thread of its own that decodes images, which are hostile, and makes them smaller. Started by fit.ts and ended by it.
 *
 * Why this library and not a faster one: what decodes here reads bytes that a hostile program chose. Photon is Rust, compiled to WebAssembly: no
 * native code of an image library runs in the server, what goes wrong in it stays within its own memory, and that memory has a cap. It needs no compiler and
 * no download when it is installed, reads all four kinds, and is one package.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { parentPort } from 'node:worker_threads';
import { initPhoton, PhotonImage, resize, SamplingFilter } from '@cf-wasm/photon/others';
import { encodePng, isOpaque } from './png.js';
import { limitMemory } from './wasm-memory.js';

/** What is asked of it. */
export interface Fitting {
  readonly bytes: Uint8Array;
  readonly sideMaxPixels: number;
  readonly maxBytes: number;
  /** Whether it came as a photograph, which is better kept as one. */
  readonly isJpeg: boolean;
}

/** The answer: the size it has, and the image made smaller; null where it fits as it is. */
export interface Fitted {
  readonly width: number;
  readonly height: number;
  readonly smaller: Scaled | null;
}

export interface Scaled {
  readonly mimeType: 'image/png' | 'image/jpeg';
  readonly bytes: Uint8Array;
  readonly width: number;
  readonly height: number;
}

/** Pages of 64 KiB: 512 MiB, what the largest image that is taken needs at its worst, and some. */
const MEMORY_MAX_PAGES = 8192;
const JPEG_QUALITY = 85;
/** By how much the sides shrink when an image still has too many bytes, and where it is no use any more. */
const STEP = 0.7;
const SIDE_MIN_PIXELS = 64;

/** Of the environment; TypeScript knows it only together with all of a browser's names. */
declare const WebAssembly: { readonly Module: new (bytes: Uint8Array) => object };

const wasm = readFileSync(createRequire(import.meta.url).resolve('@cf-wasm/photon/photon.wasm'));
initPhoton.sync({ module: new WebAssembly.Module(limitMemory(wasm, MEMORY_MAX_PAGES)) });

parentPort?.on('message', (asked: Fitting) => {
  const image = PhotonImage.new_from_byteslice(asked.bytes); // a panic ends the thread: its state is not to be trusted after one
  const [width, height] = [image.get_width(), image.get_height()];
  const fitted: Fitted = { width, height, smaller: fits(asked, width, height) ? null : makeSmaller(image, asked) };
  image.free();
  parentPort?.postMessage(fitted);
});

function fits({ bytes, maxBytes, sideMaxPixels }: Fitting, width: number, height: number): boolean {
  return bytes.length <= maxBytes && Math.max(width, height) <= sideMaxPixels;
}

function makeSmaller(image: PhotonImage, { sideMaxPixels, maxBytes, isJpeg }: Fitting): Scaled {
  const [width, height] = [image.get_width(), image.get_height()];
  const longer = Math.max(width, height);
  for (let side = Math.min(longer, sideMaxPixels); side >= Math.min(SIDE_MIN_PIXELS, longer); side *= STEP) {
    const [w, h] = [width, height].map((pixels) => Math.max(1, Math.round((pixels * side) / longer))) as [
      number,
      number,
    ];
    const scaled = resize(image, w, h, SamplingFilter.Triangle);
    const pixels = scaled.get_raw_pixels();
    scaled.free();
    if (!isJpeg) {
      const png = encodePng(pixels, w, h);
      if (png.length <= maxBytes) return { mimeType: 'image/png', bytes: png, width: w, height: h };
    }
    const jpeg = encodeJpeg(pixels, w, h);
    if (jpeg.length <= maxBytes) return { mimeType: 'image/jpeg', bytes: jpeg, width: w, height: h };
  }
  throw new Error(`it can't be made as small as ${maxBytes} bytes`);
}

/** On white, for JPEG knows no transparency and would show what hides behind it. */
function encodeJpeg(rgba: Uint8Array, width: number, height: number): Uint8Array {
  if (!isOpaque(rgba)) {
    for (let at = 0; at < rgba.length; at += 4) {
      const alpha = (rgba[at + 3] ?? 0) / 255;
      for (let channel = at; channel < at + 3; channel += 1) {
        rgba[channel] = Math.round((rgba[channel] ?? 0) * alpha + 255 * (1 - alpha));
      }
      rgba[at + 3] = 255;
    }
  }
  const image = new PhotonImage(rgba, width, height);
  const bytes = image.get_bytes_jpeg(JPEG_QUALITY);
  image.free();
  return bytes;
}
