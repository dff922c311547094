/** Why a test of CPython's suite ends differently in a sandbox: by the test's name, with what the sandbox does on purpose. */

interface Difference {
  readonly test: RegExp;
  readonly reason: string;
}

const DIFFERENCES: readonly Difference[] = [];

/** The reason for a difference, or null where none is known. */
export function reasonFor(test: string, inside: string, outside: string): string | null {
  if (inside === 'completed' && outside === 'not run') return null;
  return DIFFERENCES.find((difference) => difference.test.test(test))?.reason ?? null;
}
