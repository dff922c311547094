/**
 * An outcome as text, for a model and a person. Complete by itself: some clients show nothing else.
 *
 * What the program printed stands between lines of ours. The last line is always ours, and so is the first unless the
 * program simply ended well, so what a program prints can't pass for the outcome.
 */
import type { LimitState } from '../admission/limits.js';
import type { ImageView } from '../images/show.js';
import type { Outcome, OutcomeSession, Refusal } from '../outcome.js';
import type { Captured, ProgramError, Status, Tier } from '../sandbox.js';

/** Of an exception's message, in the headline; traceback and structured content have all of it. */
const MESSAGE_MAX_CHARACTERS = 500;

/** Of a line of the caller's code. */
const SOURCE_MAX_CHARACTERS = 200;

/** What the text tells besides the outcome itself. */
export interface Beside {
  /** The caller's own code, to show the line that failed; null where it is not at hand. */
  readonly code: string | null;
  /** What became of the images among the files, in their order. */
  readonly images: readonly ImageView[];
}

/** The whole outcome. */
export function renderText(outcome: Outcome, { code, images }: Beside = { code: null, images: [] }): string {
  if (outcome.policy !== null) return renderDenial(outcome.policy, outcome);
  const { status, stdout, stderr, result } = outcome;
  const plain = status === 'ok' && stderr.text === '';
  const parts: string[] = [];
  if (status !== 'ok') parts.push(headline(outcome, code));
  if (stdout.text !== '') parts.push(plain ? stdout.text : `stdout:\n${stdout.text}`);
  if (stderr.text !== '') parts.push(`stderr:\n${stderr.text}`);
  if (result !== null) parts.push(`value of the last expression:${result.includes('\n') ? '\n' : ' '}${result}`);
  if (status === 'ok' && parts.length === 0 && outcome.files.length === 0) {
    parts.push('(no output: the program printed nothing, and its last line is not an expression with a value)');
  }
  parts.push(...omissions('stdout', stdout), ...omissions('stderr', stderr));
  parts.push(...fileLines(outcome, images));
  const todo = advice(outcome);
  if (todo !== null) parts.push(todo);
  if (outcome.session !== null) parts.push(sessionWords(outcome.session));
  parts.push(`[${usageLine(outcome)}]`);
  return parts.map((part) => part.replace(/\n+$/, '')).join('\n');
}

/** One line that says what happened: `error: ValueError: bad value (line 3: raise ValueError("bad value"))`. */
function headline(outcome: Outcome, code: string | null = null): string {
  return `${outcome.status}: ${happened(outcome, code)}`;
}

/** The same without the status. @param code the caller's own, to show the line that failed */
export function happened({ status, error, reason }: Outcome, code: string | null = null): string {
  return oneLine(status === 'error' && error !== null ? errorWords(error, code) : reason);
}

/** One line on what it cost and what is left: `ok in 52 ms, CPU 41 ms, memory 12 MB; …`. */
export function usageLine({ status, usage, limits, runId }: Outcome): string {
  const cost =
    usage === null
      ? `${status}, nothing was run`
      : `${status} in ${duration(usage.durationMs)}, CPU ${duration(usage.cpuMs)}, ` +
        `memory ${Math.ceil(usage.peakMemoryBytes / 2 ** 20)} MB`;
  return [cost, ...limits.map(limitWords), `run ${runId}`].join('; ');
}

/** What to do about it, where there is something to do and the reason does not say it; null otherwise. */
export function advice({ status, error, tier, retryable, policy }: Outcome): string | null {
  if (policy !== null) return null;
  if (status === 'error' && error !== null) return errorAdvice(error, tier);
  return retryable ? [ADVICE[status], 'The same call may succeed in a moment.'].join(' ').trim() : ADVICE[status];
}

/** What a sandbox lacks and a program may have counted on; the program's own word chooses which, and it is only advice. */
function errorAdvice({ type, message }: ProgramError, tier: Tier | null): string | null {
  if (type === 'ModuleNotFoundError') return 'Nothing can be installed here: use the packages that the tool names.';
  if (message.includes('[Errno 28]'))
    return 'The disk of the sandbox is full: write less, or remove what is not needed.';
  const isNetwork =
    /(^|\.)(gaierror|URLError|ConnectionError|ConnectTimeout|ConnectError|NameResolutionError|ClientConnectorError)$/;
  if (tier !== 'none' && isNetwork.test(type)) return 'There is no network here: pass data with the call.';
  return null;
}

const ADVICE: Readonly<Record<Status, string | null>> = {
  ok: null,
  error: null,
  timeout: 'Do less in one call: a smaller input, fewer steps, a faster method.',
  memory: 'Use less memory at a time: smaller pieces, iterators, smaller types.',
  output: 'Print less: a summary, a sample, the first rows.',
  killed: null,
  cancelled: null,
  denied: null,
  unavailable: "This is Cordon's fault, not the program's.",
};

