/**
 * The only home of the regex engine. RE2 matches in time linear in the text, whatever the pattern: a policy's own regex
 * cannot be turned into a way to stall the server. The price is no lookaround and no backreferences.
 */
import { createRequire } from 'node:module';
import type { RE2JS } from 're2js';

export interface Regex {
  /** Whether the pattern is found anywhere in the text. */
  test(text: string): boolean;
}

/** Longest pattern: keeps the compiled automaton small. */
const maxPatternLength = 2000;

let loaded: typeof RE2JS | undefined;

/** Loaded with the first pattern: few policies have one, and a start waits for what it loads. */
function engine(): typeof RE2JS {
  loaded ??= (createRequire(import.meta.url)('re2js') as { RE2JS: typeof RE2JS }).RE2JS;
  return loaded;
}

/** The pattern compiled, or why it cannot be, in one line. */
export function compileRegex(pattern: string): { regex: Regex } | { fault: string } {
  if (pattern.length > maxPatternLength) return { fault: `longer than ${maxPatternLength} characters` };
  try {
    return { regex: engine().compile(pattern) };
  } catch (error) {
    return { fault: error instanceof Error ? error.message : String(error) };
  }
}
