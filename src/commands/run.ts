/** `cordon run`: one program from the command line, the way a tool call goes: policy, sandbox, audit. */
import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { constants } from 'node:os';
import { parseArgs } from 'node:util';
import { TOOL } from '../arguments.js';
import { call } from '../call.js';
import { UsageError } from '../command.js';
import { happened, usageLine } from '../mcp/text.js';
import type { Outcome } from '../outcome.js';
import { packageVersion } from '../package.js';
import { onStopSignal } from '../signals.js';
import { start, StartRefused, type Started } from '../startup.js';
import { terminalSafe } from '../terminal.js';
import { terminalForm } from './terminal-form.js';

export const help = `cordon run: run one Python program the way a tool call would: policy, sandbox, audit

Usage: cordon run FILE [options]       the program in FILE
       cordon run -c CODE [options]    the program CODE
       cordon run - [options]          the program on standard input

  --policy FILE      the policy (else $CORDON_POLICY, else ./policy.json, else the one that comes with cordon)
  --audit FILE|off   where the call leaves a line (default: $XDG_STATE_HOME/cordon/audit.jsonl)
  --state FILE|memory|redis://HOST
                     where counters and approvals are kept (else $CORDON_STATE, else $XDG_STATE_HOME/cordon/state.db)
  --timeout SECONDS  end the program after that time; can only lower the policy's limit
  --stdin FILE       the program's standard input; without it, ours, unless that is a terminal or holds the program

The program's stdout and stderr come out as they are written; what it cost is one more line on stderr.
Where the policy wants a person to approve the call, it is asked here if stderr is a terminal, and cordon approve can
answer as well.

Exit status: the program's own; 128+n if signal n ended it, or 137 if a limit other than time did;
124 time limit; 125 could not run (our fault, or a wrong start); 126 denied by the policy; 130 interrupted;
2 wrong command line.
`;

const NEWLINE = 0x0a;

const STATUS_TIMEOUT = 124;
const STATUS_UNAVAILABLE = 125;
const STATUS_DENIED = 126;
/** 128 + SIGKILL: what a shell says of a program that was killed. */
const STATUS_KILLED = 137;
/** 128 + SIGPIPE: nobody reads what the program prints. */
const STATUS_PIPE_CLOSED = 141;

export async function main(argv: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    options: {
      code: { type: 'string', short: 'c' },
      policy: { type: 'string' },
      audit: { type: 'string' },
      state: { type: 'string' },
      timeout: { type: 'string' },
      stdin: { type: 'string' },
    },
    allowPositionals: true,
    strict: true,
  });
  const source = programSource(values.code, positionals);
  const timeoutSeconds = values.timeout === undefined ? undefined : parseSeconds(values.timeout);

  let started: Started;
  let args: Record<string, unknown>;
  try {
    // One run needs one sandbox: none is kept ready for a second.
    started = await start({ policy: values.policy, audit: values.audit, state: values.state, warm: 0 });
    const { codeKb, stdinMb } = started.loaded.policy.sandbox;
    const code = await readProgram(source, codeKb * 2 ** 10);
    const stdin = await readProgramInput(values.stdin, source, stdinMb * 2 ** 20);
    args = { code, stdin, ...(timeoutSeconds === undefined ? {} : { timeout_seconds: timeoutSeconds }) };
  } catch (error) {
    if (!(error instanceof StartRefused) && !(error instanceof InputError)) throw error;
    process.stderr.write(`cordon run: ${error.message}\n`);
    return STATUS_UNAVAILABLE;
  }

  // What ends the program before its time, and the status a shell expects of that.
  const stop = new AbortController();
  const ended: { status?: number } = {};
  const end = (status: number): void => {
    ended.status ??= status;
    stop.abort();
  };
  onStopSignal((_signal, status) => {
    end(status);
  });
  process.stdout.on('error', () => {
    end(STATUS_PIPE_CLOSED);
  });

  const show = { stdout: writer(process.stdout), stderr: writer(process.stderr) };
  // Our own line is to begin on one.
  const lastByte = { stdout: NEWLINE, stderr: NEWLINE };
  const outcome = await call(started.rooms, {
    tool: TOOL,
    args,
    grant: { name: 'local' },
    client: { name: 'cordon-cli', version: packageVersion() },
    session: randomUUID(),
    signal: stop.signal,
    form: terminalForm(),
    onProgress: (stage, howTo) => {
      if (stage === 'asking') process.stderr.write(`cordon: a person has to approve this: ${howTo ?? 'here'}\n`);
    },
    onOutput: (stream, bytes) => {
      show[stream](bytes);
      lastByte[stream] = bytes.at(-1) ?? lastByte[stream];
    },
  });
  await started.close();
  process.stderr.write(`${lastByte.stderr === NEWLINE ? '' : '\n'}cordon: ${lastLine(outcome)}\n`);
  return ended.status ?? exitStatus(outcome);
}

