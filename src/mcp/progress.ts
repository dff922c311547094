/**
 * How a call stands, for a client that asked for it with a progress token: each stage as it begins, what the program prints while it
 * prints it, and now and then a sign of life where it is silent.
 *
 * A message begins with our words ("running, 3 s: "), so that what a program prints can't pass for them, and shows what
 * was printed since the one before: all of it where it is little, its end where it is much. Pieces that come close to each other go
 * together, and there are never more than four messages a second, whatever a program prints; of the rest only its newest end is held.
 *
 * Log messages (`notifications/message`) are not used: they belong to no call, and clients keep them in a log that nobody reads.
 */
import type { Stage } from '../call.js';
import type { OnOutput } from '../sandbox.js';
import { terminalSafe } from '../terminal.js';

/** The first output waits so long for more of it; most programs have ended by then, and the result has it all. */
const FIRST_MS = 20;
/** Between two messages with output. */
const INTERVAL_MS = 250;
/** After so long without a message there is one: clients put off their own timeouts by it, the shortest of which is 10 s. */
const SILENCE_MS = 5_000;
/** The most output that one message carries, in bytes as the program wrote them. */
const TEXT_MAX_BYTES = 2_048;

export interface Progress {
  readonly stage: (stage: Stage, howTo?: string) => void;
  readonly output: OnOutput;
  /** Nothing is sent from here on. Idempotent. */
  end(): void;
}

/**
 * @param send is given what the protocol wants: a number greater than all before, here the seconds since the call came, and a message
 * @param now milliseconds, from anywhere
 */
export function reportProgress(
  send: (progress: number, message: string) => void,
  now: () => number = () => performance.now(),
): Progress {
  const begin = now();
  let stageBegin = begin;
  let words = 'started';
  let last = 0;
  let lastOutputAt = -Infinity;
  let ended = false;
  let held: { stream: 'stdout' | 'stderr'; bytes: Uint8Array }[] = [];
  let heldBytes = 0;
  let cut = false;
  let due: NodeJS.Timeout | null = null;
  let unsaid: NodeJS.Timeout | undefined;
  let safe = { stdout: terminalSafe(), stderr: terminalSafe() };

  const tell = (message: string): void => {
    clearTimeout(silence);
    silence = setTimeout(showLife, SILENCE_MS);
    last = Math.max(Math.round(now() - begin), last + 1);
    send(last / 1000, message);
  };
  const standing = (): string => `${words}, ${Math.floor((now() - stageBegin) / 1000)} s`;
  const showLife = (): void => {
    tell(standing());
  };
  let silence = setTimeout(showLife, SILENCE_MS);

  const flush = (): void => {
    due = null;
    lastOutputAt = now();
    const text = newest(held.map(({ stream, bytes }) => safe[stream](bytes)).join(''), cut);
    held = [];
    heldBytes = 0;
    cut = false;
    if (text !== '') tell(`${standing()}: ${text}`);
  };

  return {
    stage(stage, howTo) {
      if (ended) return;
      words = howTo === undefined ? STAGE_WORDS[stage] : `${STAGE_WORDS[stage]}, ${howTo}`;
      stageBegin = now();
      clearTimeout(unsaid);
      // Most calls don't wait: that one does is said only once it has.
      if (stage !== 'waiting') tell(words);
      else {
        unsaid = setTimeout(() => {
          tell(words);
        }, FIRST_MS);
      }
    },
    output(stream, bytes) {
      if (ended || bytes.byteLength === 0) return;
      // A copy: what comes is a view of a network buffer much larger than itself.
      const end = Buffer.from(bytes.subarray(Math.max(0, bytes.byteLength - TEXT_MAX_BYTES)));
      held.push({ stream, bytes: end });
      heldBytes += end.byteLength;
      let dropped = end.byteLength < bytes.byteLength;
      while (held.length > 1 && heldBytes - (held[0]?.bytes.byteLength ?? 0) >= TEXT_MAX_BYTES) {
        heldBytes -= held.shift()?.bytes.byteLength ?? 0;
        dropped = true;
      }
      if (dropped) {
        cut = true;
        // What was dropped may have begun a character: the decoders start anew.
        safe = { stdout: terminalSafe(), stderr: terminalSafe() };
      }
      due ??= setTimeout(flush, Math.max(FIRST_MS, lastOutputAt + INTERVAL_MS - now()));
    },
    end() {
      ended = true;
      clearTimeout(silence);
      clearTimeout(unsaid);
      if (due !== null) clearTimeout(due);
    },
  };
}

/** For those who did not ask. */
export const NO_PROGRESS: Progress = { stage: () => undefined, output: () => undefined, end: () => undefined };

/** What is shown of a text: of a line that was written over again (a progress bar) its last state, of much the end. */
function newest(text: string, wasCut: boolean): string {
  const shown = text.replace(/[^\n\r]*\r+(?=[^\n\r])/g, '').replace(/[\r\n]+$/, '');
  const end = shown.slice(-TEXT_MAX_BYTES).replace(/^[\uDC00-\uDFFF\uFFFD]+/, '');
  return shown !== '' && (wasCut || end.length < shown.length) ? `[…] ${end}` : end;
}

const STAGE_WORDS: Readonly<Record<Stage, string>> = {
  asking: 'waiting for a person to approve this call',
  waiting: 'waiting for a free slot',
  running: 'running',
};
