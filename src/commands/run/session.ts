/** `cordon run --session`: several programs, each a step of one session; or, with none named, what is typed, a statement at a time. */
import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { constants } from 'node:os';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { NEW_SESSION, TOOL } from '../../arguments.js';
import { call } from '../../call.js';
import { UsageError } from '../../command.js';
import { packageVersion } from '../../package.js';
import { start, StartRefused, type Started } from '../../startup.js';
import { terminalForm } from '../terminal-form.js';
import { InputError, readProgram } from './inputs.js';
import { report, save } from './report.js';
import { createScreen } from './screen.js';
import { isWhole } from './statement.js';
import { exitStatus, STATUS_PIPE_CLOSED, STATUS_UNAVAILABLE } from './status.js';

const GRANT = { name: 'local' };

type Source = { readonly file: string } | { readonly code: string };

interface Step {
  /** What it is called on the terminal. */
  readonly name: string;
  readonly code: string;
}

/** @param argv as `cordon run` got it, with `--session` in it */
export async function runSession(argv: readonly string[]): Promise<number> {
  const { values, tokens } = parseArgs({
    args: [...argv],
    options: {
      session: { type: 'boolean' },
      code: { type: 'string', short: 'c', multiple: true },
      out: { type: 'string' },
      policy: { type: 'string' },
      audit: { type: 'string' },
      state: { type: 'string' },
      timeout: { type: 'string' },
    },
    allowPositionals: true,
    strict: true,
    tokens: true,
  });
  // In the order they were written, files and code alike.
  const sources = tokens.flatMap((token): Source[] => {
    if (token.kind === 'positional') return [{ file: token.value }];
    return token.kind === 'option' && token.name === 'code' ? [{ code: token.value }] : [];
  });
  if (sources.some((source) => 'file' in source && source.file === '-')) {
    throw new UsageError(
      '--session: expected FILE or -c CODE, got -; without any, statements are read from standard input',
    );
  }
  const timeoutSeconds = values.timeout === undefined ? undefined : Number(values.timeout);
  if (timeoutSeconds !== undefined && !(timeoutSeconds > 0)) {
    throw new UsageError(
      `--timeout: expected a number of seconds greater than 0, got ${JSON.stringify(values.timeout)}`,
    );
  }

  let started: Started;
  let steps: Step[];
  try {
    started = await start({ policy: values.policy, audit: values.audit, state: values.state, warm: 0 });
    const maxBytes = started.loaded.policy.sandbox.codeKb * 2 ** 10;
    steps = await Promise.all(
      sources.map(async (source) =>
        'file' in source
          ? { name: source.file, code: await readProgram(source, maxBytes) }
          : { name: '-c', code: source.code },
      ),
    );
    if (values.out !== undefined) await makeDirectory(values.out);
  } catch (error) {
    if (!(error instanceof StartRefused) && !(error instanceof InputError)) throw error;
    process.stderr.write(`cordon run: ${error.message}\n`);
    return STATUS_UNAVAILABLE;
  }
  const session = openSession(started, timeoutSeconds, values.out);
  try {
    return steps.length > 0 ? await runAll(session, steps) : await runTyped(session);
  } finally {
    await started.close();
  }
}

interface RunningSession {
  /** Run one step, and say what became of it. @returns the status a shell would be told */
  readonly run: (step: Step) => Promise<number>;
  /** Cancel the step that runs; false where none does. */
  readonly cancel: () => boolean;
}

