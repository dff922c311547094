/**
 * An outcome as text, for a model and a person. Complete by itself: some clients show nothing else.
 *
 * What the program printed stands between lines of ours. The last line is always ours, and so is the first unless the
 * program simply ended well, so what a program prints can't pass for the outcome.
 */
import type { LimitState } from '../admission/limits.js';
import type { Outcome, Refusal } from '../outcome.js';
import type { Captured, ProgramError, Status } from '../sandbox.js';

/** Of an exception's message, in the headline; traceback and structured content have all of it. */
const MESSAGE_MAX_CHARACTERS = 500;

/** The whole outcome. */
export function renderText(outcome: Outcome): string {
  if (outcome.policy !== null) return renderDenial(outcome.policy, outcome);
  const { status, stdout, stderr, result } = outcome;
  const plain = status === 'ok' && stderr.text === '';
  const parts: string[] = [];
  if (status !== 'ok') parts.push(headline(outcome));
  if (stdout.text !== '') parts.push(plain ? stdout.text : `stdout:\n${stdout.text}`);
  if (stderr.text !== '') parts.push(`stderr:\n${stderr.text}`);
  if (result !== null) parts.push(`value of the last expression: ${result}`);
  if (status === 'ok' && parts.length === 0) {
    parts.push('(no output: the program printed nothing, and its last line is not an expression with a value)');
  }
  parts.push(...omissions('stdout', stdout), ...omissions('stderr', stderr));
  parts.push(...fileLines(outcome));
  const todo = advice(outcome);
  if (todo !== null) parts.push(todo);
  parts.push(`[${usageLine(outcome)}]`);
  return parts.map((part) => part.replace(/\n+$/, '')).join('\n');
}

/** One line that says what happened: `error: ValueError: bad value (line 3)`. */
function headline(outcome: Outcome): string {
  return `${outcome.status}: ${happened(outcome)}`;
}

/** The same without the status. */
export function happened({ status, error, reason }: Outcome): string {
  return oneLine(status === 'error' && error !== null ? errorWords(error) : reason);
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
export function advice({ status, retryable, policy }: Outcome): string | null {
  if (policy !== null) return null;
  return retryable ? [ADVICE[status], 'The same call may succeed in a moment.'].join(' ').trim() : ADVICE[status];
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

function renderDenial({ code, rule, retryable, retryAfterMs }: Refusal, outcome: Outcome): string {
  const retry = retryAfterMs === null ? 'later' : `in ${Math.ceil(retryAfterMs / 1000)} s`;
  return [
    headline(outcome),
    `code: ${code}`,
    ...(rule === '' ? [] : [`rule: ${rule}`]),
    `retry: ${retryable ? retry : 'no, the same call will be denied again'}`,
    `[${usageLine(outcome)}]`,
  ].join('\n');
}

function errorWords({ type, message, line }: ProgramError): string {
  const line1 = message.split('\n', 1)[0] ?? '';
  const first = line1.length > MESSAGE_MAX_CHARACTERS ? `${line1.slice(0, MESSAGE_MAX_CHARACTERS)}…` : line1;
  return `${type}${first === '' ? '' : `: ${first}`}${line === null ? '' : ` (line ${line})`}`;
}

function omissions(name: string, { omittedBytes, totalBytes }: Captured): string[] {
  if (omittedBytes === 0) return [];
  return [`[${name}: ${omittedBytes} of ${totalBytes} bytes left out in the middle]`];
}

/** More of them only push aside what the program printed; the resources have them all. */
const FILES_SHOWN_MAX = 20;
const LEFT_OUT_SHOWN_MAX = 3;

/** What came out of the working directory, and what did not. Names are one printable line each. */
function fileLines({ files, filesLeftOut }: Outcome): string[] {
  const lines: string[] = [];
  const shown = files
    .slice(0, FILES_SHOWN_MAX)
    .map(({ name, bytes, mimeType, uri }) => `${name} (${mimeType}, ${size(bytes)}, ${uri})`);
  if (files.length > shown.length) shown.push(`and ${files.length - shown.length} more: see resources/list`);
  if (shown.length > 0) lines.push(shown.length === 1 ? `files: ${shown.join('')}` : ['files:', ...shown].join('\n  '));
  if (filesLeftOut.count > 0) {
    const why = filesLeftOut.examples.slice(0, LEFT_OUT_SHOWN_MAX).map(({ name, why }) => `${name}: ${why}`);
    const more = filesLeftOut.count > why.length ? ['…'] : [];
    lines.push(`[left in the sandbox: ${filesLeftOut.count} that can't come back (${[...why, ...more].join('; ')})]`);
  }
  return lines;
}

/** `23 KB`, of 1024 bytes. */
export function size(bytes: number): string {
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

/** A headline stays one line, whatever an exception's message holds. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ');
}
