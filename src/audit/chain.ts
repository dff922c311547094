/**
 * The hash chain of the audit log. A line is one JSON object:
 *
 *     {"seq":7,"prev":"<hash of line 6>", … ,"hash":"<hash of this line>"}
 *
 * `hash` is the SHA-256 of the line's bytes up to `,"hash":`, so it covers the number, the line before and all that is
 * said. Numbers go on from file to file, whatever is rotated or moved away: there is one chain for one log.
 */
import { sha256 } from '../sha256.js';

/** A line's place in the chain. */
export interface Link {
  /** 1 for the first line there ever was. */
  readonly seq: number;
  /** SHA-256, hexadecimal. */
  readonly hash: string;
}

/** What stands before the first line. */
export const ORIGIN: Link = { seq: 0, hash: '0'.repeat(64) };

/** A line that was read back. */
export type ChainedLine =
  | { readonly intact: true; readonly seq: number; readonly prev: string; readonly hash: string; readonly text: string }
  /** `seq` and `hash` are what it says of itself, where that can be told. */
  | { readonly intact: false; readonly seq: number | null; readonly hash: string | null };

const START = /^\{"seq":(\d{1,15}),"prev":"([0-9a-f]{64})",/;
const END = /,"hash":"([0-9a-f]{64})"\}$/;

/** Put what is to be said behind the last line. @returns the line without its newline, and its place */
export function chain(after: Link, said: object): { readonly line: string; readonly link: Link } {
  const seq = after.seq + 1;
  const covered = JSON.stringify({ seq, prev: after.hash, ...said }).slice(0, -1);
  const hash = sha256(covered);
  return { line: `${covered},"hash":"${hash}"}`, link: { seq, hash } };
}

const decoder = new TextDecoder();

/** Read a line back. @param bytes the line without its newline */
export function readChained(bytes: Uint8Array): ChainedLine {
  const text = decoder.decode(bytes);
  const start = START.exec(text);
  const end = END.exec(text);
  const seq = start === null ? null : Number(start[1]);
  const prev = start?.[2];
  const hash = end?.[1] ?? null;
  // The suffix is ASCII: its characters are its bytes.
  const covered = bytes.subarray(0, bytes.length - (end?.[0].length ?? 0));
  if (seq === null || prev === undefined || hash === null || sha256(covered) !== hash) {
    return { intact: false, seq, hash };
  }
  return { intact: true, seq, prev, hash, text };
}