/** @param out the directory for the files that its steps leave */
function openSession(
  { rooms, loaded }: Started,
  timeoutSeconds: number | undefined,
  out: string | undefined,
): RunningSession {
  const client = { name: 'cordon-cli', version: packageVersion() };
  const connection = randomUUID();
  const screen = createScreen(process, process.env);
  const limitSeconds = Math.min(loaded.policy.sandbox.timeoutSeconds, timeoutSeconds ?? Infinity);
  const form = terminalForm();
  let handle = NEW_SESSION;
  let running: AbortController | null = null;

  async function run({ name, code }: Step): Promise<number> {
    const stop = new AbortController();
    running = stop;
    const args = {
      code,
      session: handle,
      ...(timeoutSeconds === undefined ? {} : { timeout_seconds: timeoutSeconds }),
    };
    const outcome = await call(rooms, {
      tool: TOOL,
      args,
      grant: GRANT,
      client,
      session: connection,
      signal: stop.signal,
      form,
      onProgress: (stage, howTo) => {
        if (stage === 'asking') screen.say(`a person has to approve this: ${howTo ?? 'here'}`);
        if (stage === 'running') screen.running(limitSeconds);
      },
      onOutput: screen.program,
    });
    screen.ended();
    running = null;
    const at = outcome.session;
    if (at === null) screen.say(`${name}: no step`);
    else screen.say(at.undone ? `${name}: undone, the session stands at step ${at.step}` : `${name}: step ${at.step}`);
    report(screen, outcome, out === undefined ? null : await save(rooms.files, GRANT.name, outcome, out));
    if (at !== null) handle = at.id;
    // A session that has ended is over; what comes next begins another.
    else if (outcome.policy?.code === 'no_such_session' || outcome.status !== 'denied') handle = NEW_SESSION;
    return exitStatus(outcome);
  }

  return {
    run,
    cancel() {
      running?.abort();
      return running !== null;
    },
  };
}

/** Before anything runs: that a file can't be saved is better known first. */
async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true });
  } catch (error) {
    throw new InputError(`--out: can't make ${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Stops at the first that does not end well: the next would build on what is not there. */
async function runAll({ run, cancel }: RunningSession, steps: readonly Step[]): Promise<number> {
  const ended: { status?: number } = {};
  const unlisten = onSignals((status) => {
    ended.status ??= status;
    cancel();
  });
  try {
    for (const step of steps) {
      const status = await run(step);
      if (ended.status !== undefined || status !== 0) return ended.status ?? status;
    }
    return 0;
  } finally {
    unlisten();
  }
}

/** A prompt, where there is a terminal; an interrupt cancels what runs, or drops what was typed. */
async function runTyped({ run, cancel }: RunningSession): Promise<number> {
  const terminal = process.stdin.isTTY;
  const lines = createInterface({ input: process.stdin, ...(terminal ? { output: process.stderr, terminal } : {}) });
  const ended: { status?: number } = {};
  let typed = '';
  const prompt = (): void => {
    if (!terminal) return;
    lines.setPrompt(typed === '' ? '>>> ' : '... ');
    lines.prompt();
  };
  lines.on('SIGINT', () => {
    if (cancel()) return;
    typed = '';
    process.stderr.write('\n');
    prompt();
  });
  const unlisten = onSignals((status) => {
    ended.status = status;
    cancel();
    lines.close();
  });
  let count = 0;
  const take = async (): Promise<void> => {
    const code = typed;
    typed = '';
    if (code.trim() === '') return;
    count += 1;
    await run({ name: `statement ${count}`, code });
  };
  try {
    prompt();
    for await (const line of lines) {
      typed += `${line}\n`;
      if (isWhole(typed)) await take();
      if (ended.status !== undefined) break;
      prompt();
    }
    if (ended.status === undefined) await take();
    if (terminal) process.stderr.write('\n');
    return ended.status ?? 0;
  } finally {
    unlisten();
    lines.close();
  }
}

/** @param stop is told the exit status that a shell expects of the signal */
function onSignals(stop: (status: number) => void): () => void {
  const listen = (signal: NodeJS.Signals): void => {
    stop(128 + constants.signals[signal]);
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const name of signals) process.on(name, listen);
  const closed = (): void => {
    stop(STATUS_PIPE_CLOSED);
  };
  process.stdout.on('error', closed);
  return () => {
    for (const name of signals) process.off(name, listen);
    process.stdout.off('error', closed);
  };
}
