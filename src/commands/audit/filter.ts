/** Which lines of the log are wanted, and what is read of a line. */
import { UsageError } from '../../command.js';

/** A line as it was logged. Nothing is taken for granted: the file may be anything by now. */
export type LoggedLine = Readonly<Record<string, unknown>>;

/** The filter flags, for node:util's `parseArgs`. */
export const filterOptions = {
  status: { type: 'string', multiple: true },
  decision: { type: 'string', multiple: true },
  grant: { type: 'string', multiple: true },
  client: { type: 'string', multiple: true },
  tool: { type: 'string', multiple: true },
  run: { type: 'string', multiple: true },
  since: { type: 'string' },
  until: { type: 'string' },
} as const;

interface Filters {
  readonly status?: readonly string[] | undefined;
  readonly decision?: readonly string[] | undefined;
  readonly grant?: readonly string[] | undefined;
  readonly client?: readonly string[] | undefined;
  readonly tool?: readonly string[] | undefined;
  readonly run?: readonly string[] | undefined;
  readonly since?: string | undefined;
  readonly until?: string | undefined;
}

/** @throws UsageError for a time that is none */
export function filterOf(filters: Filters, nowMs: number): (line: LoggedLine) => boolean {
  const sinceMs = filters.since === undefined ? null : parseTime('--since', filters.since, nowMs);
  const untilMs = filters.until === undefined ? null : parseTime('--until', filters.until, nowMs);
  const one = (wanted: readonly string[] | undefined, ...values: readonly string[]): boolean =>
    wanted === undefined || wanted.some((value) => values.includes(value));
  return (line) => {
    const timeMs = Date.parse(textOf(line, 'time'));
    // What can't be dated is not left out: it is what somebody looking for trouble wants to see.
    if (sinceMs !== null && timeMs < sinceMs) return false;
    if (untilMs !== null && timeMs > untilMs) return false;
    return (
      one(filters.status, textOf(line, 'status')) &&
      one(filters.decision, textOf(line, 'decision', 'verdict'), textOf(line, 'decision', 'code')) &&
      one(filters.grant, textOf(line, 'grant')) &&
      one(filters.client, textOf(line, 'client', 'name')) &&
      one(filters.tool, textOf(line, 'tool')) &&
      (filters.run?.some((id) => id !== '' && textOf(line, 'runId').startsWith(id)) ?? true)
    );
  };
}

function parseTime(flag: string, text: string, nowMs: number): number {
  const ago = /^(\d{1,9})([smhd])$/.exec(text);
  if (ago !== null) return nowMs - Number(ago[1]) * ({ s: 1, m: 60, h: 3600, d: 86_400 }[ago[2] ?? ''] ?? 0) * 1000;
  const atMs = Date.parse(text);
  if (/^\d{4}-\d\d-\d\d/.test(text) && Number.isFinite(atMs)) return atMs;
  throw new UsageError(
    `${flag}: expected a time (2026-03-04T15:30:00Z) or how long ago (90s, 15m, 2h, 7d), got ${JSON.stringify(text)}`,
  );
}

/** The text at a path of a line, or an empty one. */
export function textOf(line: LoggedLine, ...path: readonly string[]): string {
  const value = valueOf(line, path);
  return typeof value === 'string' ? value : '';
}

/** The number at a path of a line, or null. */
export function numberOf(line: LoggedLine, ...path: readonly string[]): number | null {
  const value = valueOf(line, path);
  return typeof value === 'number' ? value : null;
}

function valueOf(line: LoggedLine, path: readonly string[]): unknown {
  let here: unknown = line;
  for (const key of path) {
    if (typeof here !== 'object' || here === null || !Object.hasOwn(here, key)) return undefined;
    here = (here as LoggedLine)[key];
  }
  return here;
}

/** A line of the file as an object; null where it is none. */
export function parseLine(text: string): LoggedLine | null {
  if (!text.startsWith('{')) return null; // a throw for each of a million such lines would take its time
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as LoggedLine) : null;
  } catch {
    return null;
  }
}
