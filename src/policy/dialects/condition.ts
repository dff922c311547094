/**
 * Conditions of other dialects. There, a number may equal its text (Intercept compares as printed), so a condition is
 * never written over word by word: in a requirement it becomes one that holds for less, in a denial one that holds for
 * more, and for values of the type it names the answer is the same.
 */
import { compileRegex } from '../regex.js';
import { operatorFor } from '../diagnose.js';
import { parsePath } from '../path.js';
import { isObject } from './note.js';

/** A condition as it will be written. */
export interface WrittenCondition {
  readonly path: string;
  readonly op: string;
  readonly value: unknown;
}

export type ConvertedCondition =
  | {
      readonly conditions: readonly WrittenCondition[];
      /** Whether values of another type than the compared one are decided more strictly than in the original. */
      readonly guarded: boolean;
    }
  | { readonly fault: string };

/** A condition that was read, before it is known on which side it stands. */
export interface ForeignCondition {
  readonly path: string;
  readonly op: string;
  readonly value: unknown;
}

/** Take a condition apart, whatever its keys are called. */
export function readCondition(raw: unknown): ForeignCondition | { readonly fault: string } {
  if (!isObject(raw)) return { fault: 'a condition is an object with path, op and value' };
  let path: unknown;
  let op: unknown;
  let value: unknown;
  for (const [key, inside] of Object.entries(raw)) {
    if (['path', 'field', 'arg', 'argument'].includes(key) && path === undefined) path = inside;
    else if (['op', 'operator'].includes(key) && op === undefined) op = inside;
    else if (['value', 'values'].includes(key) && value === undefined) value = inside;
    else return { fault: `${JSON.stringify(key)} in a condition has no equivalent` };
  }
  if (typeof path !== 'string') return { fault: 'it does not say what it compares' };
  const known = operatorFor(op);
  if (known === null) return { fault: `the operator ${JSON.stringify(op)} has no equivalent` };
  return { path, op: known, value };
}

/** A condition that must hold for the call to be allowed: holds for no call that the original does not hold for. */
export function narrow(condition: ForeignCondition): ConvertedCondition {
  const { path, op, value } = condition;
  const fault = pathFault(path) ?? valueFault(op, value);
  if (fault !== null) return { fault };
  const same = [{ path, op, value }];
  switch (op) {
    case 'neq':
    case 'not_in':
      return narrowUnequal(path, op === 'neq' ? [value] : (value as unknown[]));
    case 'eq':
    case 'in':
      return { conditions: same, guarded: true };
    default:
      return { conditions: same, guarded: false };
  }
}

/** `5` must be neither 5 nor "5": only values of the compared type are let through. */
function narrowUnequal(path: string, values: readonly unknown[]): ConvertedCondition {
  const types = new Set(values.map((value) => typeof value));
  const [type] = types;
  if (types.size !== 1 || values.includes(null)) return { fault: 'it compares with values of several types' };
  const isOfType: Record<string, WrittenCondition> = {
    string: { path, op: 'regex', value: '^' },
    number: { path, op: 'gte', value: -Number.MAX_VALUE },
    boolean: { path, op: 'in', value: [true, false] },
  };
  const guard = type === undefined ? undefined : isOfType[type];
  if (guard === undefined) return { fault: 'it compares with a list or an object' };
  return { conditions: [guard, { path, op: 'not_in', value: values }], guarded: true };
}

/**
 * A condition of a rule that denies: holds for every call that the original may hold for. null: only by leaving it out,
 * which makes the rule deny more.
 */
export function widen(condition: ForeignCondition): ConvertedCondition | null {
  const { path, op, value } = condition;
  const fault = pathFault(path) ?? valueFault(op, value);
  if (fault !== null) return { fault };
  switch (op) {
    case 'eq':
    case 'in': {
      const values = op === 'eq' ? [value] : (value as unknown[]);
      return { conditions: [{ path, op: 'in', value: values.flatMap(looseValues) }], guarded: true };
    }
    case 'neq':
    case 'not_in':
      // Whether what is not there differs, dialects disagree.
      return null;
    default:
      return { conditions: [{ path, op, value }], guarded: false };
  }
}

function looseValues(value: unknown): unknown[] {
  if (typeof value === 'string' && value.trim() !== '' && Number.isFinite(Number(value))) return [value, Number(value)];
  if (value === 'true' || value === 'false') return [value, value === 'true'];
  return typeof value === 'string' ? [value] : [value, String(value)];
}

function pathFault(path: string): string | null {
  if (path.startsWith('state.')) return 'it compares a counter in a way that is no limit';
  const parsed = parsePath(path);
  if (parsed === null || !('args' in parsed)) return `the path ${JSON.stringify(path)} has no equivalent`;
  // Elsewhere such a step finds nothing in a list, and here the item.
  return parsed.args.some((step) => /^\d+$/.test(step)) ? `a number in the path ${JSON.stringify(path)}` : null;
}

function valueFault(op: string, value: unknown): string | null {
  switch (op) {
    case 'eq':
    case 'neq':
      return scalarFault(value);
    case 'in':
    case 'not_in': {
      if (!Array.isArray(value) || value.length === 0) return `"${op}" needs a list with at least one item`;
      return value.map(scalarFault).find((fault) => fault !== null) ?? null;
    }
    case 'lt':
    case 'lte':
    case 'gt':
    case 'gte':
      return typeof value === 'number' ? scalarFault(value) : `"${op}" needs a number`;
    case 'exists':
      return typeof value === 'boolean' ? null : '"exists" needs true or false';
    case 'regex': {
      if (typeof value !== 'string') return '"regex" needs a text';
      const compiled = compileRegex(value);
      return 'fault' in compiled ? `the regex cannot be used: ${compiled.fault}` : null;
    }
    default:
      return typeof value === 'string' && value !== '' ? null : '"contains" needs a text that is not empty';
  }
}

function scalarFault(value: unknown): string | null {
  if (typeof value === 'string' || typeof value === 'boolean') return null;
  // Beyond these, two numbers that differ are the same one here and not elsewhere.
  if (typeof value === 'number') return Math.abs(value) <= Number.MAX_SAFE_INTEGER ? null : 'a number of that size';
  return 'it compares with a list, an object, a time or nothing';
}
