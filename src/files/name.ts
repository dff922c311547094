/** Names of files, on their way into a working directory and out of one: the same rules both ways. */

/** The longest part of a name that Linux's file systems take, bytes of UTF-8 (NAME_MAX, limits.h). */
const PART_MAX_BYTES = 255;
/** The longest name, with its directories; as in sandbox/files.py. */
const NAME_MAX_BYTES = 1024;
/** Directories in directories; as in sandbox/files.py. */
const DEPTH_MAX = 32;

/**
 * Why this can't be the name of a file relative to the working directory, as the rest of a sentence ("has …"); null where it can.
 * What passes names one file below the directory it is joined to, on any system, and can be shown on one line as it is.
 */
export function nameProblem(name: string): string | null {
  if (name === '') return 'is empty';
  if (name.startsWith('/')) return 'begins with /: names are relative to the working directory';
  if (name.includes('\\')) return 'has a backslash: directories are separated by /';
  // Control and format characters (direction, zero width), line separators, halves of surrogate pairs.
  const odd = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u.exec(name);
  if (odd !== null) return `has the invisible character ${codePoint(odd[0])}`;
  const parts = name.split('/');
  if (parts.includes('')) return 'has an empty part: one / too many';
  if (parts.includes('.') || parts.includes('..')) return 'has a part that is "." or ".."';
  if (Buffer.byteLength(name) > NAME_MAX_BYTES) return `is longer than ${NAME_MAX_BYTES} bytes`;
  if (parts.some((part) => Buffer.byteLength(part) > PART_MAX_BYTES)) {
    return `has a part that is longer than ${PART_MAX_BYTES} bytes`;
  }
  if (parts.length > DEPTH_MAX + 1) return `lies more than ${DEPTH_MAX} directories deep`;
  return null;
}

/**
 * The first name that can't stand beside the others: one that comes twice, or that is a directory of another.
 * @returns it and what is wrong with it, or null
 */
export function clash(names: readonly string[]): { readonly index: number; readonly problem: string } | null {
  const files = new Set<string>();
  for (const [index, name] of names.entries()) {
    if (files.has(name)) return { index, problem: 'comes twice' };
    files.add(name);
  }
  for (const [index, name] of names.entries()) {
    for (let end = name.indexOf('/'); end !== -1; end = name.indexOf('/', end + 1)) {
      const directory = name.slice(0, end);
      if (files.has(directory))
        return { index, problem: `needs a directory ${directory}, which is a file of this call` };
    }
  }
  return null;
}

function codePoint(character: string): string {
  return `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`;
}
