/** A policy while it is being written over from another dialect. */
import type { Note } from './note.js';
import type { ForeignRule } from './rule.js';
import { narrow, readCondition, widen, type WrittenCondition } from './condition.js';
import { readRate } from './rate.js';
import { pointer } from '../pointer.js';

/** Rules of one tool, as they will be written. */
export interface ToolDraft {
  require: unknown[];
  deny_if: unknown[];
  require_approval: unknown[];
  limits: unknown[];
}

export function emptyDraft(): ToolDraft {
  return { require: [], deny_if: [], require_approval: [], limits: [] };
}

/** Longest `on_deny` and `message`. */
const maxWordsLength = 2000;

/** The owner's words, as a rule takes them. */
export function wordsOf(rule: ForeignRule): string | undefined {
  const words = rule.words ?? (rule.name === null || rule.name === '' ? null : `Denied by the rule "${rule.name}".`);
  return words === null ? undefined : words.slice(0, maxWordsLength);
}

/** Deny every call of a tool, because of what could not be written over. The owner removes it when they have decided. */
export function denyInstead(draft: ToolDraft, lost: readonly Note[]): void {
  if (lost.length === 0) return;
  const places = [...new Set(lost.map(({ path }) => pointer(path)))].join(', ');
  const words = `Denied until the owner of the policy decides: ${places} of the policy it was converted from has no equivalent.`;
  draft.deny_if.unshift({ conditions: [], on_deny: words.slice(0, maxWordsLength) });
}

/** The conditions of a rule under which calls are allowed; what has no equivalent is noted as lost. */
export function narrowAll(rule: ForeignRule, notes: Note[]): WrittenCondition[] {
  return rule.conditions.flatMap(({ path, raw }) => {
    const read = readCondition(raw);
    const converted = 'fault' in read ? read : narrow(read);
    if ('fault' in converted) {
      notes.push({ kind: 'lost', path, said: converted.fault });
      return [];
    }
    if (converted.guarded) notes.push(guardNote(path));
    return converted.conditions;
  });
}

/** The conditions of a rule under which calls are denied or asked about. */
export function widenAll(rule: ForeignRule, notes: Note[]): WrittenCondition[] {
  return rule.conditions.flatMap(({ path, raw }) => {
    const read = readCondition(raw);
    const converted = 'fault' in read ? read : widen(read);
    if (converted === null) {
      notes.push({ kind: 'stricter', path, said: 'left out, so that the rule holds for more calls than it did' });
      return [];
    }
    if ('fault' in converted) {
      notes.push({
        kind: 'stricter',
        path,
        said: `${converted.fault}; left out, so that the rule holds for more calls`,
      });
      return [];
    }
    if (converted.guarded) notes.push(guardNote(path));
    return converted.conditions;
  });
}

function guardNote(path: readonly PropertyKey[]): Note {
  return {
    kind: 'note',
    path,
    said: 'values of another type than the compared one are decided strictly: 5 is not "5"',
  };
}

/** A limit on calls from a rate. */
export function limitOf(
  rate: { readonly path: readonly PropertyKey[]; readonly raw: unknown },
  counter: string,
  align: 'calendar' | 'sliding',
  words: string | null,
  notes: Note[],
): unknown[] {
  const read = readRate(rate.raw);
  if ('fault' in read) {
    notes.push({ kind: 'lost', path: rate.path, said: read.fault });
    return [];
  }
  const { max, window, exact } = read;
  if (!exact) {
    const said = `there is no window of that length: written as ${max} in ${window === 'hour' ? 'an' : 'a'} ${window}, which lets less through`;
    notes.push({ kind: 'stricter', path: rate.path, said });
  }
  return [limit(`${counter}.${window}`, window, max, 'calls', align, words)];
}

const maxCounterLength = 128;

/** Other dialects know no grants: a limit counts everybody together. */
export function limit(
  counter: string,
  window: string,
  max: number,
  charge: string,
  align: 'calendar' | 'sliding',
  words: string | null,
): unknown {
  return {
    // Names that become the same are counted together, which lets less through.
    counter: counter.slice(0, maxCounterLength),
    window,
    max,
    scope: 'server',
    ...(charge === 'calls' ? {} : { charge }),
    ...(align === 'calendar' ? {} : { align }),
    ...(words === null ? {} : { on_deny: words.slice(0, maxWordsLength) }),
  };
}
