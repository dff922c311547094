/**
 * What a file is called that a program left. Its name is the program's to choose and its content as well, so this decides how it is
 * labelled and nothing else; but an image is only called one where it begins as one (a client may hand it to a decoder).
 */
import { extname } from 'node:path/posix';

const UNKNOWN = 'application/octet-stream';

/** How images begin, at their first bytes: the signatures of their specifications. `null` matches any byte. */
const IMAGES: readonly (readonly [type: string, begins: readonly (number | null)[]])[] = [
  ['image/png', [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]],
  ['image/jpeg', [0xff, 0xd8, 0xff]],
  ['image/gif', [0x47, 0x49, 0x46, 0x38, 0x37, 0x61]],
  ['image/gif', [0x47, 0x49, 0x46, 0x38, 0x39, 0x61]],
  ['image/webp', [0x52, 0x49, 0x46, 0x46, null, null, null, null, 0x57, 0x45, 0x42, 0x50]],
  ['image/tiff', [0x49, 0x49, 0x2a, 0x00]],
  ['image/tiff', [0x4d, 0x4d, 0x00, 0x2a]],
];

/** By extension: what Python programs leave, and what a client may want to treat in its own way. */
const TYPES: ReadonlyMap<string, string> = new Map(
  Object.entries({
    'text/plain': 'txt log ini cfg conf rst tex bib out err',
    'text/csv': 'csv',
    'text/tab-separated-values': 'tsv',
    'text/markdown': 'md markdown',
    'text/html': 'html htm',
    'text/css': 'css',
    'text/javascript': 'js mjs',
    'text/x-python': 'py',
    'text/calendar': 'ics',
    'application/json': 'json geojson',
    'application/x-ndjson': 'jsonl ndjson',
    'application/x-ipynb+json': 'ipynb',
    'application/xml': 'xml',
    'application/yaml': 'yaml yml',
    'application/toml': 'toml',
    'application/sql': 'sql',
    'image/svg+xml': 'svg',
    'application/pdf': 'pdf',
    'application/zip': 'zip',
    'application/gzip': 'gz tgz',
    'application/x-tar': 'tar',
    'application/x-bzip2': 'bz2',
    'application/x-xz': 'xz',
    'application/vnd.apache.parquet': 'parquet',
    'application/vnd.apache.arrow.file': 'arrow feather',
    'application/vnd.sqlite3': 'sqlite sqlite3 db',
    'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet': 'xlsx',
    'application/vnd.openxmlformats-officedocument.wordprocessingml.document': 'docx',
    'application/vnd.openxmlformats-officedocument.presentationml.presentation': 'pptx',
    'application/x-hdf5': 'h5 hdf5',
    'audio/wav': 'wav',
    'audio/mpeg': 'mp3',
    'video/mp4': 'mp4',
    // Said by extension only where nothing opens them by itself; images that did not begin as one are none.
    [UNKNOWN]: 'png jpg jpeg gif webp tif tiff bmp ico avif heic npy npz pkl pickle bin dat',
  }).flatMap(([type, extensions]) => extensions.split(' ').map((extension): [string, string] => [extension, type])),
);

/**
 * The type of a file.
 * @param beginning its first bytes, as many as are at hand; whether a file without a known extension is text is told from them
 */
export function mimeType(name: string, beginning: Uint8Array): string {
  const image = IMAGES.find(([, begins]) => begins.every((byte, at) => byte === null || beginning[at] === byte));
  if (image !== undefined) return image[0];
  const known = TYPES.get(extname(name).slice(1).toLowerCase());
  return known ?? (looksLikeText(beginning) ? 'text/plain' : UNKNOWN);
}

/** Whether content of this type is read as text, as far as it is valid UTF-8. */
export function isTextType(type: string): boolean {
  return type.startsWith('text/') || /[/+](?:json|xml|yaml|toml|sql|x-ndjson)$/.test(type);
}

function looksLikeText(beginning: Uint8Array): boolean {
  try {
    // `stream`: it may end within a character
    return !new TextDecoder('utf-8', { fatal: true }).decode(beginning, { stream: true }).includes('\0');
  } catch {
    return false;
  }
}
