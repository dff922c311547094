/**
 * One list of rules for all tools, the first match deciding: `rules: [{ tool, action, conditions, rate_limit, reason }]`.
 * A tool is named, or matched by a pattern with `*` and `?`.
 */
import { convertFirstMatch } from './first-match.js';
import { denyInstead, type ToolDraft } from './draft.js';
import { isObject, type Note } from './note.js';
import { readRule, type ForeignRule } from './rule.js';
import type { ConvertedTools } from './tool-map.js';

interface ListedRule extends ForeignRule {
  /** Names and patterns. */
  readonly tools: readonly string[];
}

const toolKeys = ['tool', 'tools', 'tool_name', 'toolName', 'match', 'when', 'actions'];

/** Write a list over. @param fallback what holds where no rule matches */
export function convertRuleList(
  list: readonly unknown[],
  path: readonly PropertyKey[],
  fallback: { readonly action: 'allow' | 'deny' | 'ask'; readonly path: readonly PropertyKey[] },
  notes: Note[],
): ConvertedTools {
  const said: Note[] = [];
  const rules = list.flatMap((raw, index) => listedRule(raw, [...path, index], said));
  // A rule that could not be read may have been about any tool.
  const allLost = said.some(({ kind }) => kind === 'lost');
  notes.push(...said);
  const counter = (rule: ForeignRule) => `rule_${String(rule.path.at(-1))}`;
  const convert = (matches: (pattern: string) => boolean): { draft: ToolDraft; said: Note[] } => {
    const about: Note[] = [];
    const own = rules.filter(({ tools }) => tools.some(matches));
    const draft = convertFirstMatch(own, fallback, counter, about);
    denyInstead(
      draft,
      about.filter(({ kind }) => kind === 'lost'),
    );
    return { draft, said: about };
  };

  const names = [...new Set(rules.flatMap(({ tools }) => tools.filter((name) => !isPattern(name))))];
  const tools: [string, unknown][] = [];
  for (const name of names) {
    const { draft, said: about } = convert((pattern) => globMatches(pattern, name));
    tools.push([name, Object.fromEntries(Object.entries(draft).filter(([, rows]) => (rows as unknown[]).length > 0))]);
    notes.push(...about);
  }
  // Of a tool that is not named nobody knows which patterns match it, but "*".
  const unnamed = convert((pattern) => pattern === '*');
  const { require, deny_if: denyIf, require_approval: asking, limits } = unnamed.draft;
  const patterns = rules.filter((rule) => rule.tools.some((name) => isPattern(name) && name !== '*'));
  const plainlyAllowed = [...require, ...denyIf, ...asking, ...limits].length === 0 && patterns.length === 0;
  const plainlyDenied = denyIf.some(isAlways);
  for (const rule of patterns) {
    // A tool that is denied anyway loses nothing by a rule that denies it.
    if (rule.action === 'deny' && plainlyDenied) continue;
    const which = rule.tools.filter((name) => isPattern(name) && name !== '*').join(', ');
    const list = `tools are named one by one: of those that ${which} matches, only the named ones have this rule`;
    notes.push({ kind: 'stricter', path: rule.path, said: `${list}; tools that are not named are denied` });
  }
  if (!plainlyAllowed) notes.push(...unnamed.said.filter(({ kind }) => kind !== 'note'));
  if (!plainlyAllowed && !plainlyDenied && patterns.length === 0) {
    const said = 'rules for every tool can only be written at each: tools that are not named are denied; list them';
    notes.push({ kind: 'stricter', path, said });
  }
  return {
    default: plainlyAllowed ? 'allow' : 'deny',
    allToolsLimits: [],
    tools: Object.fromEntries(tools),
    allLost,
  };
}

function isAlways(rule: unknown): boolean {
  return isObject(rule) && Array.isArray(rule.conditions) && rule.conditions.length === 0;
}

function listedRule(raw: unknown, path: readonly PropertyKey[], notes: Note[]): ListedRule[] {
  const tools = isObject(raw) ? toolsOf(raw, path, notes) : null;
  const read = readRule(raw, path, toolKeys);
  if ('lost' in read) {
    notes.push(...read.lost);
    return [];
  }
  notes.push(...read.notes);
  return tools === null ? [] : [{ ...read.rule, tools }];
}

/** The tools a rule is about; one that does not say is about all. */
function toolsOf(raw: Record<string, unknown>, path: readonly PropertyKey[], notes: Note[]): string[] | null {
  const lose = (at: readonly PropertyKey[], said: string) => {
    notes.push({ kind: 'lost', path: at, said });
    return null;
  };
  const said = toolKeys.filter((key) => Object.hasOwn(raw, key));
  const [key, ...more] = said;
  if (key === undefined) return ['*'];
  if (more.length > 0) return lose(path, `it says which tools by ${said.join(' and ')}`);
  let value = raw[key];
  let at = [...path, key];
  if (isObject(value)) {
    const inside = Object.entries(value);
    const [first, ...others] = inside;
    if (first === undefined) return ['*'];
    if (others.length > 0 || !['tool', 'tools', 'tool_name', 'tool_name_in', 'name'].includes(first[0])) {
      return lose(
        at,
        `a match by ${inside.map(([name]) => name).join(', ')} has no equivalent: rules are for named tools`,
      );
    }
    at = [...at, first[0]];
    value = first[1];
  }
  const names: unknown[] = Array.isArray(value) ? value : [value];
  if (!names.every((name): name is string => typeof name === 'string' && name !== '')) {
    return lose(at, 'not the name of a tool, or a list of names');
  }
  const odd = names.find((name) => /[[\]{}!\\^$|]/.test(name));
  return odd === undefined ? names : lose(at, `the pattern ${JSON.stringify(odd)} has no equivalent`);
}

function isPattern(name: string): boolean {
  return /[*?]/.test(name);
}

/** Whether a pattern of literal characters, `*` and `?` matches a name; in time linear in each. */
function globMatches(pattern: string, name: string): boolean {
  let at = 0;
  let next = 0;
  let star = -1;
  let resume = 0;
  while (next < name.length) {
    if (pattern[at] === '*') {
      star = at;
      resume = next;
      at += 1;
    } else if (pattern[at] === '?' || pattern[at] === name[next]) {
      at += 1;
      next += 1;
    } else if (star !== -1) {
      at = star + 1;
      resume += 1;
      next = resume;
    } else return false;
  }
  while (pattern[at] === '*') at += 1;
  return at === pattern.length;
}
