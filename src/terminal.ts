/** What a program prints may be meant for the terminal and not for the person before it. */

/**
 * A function that makes pieces of a byte stream safe to print: what could steer a terminal becomes a visible symbol, so that no
 * sequence can move the cursor, set a title, paste into the shell or turn a line around. Newline, tab and carriage return stay. Characters
 * may be split over pieces; bytes that are no UTF-8 become U+FFFD.
 */
export function terminalSafe(): (bytes: Uint8Array) => string {
  const decoder = new TextDecoder();
  return (bytes) => safeText(decoder.decode(bytes, { stream: true }));
}

/** The same for a whole text. */
export function safeText(text: string): string {
  return text.replace(/[\p{Cc}\p{Bidi_Control}]/gu, visible);
}

/**
 * The same for what is to stay one line of ours: no character in it ends the line, or begins it anew, or turns its direction (UAX 9), so that
 * what it quotes can't look like another line.
 */
export function safeLine(text: string): string {
  return text
    .replace(/[\t\n\r]/g, picture)
    .replace(/\p{Cc}/gu, visible)
    .replace(/[\p{Zl}\p{Zp}\p{Bidi_Control}]/gu, '\uFFFD');
}

/** The same for a text of several lines of ours, each of which ends with a newline and nothing else. */
export function safeLines(text: string): string {
  return text.split('\n').map(safeLine).join('\n');
}

function visible(character: string): string {
  return character === '\n' || character === '\t' || character === '\r' ? character : picture(character);
}

/** Unicode's control pictures, U+2400 and on, for C0 and DEL; C1 has none. */
function picture(character: string): string {
  const code = character.charCodeAt(0);
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  return code === 0x7f ? '\u2421' : '\uFFFD';
}
