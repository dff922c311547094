/** `cordon approve`: answer the calls that wait for a person. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { userName } from '../approval/approvals.js';
import { openRequests, type Requests, type StoredRequest } from '../approval/requests.js';
import { describeRequest, quote } from '../approval/words.js';
import { UsageError } from '../command.js';
import { chooseState, stateDirectory, StateChoiceError } from '../state/choice.js';
import { openDatabase, StateError } from '../state/database.js';
import { print, printJson, table } from './policy/print.js';
import { safeLine, safeLines } from '../terminal.js';

export const help = `cordon approve: answer the calls that the policy wants a person to approve

Usage: cordon approve list [--json] [--state FILE]
       cordon approve show ID [--json] [--state FILE]
       cordon approve allow ID [--state FILE]
       cordon approve deny ID [--reason WORDS] [--state FILE]

list    what waits for an answer, oldest first
show    all of a request: the whole program and its input, nothing cut, nothing hidden
allow   let that very call run: at once where it still waits, else when it is made again (once, within 15 minutes, unless
        the policy says otherwise). Another call, another grant or an edited policy can't use it.
deny    refuse it; the caller is told, with your words if there are any

A request can be answered for an hour, or as long as its call waits.

  --state FILE   where the server keeps its state (else $CORDON_STATE, else $XDG_STATE_HOME/cordon/state.db)

Exit status: 0 done, 1 there is no such request or it was answered already, 2 wrong command line.
`;

const COMMANDS = ['list', 'show', 'allow', 'deny'];
const REASON_MAX_CHARACTERS = 500;

export async function main(argv: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    options: { state: { type: 'string' }, reason: { type: 'string' }, json: { type: 'boolean', default: false } },
    allowPositionals: true,
    strict: true,
  });
  const [command, id, ...more] = positionals;
  if (command === undefined || !COMMANDS.includes(command)) {
    throw new UsageError(
      `expected one of ${COMMANDS.join(', ')}, got ${command === undefined ? 'nothing' : JSON.stringify(command)}`,
    );
  }
  if (more.length > 0) throw new UsageError(`expected one ID, got ${[id, ...more].join(' ')}`);
  if (values.reason !== undefined && command !== 'deny') throw new UsageError('--reason goes with deny');
  if (values.reason !== undefined && values.reason.length > REASON_MAX_CHARACTERS) {
    throw new UsageError(`--reason: expected at most ${REASON_MAX_CHARACTERS} characters, got ${values.reason.length}`);
  }
  if (command === 'list') {
    if (id !== undefined) throw new UsageError(`list takes no ID, got ${JSON.stringify(id)}`);
  } else if (id === undefined) throw new UsageError(`expected ${command} ID, got no ID`);

  try {
    const path = statePath(values.state);
    if (!existsSync(path)) {
      // Looking must not make what it looks for.
      process.stderr.write(`cordon approve: nothing waits: there is no state ${safeLine(path)}\n`);
      return command === 'list' ? 0 : 1;
    }
    const database = openDatabase(path);
    try {
      const requests = openRequests(database);
      if (id === undefined) return await list(requests, values.json);
      if (command === 'show') return await show(requests, id, values.json);
      const reason = values.reason === undefined || values.reason === '' ? null : values.reason;
      return await settle(requests, id, command === 'allow', reason);
    } finally {
      await database.close();
    }
  } catch (error) {
    if (!(error instanceof StateError) && !(error instanceof StateChoiceError)) throw error;
    process.stderr.write(`cordon approve: ${safeLines(error.message)}\n`);
    return error instanceof StateChoiceError ? 2 : 1;
  }
}

/** Where requests are kept: counters that live in Redis leave them in the file all the same. */
function statePath(flag: string | undefined): string {
  const choice = chooseState(flag, process.env);
  if (choice.kind === 'memory') {
    throw new StateChoiceError(
      'a state in memory is only seen by its server: name the state file of the server with --state',
    );
  }
  return choice.kind === 'file' ? choice.path : join(stateDirectory(process.env), 'state.db');
}

async function list(requests: Requests, json: boolean): Promise<number> {
  const pending = (await requests.list()).filter(({ state }) => state === 'pending');
  if (json) {
    printJson(pending);
    return 0;
  }
  if (pending.length === 0) {
    print(['nothing waits for an answer']);
    return 0;
  }
  const nowMs = Date.now();
  const rows = pending.map((request) => [
    request.id,
    `${duration(nowMs - request.createdMs)} ago`,
    request.waitingUntilMs > nowMs ? `${duration(request.waitingUntilMs - nowMs)} more` : 'not any more',
    request.grant,
    quote(request.client),
    'code' in request.call ? `${Buffer.byteLength(request.call.code)} bytes` : request.call.tool,
    request.message.split('\n', 1)[0] ?? '',
  ]);
  print(table([['ID', 'ASKED', 'CALL WAITS', 'GRANT', 'CLIENT', 'CODE', 'QUESTION'], ...rows]));
  return 0;
}

async function show(requests: Requests, id: string, json: boolean): Promise<number> {
  const request = (await requests.list()).find((one) => one.id === id);
  if (request === undefined) return unknown(id);
  if (json) printJson(request);
  else print([describeRequest(request, false), '', standing(request)]);
  return 0;
}

function standing({ state, waitingUntilMs, expiresMs, answer }: StoredRequest): string {
  const nowMs = Date.now();
  if (answer !== null) return `${state} by ${quote(answer.by)} (${answer.via})`;
  const waits =
    waitingUntilMs > nowMs
      ? `the call waits for ${duration(waitingUntilMs - nowMs)} more`
      : 'the call has stopped waiting';
  return `pending: ${waits}; can be answered for ${duration(expiresMs - nowMs)} more`;
}

async function settle(requests: Requests, id: string, allow: boolean, reason: string | null): Promise<number> {
  const end = await requests.settle(id, { allow, via: 'cli', by: userName(), reason });
  if (end === undefined) return unknown(id);
  const { settled, request } = end;
  if (!settled) {
    process.stderr.write(`cordon approve: ${id} was answered already: ${standing(request)}\n`);
    return 1;
  }
  const nowMs = Date.now();
  const waits = request.waitingUntilMs > nowMs;
  const holds = duration(request.expiresMs - nowMs);
  const next =
    request.remember !== 'once'
      ? `it holds for ${holds}`
      : waits
        ? 'the call that waits goes on'
        : `the call has stopped waiting; made again within ${holds}, it runs once`;
  print([allow ? `allowed ${id}: ${next}` : `denied ${id}`]);
  return 0;
}

function unknown(id: string): number {
  process.stderr.write(
    `cordon approve: there is no request ${quote(id)}; it may have expired. See: cordon approve list\n`,
  );
  return 1;
}

function duration(milliseconds: number): string {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}
