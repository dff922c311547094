/**
 * What a person sees of a run: what the program prints, as it comes; lines of ours on stderr; and on a terminal, while nothing is printed,
 * a line that shows the time pass.
 *
 * That line is drawn only where the cursor stands at the beginning of a line, and taken off before anything else is shown, so that it
 * never mixes with what the program prints. It is the only thing here that moves the cursor.
 */
import type { OnOutput } from '../../sandbox.js';
import { safeLine, safeText, terminalSafe } from '../../terminal.js';

/** A stream of ours, as far as it matters here. */
export interface Output {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string | Uint8Array): unknown;
}

export interface Screen {
  /** Bytes of the program: as they are into files and pipes, made harmless before a person's eyes. */
  readonly program: OnOutput;
  /** A line of ours; what follows in `text`, below it, is somebody else's and may have many lines. */
  say(line: string, text?: string): void;
  /** The program runs, for so long at most. */
  running(limitSeconds: number): void;
  /** It has ended. Idempotent. */
  ended(): void;
}

const NEWLINE = 0x0a;
/** The line is drawn for the first time after so long, and as often: short runs show nothing. */
const TICK_MS = 1_000;
/** To the beginning of the line, and clear it to its end (ECMA-48, EL). */
const ERASE = '\r\x1b[K';

/** Whether a line that is drawn over and over makes sense here: not in a pipe, a log, or a terminal that can't. */
function canRedraw(stderr: Output, env: NodeJS.ProcessEnv): boolean {
  return stderr.isTTY === true && env.TERM !== 'dumb' && (env.NO_COLOR ?? '') === '';
}

/** @param now milliseconds, from anywhere */
export function createScreen(
  outputs: { readonly stdout: Output; readonly stderr: Output },
  env: NodeJS.ProcessEnv,
  now: () => number = () => performance.now(),
): Screen {
  const { stdout, stderr } = outputs;
  const show = { stdout: writer(stdout), stderr: writer(stderr) };
  const redraws = canRedraw(stderr, env);
  const lastByte = { stdout: NEWLINE, stderr: NEWLINE };
  let drawn = false;
  let timer: NodeJS.Timeout | undefined;

  const erase = (): void => {
    if (drawn) stderr.write(ERASE);
    drawn = false;
  };
  /** Whether the terminal's cursor stands where a line begins, as far as we have moved it. */
  const atLineStart = (): boolean =>
    lastByte.stderr === NEWLINE && (stdout.isTTY !== true || lastByte.stdout === NEWLINE);

  return {
    program(stream, bytes) {
      if (bytes.byteLength === 0) return;
      erase();
      show[stream](bytes);
      lastByte[stream] = bytes.at(-1) ?? NEWLINE;
    },
    say(line, text) {
      erase();
      const tty = stderr.isTTY === true;
      const below = text === undefined ? '' : `${tty ? safeText(text) : text}${text.endsWith('\n') ? '' : '\n'}`;
      stderr.write(`${atLineStart() ? '' : '\n'}cordon: ${safeLine(line)}\n${below}`);
      lastByte.stderr = NEWLINE;
      // What a terminal shows of both streams has one cursor.
      if (stdout.isTTY === true) lastByte.stdout = NEWLINE;
    },
    running(limitSeconds) {
      if (!redraws) return;
      const begin = now();
      clearInterval(timer);
      timer = setInterval(() => {
        if (!atLineStart()) return;
        const seconds = Math.floor((now() - begin) / 1000);
        const words = `cordon: running, ${seconds} s of at most ${limitSeconds} s (Ctrl-C ends it)`;
        // One that reaches the margin would wrap, and only its last line could be taken off.
        stderr.write(
          `${ERASE}${words.slice(0, Math.max(0, (stderr.columns === 0 ? 80 : (stderr.columns ?? 80)) - 1))}`,
        );
        drawn = true;
      }, TICK_MS);
    },
    ended() {
      clearInterval(timer);
      erase();
    },
  };
}

function writer(to: Output): (bytes: Uint8Array) => void {
  if (to.isTTY !== true) return (bytes) => void to.write(bytes);
  const safe = terminalSafe();
  return (bytes) => void to.write(safe(bytes));
}
