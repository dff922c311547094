/** What goes into a run: the program, its standard input, and files. No more of anything is read than the policy takes. */
import { createReadStream } from 'node:fs';
import { basename } from 'node:path';
import { UsageError } from '../../command.js';
import { clash, nameProblem } from '../../files/name.js';
import { safeLine } from '../../terminal.js';

/** Where the program is: in a file, on the command line, or on our standard input. */
export type Source = { readonly code: string } | { readonly file: string } | 'stdin';

/** A file of this machine, and what it is called in the working directory. */
export interface NamedFile {
  readonly path: string;
  readonly name: string;
}

/** The program or its input can't be read as what it is to be; the message says which and why. */
export class InputError extends Error {
  override readonly name = 'InputError';
}

/** @throws UsageError unless exactly one program is named */
export function programSource(code: string | undefined, positionals: readonly string[]): Source {
  const [file, ...more] = positionals;
  if (more.length > 0) throw new UsageError(`expected one FILE, got ${positionals.length}: ${positionals.join(' ')}`);
  if (code !== undefined) {
    if (file !== undefined) throw new UsageError(`expected FILE or -c CODE, got both (FILE is ${file})`);
    return { code };
  }
  if (file === undefined) throw new UsageError('expected FILE, - or -c CODE, got nothing to run');
  return file === '-' ? 'stdin' : { file };
}

/**
 * What `--file` says, each `PATH` or `PATH=NAME`; the last `=` counts. Without a name it is the path's last part.
 * @throws UsageError for a name that can't be one in a working directory
 */
export function namedFiles(said: readonly string[]): NamedFile[] {
  const files = said.map((text) => {
    const at = text.lastIndexOf('=');
    const path = at === -1 ? text : text.slice(0, at);
    const name = at === -1 ? basename(path) : text.slice(at + 1);
    const problem = path === '' ? 'has no path before it' : nameProblem(name);
    if (problem !== null) throw new UsageError(`--file ${text}: the name ${JSON.stringify(name)} ${problem}`);
    return { path, name };
  });
  const found = clash(files.map(({ name }) => name));
  if (found !== null) throw new UsageError(`--file ${said[found.index] ?? ''}: the name ${found.problem}`);
  return files;
}

/** The program's text. @throws InputError */
export async function readProgram(source: Source, maxBytes: number): Promise<string> {
  if (source !== 'stdin' && 'code' in source) return source.code;
  const name = source === 'stdin' ? 'the program on stdin' : source.file;
  const bytes =
    source === 'stdin' ? await readAll(process.stdin, name, maxBytes) : await readFrom(source.file, maxBytes);
  // A byte order mark is an editor's, not the program's: Python drops it from files too.
  return decode(name, bytes).replace(/^\uFEFF/, '');
}

/** The program's standard input: the file that was named, else ours where it is neither a terminal nor taken. @throws InputError */
export async function readProgramInput(file: string | undefined, source: Source, maxBytes: number): Promise<string> {
  if (file !== undefined) return decode(file, await readFrom(file, maxBytes));
  if (source === 'stdin' || process.stdin.isTTY) return '';
  return decode('stdin', await readAll(process.stdin, 'stdin', maxBytes));
}

/** The files, as a call brings them. @param maxBytes all of them together @throws InputError */
export async function readFiles(
  files: readonly NamedFile[],
  maxBytes: number,
): Promise<{ name: string; base64: string }[]> {
  const read: { name: string; base64: string }[] = [];
  let left = maxBytes;
  for (const { path, name } of files) {
    const bytes = await readFrom(path, left, maxBytes);
    left -= bytes.length;
    read.push({ name, base64: bytes.toString('base64') });
  }
  return read;
}

async function readFrom(file: string, maxBytes: number, ofBytes = maxBytes): Promise<Buffer> {
  try {
    return await readAll(createReadStream(file), file, maxBytes, ofBytes);
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw new InputError(safeLine(`can't read ${file}: ${error instanceof Error ? error.message : String(error)}`));
  }
}

/** All of a stream, and no more than is taken: it may never end. */
async function readAll(
  stream: AsyncIterable<Buffer>,
  name: string,
  maxBytes: number,
  ofBytes = maxBytes,
): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of stream) {
    pieces.push(piece);
    bytes += piece.length;
    if (bytes > maxBytes) {
      const what = maxBytes < ofBytes ? `${name}, with the files before it,` : name;
      throw new InputError(`${what} is longer than ${ofBytes} bytes, and the policy's sandbox section takes no more`);
    }
  }
  return Buffer.concat(pieces);
}

function decode(name: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new InputError(`${name}: expected UTF-8 text, got other bytes`);
  }
}
