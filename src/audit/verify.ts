/**
 * Whether a log is as it was written: every line unchanged, none missing, none put in, all in order.
 *
 * Each line covers itself with its hash, so one that was changed shows by itself. Lines that are whole are then held
 * against the chain: by number (missing, double, out of order; the fewest lines that could have been moved are named),
 * and each against the hash of the one before it. The head remembers the last line and the oldest that is kept, which is
 * how lines that were cut off at either end are missed.
 */
import { closeSync, fstatSync, openSync } from 'node:fs';
import { basename } from 'node:path';
import { sha256 } from '../sha256.js';
import { ORIGIN, readChained } from './chain.js';
import { linesOf, rotatedFiles } from './files.js';
import type { Head, HeadStore } from './head.js';

/** One thing that is not as it was written, or (`torn`) that was never written whole. */
interface Finding {
  readonly what: 'changed' | 'inserted' | 'missing' | 'moved' | 'unlinked' | 'torn';
  /** `audit.jsonl:17`; of missing lines, the place they are missing from. */
  readonly where: string;
  /** A sentence without its full stop. */
  readonly words: string;
}

export interface Verdict {
  /** What makes the log not the one that was written. */
  readonly problems: readonly Finding[];
  /** Lines that were torn when they were written, which is nobody's doing. */
  readonly torn: readonly Finding[];
  readonly lines: number;
  readonly files: number;
  readonly firstSeq: number | null;
  readonly lastSeq: number | null;
  /** Hash of the last line: who keeps it elsewhere can tell a log that was written anew. */
  readonly lastHash: string | null;
}

interface Entry {
  readonly where: string;
  readonly seq: number;
  readonly prev: string;
  readonly hash: string;
}

/** A log held still: what was written until now, by whoever writes on. */
export interface Snapshot {
  readonly files: readonly { readonly name: string; readonly descriptor: number; readonly bytes: number }[];
  /** null: there is none, and what is missing at the ends can't be told. */
  readonly head: Head | null;
  close(): void;
}

/** Open all files of a log at one moment. Lines written later are not in it. @param head null where there is none */
export async function snapshot(log: string, head: HeadStore | null): Promise<Snapshot> {
  const open = (): Snapshot['files'] => {
    const files: { name: string; descriptor: number; bytes: number }[] = [];
    try {
      for (const path of [...rotatedFiles(log).map((file) => file.path), log]) {
        const descriptor = openExisting(path);
        if (descriptor === null) continue;
        files.push({ name: basename(path), descriptor, bytes: fstatSync(descriptor).size });
      }
      return files;
    } catch (error) {
      for (const { descriptor } of files) closeSync(descriptor);
      throw error;
    }
  };
  const held =
    head === null ? { files: open(), head } : await head.exclusively((now) => ({ files: open(), head: now }));
  return {
    ...held,
    close() {
      for (const { descriptor } of held.files) closeSync(descriptor);
    },
  };
}

