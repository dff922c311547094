/**
 * Rules as a firewall has them: the first one that matches a call decides. Ours all have their say, so that a list is
 * written over where both come to the same, as something stricter where that is enough, and else not at all.
 */
import { emptyDraft, limitOf, narrowAll, widenAll, wordsOf, type ToolDraft } from './draft.js';
import type { Note } from './note.js';
import type { ForeignRule } from './rule.js';

/**
 * Write a list over for one tool.
 * @param rules those that can match the tool, in order
 * @param fallback what holds where none matches, and where that stands in the original
 * @param counter the beginning of counters' names
 */
export function convertFirstMatch(
  rules: readonly ForeignRule[],
  fallback: { readonly action: 'allow' | 'deny' | 'ask'; readonly path: readonly PropertyKey[] },
  counter: (rule: ForeignRule) => string,
  notes: Note[],
): ToolDraft {
  const draft = emptyDraft();
  const lose = (path: readonly PropertyKey[], said: string) => notes.push({ kind: 'lost', path, said });
  const stricter = (path: readonly PropertyKey[], said: string) => notes.push({ kind: 'stricter', path, said });

  const end = rules.findIndex(({ conditions }) => conditions.length === 0);
  const last = end === -1 ? null : (rules[end] ?? null);
  const conditional = end === -1 ? rules : rules.slice(0, end);
  if (end !== -1) {
    for (const { path } of rules.slice(end + 1)) {
      notes.push({ kind: 'note', path, said: 'no call reaches this rule: the ones before it match every one' });
    }
  }
  for (const { action, state, path } of last === null ? conditional : [...conditional, last]) {
    if (action === 'evaluate') lose(path, 'the rule does not say whether it allows or denies');
    if (state !== null) lose(state.path, '"state" in a list where the first match decides');
  }
  const ending = last?.action ?? fallback.action;
  const openers: ForeignRule[] = [];
  for (const rule of conditional) {
    if (rule.action !== 'deny') {
      openers.push(rule);
      continue;
    }
    if (ending === 'deny' && openers.length > 0) continue;
    if (openers.length > 0) stricter(rule.path, 'it now denies even what a rule before it let through');
    if (rule.rate !== null) stricter(rule.rate.path, 'a rate on a rule that denies: it denies from the first call on');
    draft.deny_if.push({ conditions: widenAll(rule, notes), ...onDeny(rule) });
  }

  if (ending === 'deny') {
    const [opener, ...more] = openers;
    if (opener === undefined) draft.deny_if.push({ conditions: [], ...(last === null ? {} : onDeny(last)) });
    else if (more.length > 0)
      lose(more[0]?.path ?? opener.path, 'one rule or another lets a call through: there is no "or"');
    else {
      const conditions = narrowAll(opener, notes);
      if (conditions.length > 0) draft.require.push({ conditions, ...(last === null ? {} : onDeny(last)) });
      if (opener.action === 'ask') draft.require_approval.push({ conditions: [], ...message(opener) });
      limits(opener);
    }
    return draft;
  }
  let skipped = false;
  for (const opener of openers) {
    if (opener.action === 'ask') {
      if (skipped) stricter(opener.path, 'it now asks even about what a rule before it let through');
      draft.require_approval.push({ conditions: widenAll(opener, notes), ...message(opener) });
    } else {
      skipped = true;
      if (ending === 'ask') stricter(opener.path, 'a person is asked about these calls too');
    }
    if (opener.rate !== null) stricter(opener.rate.path, 'calls that this rule does not match are counted too');
    limits(opener);
  }
  if (ending === 'ask') draft.require_approval.push({ conditions: [], ...(last === null ? {} : message(last)) });
  if (last !== null) {
    if (last.rate !== null && openers.length > 0) {
      stricter(last.rate.path, 'calls that a rule before this one lets through are counted too');
    }
    limits(last);
  }
  return draft;

  function limits(rule: ForeignRule): void {
    // Whether such a dialect's windows slide or not, nobody says: sliding lets less through than either.
    if (rule.rate !== null) draft.limits.push(...limitOf(rule.rate, counter(rule), 'sliding', rule.words, notes));
  }
}

function onDeny(rule: ForeignRule): { on_deny?: string } {
  const words = wordsOf(rule);
  return words === undefined ? {} : { on_deny: words };
}

function message(rule: ForeignRule): { message?: string } {
  return rule.words === null ? {} : { message: rule.words.slice(0, 2000) };
}
