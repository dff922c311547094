/** Files that the subcommands read, and what is said when one can't be read. */
import { createReadStream } from 'node:fs';
import { safeLine } from '../../terminal.js';

/** A file can't be read as what it is to be; the message is for a person. */
export class InputError extends Error {
  override readonly name = 'InputError';
}

/** More than any policy, list of cases or program; a file without an end must not fill the memory. */
const maxBytes = 64 * 2 ** 20;

/**
 * The whole text of a file, or of standard input for `-`.
 * @throws InputError
 */
export async function readText(file: string): Promise<string> {
  const name = file === '-' ? 'standard input' : file;
  const pieces: Buffer[] = [];
  let bytes = 0;
  try {
    const stream: AsyncIterable<Buffer> = file === '-' ? process.stdin : createReadStream(file);
    for await (const piece of stream) {
      pieces.push(piece);
      bytes += piece.length;
      if (bytes > maxBytes) throw new Error(`it is longer than ${maxBytes} bytes`);
    }
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(pieces));
  } catch (error) {
    const why = error instanceof TypeError ? 'it is not text in UTF-8' : error instanceof Error ? error.message : '';
    throw new InputError(safeLine(`can't read ${name}: ${why}`), { cause: error });
  }
}
