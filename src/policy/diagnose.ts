/**
 * What was probably meant: near misses of keys and values, and the keys of other policy dialects with the spelling that
 * says the same here. Nothing is guessed at when a policy is read; these are words for a person who has to correct it.
 */
import {
  allToolsSchema,
  conditionSchema,
  denyIfSchema,
  limitSchema,
  operators,
  policySchema,
  requireApprovalSchema,
  requirementSchema,
  sandboxSchema,
  toolSchema,
  windows,
} from './schema.js';

type Place =
  'policy' | 'sandbox' | 'all_tools' | 'tool' | 'require' | 'deny_if' | 'require_approval' | 'condition' | 'limit';

const keysByPlace: Record<Place, readonly string[]> = {
  policy: Object.keys(policySchema.shape),
  sandbox: Object.keys(sandboxSchema.shape),
  all_tools: Object.keys(allToolsSchema.shape),
  tool: Object.keys(toolSchema.shape),
  require: Object.keys(requirementSchema.shape),
  deny_if: Object.keys(denyIfSchema.shape),
  require_approval: Object.keys(requireApprovalSchema.shape),
  condition: Object.keys(conditionSchema.shape),
  limit: Object.keys(limitSchema.shape),
};

/** Which kind of object stands at a path, or null where the schema has none. */
function placeOf(path: readonly PropertyKey[]): Place | null {
  if (path.length === 0) return 'policy';
  const last = path.at(-1);
  const list = typeof last === 'number' ? path.at(-2) : undefined;
  if (list === 'conditions') return 'condition';
  if (list === 'limits') return 'limit';
  if (list === 'require' || list === 'deny_if' || list === 'require_approval') return list;
  if (path.length === 1 && (last === 'sandbox' || last === 'all_tools')) return last;
  return path.length === 2 && path[0] === 'tools' ? 'tool' : null;
}

/** What could stand instead of a key that is not known, and what was probably meant by it. */
export function diagnoseKey(
  path: readonly PropertyKey[],
  key: string,
  value: unknown,
): { expected: string; hint: string | null } {
  const place = placeOf(path);
  const keys = place === null ? [] : keysByPlace[place];
  const expected = keys.length === 0 ? 'no key here' : `one of ${keys.join(', ')}`;
  if (place === null) return { expected, hint: null };
  const near = nearest(key, keys);
  const foreign = foreignKey(place, path, key, value);
  // A foreign key that is one of ours in another spelling (maxx, Window) is a typo first.
  if (near !== null && distance(plain(key), plain(near)) <= 1) return { expected, hint: `did you mean "${near}"?` };
  if (foreign !== null) return { expected, hint: isOfDialect(key) ? `${foreign}; ${convertHint}` : foreign };
  if (near !== null) return { expected, hint: `did you mean "${near}"?` };
  const elsewhere = (Object.keys(keysByPlace) as Place[]).find((other) => keysByPlace[other].includes(key));
  return { expected, hint: elsewhere === undefined ? null : `"${key}" belongs ${placeWords[elsewhere]}` };
}

const placeWords: Record<Place, string> = {
  policy: 'at the top of the policy',
  sandbox: 'in "sandbox"',
  all_tools: 'in "all_tools"',
  tool: 'in "tools.<name>" (limits of every tool: in "all_tools")',
  require: 'in an entry of "require"',
  deny_if: 'in an entry of "deny_if"',
  require_approval: 'in an entry of "require_approval"',
  condition: 'in an entry of "conditions"',
  limit: 'in an entry of "limits"',
};

/** What writes a file of another dialect over. */
export const convertHint = 'or let "cordon policy convert FILE" write the whole file over';

/** Keys that a file of another dialect is known by. */
function isOfDialect(key: string): boolean {
  const name = plain(key);
  return ['ratelimit', 'action', 'effect', 'rules', 'policies', 'statements', 'state', 'defaultaction'].includes(name);
}

