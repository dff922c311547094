/**
 * What a policy's values must mean beyond their types: paths that lead somewhere, operators with values they can compare,
 * regexes that compile, counters that count one thing. Works on the value as written, and steps over whatever has the
 * wrong shape, because the schema reports that: so that all problems of a file come at once.
 */
import { derivedFacts, parsePath, weekdays, type FactType } from './path.js';
import { compileRegex } from './regex.js';
import { measuredCharges, operators, type Operator } from './schema.js';
import type { Finding } from './finding.js';
import { checkMounts } from './mounts.js';
import { convertHint, nearest, pathHint, show } from './diagnose.js';

/** All that is wrong with the meaning of a policy. */
export function checkMeaning(policy: unknown): readonly Finding[] {
  const findings: Finding[] = [];
  const tools = memberOf(policy, 'tools');
  for (const [name, tool] of entriesOf(tools)) {
    if (name === '*') {
      findings.push({
        path: ['tools', name],
        expected: 'the name of a tool',
        got: '"*"',
        hint: `limits of every tool stand under "all_tools"; tools that are not listed are what "default" is for; ${convertHint}`,
      });
    }
    for (const list of ['require', 'deny_if', 'require_approval']) {
      for (const [index, rule] of itemsOf(memberOf(tool, list))) {
        const path = ['tools', name, list, index];
        const conditions = memberOf(rule, 'conditions');
        if (list === 'require' && isObject(rule) && (conditions === undefined || isEmptyList(conditions))) {
          findings.push({
            path: [...path, 'conditions'],
            expected: 'at least one condition',
            got: show(conditions),
            hint: 'a requirement of nothing protects nothing; to deny always, use deny_if with no conditions',
          });
        }
        for (const [at, condition] of itemsOf(conditions)) {
          findings.push(...checkCondition(condition, [...path, 'conditions', at]));
        }
      }
    }
  }
  findings.push(...checkHide(memberOf(policy, 'hide')), ...checkLimits(policy));
  for (const [index, module] of itemsOf(memberOf(memberOf(policy, 'sandbox'), 'preload'))) {
    if (typeof module === 'string' && !/^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$/.test(module)) {
      const expected = 'the name of a Python module, as after "import"';
      findings.push({ path: ['sandbox', 'preload', index], expected, got: show(module), hint: null });
    }
  }
  findings.push(...checkMounts(itemsOf(memberOf(memberOf(policy, 'sandbox'), 'mounts'))));
  const python = memberOf(memberOf(policy, 'sandbox'), 'python');
  if (typeof python === 'string' && python.includes('\0')) {
    findings.push({
      path: ['sandbox', 'python'],
      expected: 'a name or a path',
      got: 'one with a NUL in it',
      hint: null,
    });
  }
  return findings;
}

function checkHide(hide: unknown): Finding[] {
  const seen = new Set<unknown>();
  const findings: Finding[] = [];
  for (const [index, name] of itemsOf(hide)) {
    if (seen.has(name)) {
      const hint = 'remove it, or correct the name that was meant';
      findings.push({ path: ['hide', index], expected: 'every tool once', got: `${show(name)} a second time`, hint });
    }
    seen.add(name);
  }
  return findings;
}

function checkCondition(condition: unknown, path: readonly PropertyKey[]): Finding[] {
  if (!isObject(condition)) return [];
  const findings: Finding[] = [];
  const written = condition.path;
  const parsed = typeof written === 'string' ? parsePath(written) : null;
  if (typeof written === 'string' && parsed === null) {
    findings.push({
      path: [...path, 'path'],
      expected: `args.<name>, or one of ${Object.keys(derivedFacts).join(', ')}`,
      got: show(written),
      hint: pathHint(written),
    });
  }
  const op = operators.find((known) => known === condition.op);
  if (op === undefined) return findings;
  const fact = parsed !== null && 'derived' in parsed ? derivedFacts[parsed.derived] : null;
  if (fact !== null && !operatorsOfFact[fact].includes(op)) {
    findings.push({
      path: [...path, 'op'],
      expected: `an operator that ${String(written)} can be compared with: ${operatorsOfFact[fact].join(', ')}`,
      got: show(op),
      hint: null,
    });
    return findings;
  }
  const value = condition.value;
  const fault = valueFault(op, value, fact);
  if (fault !== null) {
    findings.push({
      path: [...path, 'value'],
      got: Object.hasOwn(condition, 'value') ? show(value) : 'nothing',
      ...fault,
    });
  } else if (written === 'time.weekday' && op !== 'exists' && op !== 'regex' && op !== 'contains') {
    for (const day of Array.isArray(value) ? (value as unknown[]) : [value]) {
      if ((weekdays as readonly unknown[]).includes(day)) continue;
      const near = typeof day === 'string' ? nearest(day, weekdays) : null;
      findings.push({
        path: [...path, 'value'],
        expected: weekdays.join(', '),
        got: show(day),
        hint: near === null ? null : `did you mean "${near}"?`,
      });
    }
  }
  return findings;
}

