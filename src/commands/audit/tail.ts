/** `cordon audit tail`: the last calls, and those to come. */
import { closeSync, fstatSync, openSync, statSync, watch } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { auditPath } from '../../audit.js';
import { linesOf } from '../../audit/files.js';
import { snapshot } from '../../audit/verify.js';
import { UsageError } from '../../command.js';
import { onStopSignal } from '../../signals.js';
import { print } from '../policy/print.js';
import { filterOf, filterOptions, numberOf, parseLine, textOf, type LoggedLine } from './filter.js';
import { linesIn } from './read.js';
import { safeLine } from '../../terminal.js';

const DEFAULT_LINES = 20;
/** Where the system can't tell of changes (some network file systems), the file is looked at so often. */
const LOOK_INTERVAL_MS = 1_000;

export async function main(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      ...filterOptions,
      audit: { type: 'string' },
      json: { type: 'boolean', default: false },
      lines: { type: 'string', short: 'n', default: String(DEFAULT_LINES) },
      follow: { type: 'boolean', short: 'f', default: false },
    },
    strict: true,
  });
  if (!/^\d{1,9}$/.test(values.lines)) {
    throw new UsageError(`-n: expected a number of lines, got ${JSON.stringify(values.lines)}`);
  }
  const most = Number(values.lines);
  const wanted = filterOf(values, Date.now());
  const path = auditPath(values.audit, process.env);
  const show = (text: string): void => {
    const line = parseLine(text);
    if (line === null ? text.trim() !== '' : wanted(line)) print([values.json ? text : describe(line, text)]);
  };

  const log = await snapshot(path, null);
  const last = log.files.at(-1);
  // Where following begins: what is torn now may be whole by then.
  const from = { inode: 0, bytes: 0 };
  const texts: string[] = [];
  try {
    if (log.files.length === 0 && !values.follow) {
      process.stderr.write(`cordon audit: there is no log ${safeLine(path)}\n`);
      return 1;
    }
    for (const { text, line, ended } of linesIn(log)) {
      if (!ended && values.follow) continue;
      if (line === null ? text.trim() !== '' : wanted(line)) texts.push(text);
      if (most > 0 && texts.length > most) texts.shift();
    }
    if (last !== undefined) Object.assign(from, { inode: fstatSync(last.descriptor).ino, bytes: wholeLines(last) });
  } finally {
    log.close();
  }
  for (const text of texts) show(text);
  return values.follow ? follow(path, from, show) : 0;
}

/** How much of a file is whole lines. */
function wholeLines({ descriptor, bytes }: { descriptor: number; bytes: number }): number {
  let torn = 0;
  for (const line of linesOf(descriptor, 0, bytes)) if (!line.ended) torn = line.bytes.length;
  return bytes - torn;
}

/** Show lines as they come, through rotation too, until told to stop. */
async function follow(
  path: string,
  from: { inode: number; bytes: number },
  show: (text: string) => void,
): Promise<number> {
  let { inode, bytes } = from;
  let descriptor: number | null = null;
  const drain = (): void => {
    if (descriptor === null) return;
    for (const line of linesOf(descriptor, bytes)) {
      if (!line.ended) break;
      bytes += line.bytes.length + 1;
      show(new TextDecoder().decode(line.bytes));
    }
  };
  const look = (): void => {
    // The file that was written until now, to its end; then the one that has its place.
    drain();
    const now = statSync(path, { throwIfNoEntry: false });
    if (now === undefined || (descriptor !== null && now.ino === inode)) return;
    if (descriptor !== null) closeSync(descriptor);
    descriptor = openSync(path, 'r');
    const { ino } = fstatSync(descriptor);
    if (ino !== inode) [inode, bytes] = [ino, 0];
    drain();
  };
  look();
  const timer = setInterval(look, LOOK_INTERVAL_MS);
  let watcher;
  try {
    watcher = watch(dirname(path), look);
    watcher.on('error', () => undefined);
  } catch {
    // The timer does.
  }
  const status = await new Promise<number>((resolve) => {
    onStopSignal((_signal, number) => {
      resolve(number);
    });
    process.stdout.on('error', () => {
      resolve(0);
    });
  });
  clearInterval(timer);
  watcher?.close();
  return status;
}

/** One line for a person: when, how it ended, who, what, how long. */
function describe(line: LoggedLine | null, text: string): string {
  if (line === null) return `(not a line of the log) ${text.slice(0, 200)}`;
  const time = textOf(line, 'time').slice(0, 19).replace('T', ' ');
  const kind = textOf(line, 'kind');
  if (kind !== 'call') return [time, kind.padEnd(11), textOf(line, 'source')].join('  ').trimEnd();
  const duration = numberOf(line, 'usage', 'durationMs');
  const code = textOf(line, 'decision', 'code');
  const rule = textOf(line, 'decision', 'rule');
  const via = textOf(line, 'approval', 'via');
  const by = textOf(line, 'approval', 'by');
  return [
    time,
    textOf(line, 'status').padEnd(11),
    (duration === null ? '-' : `${duration.toFixed(0)} ms`).padStart(9),
    `${textOf(line, 'grant')} ${textOf(line, 'client', 'name')}`,
    textOf(line, 'tool'),
    textOf(line, 'runId').slice(0, 8),
    ...(code === '' ? [] : [`${code} ${rule}`.trimEnd()]),
    ...(via === '' ? [] : [`${textOf(line, 'decision', 'verdict')} by ${by || 'a person'} (${via})`]),
  ]
    .map((cell) => cell.replace(/\s*\n\s*/g, ' '))
    .join('  ');
}