/** Keys of other dialects, and what says the same here. */
function foreignKey(place: Place, path: readonly PropertyKey[], key: string, value: unknown): string | null {
  const name = plain(key);
  const tool = path[0] === 'tools' ? String(path[1]) : '<name>';
  const where = `"tools.${tool}"`;
  if (name === 'ratelimit' || name === 'ratelimits' || name === 'quota' || name === 'throttle') {
    const limit = limitFrom(value, tool);
    if (place === 'limit') return `write the limit as ${limit}`;
    const target = place === 'tool' && tool !== '*' ? where : '"all_tools"';
    return `write in ${target}: "limits": [${limit}]`;
  }
  if (name === 'action' || name === 'effect' || name === 'decision' || name === 'permission') {
    return actionHint(value, where);
  }
  if (name === 'reason' || ((name === 'message' || name === 'denymessage') && place !== 'require_approval')) {
    return place === 'tool' || place === 'policy'
      ? 'write it as "on_deny" in the entry of "require", "deny_if" or "limits" that it explains'
      : 'write "on_deny"';
  }
  if (name === 'rules' || name === 'policies' || name === 'statements') {
    return (
      `there are no general rules here: write each in ${where}, under "require" (must hold), "deny_if" (must not), ` +
      '"require_approval" (ask a person) or "limits" (how often)'
    );
  }
  if (name === 'state')
    return `counters are written as limits: in ${where}, "limits": [{ "counter": …, "window": …, "max": … }]`;
  if (place === 'policy') {
    if (name === 'defaultaction' || name === 'defaultpolicy' || name === 'defaultdecision') return 'write "default"';
    if (name === 'allow' || name === 'allowed' || name === 'allowlist' || name === 'allowedtools') {
      return 'write "default": "deny", and each tool that is allowed as "tools": { "<name>": {} }';
    }
    if (name === 'deny' || name === 'denied' || name === 'denylist' || name === 'block' || name === 'blocked') {
      return 'write each tool that is denied as "tools": { "<name>": { "deny_if": [{}] } }, or name it in "hide"';
    }
    if (name === 'limits') return 'limits of every tool stand in "all_tools", those of one tool in "tools.<name>"';
    if (name === 'description' || name === 'name' || name === 'comment') return 'the language has no notes: remove it';
  }
  if (place === 'tool') {
    if (name === 'allow' || name === 'enabled') return actionHint(value === false ? 'deny' : 'allow', where);
    if (name === 'deny' || name === 'block' || name === 'disabled') return actionHint('deny', where);
    if (name === 'conditions' || name === 'when') {
      return 'conditions stand in an entry of "require" (must hold), "deny_if" (must not) or "require_approval"';
    }
    if (name === 'approval' || name === 'requiresapproval' || name === 'confirm')
      return 'write "require_approval": [{}]';
  }
  if (place === 'require' || place === 'deny_if' || place === 'require_approval') {
    if (name === 'when' || name === 'if' || name === 'match' || name === 'where') return 'write "conditions"';
    if (name === 'path' || name === 'op' || name === 'value') {
      return 'write it inside "conditions": [{ "path": …, "op": …, "value": … }]';
    }
    if (name === 'timeout' && place === 'require_approval') return 'write "timeout_seconds"';
  }
  if (place === 'condition') {
    if (['field', 'arg', 'argument', 'attribute', 'key', 'property', 'param'].includes(name))
      return 'write "path": "args.<name>"';
    if (name === 'operator' || name === 'comparison') return 'write "op"';
    if (name === 'values' || name === 'expected') return 'write "value"';
    const op = operatorFor(key);
    if (op !== null) return `write "op": "${op}", "value": ${show(value)}`;
  }
  if (place === 'limit') {
    if (['name', 'id', 'key'].includes(name)) return 'write "counter"';
    if (['limit', 'count', 'maximum', 'calls', 'requests', 'rate', 'maxcalls'].includes(name)) return 'write "max"';
    if (['per', 'period', 'interval', 'unit', 'windowseconds', 'windowsecs', 'duration'].includes(name)) {
      return `write "window": one of ${windows.join(', ')}`;
    }
    if (['incrementfrom', 'cost', 'amount', 'increment'].includes(name)) return 'write "charge": "args.<name>"';
  }
  if (place === 'sandbox') {
    if (name === 'timeout' || name === 'timeoutms') return 'write "timeout_seconds"';
    if (name === 'memory' || name === 'memorylimit') return 'write "memory_mb"';
    if (name === 'cpu' || name === 'cputime') return 'write "cpu_seconds"';
    if (name === 'tier' || name === 'level') return 'write "isolation"';
  }
  return null;
}