/** Where the session stands, and whether this call is in it. */
function sessionWords({ id, step, undone, earliestStep }: OutcomeSession): string {
  if (undone) return `session ${id}: this call was undone; the session stands at step ${step}, as before`;
  const back = earliestStep === 0 ? '' : ` (can be rewound to step ${earliestStep} or later)`;
  return `session ${id}: step ${step}${back}`;
}

export function renderDenial({ code, rule, retryable, retryAfterMs }: Refusal, outcome: Outcome): string {
  const retry = retryAfterMs === null ? 'later' : `in ${Math.ceil(retryAfterMs / 1000)} s`;
  return [
    headline(outcome),
    `code: ${code}`,
    ...(rule === '' ? [] : [`rule: ${rule}`]),
    `retry: ${retryable ? retry : 'no, the same call will be denied again'}`,
    `[${usageLine(outcome)}]`,
  ].join('\n');
}

function errorWords({ type, message, line }: ProgramError, code: string | null): string {
  const line1 = message.trimStart().split('\n', 1)[0] ?? '';
  const first = line1.length > MESSAGE_MAX_CHARACTERS ? `${line1.slice(0, MESSAGE_MAX_CHARACTERS)}…` : line1;
  return `${type}${first === '' ? '' : `: ${first}`}${where(line, code)}`;
}

/** ` (line 3: the source of it)`. The number is the program's word: there may be no such line. */
function where(line: number | null, code: string | null): string {
  if (line === null) return '';
  const source = code === null ? '' : (code.split(/\r\n|\r|\n/, line)[line - 1] ?? '').trim();
  const shown = source.length > SOURCE_MAX_CHARACTERS ? `${source.slice(0, SOURCE_MAX_CHARACTERS)}…` : source;
  return shown === '' ? ` (line ${line})` : ` (line ${line}: ${shown})`;
}

function omissions(name: string, { omittedBytes, totalBytes }: Captured): string[] {
  if (omittedBytes === 0) return [];
  return [
    `[${name}: ${omittedBytes} of ${totalBytes} bytes left out in the middle; written to a file, all of it can be read]`,
  ];
}

/** More of them only push aside what the program printed; the resources have them all. */
const FILES_SHOWN_MAX = 20;
const LEFT_OUT_SHOWN_MAX = 3;

/** What came out of the working directory, and what did not. Names are one printable line each. */
function fileLines({ files, filesLeftOut }: Outcome, images: readonly ImageView[]): string[] {
  const lines: string[] = [];
  const views = new Map(images.map((view) => [view.file.name, view]));
  const seen = images.filter(({ shown }) => shown !== null);
  const shown = files.slice(0, FILES_SHOWN_MAX).map((file) => {
    const { name, bytes, mimeType, uri } = file;
    const view = views.get(name);
    return `${name} (${mimeType}, ${size(bytes)}, ${uri})${view === undefined ? '' : imageWords(view, seen.indexOf(view) + 1)}`;
  });
  if (files.length > shown.length) shown.push(`and ${files.length - shown.length} more: see resources/list`);
  if (shown.length > 0) lines.push(shown.length === 1 ? `files: ${shown.join('')}` : ['files:', ...shown].join('\n  '));
  if (filesLeftOut.count > 0) {
    const why = filesLeftOut.examples.slice(0, LEFT_OUT_SHOWN_MAX).map(({ name, why }) => `${name}: ${why}`);
    const more = filesLeftOut.count > why.length ? ['…'] : [];
    lines.push(`[left in the sandbox: ${filesLeftOut.count} that can't come back (${[...why, ...more].join('; ')})]`);
  }
  return lines;
}

/** `: image 1 below, 640x480`, or why it is not there. */
function imageWords({ size: pixels, shown, whyNot }: ImageView, number: number): string {
  const of = pixels === null ? '' : `, ${pixels.width}x${pixels.height}`;
  if (shown === null) return `: not shown${of}: ${oneLine(whyNot ?? '').slice(0, SOURCE_MAX_CHARACTERS)}`;
  const isScaled = pixels !== null && (pixels.width !== shown.width || pixels.height !== shown.height);
  return `: image ${number} below${of}${isScaled ? `, scaled to ${shown.width}x${shown.height}` : ''}`;
}

/** `23 KB`, of 1024 bytes. */
function size(bytes: number): string {
  if (bytes < 1024) return `${bytes} bytes`;
  const kilo = bytes / 1024;
  return kilo < 1024 ? `${kilo < 10 ? kilo.toFixed(1) : Math.round(kilo)} KB` : `${(kilo / 1024).toFixed(1)} MB`;
}

function limitWords({ counter, left, max, window }: LimitState): string {
  return `${counter}: ${left} of ${max} left this ${window}`;
}

function duration(milliseconds: number): string {
  return milliseconds < 1000 ? `${Math.ceil(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}

/** A headline stays one line, in the order it is written, whatever an exception's message holds. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\p{Zl}\p{Zp}\u061C\u200E\u200F\u202A-\u202E\u2066-\u2069]+/gu, ' ');
}
