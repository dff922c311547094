/**
 * A map of tools, each with rules of another dialect: `tools.<name>.rules` (all must pass, as in Intercept, or the first
 * match decides where one says `allow`), or the rule itself written at the tool (`action`, `rate_limit`, `reason`). What
 * stands there in our own language already is taken over as it is.
 */
import { convertFirstMatch } from './first-match.js';
import { convertAllMustPass } from './intercept.js';
import { denyInstead, emptyDraft, type ToolDraft } from './draft.js';
import { isObject, type Note } from './note.js';
import { readRule, type ForeignRule } from './rule.js';

export interface ConvertedTools {
  readonly default: 'allow' | 'deny';
  readonly allToolsLimits: readonly unknown[];
  readonly tools: Readonly<Record<string, unknown>>;
  /** Something that concerns every tool could not be written over. */
  readonly allLost: boolean;
}

/**
 * Whether a map is written as Intercept writes it, and nothing else: only `rules`, only `evaluate` and `deny`, rates as
 * texts. What is known of Intercept (what it does without a default, where its windows begin) holds only then.
 */
export function isIntercept(map: Readonly<Record<string, unknown>>): boolean {
  return Object.values(map).every(
    (tool) =>
      isObject(tool) &&
      Object.keys(tool).every((key) => key === 'rules') &&
      (Array.isArray(tool.rules) ? (tool.rules as unknown[]) : []).every(
        (rule) =>
          isObject(rule) &&
          (rule.action === undefined || rule.action === 'evaluate' || rule.action === 'deny') &&
          (rule.rate_limit === undefined || typeof rule.rate_limit === 'string'),
      ),
  );
}

const ownKeys = ['require', 'deny_if', 'require_approval', 'limits'] as const;

/** Write a map of tools over. @param fallback what holds for tools that are not in it */
export function convertToolMap(
  map: Readonly<Record<string, unknown>>,
  fallback: { readonly action: 'allow' | 'deny'; readonly path: readonly PropertyKey[] },
  notes: Note[],
): ConvertedTools {
  const align = isIntercept(map) ? 'calendar' : 'sliding';
  const everyTool = Object.hasOwn(map, '*') ? convertWildcard(map['*'], align, notes) : null;
  const everyRules = everyTool?.draft ?? emptyDraft();
  const needed = [...everyRules.require, ...everyRules.deny_if].length > 0;
  let byDefault = fallback.action;
  if (needed && byDefault === 'allow') {
    byDefault = 'deny';
    const alwaysDenied = everyRules.deny_if.length > 0;
    notes.push({
      kind: alwaysDenied ? 'note' : 'stricter',
      path: ['tools', '*'],
      said: alwaysDenied
        ? 'every tool is denied: tools that are not listed by "default": "deny"'
        : 'conditions for every tool can only be written at each: tools that are not listed are denied; list them',
    });
  }
  const tools = Object.entries(map)
    .filter(([name]) => name !== '*')
    .map(([name, raw]): [string, unknown] => {
      const draft = convertTool(name, raw, fallback, align, notes);
      draft.require.push(...everyRules.require);
      draft.deny_if.push(...everyRules.deny_if);
      return [name, Object.fromEntries(Object.entries(draft).filter(([, list]) => (list as unknown[]).length > 0))];
    });
  return {
    default: byDefault,
    allToolsLimits: everyRules.limits,
    tools: Object.fromEntries(tools),
    allLost: everyTool?.lost ?? false,
  };
}

function convertTool(
  name: string,
  raw: unknown,
  fallback: { readonly action: 'allow' | 'deny'; readonly path: readonly PropertyKey[] },
  align: 'calendar' | 'sliding',
  notes: Note[],
): ToolDraft {
  const path = ['tools', name];
  const said: Note[] = [];
  const draft = emptyDraft();
  const rules = rulesOf(raw, path, draft, said);
  const converted = saysFirstMatch(rules)
    ? convertFirstMatch(rules, fallback, () => `${name}._rate`, said)
    : convertAllMustPass(rules, name, align, said);
  for (const key of ownKeys) draft[key].push(...converted[key]);
  denyInstead(
    draft,
    said.filter(({ kind }) => kind === 'lost'),
  );
  notes.push(...said);
  return draft;
}

