/**
 * PolicyLayer Intercept's decisions, as its engine makes them (POLICY.md, engine.go, handler.go of its repository): what
 * a converted policy is measured against. Time stands still, so that a window is a counter.
 */

export interface InterceptRule {
  readonly name: string;
  readonly action?: string;
  readonly rate_limit?: string;
  readonly conditions?: readonly { readonly path: string; readonly op: string; readonly value: unknown }[];
  readonly state?: {
    readonly counter: string;
    readonly window: string;
    readonly increment?: number;
    readonly increment_from?: string;
  };
}

export interface InterceptPolicy {
  readonly version: string;
  readonly default?: string;
  readonly hide?: readonly string[];
  readonly tools: Readonly<Record<string, { readonly rules: readonly InterceptRule[] }>>;
}

/** An engine with its counters: each call is decided, and counted if it is allowed. */
export function createIntercept(policy: InterceptPolicy): (tool: string, args: Record<string, unknown>) => boolean {
  const counters = new Map<string, number>();
  return (tool, args) => {
    if (policy.hide?.some((name) => name === tool || name === '*') === true) return false;
    const own = Object.hasOwn(policy.tools, tool) ? policy.tools[tool] : undefined;
    if (policy.default === 'deny' && own === undefined) return false;
    const rules = [
      ...(own?.rules ?? []).map((rule) => desugar(rule, tool)),
      ...(policy.tools['*']?.rules ?? []).map((rule) => desugar(rule, '_global')),
    ];
    for (const { rule } of rules) {
      if (rule.action === 'deny') return false;
      for (const { path, op, value } of rule.conditions ?? []) {
        const found = path.startsWith('state.') ? { value: counters.get(path.slice(6)) ?? 0 } : follow(args, path);
        if (op === 'exists') {
          if ((found !== null && found.value !== null) !== value) return false;
        } else if (found === null || !holds(op, found.value, value)) return false;
      }
    }
    const before = new Map(counters);
    for (const { rule, scope } of rules) {
      if (rule.state === undefined) continue;
      const amount = amountOf(rule.state, args);
      if (amount === null) return restore(before);
      const key = `${scope}.${rule.state.counter}`;
      const limit = limitOf(rule, key);
      if (limit === null) continue;
      const used = counters.get(key) ?? 0;
      if (used + amount > limit) return restore(before);
      counters.set(key, used + amount);
    }
    return true;
  };

  function restore(before: ReadonlyMap<string, number>): false {
    counters.clear();
    for (const [key, value] of before) counters.set(key, value);
    return false;
  }
}

function desugar(rule: InterceptRule, scope: string): { rule: InterceptRule; scope: string } {
  if (rule.rate_limit === undefined) return { rule, scope };
  const [count, window = ''] = rule.rate_limit.split('/');
  const counter = `_rate_${window}`;
  const conditions = [{ path: `state.${scope}.${counter}`, op: 'lte', value: Number(count) }];
  return { rule: { name: rule.name, conditions, state: { counter, window } }, scope };
}

function amountOf(state: NonNullable<InterceptRule['state']>, args: Record<string, unknown>): number | null {
  if (state.increment_from === undefined)
    return state.increment === undefined || state.increment === 0 ? 1 : state.increment;
  const found = follow(args, state.increment_from);
  return typeof found?.value === 'number' ? Math.trunc(found.value) : null;
}

function limitOf(rule: InterceptRule, key: string): number | null {
  for (const { path, op, value } of rule.conditions ?? []) {
    if (path !== `state.${key}` || typeof value !== 'number') continue;
    if (op === 'lt') return Math.trunc(value) - 1;
    if (op === 'lte') return Math.trunc(value);
  }
  return null;
}

function follow(args: unknown, path: string): { value: unknown } | null {
  let here = args;
  for (const step of path.split('.').slice(1)) {
    if (typeof here !== 'object' || here === null || Array.isArray(here) || !Object.hasOwn(here, step)) return null;
    here = (here as Record<string, unknown>)[step];
  }
  return { value: here };
}

function holds(op: string, actual: unknown, expected: unknown): boolean {
  switch (op) {
    case 'eq':
      return equal(actual, expected);
    case 'neq':
      return !equal(actual, expected);
    case 'in':
      return (expected as unknown[]).some((item) => equal(actual, item));
    case 'not_in':
      return !(expected as unknown[]).some((item) => equal(actual, item));
    case 'regex':
      return typeof actual === 'string' && new RegExp(String(expected), 'u').test(actual);
    case 'contains':
      if (typeof actual === 'string') return typeof expected === 'string' && actual.includes(expected);
      return Array.isArray(actual) && actual.some((item) => equal(item, expected));
    default: {
      if (typeof actual !== 'number' || typeof expected !== 'number') return false;
      if (op === 'lt') return actual < expected;
      if (op === 'lte') return actual <= expected;
      return op === 'gt' ? actual > expected : actual >= expected;
    }
  }
}

/** As Go prints them: a number equals its text. Enough of `%v` for the values that the tests use. */
function equal(one: unknown, other: unknown): boolean {
  if (typeof one === 'number' && typeof other === 'number') return one === other;
  return printed(one) === printed(other);
}

function printed(value: unknown): string {
  if (value === null) return '<nil>';
  if (Array.isArray(value)) return `[${value.map(printed).join(' ')}]`;
  if (typeof value === 'object') {
    const entries = Object.entries(value).sort();
    return `map[${entries.map(([key, inside]) => `${key}:${printed(inside)}`).join(' ')}]`;
  }
  return typeof value === 'string' ? value : JSON.stringify(value);
}
