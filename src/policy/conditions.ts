/**
 * Whether a condition holds. The answer has three values, because a comparison may make no sense for what a call brings
 * (`"11" > 10`): it is then `unknown`, and whoever asked takes that for the stricter of the two.
 *
 * - What is not there: only `exists` false holds; everything else does not.
 * - `lt lte gt gte` tell numbers only, `regex` texts only, `contains` texts and lists only; else unknown.
 * - `eq neq in not_in` compare type and value, lists and objects item by item; 5 is not "5".
 * - `exists` takes null for not there.
 * - `code.imports` is a list whose items are compared one by one: where the condition must hold (require), every item has
 *   to; where it leads to a denial, one item is enough.
 */
import type { Condition } from './schema.js';
import { compileRegex, type Regex } from './regex.js';
import { follow, parsePath, weekdays, type DerivedFact, type Found, type Path } from './path.js';
import { importsOf } from './imports.js';

export type Answer = 'yes' | 'no' | 'unknown';

/** What conditions can look at. */
export interface Facts {
  /**
   * The value at a path; null: not there; 'unknown': there, but it cannot be told; 'unseen': nobody looked, so that it
   * cannot even be told whether it is there (a call of which only the audit line is left).
   */
  at(path: Path): Found | 'unknown' | 'unseen';
}

interface Call {
  readonly args: Readonly<Record<string, unknown>>;
  readonly grant: { readonly name: string };
  readonly client: { readonly name: string };
  readonly now: Date;
}

/** The facts of one call. Derived ones are worked out when first asked for, and once. */
export function factsOf(call: Call): Facts {
  const derived = new Map<DerivedFact, Found | 'unknown'>();
  return {
    at(path) {
      if ('args' in path) return follow(call.args, path.args);
      let found = derived.get(path.derived);
      if (found === undefined) {
        found = derive(path.derived, call);
        derived.set(path.derived, found);
      }
      return found;
    },
  };
}

function derive(fact: DerivedFact, call: Call): Found | 'unknown' {
  switch (fact) {
    case 'client.name':
      return { value: call.client.name };
    case 'grant.name':
      return { value: call.grant.name };
    case 'time.hour':
      return { value: call.now.getUTCHours() };
    case 'time.weekday':
      return { value: weekdays[call.now.getUTCDay()] };
    case 'code.bytes':
    case 'code.lines':
    case 'code.imports': {
      const code = follow(call.args, ['code']);
      if (code?.value === undefined) return null;
      if (typeof code.value !== 'string') return 'unknown';
      if (fact === 'code.bytes') return { value: Buffer.byteLength(code.value, 'utf8') };
      if (fact === 'code.lines') return { value: countLines(code.value) };
      const imports = importsOf(code.value);
      return imports === null ? 'unknown' : { value: imports };
    }
  }
}

/** Lines as an editor counts them: a last newline does not begin another one. */
function countLines(text: string): number {
  if (text === '') return 0;
  let lines = text.endsWith('\n') ? 0 : 1;
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) lines += 1;
  return lines;
}

/**
 * Whether all conditions hold: `no` as soon as one does not, `unknown` where none fails but one cannot be told.
 * @param items how `code.imports` counts: `every` item must satisfy a condition, or `some` item does
 */
export function allHold(conditions: readonly Condition[], facts: Facts, items: 'every' | 'some'): Answer {
  let answer: Answer = 'yes';
  for (const condition of conditions) {
    const one = holds(condition, facts, items);
    if (one === 'no') return 'no';
    if (one === 'unknown') answer = 'unknown';
  }
  return answer;
}

/** Whether one condition holds. */
export function holds(condition: Condition, facts: Facts, items: 'every' | 'some'): Answer {
  const prepared = prepare(condition);
  const found = prepared.path === null ? 'unknown' : facts.at(prepared.path);
  if (found === 'unseen') return 'unknown';
  if (condition.op === 'exists') {
    const there = found === 'unknown' || (found?.value ?? null) !== null;
    return there === condition.value ? 'yes' : 'no';
  }
  if (found === 'unknown') return 'unknown';
  if (found?.value === undefined) return 'no';
  if (condition.path === 'code.imports' && condition.op !== 'contains' && Array.isArray(found.value)) {
    const answers = found.value.map((item: unknown) => compare(condition, prepared, item));
    const decisive = items === 'every' ? 'no' : 'yes';
    if (answers.includes(decisive)) return decisive;
    if (answers.includes('unknown')) return 'unknown';
    return items === 'every' ? 'yes' : 'no';
  }
  return compare(condition, prepared, found.value);
}

interface Prepared {
  readonly path: Path | null;
  readonly regex: Regex | null;
}

/** Paths and regexes are taken apart once for each condition, not once for each call. */
const preparedConditions = new WeakMap<Condition, Prepared>();

function prepare(condition: Condition): Prepared {
  let prepared = preparedConditions.get(condition);
  if (prepared === undefined) {
    const compiled =
      condition.op === 'regex' && typeof condition.value === 'string' ? compileRegex(condition.value) : null;
    prepared = {
      path: parsePath(condition.path),
      regex: compiled !== null && 'regex' in compiled ? compiled.regex : null,
    };
    preparedConditions.set(condition, prepared);
  }
  return prepared;
}

/** Longest text a regex is tried on, in UTF-16 units: linear time is still time. A longer text is unknown. */
const maxRegexTextLength = 1_048_576;

function compare({ op, value }: Condition, { regex }: Prepared, actual: unknown): Answer {
  const answer = (held: boolean): Answer => (held ? 'yes' : 'no');
  switch (op) {
    case 'eq':
      return answer(same(actual, value));
    case 'neq':
      return answer(!same(actual, value));
    case 'in':
    case 'not_in':
      if (!Array.isArray(value)) return 'unknown';
      return answer(value.some((item) => same(actual, item)) === (op === 'in'));
    case 'lt':
    case 'lte':
    case 'gt':
    case 'gte':
      if (typeof actual !== 'number' || typeof value !== 'number' || Number.isNaN(actual)) return 'unknown';
      if (op === 'lt') return answer(actual < value);
      if (op === 'lte') return answer(actual <= value);
      if (op === 'gt') return answer(actual > value);
      return answer(actual >= value);
    case 'contains':
      if (Array.isArray(actual)) return answer(actual.some((item) => same(item, value)));
      if (typeof actual !== 'string' || typeof value !== 'string') return 'unknown';
      return answer(actual.includes(value));
    case 'regex':
      if (typeof actual !== 'string' || regex === null || actual.length > maxRegexTextLength) return 'unknown';
      return answer(regex.test(actual));
    case 'exists':
      return 'unknown';
  }
}

/** Same JSON type and value; lists in order, objects whatever the order. As deep as the policy's side, which is bounded. */
function same(actual: unknown, expected: unknown): boolean {
  if (Array.isArray(expected)) {
    return (
      Array.isArray(actual) &&
      actual.length === expected.length &&
      expected.every((item, index) => same(actual[index], item))
    );
  }
  if (typeof expected === 'object' && expected !== null) {
    if (typeof actual !== 'object' || actual === null || Array.isArray(actual)) return false;
    const keys = Object.keys(expected);
    return (
      Object.keys(actual).length === keys.length &&
      keys.every(
        (key) =>
          Object.hasOwn(actual, key) &&
          same((actual as Record<string, unknown>)[key], (expected as Record<string, unknown>)[key]),
      )
    );
  }
  return actual === expected;
}