function actionHint(value: unknown, where: string): string {
  const action = typeof value === 'string' ? plain(value) : '';
  if (['deny', 'block', 'reject', 'forbid'].includes(action)) {
    return `write in ${where}: "deny_if": [{ "conditions": [], "on_deny": "<why>" }] (no conditions: always denied)`;
  }
  if (['ask', 'approve', 'approval', 'requireapproval', 'confirm', 'prompt', 'review'].includes(action)) {
    return `write in ${where}: "require_approval": [{ "conditions": [] }] (no conditions: always asked)`;
  }
  if (['allow', 'permit', 'accept'].includes(action)) return `to allow a tool, list it: ${where} as {}`;
  return `write the rule in ${where}, under "require" (must hold) or "deny_if" (must not)`;
}

/** `"10/minute"`, `{ max: 10, window: "1m" }` and their kin, written as a limit of ours. */
function limitFrom(value: unknown, tool: string): string {
  let max: unknown = null;
  let window: unknown = null;
  if (typeof value === 'string') {
    const [count, period] = value.split(/\s*(?:\/|\bper\b)\s*/);
    max = Number(count);
    window = period;
  } else if (typeof value === 'number') max = value;
  else if (typeof value === 'object' && value !== null) {
    const parts = new Map(Object.entries(value));
    max = parts.get('max') ?? parts.get('limit') ?? parts.get('count') ?? parts.get('calls') ?? parts.get('requests');
    window = parts.get('window') ?? parts.get('per') ?? parts.get('period') ?? parts.get('interval');
  }
  const counter = /^[\w.-]{1,100}$/.test(tool) ? `${tool}_rate` : 'calls';
  const maxText = Number.isSafeInteger(max) && Number(max) >= 1 ? String(max) : '<how many>';
  return `{ "counter": "${counter}", "window": "${windowFor(window) ?? '<window>'}", "max": ${maxText}, "scope": "grant" }`;
}

/** The window of ours that another spelling means: `minutes`, `1m`, 60, `per_hour`. */
function windowFor(value: unknown): (typeof windows)[number] | null {
  if (typeof value !== 'string' && typeof value !== 'number') return null;
  const text = String(value).trim().toLowerCase();
  const known: Record<string, (typeof windows)[number]> = {
    s: 'second',
    sec: 'second',
    '1': 'second',
    m: 'minute',
    min: 'minute',
    '60': 'minute',
    '60s': 'minute',
    h: 'hour',
    hr: 'hour',
    '3600': 'hour',
    '3600s': 'hour',
    '60m': 'hour',
    d: 'day',
    '86400': 'day',
    '86400s': 'day',
    '24h': 'day',
    daily: 'day',
    hourly: 'hour',
  };
  const bare = text.replace(/^(?:per[ _-]?|1\s*(?=[a-z]))/, '');
  if (Object.hasOwn(known, bare)) return known[bare] ?? null;
  return nearest(bare.replace(/s$/, ''), windows) as (typeof windows)[number] | null;
}

/** The operator of ours that another spelling means: `==`, `equals`, `notIn`. */
export function operatorFor(value: unknown): (typeof operators)[number] | null {
  if (typeof value !== 'string') return null;
  const own = operators.find((operator) => operator === value);
  if (own !== undefined) return own;
  const known: Record<string, (typeof operators)[number]> = {
    '=': 'eq',
    '==': 'eq',
    '===': 'eq',
    equals: 'eq',
    equal: 'eq',
    is: 'eq',
    '!=': 'neq',
    '!==': 'neq',
    '<>': 'neq',
    ne: 'neq',
    noteq: 'neq',
    notequals: 'neq',
    '<': 'lt',
    lessthan: 'lt',
    '<=': 'lte',
    le: 'lte',
    max: 'lte',
    atmost: 'lte',
    '>': 'gt',
    greaterthan: 'gt',
    '>=': 'gte',
    ge: 'gte',
    min: 'gte',
    atleast: 'gte',
    oneof: 'in',
    anyof: 'in',
    nin: 'not_in',
    notin: 'not_in',
    noneof: 'not_in',
    present: 'exists',
    match: 'regex',
    matches: 'regex',
    pattern: 'regex',
    regexp: 'regex',
    includes: 'contains',
    contain: 'contains',
  };
  const key = /\w/.test(value) ? plain(value) : value.trim();
  return Object.hasOwn(known, key) ? (known[key] ?? null) : null;
}