/** An operator outside of these could never be told of such a fact, and would deny every call. */
const operatorsOfFact: Record<FactType, readonly Operator[]> = {
  number: ['eq', 'neq', 'lt', 'lte', 'gt', 'gte', 'in', 'not_in', 'exists'],
  text: ['eq', 'neq', 'in', 'not_in', 'exists', 'regex', 'contains'],
  texts: ['eq', 'neq', 'in', 'not_in', 'exists', 'regex', 'contains'],
};

/** What is wrong with an operator's value, where something is. */
function valueFault(op: Operator, value: unknown, fact: FactType | null): Pick<Finding, 'expected' | 'hint'> | null {
  const itemType = fact === null ? null : fact === 'number' ? 'number' : 'string';
  const fits = (item: unknown) => itemType === null || typeof item === itemType;
  const item = itemType === null ? 'a value' : itemType === 'number' ? 'a number' : 'a text';
  switch (op) {
    case 'lt':
    case 'lte':
    case 'gt':
    case 'gte':
      return typeof value === 'number' ? null : { expected: 'a number', hint: quotedNumberHint(value) };
    case 'exists':
      return typeof value === 'boolean' ? null : { expected: 'true (is there) or false (is not)', hint: null };
    case 'in':
    case 'not_in':
      if (!Array.isArray(value) || value.length === 0) {
        return { expected: `a list with at least one item`, hint: isScalar(value) ? `write [${show(value)}]` : null };
      }
      return value.every(fits)
        ? null
        : { expected: `a list of ${itemType === 'number' ? 'numbers' : 'texts'}`, hint: null };
    case 'regex': {
      if (typeof value !== 'string') return { expected: 'a regex, as a text', hint: null };
      const compiled = compileRegex(value);
      if (!('fault' in compiled)) return null;
      return { expected: 'a regex in RE2 syntax (no lookaround, no backreferences)', hint: compiled.fault };
    }
    case 'contains':
      if (fact !== null || typeof value === 'string') {
        if (typeof value !== 'string') return { expected: 'a text', hint: null };
        return value === '' ? { expected: 'a text that is not empty: every text contains ""', hint: null } : null;
      }
      return value === undefined ? { expected: 'a value', hint: null } : null;
    case 'eq':
    case 'neq':
      if (value === undefined) return { expected: item, hint: null };
      return fits(value) ? null : { expected: item, hint: null };
  }
}

function quotedNumberHint(value: unknown): string | null {
  return typeof value === 'string' && value.trim() !== '' && Number.isFinite(Number(value))
    ? `write ${Number(value)}, without quotes`
    : null;
}

function checkLimits(policy: unknown): Finding[] {
  const findings: Finding[] = [];
  /** What each counter is charged by, and where that was first said. */
  const charges = new Map<string, unknown>();
  const lists: [readonly PropertyKey[], unknown][] = [
    [['all_tools', 'limits'], memberOf(memberOf(policy, 'all_tools'), 'limits')],
  ];
  for (const [name, tool] of entriesOf(memberOf(policy, 'tools'))) {
    lists.push([['tools', name, 'limits'], memberOf(tool, 'limits')]);
  }
  for (const [path, list] of lists) {
    for (const [index, limit] of itemsOf(list)) {
      if (!isObject(limit)) continue;
      const { charge = 'calls', counter } = limit;
      if (typeof charge === 'string' && !isCharge(charge)) {
        const known = ['calls', ...measuredCharges];
        const near = nearest(charge, known);
        findings.push({
          path: [...path, index, 'charge'],
          expected: `${known.join(', ')} or args.<name>`,
          got: show(charge),
          hint: near === null ? null : `did you mean "${near}"?`,
        });
      }
      if (typeof counter !== 'string') continue;
      if (charges.has(counter) && charges.get(counter) !== charge) {
        findings.push({
          path: [...path, index, 'charge'],
          expected: `${show(charges.get(counter))}, as elsewhere for the counter ${show(counter)}`,
          got: show(charge),
          hint: 'limits with the same counter count together: give this one a counter of its own',
        });
      } else charges.set(counter, charge);
    }
  }
  return findings;
}

function isCharge(charge: string): boolean {
  if (charge === 'calls' || (measuredCharges as readonly string[]).includes(charge)) return true;
  const path = parsePath(charge);
  return path !== null && 'args' in path;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isEmptyList(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

function isScalar(value: unknown): boolean {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';
}

function memberOf(value: unknown, key: string): unknown {
  return isObject(value) && Object.hasOwn(value, key) ? value[key] : undefined;
}

function entriesOf(value: unknown): [string, unknown][] {
  return isObject(value) ? Object.entries(value) : [];
}

function itemsOf(value: unknown): [number, unknown][] {
  return Array.isArray(value) ? [...(value as unknown[]).entries()] : [];
}
