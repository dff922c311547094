/**
 * A strict JSON reader (RFC 8259) for policies. JSON.parse takes the last of two equal keys, so that a limit written above
 * another one is silently gone; it lets `1e999` be Infinity, and it does not say where a value stands. This reader refuses
 * the first two, bounds size and depth, and remembers the line of everything it read.
 */
import { pointer } from './pointer.js';

export interface JsonFault {
  /** JSON pointer of the place, as far as the reader got. */
  readonly pointer: string;
  readonly expected: string;
  readonly got: string;
  readonly hint: string | null;
  /** Counted from 1. */
  readonly line: number;
}

export interface JsonDocument {
  readonly value: unknown;
  /** Where the value at a path begins, in UTF-16 units; of the nearest one around it where there is none at the path. */
  offsetAt(path: readonly PropertyKey[]): number;
  /** The line of an offset, counted from 1. */
  lineAt(offset: number): number;
}

/** Longest text, in UTF-16 units. */
export const maxTextLength = 1_048_576;
/** Objects and lists in one another. */
export const maxDepth = 64;
/** Longest key, in UTF-16 units: keeps pointers short. */
const maxKeyLength = 256;

interface Place {
  readonly offset: number;
  readonly members?: ReadonlyMap<PropertyKey, Place>;
}

interface Read {
  readonly value: unknown;
  readonly place: Place;
}

/** Ends reading: nothing after it can be understood. */
class Unreadable extends Error {}

const numberToken = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const words = new Map<string, boolean | null>([
  ['true', true],
  ['false', false],
  ['null', null],
]);
const escapes: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};

