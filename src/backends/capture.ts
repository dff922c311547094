/**
 * What is kept of a stream: all of it up to the cap, else its head and its tail. A program's first lines say what it did, its
 * last ones how it ended; the middle is what can be spared. Memory in use is bounded by the cap whatever comes.
 */

import type { Captured } from '../sandbox.js';

/** Collects one stream. */
export interface Capture {
  add(bytes: Uint8Array): void;
  /** The stream as text: bad UTF-8 and NUL become U+FFFD; a line of ours stands where bytes were left out. */
  finish(): Captured;
}

/** `keptBytes`: the most that is kept, head and tail together. */
export function createCapture(keptBytes: number): Capture {
  const headBytes = Math.ceil(keptBytes / 2);
  const tailBytes = keptBytes - headBytes;
  const head: Buffer[] = [];
  let headLeft = headBytes;
  let tail: Buffer[] = [];
  let tailHeld = 0;
  let totalBytes = 0;

  const squeeze = () => {
    const all = Buffer.concat(tail, tailHeld);
    const kept = Buffer.from(all.subarray(Math.max(0, all.length - tailBytes)));
    tail = [kept];
    tailHeld = kept.length;
  };

  return {
    add(bytes) {
      totalBytes += bytes.byteLength;
      const piece = Buffer.from(bytes); // a copy: what comes is a view of a network buffer much larger than itself
      const first = piece.subarray(0, headLeft);
      if (first.length > 0) {
        head.push(first);
        headLeft -= first.length;
      }
      const rest = piece.subarray(first.length);
      if (rest.length === 0) return;
      tail.push(rest);
      tailHeld += rest.length;
      if (tailHeld > 2 * tailBytes + 64 * 1024) squeeze();
    },
    finish() {
      if (totalBytes === 0) return { text: '', totalBytes, omittedBytes: 0 };
      squeeze();
      const first = Buffer.concat(head);
      const last = Buffer.concat(tail, tailHeld);
      if (first.length + last.length === totalBytes) {
        return { text: clean(Buffer.concat([first, last])), totalBytes, omittedBytes: 0 };
      }
      const from = untilBoundary(first);
      const to = fromBoundary(last);
      const omittedBytes = totalBytes - from.length - to.length;
      const text = `${clean(from)}\n[... ${omittedBytes} bytes left out ...]\n${clean(to)}`;
      return { text, totalBytes, omittedBytes };
    },
  };
}

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

function clean(bytes: Buffer): string {
  return decoder.decode(bytes).replaceAll('\0', '\uFFFD');
}

const isContinuation = (byte: number | undefined) => byte !== undefined && (byte & 0xc0) === 0x80;

/** Without the beginning of a character whose end was cut off. */
function untilBoundary(bytes: Buffer): Buffer {
  let start = bytes.length - 1;
  while (start > bytes.length - 4 && start > 0 && isContinuation(bytes[start])) start -= 1;
  const lead = bytes[start] ?? 0;
  const size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
  return start >= 0 && start + size > bytes.length ? bytes.subarray(0, start) : bytes;
}

/** Without the rest of a character whose beginning was cut off. */
function fromBoundary(bytes: Buffer): Buffer {
  let start = 0;
  while (start < 3 && isContinuation(bytes[start])) start += 1;
  return bytes.subarray(start);
}
