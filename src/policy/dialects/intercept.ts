/**
 * PolicyLayer Intercept's rules (its POLICY.md): a tool has a list of rules, and all of them must pass. A rule denies
 * always (`action: deny`), or unless its conditions hold (`evaluate`), and limits through a counter of its own (`state`,
 * which a condition compares with lt or lte) or `rate_limit`. Windows begin on the clock, UTC; counters know no identity.
 */
import { readCondition } from './condition.js';
import { limit, limitOf, narrowAll, wordsOf, type ToolDraft } from './draft.js';
import { isObject, type Note } from './note.js';
import type { ForeignRule } from './rule.js';

/**
 * Write rules over that must all pass.
 * @param align how the windows of a `rate_limit` lie: on the clock in Intercept; where that is not known, sliding is stricter
 * @param scope under which the dialect counts: the tool's name, or `_global` for rules of every tool
 * @returns limits apart, because those of `*` are counted for all tools together
 */
export function convertAllMustPass(
  rules: readonly ForeignRule[],
  scope: string,
  align: 'calendar' | 'sliding',
  notes: Note[],
): ToolDraft {
  const draft: ToolDraft = { require: [], deny_if: [], require_approval: [], limits: [] };
  for (const rule of rules) {
    const words = wordsOf(rule);
    const onDeny = words === undefined ? {} : { on_deny: words };
    const nothing = rule.conditions.length === 0 && rule.rate === null && rule.state === null;
    if (rule.action === 'deny') {
      draft.deny_if.push({ conditions: [], ...onDeny });
      continue;
    }
    if (rule.action === 'evaluate' && nothing) {
      notes.push({ kind: 'lost', path: rule.path, said: 'a rule without conditions, rate_limit or action' });
      continue;
    }
    const counter = rule.state === null ? null : readState(rule.state, notes);
    const counterPath = counter === null ? null : `state.${scope}.${counter.name}`;
    const isOwn = (raw: unknown) => isObject(raw) && counterPath !== null && raw.path === counterPath;
    const own = rule.conditions.filter(({ raw }) => isOwn(raw));
    const others = { ...rule, conditions: rule.conditions.filter(({ raw }) => !isOwn(raw)) };
    const conditions = narrowAll(others, notes);
    if (conditions.length > 0) draft.require.push({ conditions, ...onDeny });
    if (counter !== null) draft.limits.push(...counterLimits(counter, own, scope, rule, notes, draft));
    if (rule.rate !== null) draft.limits.push(...limitOf(rule.rate, `${scope}._rate`, align, rule.words, notes));
  }
  return draft;
}

interface Counter {
  readonly name: string;
  readonly window: string;
  readonly path: readonly PropertyKey[];
  /** A fixed number, or the argument that is added up. */
  readonly increment: number | string;
}

function readState({ path, raw }: NonNullable<ForeignRule['state']>, notes: Note[]): Counter | null {
  const lose = (at: readonly PropertyKey[], said: string) => {
    notes.push({ kind: 'lost', path: at, said });
    return null;
  };
  if (!isObject(raw)) return lose(path, '"state" is an object with counter and window');
  const { counter, window, increment = 1, increment_from: from, ...rest } = raw;
  for (const key of Object.keys(rest)) return lose([...path, key], `${JSON.stringify(key)} has no equivalent`);
  if (typeof counter !== 'string' || counter === '') return lose([...path, 'counter'], 'a counter needs a name');
  if (window !== 'minute' && window !== 'hour' && window !== 'day') {
    return lose([...path, 'window'], `the window ${JSON.stringify(window)} is not minute, hour or day`);
  }
  if (from !== undefined) {
    if (typeof from !== 'string' || !/^args\.[^.]/.test(from) || from.split('.').some((step) => /^\d*$/.test(step))) {
      return lose([...path, 'increment_from'], `${JSON.stringify(from)} is not the path of an argument`);
    }
    return { name: counter, window, path, increment: from };
  }
  if (typeof increment !== 'number' || !Number.isSafeInteger(increment) || increment < 0) {
    return lose([...path, 'increment'], 'an increment that is not a whole number of 0 or more');
  }
  // The original takes 0 for "not said".
  return { name: counter, window, path, increment: increment === 0 ? 1 : increment };
}

/** The condition on a rule's own counter is what limits it. */
function counterLimits(
  { name, window, path, increment }: Counter,
  own: ForeignRule['conditions'],
  scope: string,
  rule: ForeignRule,
  notes: Note[],
  draft: ToolDraft,
): unknown[] {
  const [condition, ...more] = own;
  if (condition === undefined || more.length > 0) {
    const said = 'a counter is a limit where exactly one condition compares it with lt or lte, and else nothing';
    notes.push({ kind: 'lost', path: more[0]?.path ?? path, said });
    return [];
  }
  const read = readCondition(condition.raw);
  const { op, value } = 'fault' in read ? { op: null, value: null } : read;
  if ((op !== 'lt' && op !== 'lte') || typeof value !== 'number' || Math.abs(value) > Number.MAX_SAFE_INTEGER) {
    notes.push({ kind: 'lost', path: condition.path, said: 'it compares a counter in a way that is no limit' });
    return [];
  }
  const most = Math.trunc(value) - (op === 'lt' ? 1 : 0);
  const max = typeof increment === 'number' ? Math.floor(most / increment) : most;
  if (max < 1) {
    // Not even one call fits. (An argument of 0 would, in the original.)
    draft.deny_if.push({ conditions: [], ...(wordsOf(rule) === undefined ? {} : { on_deny: wordsOf(rule) }) });
    if (typeof increment === 'string') {
      notes.push({
        kind: 'stricter',
        path: condition.path,
        said: 'a limit below 1 cannot be written: every call is denied',
      });
    }
    return [];
  }
  if (typeof increment === 'string') {
    const said = 'amounts below 0 are denied, and fractions are counted and not cut off';
    notes.push({ kind: 'note', path: [...path, 'increment_from'], said });
  }
  const charge = typeof increment === 'string' ? increment : 'calls';
  return [limit(`${scope}.${name}`, window, max, charge, 'calendar', rule.words)];
}
