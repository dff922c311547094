/**
 * Paths: what a condition looks at and what a limit can be charged by. `args.<name>` reaches into the arguments of the
 * call, one step a dot; the rest is derived from the call and has a known type.
 */

/** What a derived path yields, so that a condition that can never be told is refused when the policy is read. */
export type FactType = 'number' | 'text' | 'texts';

/** The facts derived from a call. */
export const derivedFacts = {
  'code.bytes': 'number',
  'code.lines': 'number',
  'code.imports': 'texts',
  'client.name': 'text',
  'grant.name': 'text',
  'time.hour': 'number',
  'time.weekday': 'text',
} as const satisfies Record<string, FactType>;

export type DerivedFact = keyof typeof derivedFacts;

/** Values of `time.weekday`, indexed by Date.getUTCDay(). */
export const weekdays = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'] as const;

export type Path = { readonly args: readonly string[] } | { readonly derived: DerivedFact };

/** A path as written, taken apart; null where it is none. */
export function parsePath(written: string): Path | null {
  if (Object.hasOwn(derivedFacts, written)) return { derived: written as DerivedFact };
  const [root, ...steps] = written.split('.');
  if (root !== 'args' || steps.length === 0 || steps.length > 32 || steps.includes('')) return null;
  return { args: steps };
}

/** A value that was found, or nothing at all. `null` in the arguments is a value. */
export type Found = { readonly value: unknown } | null;

/**
 * Follow steps into a value. Only what the value itself holds is found: nothing inherited, no length of a list, so that
 * `__proto__`, `constructor` and their kin are ordinary missing names.
 */
export function follow(value: unknown, steps: readonly string[]): Found {
  let here: unknown = value;
  for (const step of steps) {
    if (typeof here !== 'object' || here === null) return null;
    if (Array.isArray(here) && !/^(0|[1-9][0-9]{0,9})$/.test(step)) return null;
    if (!Object.hasOwn(here, step)) return null;
    here = (here as Record<string, unknown>)[step];
  }
  return { value: here };
}