/** Where the program is: in a file, on the command line, or on our standard input. */
type Source = { readonly code: string } | { readonly file: string } | 'stdin';

function programSource(code: string | undefined, positionals: readonly string[]): Source {
  const [file, ...more] = positionals;
  if (more.length > 0) throw new UsageError(`expected one FILE, got ${positionals.length}: ${positionals.join(' ')}`);
  if (code !== undefined) {
    if (file !== undefined) throw new UsageError(`expected FILE or -c CODE, got both (FILE is ${file})`);
    return { code };
  }
  if (file === undefined) throw new UsageError('expected FILE, - or -c CODE, got nothing to run');
  return file === '-' ? 'stdin' : { file };
}

function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (text.trim() === '' || !Number.isFinite(seconds) || seconds <= 0) {
    throw new UsageError(`--timeout: expected a number of seconds greater than 0, got ${JSON.stringify(text)}`);
  }
  return seconds;
}

/** The program or its input can't be read as what it is to be. */
class InputError extends Error {}

async function readProgram(source: Source, maxBytes: number): Promise<string> {
  if (source !== 'stdin' && 'code' in source) return source.code;
  const name = source === 'stdin' ? 'the program on stdin' : source.file;
  const bytes =
    source === 'stdin' ? await readAll(process.stdin, name, maxBytes) : await readFrom(source.file, maxBytes);
  // A byte order mark is an editor's, not the program's: Python drops it from files too.
  return decode(name, bytes).replace(/^\uFEFF/, '');
}

async function readProgramInput(file: string | undefined, source: Source, maxBytes: number): Promise<string> {
  if (file !== undefined) return decode(file, await readFrom(file, maxBytes));
  if (source === 'stdin' || process.stdin.isTTY) return '';
  return decode('stdin', await readAll(process.stdin, 'stdin', maxBytes));
}

async function readFrom(file: string, maxBytes: number): Promise<Uint8Array> {
  try {
    return await readAll(createReadStream(file), file, maxBytes);
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw new InputError(`can't read ${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** All of a stream, and no more than is taken: it may never end. */
async function readAll(stream: AsyncIterable<Buffer>, name: string, maxBytes: number): Promise<Uint8Array> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of stream) {
    pieces.push(piece);
    bytes += piece.length;
    if (bytes > maxBytes) {
      throw new InputError(`${name} is longer than ${maxBytes} bytes, and the policy's sandbox section takes no more`);
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

/** What prints one stream of the program: as it is into files and pipes, made harmless before a person's eyes. */
function writer(to: NodeJS.WriteStream): (bytes: Uint8Array) => void {
  if (!to.isTTY) return (bytes) => void to.write(bytes);
  const safe = terminalSafe();
  return (bytes) => void to.write(safe(bytes));
}

function lastLine(outcome: Outcome): string {
  const { status, policy } = outcome;
  if (status === 'ok') return usageLine(outcome);
  const rule = policy === null || policy.rule === '' ? '' : ` (${policy.code}, ${policy.rule})`;
  return `${happened(outcome)}${rule}\ncordon: ${usageLine(outcome)}`;
}

/** What a shell is told; see the help. */
export function exitStatus({ status, exitCode, signal }: Outcome): number {
  switch (status) {
    case 'ok':
      return 0;
    case 'timeout':
      return STATUS_TIMEOUT;
    case 'denied':
      return STATUS_DENIED;
    case 'unavailable':
      return STATUS_UNAVAILABLE;
    case 'cancelled':
      return 128 + constants.signals.SIGINT;
    case 'error':
    case 'killed':
    case 'memory':
    case 'output':
      if (exitCode !== null && exitCode !== 0) return exitCode;
      return signal === null ? STATUS_KILLED : 128 + signalNumber(signal);
  }
}

function signalNumber(name: string): number {
  const numbers: Readonly<Record<string, number>> = constants.signals;
  return numbers[name] ?? constants.signals.SIGKILL;
}
