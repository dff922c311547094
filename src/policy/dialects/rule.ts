/** One rule of another dialect, taken apart: whatever its keys are called, and nothing of it forgotten. */
import { isObject, type Note } from './note.js';

export interface ForeignRule {
  /** Where it stands in the original. */
  readonly path: readonly PropertyKey[];
  readonly name: string | null;
  /** `evaluate`: its conditions must hold, and where they do the next rule has its say. */
  readonly action: 'allow' | 'deny' | 'ask' | 'evaluate';
  readonly conditions: readonly { readonly path: readonly PropertyKey[]; readonly raw: unknown }[];
  readonly rate: { readonly path: readonly PropertyKey[]; readonly raw: unknown } | null;
  readonly state: { readonly path: readonly PropertyKey[]; readonly raw: unknown } | null;
  /** The owner's words. */
  readonly words: string | null;
}

const actions: Readonly<Record<string, ForeignRule['action']>> = {
  allow: 'allow',
  permit: 'allow',
  accept: 'allow',
  deny: 'deny',
  block: 'deny',
  reject: 'deny',
  forbid: 'deny',
  ask: 'ask',
  prompt: 'ask',
  approve: 'ask',
  approval: 'ask',
  confirm: 'ask',
  require_approval: 'ask',
  evaluate: 'evaluate',
};

/** The action that a word means, or null. */
export function readAction(word: unknown): ForeignRule['action'] | null {
  const known = typeof word === 'string' ? word.trim().toLowerCase() : '';
  return Object.hasOwn(actions, known) ? (actions[known] ?? null) : null;
}

const commentKeys = ['id', 'description', 'comment', 'priority_note'];

/**
 * Take a rule apart.
 * @param ignore keys that the caller has read already
 * @returns the rule, or what of it has no equivalent
 */
export function readRule(
  raw: unknown,
  path: readonly PropertyKey[],
  ignore: readonly string[] = [],
): { rule: ForeignRule; notes: Note[] } | { lost: Note[] } {
  if (!isObject(raw)) return { lost: [{ kind: 'lost', path, said: 'a rule is an object' }] };
  const lost: Note[] = [];
  const notes: Note[] = [];
  let actionKey: string | null = null;
  let rule: ForeignRule = {
    path,
    name: null,
    action: 'evaluate',
    conditions: [],
    rate: null,
    state: null,
    words: null,
  };
  for (const [key, value] of Object.entries(raw)) {
    const here = [...path, key];
    if (ignore.includes(key)) continue;
    if (key === 'name' && typeof value === 'string') rule = { ...rule, name: value };
    else if (commentKeys.includes(key)) notes.push({ kind: 'note', path: here, said: 'a remark, left out' });
    else if (['action', 'effect', 'decision', 'permission'].includes(key)) {
      const action = readAction(value);
      if (actionKey !== null) {
        lost.push({ kind: 'lost', path: here, said: `the rule has "${actionKey}" as well` });
      } else if (action === null) {
        lost.push({ kind: 'lost', path: here, said: `the action ${JSON.stringify(value)} has no equivalent` });
      } else rule = { ...rule, action };
      actionKey = key;
    } else if (['conditions', 'if', 'where'].includes(key) && Array.isArray(value)) {
      const conditions = value.map((inside: unknown, index) => ({ path: [...here, index], raw: inside }));
      rule = { ...rule, conditions: [...rule.conditions, ...conditions] };
    } else if (['rate_limit', 'rateLimit'].includes(key) && rule.rate === null) {
      rule = { ...rule, rate: { path: here, raw: value } };
    } else if (key === 'state') rule = { ...rule, state: { path: here, raw: value } };
    else if (['on_deny', 'reason', 'message', 'deny_message'].includes(key) && typeof value === 'string') {
      if (value !== '') rule = { ...rule, words: rule.words === null ? value : `${rule.words} ${value}` };
    } else lost.push({ kind: 'lost', path: here, said: `${JSON.stringify(key)} has no equivalent` });
  }
  return lost.length > 0 ? { lost } : { rule, notes };
}
