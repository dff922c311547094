/**
 * Which of the files a program left are shown as images, and how: as they are, made smaller, or not at all, with the reason.
 *
 * Everything that is shown was decoded first, for some clients hand what they get to a model that refuses the whole conversation over one
 * image that is not what it says. The content is hostile: kind and size are read before anything is allocated (header.ts), and decoding happens apart from
 * the server (decoder.ts).
 */
import type { OutcomeFile } from '../outcome.js';
import { withFitter, type Fitter } from './fit.js';
import { readHeader, type ImageHeader } from './header.js';

/** One image among the files. */
export interface ImageView {
  readonly file: OutcomeFile;
  /** Pixels, as it was left; null where it does not say. */
  readonly size: { readonly width: number; readonly height: number } | null;
  /** What is shown; null where it is not. */
  readonly shown: ShownImage | null;
  /** Why it is not shown, as a clause; null where it is. */
  readonly whyNot: string | null;
}

interface ShownImage {
  readonly mimeType: string;
  readonly base64: string;
  /** Pixels, as it is shown. */
  readonly width: number;
  readonly height: number;
}

/** More than anybody looks at in one answer; each takes a model a thousand tokens and more. */
const SHOWN_MAX = 8;
/** What models see of an image has about this many pixels on its longer side; a larger one is scaled down by them anyway. */
const SIDE_MAX_PIXELS = 1568;
/** Decoding takes up to 24 bytes a pixel: with this, less than the decoder's memory (decoder.ts). */
const PIXELS_MAX = 2 ** 24;
const SOURCE_MAX_BYTES = 32 * 2 ** 20;
/** Below this there is no use in making an image fit. */
const ROOM_MIN_BYTES = 4096;

const IMAGE_TYPES: ReadonlySet<string> = new Set(['image/png', 'image/jpeg', 'image/gif', 'image/webp']);

/** Whether a file is one of the images that `showImages` looks at. */
export function mayBeShown({ mimeType }: OutcomeFile): boolean {
  return IMAGE_TYPES.has(mimeType);
}

/**
 * Look at the images among `files`, in their order.
 * @param read the content of a file; null where it is gone
 * @param roomBytes what all together may take as base64
 */
export async function showImages(
  files: readonly OutcomeFile[],
  read: (file: OutcomeFile) => Promise<Uint8Array | null>,
  roomBytes: number,
): Promise<ImageView[]> {
  const images = files.filter(mayBeShown);
  if (images.length === 0) return [];
  const views: ImageView[] = [];
  await withFitter(async (fitter) => {
    let room = Math.floor(roomBytes / 4) * 3;
    let left = images.filter(canBeShown).slice(0, SHOWN_MAX);
    for (const file of images) {
      const isNext = left[0] === file;
      const view = isNext
        ? await showOne(file, read, fitter, shareOf(room, left))
        : notShown(file, null, canBeShown(file) ? `only the first ${SHOWN_MAX} are` : tooManyBytes(file));
      if (isNext) left = left.slice(1);
      if (view.shown !== null) room -= Math.ceil((view.shown.base64.length / 4) * 3);
      views.push(view);
    }
  });
  return views;
}

/** What the first of `files` may take: what it needs, unless that leaves the others less than it has itself. */
function shareOf(room: number, files: readonly OutcomeFile[]): number {
  let left = room;
  const sizes = files.map(({ bytes }) => bytes).sort((one, other) => one - other);
  for (const [index, bytes] of sizes.entries()) {
    const level = left / (sizes.length - index);
    if (bytes > level) return Math.floor(level);
    left -= bytes;
  }
  return room;
}

function canBeShown(file: OutcomeFile): boolean {
  return file.bytes <= SOURCE_MAX_BYTES;
}

function tooManyBytes({ bytes }: OutcomeFile): string {
  return `it has ${bytes} bytes, and at most ${SOURCE_MAX_BYTES} are decoded`;
}

async function showOne(
  file: OutcomeFile,
  read: (file: OutcomeFile) => Promise<Uint8Array | null>,
  fitter: Fitter,
  maxBytes: number,
): Promise<ImageView> {
  const bytes = await read(file).catch(() => null);
  if (bytes === null) return notShown(file, null, 'it could not be read');
  const header = readHeader(bytes);
  if (header === null) return notShown(file, null, 'it is not the image it begins as');
  if (header.width * header.height > PIXELS_MAX) {
    const most = `at most ${Math.floor(PIXELS_MAX / 1e6)} megapixels are decoded`;
    return notShown(file, header, `${most}: save it smaller (a lower dpi) to see it`);
  }
  if (maxBytes < ROOM_MIN_BYTES) return notShown(file, header, 'there is no room left for it in this result');
  try {
    const isJpeg = header.mimeType === 'image/jpeg';
    const { width, height, smaller } = await fitter.fit({ bytes, sideMaxPixels: SIDE_MAX_PIXELS, maxBytes, isJpeg });
    const shown = smaller ?? { mimeType: header.mimeType, bytes, width, height };
    return {
      file,
      size: { width, height },
      shown: {
        mimeType: shown.mimeType,
        base64: Buffer.from(shown.bytes.buffer, shown.bytes.byteOffset, shown.bytes.byteLength).toString('base64'),
        width: shown.width,
        height: shown.height,
      },
      whyNot: null,
    };
  } catch (error) {
    return notShown(file, header, error instanceof Error ? error.message : String(error));
  }
}

function notShown(file: OutcomeFile, header: ImageHeader | null, whyNot: string): ImageView {
  const size = header === null ? null : { width: header.width, height: header.height };
  return { file, size, shown: null, whyNot };
}