/** Rules of `*`: they hold besides those of each tool, so there is no first match among them. */
function convertWildcard(
  raw: unknown,
  align: 'calendar' | 'sliding',
  notes: Note[],
): { draft: ToolDraft; lost: boolean } {
  const said: Note[] = [];
  const draft = emptyDraft();
  const rules = rulesOf(raw, ['tools', '*'], draft, said).filter((rule) => {
    if (rule.action === 'ask' || (rule.action !== 'evaluate' && rule.conditions.length > 0)) {
      said.push({
        kind: 'lost',
        path: rule.path,
        said: 'a rule of every tool that allows, asks, or denies on conditions',
      });
      return false;
    }
    return true;
  });
  if (draft.require_approval.length > 0) {
    said.push({ kind: 'lost', path: ['tools', '*', 'require_approval'], said: 'approval for every tool' });
  }
  const converted = convertAllMustPass(rules, '_global', align, said);
  for (const key of ownKeys) draft[key].push(...converted[key]);
  notes.push(...said);
  return { draft, lost: said.some(({ kind }) => kind === 'lost') };
}

/** The rules of a tool, in order; what is ours already goes into the draft. */
function rulesOf(raw: unknown, path: readonly PropertyKey[], draft: ToolDraft, notes: Note[]): ForeignRule[] {
  if (raw === null || raw === undefined) return [];
  if (Array.isArray(raw)) return listOf(raw, path, notes);
  if (!isObject(raw)) {
    // `code_execute: deny`
    return listOf([{ action: raw }], path, notes).map((rule) => ({ ...rule, path }));
  }
  for (const key of ownKeys) {
    if (!Object.hasOwn(raw, key)) continue;
    if (Array.isArray(raw[key])) draft[key].push(...(raw[key] as unknown[]));
    else notes.push({ kind: 'lost', path: [...path, key], said: `"${key}" is not a list` });
  }
  const list = raw.rules;
  if (list !== undefined && list !== null && !Array.isArray(list)) {
    notes.push({ kind: 'lost', path: [...path, 'rules'], said: '"rules" is not a list' });
  }
  const inner = Array.isArray(list) ? listOf(list, [...path, 'rules'], notes) : [];
  const handled = [...ownKeys, 'rules'];
  const rest = Object.keys(raw).filter((key) => !handled.includes(key));
  if (rest.length === 0) return inner;
  const read = readRule(raw, path, handled);
  if ('lost' in read) {
    notes.push(...read.lost);
    return inner;
  }
  notes.push(...read.notes);
  const atTool = read.rule;
  const bare = atTool.action === 'evaluate' && atTool.rate === null && atTool.state === null;
  if (bare && atTool.conditions.length === 0) {
    notes.push({ kind: 'note', path, said: 'a remark, left out' });
    return inner;
  }
  if (inner.length > 0 && atTool.action !== 'evaluate') {
    notes.push({ kind: 'lost', path, said: 'an action at the tool besides its rules' });
  }
  return [...inner, atTool];
}

function listOf(list: readonly unknown[], path: readonly PropertyKey[], notes: Note[]): ForeignRule[] {
  return list.flatMap((raw, index) => {
    const read = readRule(raw, [...path, index]);
    if ('lost' in read) {
      notes.push(...read.lost);
      return [];
    }
    notes.push(...read.notes);
    return [read.rule];
  });
}

/** Only where the first match decides does a rule that allows say anything, or one that denies have conditions. */
function saysFirstMatch(rules: readonly ForeignRule[]): boolean {
  return rules.some(
    ({ action, conditions }) => action === 'allow' || action === 'ask' || (action === 'deny' && conditions.length > 0),
  );
}