/** What was probably meant by a value that is none of the choices. */
export function diagnoseChoice(
  path: readonly PropertyKey[],
  value: unknown,
  choices: readonly string[],
): string | null {
  const key = path.at(-1);
  if (key === 'version' && path.length === 1) {
    return value === 1 || value === undefined
      ? 'write "version": "1"'
      : 'this Cordon knows version "1" of the language only';
  }
  if (value === undefined) {
    return key === 'default' && path.length === 1
      ? 'write "default": "deny" and list under "tools" what is allowed'
      : null;
  }
  const meant =
    key === 'window'
      ? windowFor(value)
      : key === 'op'
        ? operatorFor(value)
        : key === 'default' && typeof value === 'string' && ['block', 'reject', 'closed'].includes(plain(value))
          ? 'deny'
          : null;
  const near = meant ?? (typeof value === 'string' ? nearest(value, choices) : null);
  return near === null ? null : `did you mean "${near}"?`;
}

/** What was probably meant by a path of a condition that leads nowhere. */
export function pathHint(written: string): string | null {
  if (written.startsWith('state.')) {
    return 'counters are not compared in conditions: write "limits": [{ "counter": …, "window": …, "max": … }]';
  }
  const near = nearest(written, [
    'code.bytes',
    'code.lines',
    'code.imports',
    'client.name',
    'grant.name',
    'time.hour',
    'time.weekday',
  ]);
  if (near !== null) return `did you mean "${near}"?`;
  const [root = '', ...rest] = written.split('.');
  if (rest.length > 0 && (nearest(root, ['args']) !== null || ['arguments', 'input', 'params', 'arg'].includes(root))) {
    return `did you mean "args.${rest.join('.')}"?`;
  }
  return /^[\w-]+$/.test(written) ? `an argument of the call is written "args.${written}"` : null;
}

/** A tool that a policy names and the server does not have: a rule that protects nothing, most often a typo. */
export interface UnknownTool {
  /** Where it is named. */
  readonly path: readonly PropertyKey[];
  readonly tool: string;
  /** The tool that was probably meant. */
  readonly near: string | null;
}

/** Every tool that a policy names and that is not one of `known`. */
export function unknownTools(
  policy: { readonly hide: readonly string[]; readonly tools: Readonly<Record<string, unknown>> },
  known: readonly string[],
): readonly UnknownTool[] {
  const named = [
    ...policy.hide.map((tool, index) => ({ tool, path: ['hide', index] })),
    ...Object.keys(policy.tools).map((tool) => ({ tool, path: ['tools', tool] })),
  ];
  return named
    .filter(({ tool }) => tool !== '*' && !known.includes(tool))
    .map(({ tool, path }) => ({ tool, path, near: nearest(tool, known) }));
}

/** A value as it would be written, short enough for a line. */
export function show(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (Array.isArray(value) && value.length > 0 && JSON.stringify(value).length > 60) return `a list of ${value.length}`;
  const text = JSON.stringify(value);
  return text.length <= 60 ? text : `${text.slice(0, 59)}…`;
}

/** The choice that a text is a near miss of, or null. Case, `-`, `_` and spaces do not count as a miss. */
export function nearest(text: string, choices: readonly string[]): string | null {
  const written = plain(text);
  let best: string | null = null;
  let bestDistance = Number.POSITIVE_INFINITY;
  for (const choice of choices) {
    const apart = distance(written, plain(choice));
    if (apart < bestDistance && apart <= Math.max(1, Math.floor(choice.length / 3))) {
      best = choice;
      bestDistance = apart;
    }
  }
  return best;
}

function plain(text: string): string {
  return text.toLowerCase().replaceAll(/[\s_-]/g, '');
}

/** Edits between two short texts: insert, delete, replace, swap neighbours (optimal string alignment). */
function distance(one: string, other: string): number {
  if (Math.abs(one.length - other.length) > 8 || one.length > 64) return Number.POSITIVE_INFINITY;
  let beforeLast: number[] = [];
  let last = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let row = 1; row <= one.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= other.length; column += 1) {
      const replaced = (last[column - 1] ?? 0) + (one[row - 1] === other[column - 1] ? 0 : 1);
      let edits = Math.min(replaced, (last[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1);
      if (row > 1 && column > 1 && one[row - 1] === other[column - 2] && one[row - 2] === other[column - 1]) {
        edits = Math.min(edits, (beforeLast[column - 2] ?? 0) + 1);
      }
      current.push(edits);
    }
    beforeLast = last;
    last = current;
  }
  return last[other.length] ?? Number.POSITIVE_INFINITY;
}