/** Read a whole text (without a byte order mark), or say all that is wrong with it. */
export function readJson(text: string): { document: JsonDocument } | { faults: readonly JsonFault[] } {
  const faults: JsonFault[] = [];
  let at = 0;

  let lineEnds: number[] | null = null;
  const lineAt = (offset: number) => {
    lineEnds ??= newlinesOf(text);
    let [low, high] = [0, lineEnds.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((lineEnds[middle] ?? 0) < offset) low = middle + 1;
      else high = middle;
    }
    return low + 1;
  };
  const complain = (
    path: readonly PropertyKey[],
    offset: number,
    expected: string,
    got: string,
    hint: string | null = null,
  ) => faults.push({ pointer: pointer(path), expected, got, hint, line: lineAt(offset) });
  const give = (path: readonly PropertyKey[], expected: string, hint: string | null = null): Unreadable => {
    const point = text.codePointAt(at);
    const got = point === undefined ? 'the end of the text' : JSON.stringify(String.fromCodePoint(point));
    complain(path, at, expected, got, hint ?? hintFor(text.slice(at, at + 2)));
    return new Unreadable();
  };
  const skipSpace = () => {
    for (;;) {
      const unit = text.charCodeAt(at);
      if (unit !== 0x20 && unit !== 0x0a && unit !== 0x0d && unit !== 0x09) return;
      at += 1;
    }
  };

  function readString(path: readonly PropertyKey[]): string {
    at += 1;
    let decoded = '';
    for (;;) {
      const start = at;
      while (at < text.length && text[at] !== '"' && text[at] !== '\\' && text.charCodeAt(at) >= 0x20) at += 1;
      decoded += text.slice(start, at);
      if (text[at] === '"') {
        at += 1;
        return decoded;
      }
      if (text[at] !== '\\') throw give(path, 'the closing quote of a text', 'write a line break in a text as \\n');
      const letter = text[at + 1] ?? '';
      const simple = Object.hasOwn(escapes, letter) ? escapes[letter] : undefined;
      if (simple !== undefined) {
        decoded += simple;
        at += 2;
        continue;
      }
      const digits = /^u([0-9a-fA-F]{4})$/.exec(text.slice(at + 1, at + 6))?.[1];
      if (digits === undefined) {
        throw give(path, 'an escape: \\" \\\\ \\/ \\b \\f \\n \\r \\t or \\uXXXX', 'write a backslash itself as \\\\');
      }
      decoded += String.fromCharCode(Number.parseInt(digits, 16));
      at += 6;
    }
  }

  function readObject(path: readonly PropertyKey[], offset: number): Read {
    const value: Record<string, unknown> = {};
    const members = new Map<PropertyKey, Place>();
    at += 1;
    skipSpace();
    if (text[at] === '}') at += 1;
    else {
      for (;;) {
        if (text[at] !== '"') throw give(path, 'a key in double quotes');
        const keyOffset = at;
        const key = readString(path);
        if (key.length > maxKeyLength) {
          complain(path, keyOffset, `keys of at most ${maxKeyLength} characters`, `one of ${key.length}`);
          throw new Unreadable();
        }
        const inside = [...path, key];
        skipSpace();
        if (text[at] !== ':') throw give(inside, '":" after the key');
        at += 1;
        const read = readValue(inside);
        if (key === '__proto__') {
          complain(inside, keyOffset, 'a key with a meaning', 'the key "__proto__"', 'remove it');
        } else if (members.has(key)) {
          const hint = 'of two equal keys most programs silently take the last: keep one, and merge the other into it';
          complain(inside, keyOffset, 'every key once', `the key ${JSON.stringify(key)} a second time`, hint);
        } else {
          value[key] = read.value;
          members.set(key, { ...read.place, offset: keyOffset });
        }
        skipSpace();
        if (text[at] === '}') {
          at += 1;
          break;
        }
        if (text[at] !== ',') throw give(inside, '"," or "}" after the value');
        at += 1;
        skipSpace();
        if (text[at] === '}') throw give(path, 'another key', 'remove the comma before it');
      }
    }
    return { value, place: { offset, members } };
  }

  function readList(path: readonly PropertyKey[], offset: number): Read {
    const value: unknown[] = [];
    const members = new Map<PropertyKey, Place>();
    at += 1;
    skipSpace();
    if (text[at] === ']') at += 1;
    else {
      for (;;) {
        skipSpace();
        if (text[at] === ']') throw give(path, 'another value', 'remove the comma before it');
        const read = readValue([...path, value.length]);
        members.set(value.length, read.place);
        value.push(read.value);
        skipSpace();
        if (text[at] === ']') {
          at += 1;
          break;
        }
        if (text[at] !== ',') throw give([...path, value.length - 1], '"," or "]" after the value');
        at += 1;
      }
    }
    return { value, place: { offset, members } };
  }

  function readValue(path: readonly PropertyKey[]): Read {
    skipSpace();
    const offset = at;
    const first = text[at];
    if (first === '{' || first === '[') {
      if (path.length >= maxDepth) {
        complain(path, offset, `at most ${maxDepth} objects and lists in one another`, 'one more');
        throw new Unreadable();
      }
      return first === '{' ? readObject(path, offset) : readList(path, offset);
    }
    if (first === '"') return { value: readString(path), place: { offset } };
    for (const [word, value] of words) {
      if (text.startsWith(word, at)) {
        at += word.length;
        return { value, place: { offset } };
      }
    }
    numberToken.lastIndex = at;
    const token = numberToken.exec(text)?.[0];
    if (token === undefined) throw give(path, 'a value');
    at += token.length;
    const value = Number(token);
    if (!Number.isFinite(value)) complain(path, offset, 'a number that a computer can hold', token.slice(0, 40));
    return { value, place: { offset } };
  }

  if (text.length > maxTextLength) {
    const expected = `at most ${maxTextLength} characters`;
    return { faults: [{ pointer: '', expected, got: `${text.length}`, hint: null, line: 1 }] };
  }
  try {
    const { value, place } = readValue([]);
    skipSpace();
    if (at < text.length) throw give([], 'the end of the text');
    if (faults.length > 0) return { faults };
    const offsetAt = (path: readonly PropertyKey[]) => {
      let here = place;
      for (const step of path) {
        const inside = here.members?.get(step);
        if (inside === undefined) break;
        here = inside;
      }
      return here.offset;
    };
    return { document: { value, offsetAt, lineAt } };
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    return { faults };
  }
}

/** Where the lines end, once for all that ask: a file of a megabyte can be wrong in 50,000 places. */
function newlinesOf(text: string): number[] {
  const found: number[] = [];
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) found.push(at);
  return found;
}

/** What people write who take JSON for one of its neighbours. */
function hintFor(ahead: string): string | null {
  if (ahead === '') return 'the file is empty or cut short';
  if (ahead === '//' || ahead === '/*') return 'JSON has no comments: remove them';
  if (ahead.startsWith('#')) return 'JSON has no comments; a YAML file is written over by "cordon policy convert FILE"';
  if (ahead.startsWith("'")) return 'JSON has double quotes only';
  if (/^[A-Za-z_]/.test(ahead))
    return 'texts and keys stand in double quotes; a YAML file is written over by "cordon policy convert FILE"';
  return null;
}
