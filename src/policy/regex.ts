/**
 * The only home of the regex engine. RE2 matches in time linear in the text, whatever the pattern: a policy's own regex
 * cannot be turned into a way to stall the server. The price is no lookaround and no backreferences.
 */
import { RE2JS } from 're2js';

export interface Regex {
  /** Whether the pattern is found anywhere in the text. */
  test(text: string): boolean;
}

/** Longest pattern: keeps the compiled automaton small. */
const maxPatternLength = 2000;

/** The pattern compiled, or why it cannot be, in one line. */
export function compileRegex(pattern: string): { regex: Regex } | { fault: string } {
  if (pattern.length > maxPatternLength) return { fault: `longer than ${maxPatternLength} characters` };
  try {
    return { regex: RE2JS.compile(pattern) };
  } catch (error) {
    return { fault: error instanceof Error ? error.message : String(error) };
  }
}
