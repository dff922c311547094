/** What a program prints may be meant for the terminal and not for the person before it. */

/**
 * A function that makes pieces of a byte stream safe to print: control characters become visible symbols, so that no
 * sequence can move the cursor, set a title or paste into the shell. Newline, tab and carriage return stay. Characters
 * may be split over pieces; bytes that are no UTF-8 become U+FFFD.
 */
export function terminalSafe(): (bytes: Uint8Array) => string {
  const decoder = new TextDecoder();
  return (bytes) => decoder.decode(bytes, { stream: true }).replace(/\p{Cc}/gu, visible);
}

/** Unicode's control pictures, U+2400 and on, for C0 and DEL; C1 has none. */
function visible(character: string): string {
  if (character === '\n' || character === '\t' || character === '\r') return character;
  const code = character.charCodeAt(0);
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  return code === 0x7f ? '\u2421' : '\uFFFD';
}
