/** `cordon audit stats`: what the calls of a log come to. */
import { parseArgs } from 'node:util';
import { auditPath } from '../../audit.js';
import { snapshot } from '../../audit/verify.js';
import { print, printJson, table } from '../policy/print.js';
import { filterOf, filterOptions, numberOf, textOf, type LoggedLine } from './filter.js';
import { linesIn } from './read.js';
import { safeLine } from '../../terminal.js';

interface Group {
  calls: number;
  ok: number;
  denied: number;
  durationsMs: number[];
  cpuMs: number;
  outputBytes: number;
}

/** What calls are grouped by, and the name of a call's group; empty: the call is in none. */
const GROUPINGS: readonly (readonly [string, (line: LoggedLine) => string])[] = [
  ['all', () => 'all calls'],
  ['tool', (line) => textOf(line, 'tool')],
  ['grant', (line) => textOf(line, 'grant')],
  ['client', (line) => textOf(line, 'client', 'name')],
  ['status', (line) => textOf(line, 'status')],
  ['refusal', (line) => textOf(line, 'decision', 'code')],
];

export async function main(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: { ...filterOptions, audit: { type: 'string' }, json: { type: 'boolean', default: false } },
    strict: true,
  });
  const wanted = filterOf(values, Date.now());
  const log = await snapshot(auditPath(values.audit, process.env), null);
  const groups = new Map<string, Map<string, Group>>(GROUPINGS.map(([name]) => [name, new Map<string, Group>()]));
  let [first, last] = ['', ''];
  try {
    if (log.files.length === 0) {
      process.stderr.write(`cordon audit: there is no log ${safeLine(auditPath(values.audit, process.env))}\n`);
      return 1;
    }
    for (const { line } of linesIn(log)) {
      if (line === null || textOf(line, 'kind') !== 'call' || !wanted(line)) continue;
      const time = textOf(line, 'time');
      if (first === '' || time < first) first = time;
      if (time > last) last = time;
      for (const [grouping, nameOf] of GROUPINGS) count(groups.get(grouping), nameOf(line), line);
    }
  } finally {
    log.close();
  }
  if (values.json)
    printJson({ first, last, ...Object.fromEntries([...groups].map(([name, group]) => [name, figures(group)])) });
  else print(report(groups, first, last));
  return 0;
}

function count(group: Map<string, Group> | undefined, name: string, line: LoggedLine): void {
  if (group === undefined || name === '') return;
  let entry = group.get(name);
  if (entry === undefined)
    group.set(name, (entry = { calls: 0, ok: 0, denied: 0, durationsMs: [], cpuMs: 0, outputBytes: 0 }));
  entry.calls += 1;
  if (textOf(line, 'status') === 'ok') entry.ok += 1;
  if (textOf(line, 'status') === 'denied') entry.denied += 1;
  const durationMs = numberOf(line, 'usage', 'durationMs');
  if (durationMs !== null) entry.durationsMs.push(durationMs);
  entry.cpuMs += numberOf(line, 'usage', 'cpuMs') ?? 0;
  entry.outputBytes += numberOf(line, 'usage', 'outputBytes') ?? 0;
}

interface Figures {
  readonly calls: number;
  readonly ok: number;
  readonly denied: number;
  readonly medianMs: number | null;
  readonly p95Ms: number | null;
  readonly cpuSeconds: number;
  readonly outputBytes: number;
}

/** The largest group first. */
function figures(group: ReadonlyMap<string, Group>): Record<string, Figures> {
  return Object.fromEntries(
    [...group]
      .sort(([, one], [, other]) => other.calls - one.calls)
      .map(([name, { calls, ok, denied, durationsMs, cpuMs, outputBytes }]) => {
        const sorted = durationsMs.sort((one, other) => one - other);
        const medianMs = quantile(sorted, 0.5);
        const p95Ms = quantile(sorted, 0.95);
        return [name, { calls, ok, denied, medianMs, p95Ms, cpuSeconds: cpuMs / 1000, outputBytes }];
      }),
  );
}

function quantile(sorted: readonly number[], share: number): number | null {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? null;
}

function report(groups: ReadonlyMap<string, ReadonlyMap<string, Group>>, first: string, last: string): string[] {
  const rows: string[][] = [['', 'calls', 'ok', 'denied', 'median', '95 %', 'CPU', 'output']];
  for (const [grouping, group] of groups) {
    const entries = Object.entries(figures(group));
    if (entries.length === 0) continue;
    if (grouping !== 'all') rows.push([''], [grouping]);
    for (const [name, figure] of entries) {
      const indent = grouping === 'all' ? '' : '  ';
      const time = (ms: number | null) =>
        ms === null ? '-' : ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`;
      rows.push([
        `${indent}${name.replace(/\s+/gu, ' ')}`,
        ...[figure.calls, figure.ok, figure.denied].map(String),
        ...[time(figure.medianMs), time(figure.p95Ms), time(figure.cpuSeconds * 1000)],
        `${(figure.outputBytes / 1024).toFixed(0)} KB`,
      ]);
    }
  }
  if (first === '') return ['no calls'];
  return [`${first} to ${last}`, '', ...table(rows)];
}
