/** `cordon run`: one program from the command line, the way a tool call goes: policy, sandbox, audit. */
import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { TOOL } from '../arguments.js';
import { call } from '../call.js';
import { UsageError } from '../command.js';
import type { Outcome } from '../outcome.js';
import { packageVersion } from '../package.js';
import { onStopSignal } from '../signals.js';
import { start, StartRefused, type Started } from '../startup.js';
import { InputError, namedFiles, programSource, readFiles, readProgram, readProgramInput } from './run/inputs.js';
import { printJson } from './run/json.js';
import { report, save } from './run/report.js';
import { createScreen, type Screen } from './run/screen.js';
import { exitStatus, STATUS_PIPE_CLOSED, STATUS_UNAVAILABLE } from './run/status.js';
import { terminalForm } from './terminal-form.js';
import { safeLines } from '../terminal.js';

export const help = `cordon run: run one Python program the way a tool call would: policy, sandbox, audit

Usage: cordon run FILE [options]       the program in FILE
       cordon run -c CODE [options]    the program CODE
       cordon run - [options]          the program on standard input
       cordon run --session [FILE|-c CODE]...
                                       each program as a step of one session, until one fails; with none, what is typed

  --file PATH[=NAME] a file to put into the program's working directory, there called NAME (default: its own name); repeatable
  --out DIR          where to write the files that the program leaves there, its plots among them; nothing is overwritten
  --stdin FILE       the program's standard input; without it, ours, unless that is a terminal or holds the program
  --timeout SECONDS  end the program after that time; can only lower the policy's limit
  --json             print nothing but the outcome, as one line of JSON on stdout, with what the program printed in it
  --policy FILE      the policy (else $CORDON_POLICY, else ./policy.json, else the one that comes with cordon)
  --audit FILE|off   where the call leaves a line (default: $XDG_STATE_HOME/cordon/audit.jsonl)
  --state FILE|memory|redis://HOST
                     where counters and approvals are kept (else $CORDON_STATE, else $XDG_STATE_HOME/cordon/state.db)

The program's stdout and stderr come out as they are written. All that is ours goes to stderr and begins with "cordon: ": the value of
the last expression, as in a notebook, the files, and what it cost. On a terminal a line shows the time pass where nothing is
printed (not with NO_COLOR or TERM=dumb).
Where the policy wants a person to approve the call, it is asked here if stderr is a terminal, and cordon approve can
answer as well.

Exit status: the program's own; 128+n if signal n ended it, or 137 if a limit other than time did;
124 time limit; 125 could not run, or a file could not be saved; 126 denied by the policy; 130 interrupted;
2 wrong command line.
`;

const GRANT = { name: 'local' };

export async function main(argv: readonly string[]): Promise<number> {
  if (argv.includes('--session')) {
    const { runSession } = await import('./run/session.js');
    return runSession(argv);
  }
  const { values, positionals } = parseArgs({
    args: [...argv],
    options: {
      code: { type: 'string', short: 'c' },
      file: { type: 'string', multiple: true, default: [] },
      out: { type: 'string' },
      stdin: { type: 'string' },
      timeout: { type: 'string' },
      json: { type: 'boolean', default: false },
      policy: { type: 'string' },
      audit: { type: 'string' },
      state: { type: 'string' },
    },
    allowPositionals: true,
    strict: true,
  });
  const source = programSource(values.code, positionals);
  const named = namedFiles(values.file);
  const timeoutSeconds = values.timeout === undefined ? undefined : parseSeconds(values.timeout);

  let started: Started;
  let args: Record<string, unknown>;
  try {
    // One run needs one sandbox: none is kept ready for a second.
    started = await start({ policy: values.policy, audit: values.audit, state: values.state, warm: 0 });
    const { codeKb, stdinMb, filesInMb } = started.loaded.policy.sandbox;
    const code = await readProgram(source, codeKb * 2 ** 10);
    const stdin = await readProgramInput(values.stdin, source, stdinMb * 2 ** 20);
    const files = await readFiles(named, filesInMb * 2 ** 20);
    if (values.out !== undefined) await makeDirectory(values.out);
    args = {
      code,
      stdin,
      ...(files.length === 0 ? {} : { files }),
      ...(timeoutSeconds === undefined ? {} : { timeout_seconds: timeoutSeconds }),
    };
  } catch (error) {
    if (!(error instanceof StartRefused) && !(error instanceof InputError)) throw error;
    process.stderr.write(`cordon run: ${safeLines(error.message)}\n`);
    return STATUS_UNAVAILABLE;
  }

  const screen = createScreen(process, process.env);
  const limitSeconds = Math.min(started.loaded.policy.sandbox.timeoutSeconds, timeoutSeconds ?? Infinity);
  const { outcome, endedBy } = await run(started, args, screen, limitSeconds, values.json);
  const saved = values.out === undefined ? null : await save(started.rooms.files, GRANT.name, outcome, values.out);
  if (values.json) await printJson(outcome, saved);
  else report(screen, outcome, saved);
  await started.close();
  const status = endedBy ?? exitStatus(outcome);
  return status === 0 && saved?.some(({ path }) => path === null) === true ? STATUS_UNAVAILABLE : status;
}

/** Make the call. @returns also the status of what ended it from outside, where something did */
async function run(
  started: Started,
  args: Record<string, unknown>,
  screen: Screen,
  limitSeconds: number,
  quiet: boolean,
): Promise<{ outcome: Outcome; endedBy: number | null }> {
  const stop = new AbortController();
  let endedBy: number | null = null;
  const end = (status: number): void => {
    endedBy ??= status;
    stop.abort();
  };
  onStopSignal((_signal, status) => {
    end(status);
  });
  process.stdout.on('error', () => {
    end(STATUS_PIPE_CLOSED);
  });
  const outcome = await call(started.rooms, {
    tool: TOOL,
    args,
    grant: GRANT,
    client: { name: 'cordon-cli', version: packageVersion() },
    session: randomUUID(),
    signal: stop.signal,
    form: terminalForm(),
    onProgress: (stage, howTo) => {
      if (stage === 'asking') screen.say(`a person has to approve this: ${howTo ?? 'here'}`);
      if (stage === 'running') screen.running(limitSeconds);
    },
    ...(quiet ? {} : { onOutput: screen.program }),
  });
  screen.ended();
  return { outcome, endedBy };
}

function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (text.trim() === '' || !Number.isFinite(seconds) || seconds <= 0) {
    throw new UsageError(`--timeout: expected a number of seconds greater than 0, got ${JSON.stringify(text)}`);
  }
  return seconds;
}

/** Before anything runs: that a file can't be saved is better known first. */
async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true });
  } catch (error) {
    throw new InputError(`--out: can't make ${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