function openExisting(path: string): number | null {
  try {
    return openSync(path, 'r');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
}

/**
 * Read all of a log, and hold it against the chain.
 * @param knownHash of a line that must be there, kept elsewhere by whoever asks
 */
export function verify({ files, head }: Snapshot, knownHash?: string): Verdict {
  const problems: Finding[] = [];
  const torn: Finding[] = [];
  const entries: Entry[] = [];
  /** Numbers that lines which are no longer whole say they have: they are changed, and not missing as well. */
  const claimed = new Map<number, string | null>();
  let lines = 0;
  for (const [index, file] of files.entries()) {
    /** A line that is none, until the next one says that it was torn. */
    let doubtful: { where: string; bytes: Uint8Array; seq: number | null; hash: string | null } | null = null;
    const settle = (wasTorn: boolean): void => {
      if (doubtful === null) return;
      const { where, bytes, seq, hash } = doubtful;
      if (wasTorn) {
        torn.push({ what: 'torn', where, words: `${bytes.length} bytes of a line that is not there as a whole` });
        // What it says of itself may be torn off as well.
        claimed.set(seq ?? (entries.at(-1)?.seq ?? 0) + 1, null);
      } else {
        const words = seq === null ? 'this is no line of the log' : `line ${seq} is not as it was written`;
        problems.push({ what: seq === null ? 'inserted' : 'changed', where, words });
        if (seq !== null) claimed.set(seq, hash);
      }
      doubtful = null;
    };
    for (const { bytes, number, ended } of linesOf(file.descriptor, 0, file.bytes)) {
      lines += 1;
      const where = `${file.name}:${number}`;
      const read = readChained(bytes);
      if (!read.intact) {
        settle(false);
        doubtful = { where, bytes, seq: read.seq, hash: read.hash };
        if (!ended && index === files.length - 1) settle(true);
        continue;
      }
      settle(doubtful !== null && saysTorn(read.text, doubtful.bytes));
      entries.push({ where, seq: read.seq, prev: read.prev, hash: read.hash });
    }
    settle(false);
  }
  const end = `the end of ${files.at(-1)?.name ?? 'the log'}`;
  problems.push(...held(entries, claimed, head, end));
  if (knownHash !== undefined && !entries.some(({ hash }) => hash === knownHash)) {
    problems.push({ what: 'missing', where: end, words: `no line has the hash ${knownHash}` });
  }
  const last = entries.reduce<Entry | null>(
    (latest, entry) => (latest !== null && latest.seq > entry.seq ? latest : entry),
    null,
  );
  return {
    problems,
    torn,
    lines,
    files: files.length,
    firstSeq: entries[0]?.seq ?? null,
    lastSeq: last?.seq ?? null,
    lastHash: last?.hash ?? null,
  };
}

function saysTorn(text: string, bytes: Uint8Array): boolean {
  const said = JSON.parse(text) as { kind?: unknown; sha256?: unknown };
  return said.kind === 'torn_line' && said.sha256 === sha256(bytes);
}

/** Hold whole lines against the chain. */
function held(
  entries: readonly Entry[],
  claimed: ReadonlyMap<number, string | null>,
  head: Head | null,
  end: string,
): Finding[] {
  const findings: Finding[] = [];
  const bySeq = new Map<number, Entry>();
  const once: Entry[] = [];
  for (const entry of entries) {
    const first = bySeq.get(entry.seq);
    if (first === undefined) {
      bySeq.set(entry.seq, entry);
      once.push(entry);
    } else {
      const words = entry.hash === first.hash ? 'a copy of' : 'another line with the number of';
      findings.push({ what: 'inserted', where: entry.where, words: `${words} line ${entry.seq} (${first.where})` });
    }
  }

  const inOrder = longestRising(once.map(({ seq }) => seq));
  for (const [index, entry] of once.entries()) {
    if (inOrder.has(index)) continue;
    const before = once[index - 1];
    const place = before === undefined ? 'at the beginning' : `after line ${before.seq}`;
    findings.push({ what: 'moved', where: entry.where, words: `line ${entry.seq} stands ${place}` });
  }

  const numbers = [...new Set([...bySeq.keys(), ...claimed.keys()])].sort((one, other) => one - other);
  // One line of ours that has lost its hash may say any number at all.
  const known = head === null ? numbers : numbers.filter((seq) => bySeq.has(seq) || seq <= head.last.seq);
  let expected = head?.firstSeq ?? known[0] ?? 1;
  for (const seq of known) {
    if (seq > expected) findings.push(missing(expected, seq - 1, bySeq.get(seq)?.where ?? end));
    expected = Math.max(expected, seq + 1);

    const entry = bySeq.get(seq);
    const before = bySeq.get(seq - 1)?.hash ?? claimed.get(seq - 1) ?? (seq === 1 ? ORIGIN.hash : null);
    if (entry !== undefined && before !== null && entry.prev !== before) {
      const words = `line ${seq} does not follow from line ${seq - 1}: one of the two was written anew`;
      findings.push({ what: 'unlinked', where: entry.where, words });
    }
  }
  if (head !== null && head.last.seq >= expected) findings.push(missing(expected, head.last.seq, end));
  const last = head === null ? undefined : bySeq.get(head.last.seq);
  if (last !== undefined && last.hash !== head?.last.hash) {
    findings.push({
      what: 'changed',
      where: last.where,
      words: `line ${last.seq} is not the one that was written last`,
    });
  }
  return findings;
}

function missing(from: number, to: number, before: string): Finding {
  const words = from === to ? `line ${from} is missing` : `lines ${from} to ${to} are missing`;
  return { what: 'missing', where: before, words };
}

/** Where the longest rising subsequence of these numbers lies (patience sorting). */
function longestRising(numbers: readonly number[]): Set<number> {
  /** Of all rising subsequences of each length, the index of the one that ends lowest. */
  const ends: number[] = [];
  const before: (number | undefined)[] = [];
  for (const [index, number] of numbers.entries()) {
    let low = 0;
    let high = ends.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((numbers[ends[middle] ?? 0] ?? 0) < number) low = middle + 1;
      else high = middle;
    }
    before[index] = ends[low - 1];
    ends[low] = index;
  }
  const found = new Set<number>();
  for (let index = ends.at(-1); index !== undefined; index = before[index]) found.add(index);
  return found;
}
