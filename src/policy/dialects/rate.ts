/** Rates as other dialects write them: `10/minute`, `100 per 1h`, `{ max: 10, window: "1m" }`, `{ limit, window_seconds }`. */
import { windows, type LimitRule } from '../schema.js';
import { isObject } from './note.js';

export interface Rate {
  readonly max: number;
  /** The window of ours that is used; the shortest that is at least as long as the one written. */
  readonly window: LimitRule['window'];
  /** Whether that is exactly as long. */
  readonly exact: boolean;
}

const windowSeconds: Record<LimitRule['window'], number> = { second: 1, minute: 60, hour: 3600, day: 86_400 };

/** Lower-case units; `M` is left out, because it may be a month. */
const unitSeconds = new Map<string, number>([
  ...['ms', 'millisecond', 'milliseconds'].map((name): [string, number] => [name, 0.001]),
  ...['s', 'sec', 'secs', 'second', 'seconds'].map((name): [string, number] => [name, 1]),
  ...['m', 'min', 'mins', 'minute', 'minutes'].map((name): [string, number] => [name, 60]),
  ...['h', 'hr', 'hrs', 'hour', 'hours', 'hourly'].map((name): [string, number] => [name, 3600]),
  ...['d', 'day', 'days', 'daily'].map((name): [string, number] => [name, 86_400]),
]);

/** Keys of a rate written as an object, and how many seconds one of its unit is where the key says so. */
const maxKeys = ['max', 'limit', 'count', 'calls', 'requests', 'max_calls', 'max_requests', 'maxCalls'];
const durationKeys = ['window', 'per', 'period', 'interval'];
const secondsKeys = ['window_seconds', 'window_sec', 'window_secs', 'windowSeconds', 'per_seconds'];
const millisecondsKeys = ['window_ms', 'windowMs'];

/** Read a rate, or say why it can't be written over. */
export function readRate(written: unknown): Rate | { readonly fault: string } {
  if (typeof written === 'string') {
    const parts = /^\s*(\d+)\s*(?:\/|\bper\b)\s*(.+?)\s*$/.exec(written);
    if (parts === null) return { fault: `${JSON.stringify(written)} is no rate such as "10/minute"` };
    return rateOf(Number(parts[1]), durationOf(parts[2]));
  }
  if (!isObject(written)) return { fault: 'a rate is written "10/minute" or { "max": 10, "window": "minute" }' };
  let max: unknown = null;
  let seconds: number | null = null;
  for (const [key, value] of Object.entries(written)) {
    const number = typeof value === 'number' ? value : null;
    if (maxKeys.includes(key) && max === null) max = value;
    else if (durationKeys.includes(key) && seconds === null) seconds = durationOf(value);
    else if (secondsKeys.includes(key) && seconds === null) seconds = number;
    else if (millisecondsKeys.includes(key) && seconds === null) seconds = number === null ? null : number / 1000;
    else return { fault: `${JSON.stringify(key)} in a rate has no equivalent` };
  }
  return rateOf(max, seconds);
}

/** Seconds of `1m`, `minute`, `30 seconds`, or of a bare number; null where it is none. */
function durationOf(written: unknown): number | null {
  if (typeof written === 'number') return written;
  if (typeof written !== 'string') return null;
  const parts = /^\s*(\d+(?:\.\d+)?)?\s*([A-Za-z]+)?\s*$/.exec(written);
  if (parts === null || (parts[1] === undefined && parts[2] === undefined)) return null;
  const unit = parts[2] === undefined ? 1 : unitSeconds.get(parts[2] === 'M' ? '' : parts[2].toLowerCase());
  return unit === undefined ? null : Number(parts[1] ?? 1) * unit;
}

function rateOf(max: unknown, seconds: number | null): Rate | { readonly fault: string } {
  if (typeof max !== 'number' || !Number.isSafeInteger(max) || max < 1) {
    return { fault: `${JSON.stringify(max)} is not a number of calls (a whole number of at least 1)` };
  }
  if (seconds === null || !(seconds > 0)) return { fault: 'the length of its window cannot be told' };
  const window = windows.find((name) => windowSeconds[name] >= seconds);
  if (window === undefined) return { fault: `a window of ${seconds / 86_400} days is longer than a day, the longest` };
  return { max, window, exact: windowSeconds[window] === seconds };
}
