/**
 * Whether what was typed so far is a whole Python statement, so that a prompt runs it, or waits for more as Python's own does. It need not
 * understand Python: what is wrong with a statement, the interpreter says. Strings, comments, brackets and the end of lines are enough.
 */

/** @param text lines that were typed, each with its newline */
export function isWhole(text: string): boolean {
  const { open, block } = scan(text);
  if (open) return false;
  // A block goes on until a line is empty; an empty line alone is nothing.
  return !block || /\n[ \t]*\n$/.test(text);
}

/** `open`: in brackets, in a string of several lines, or after a backslash; `block`: its first line announces one. */
function scan(text: string): { open: boolean; block: boolean } {
  let depth = 0;
  let quote: string | null = null;
  /** The last character of code in the logical line, and of the first such line. */
  let last = '';
  let ofFirst: string | null = null;
  let continued = false;
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at] ?? '';
    continued = false;
    if (quote !== null) {
      if (character === '\\') at += 1;
      else if (text.startsWith(quote, at)) {
        at += quote.length - 1;
        quote = null;
      } else if (character === '\n' && quote.length === 1) quote = null;
    } else if (character === '#') {
      while (at + 1 < text.length && text[at + 1] !== '\n') at += 1;
    } else if (character === '"' || character === "'") {
      quote = text.startsWith(character.repeat(3), at) ? character.repeat(3) : character;
      at += quote.length - 1;
      last = character;
    } else if (character === '\\' && text[at + 1] === '\n') {
      at += 1;
      continued = true;
    } else if (character === '\n') {
      if (depth === 0 && last !== '') {
        ofFirst ??= last;
        last = '';
      }
    } else if (!/\s/.test(character)) {
      if ('([{'.includes(character)) depth += 1;
      if (')]}'.includes(character)) depth = Math.max(0, depth - 1);
      last = character;
    }
  }
  const open = depth > 0 || (quote !== null && quote.length === 3) || continued;
  return { open, block: ofFirst === ':' || text.trimStart().startsWith('@') };
}
