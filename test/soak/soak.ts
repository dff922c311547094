/**
 * `npm run soak -- [--runs N] [--clients N] [--kills N] [--seed N] [--json FILE]`: N calls (20,000 by default) mixed from ordinary programs and
 * attacks (kinds.ts), by 8 clients at once, each a real one with a server of its own over stdio, all with one state and one audit log. Servers,
 * zygotes, wardens and programs are killed at random all along; a client whose server is gone starts another. At the end: every call
 * answered once, each with its own answer, and memory, descriptors, processes, mounts, cgroups and directories as at the start.
 */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { createCanaries } from '../attack/canaries.js';
import { takeAwayPlanted } from '../support/planted.js';
import { generator } from '../fuzz/mutate.js';
import { PROGRAMS } from '../integration/programs.js';
import { createPlace, descendants, execute, MAIN, OPEN_POLICY, type Answer } from '../support/server.js';
import { kinds, type Call, type Kind } from './kinds.js';
import { holds, traces } from './machine.js';

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '20000' },
    clients: { type: 'string', default: '8' },
    kills: { type: 'string' },
    seed: { type: 'string', default: '20261123' },
    json: { type: 'string' },
  },
});
const runs = Number(values.runs);
const clients = Number(values.clients);
/** About one a hundred calls, and not more than 200. */
const kills = Number(values.kills ?? Math.min(200, Math.ceil(runs / 100)));
if (![runs, clients, kills].every((number) => Number.isSafeInteger(number) && number >= 0) || clients === 0) {
  console.error('expected whole numbers for --runs, --clients and --kills');
  process.exit(2);
}
const random = generator(Number(values.seed));

/** A call without an answer for so long is lost: longer than its time limit and all that waits before it. */
const LOST_MS = 120_000;
/** What takes longer by itself would make a soak of 20,000 a matter of hours. */
const QUICK_MS = 120;
/** Memory and descriptors are compared with those after so many calls, when everything has been used once. */
const WARM_CALLS = 200;

const POLICY = {
  ...OPEN_POLICY,
  sandbox: { warm: 1, timeout_seconds: 20, memory_mb: 384, max_running: 4, max_waiting: 64 },
};

/** One client and the server it started. */
interface Connection {
  readonly client: Client;
  readonly pid: number;
  /** How many answers came to each request. */
  readonly answers: Map<string | number, number>;
  readonly gone: Promise<void>;
  readonly isGone: () => boolean;
}

const scratch = mkdtempSync(join(tmpdir(), 's-'));
process.env.TMPDIR = scratch; // of all that is started from here, so that what is left can be counted
const place = createPlace(POLICY);

async function connect(): Promise<Connection> {
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [MAIN, 'serve', ...place.flags],
    cwd: place.directory,
    env: { PATH: process.env.PATH ?? '', TMPDIR: scratch },
    stderr: 'ignore',
  });
  const client = new Client({ name: 'soak', version: '1' });
  await client.connect(transport);
  const answers = new Map<string | number, number>();
  const inner = transport.onmessage?.bind(transport);
  transport.onmessage = (message) => {
    if ('id' in message && message.id !== undefined && !('method' in message)) {
      answers.set(message.id, (answers.get(message.id) ?? 0) + 1);
    }
    inner?.(message);
  };
  let closed = false;
  const gone = new Promise<void>((resolve) => {
    client.onclose = () => {
      closed = true;
      resolve();
    };
  });
  await client.listTools();
  return { client, pid: transport.pid ?? 0, answers, gone, isGone: () => closed };
}

const found = {
  answered: 0,
  unavailable: 0,
  givenUp: 0,
  serverGone: 0,
  lost: 0,
  wrong: [] as string[],
  twice: 0,
  programsKilled: 0,
  killed: {} as Record<string, number>,
  kinds: {} as Record<string, number>,
};

/** @returns false where the server has to be started again */
async function one(connection: Connection, call: Call, name: string): Promise<boolean> {
  const abort = new AbortController();
  const timers = [
    setTimeout(() => {
      abort.abort('lost');
    }, LOST_MS),
  ];
  if (call.cancelAfterMs !== undefined)
    timers.push(
      setTimeout(() => {
        abort.abort('given up');
      }, call.cancelAfterMs),
    );
  try {
    const answer = await callOnce(connection.client, call.args, abort.signal);
    const status = String(answer.structured.status);
    if (status === 'unavailable') found.unavailable += 1;
    else {
      found.answered += 1;
      const wrong = call.wrong({ status, stdout: String(answer.structured.stdout), text: answer.text });
      // What we killed ourselves is said to have been killed.
      if (wrong !== null && status === 'killed') found.programsKilled += 1;
      else if (wrong !== null) found.wrong.push(`${name}: ${wrong}`);
    }
    return true;
  } catch (error) {
    if (abort.signal.reason === 'given up') found.givenUp += 1;
    else if (abort.signal.reason === 'lost') found.lost += 1;
    else {
      await Promise.race([connection.gone, sleep(2000)]);
      if (connection.isGone()) found.serverGone += 1;
      else found.wrong.push(`${name}: ${String(error)}`);
    }
    return !connection.isGone();
  } finally {
    for (const timer of timers) clearTimeout(timer);
  }
}

async function callOnce(client: Client, args: Readonly<Record<string, unknown>>, signal: AbortSignal): Promise<Answer> {
  const result = await client.callTool({ name: 'code_execute', arguments: args }, undefined, {
    signal,
    timeout: LOST_MS + 10_000,
  });
  const content = result.content as { type: string; text?: string }[];
  return {
    text: content.map(({ text = '' }) => text).join('\n'),
    isError: result.isError === true,
    structured: result.structuredContent as Record<string, unknown>,
  };
}

/** The programs of the corpus that are over soon here. */
async function quickPrograms(connection: Connection): Promise<Set<string>> {
  const quick = new Set<string>();
  for (const { name, code, needs, stdin = '' } of PROGRAMS) {
    if (needs !== undefined) continue;
    const { structured } = await execute(connection.client, { code, stdin });
    if (structured.status === 'ok' && Number(structured.durationMs) <= QUICK_MS) quick.add(name);
  }
  return quick;
}

function choose(all: readonly Kind[]): Kind {
  let left = random() * all.reduce((sum, { weight }) => sum + weight, 0);
  const chosen = all.find(({ weight }) => (left -= weight) < 0);
  if (chosen === undefined) throw new Error('the weights do not add up');
  return chosen;
}

/** Kill a server, or a process at any depth below one: launcher, zygote, warden, program. The first server itself is spared, to be measured. */
function killOne(live: readonly Connection[]): void {
  const server = live[Math.floor(random() * live.length)];
  if (server === undefined) return;
  const below = descendants(server.pid);
  const victims = [...(server === live[0] ? [] : [server.pid]), ...below];
  const victim = victims[Math.floor(random() * victims.length)];
  if (victim === undefined) return;
  try {
    process.kill(victim, 'SIGKILL');
    const name = victim === server.pid ? 'servers' : 'below them';
    found.killed[name] = (found.killed[name] ?? 0) + 1;
  } catch {
    // It was quicker.
  }
}

const before = { ...traces(), ours: process.memoryUsage().rss };
const beganAt = performance.now();
const canaries = await createCanaries();
const first = await connect();
const live = [first, ...(await Promise.all(Array.from({ length: clients - 1 }, connect)))];
const everyone = [...live];
const quick = await quickPrograms(first);
const mix = kinds(canaries, quick);
console.log(
  `${runs} calls by ${clients} clients, ${kills} kills, seed ${values.seed}, ${quick.size} of ${PROGRAMS.length} programs are quick enough`,
);

let begun = 0;
const measured: ReturnType<typeof holds>[] = [];
await Promise.all(
  live.map(async (began, index) => {
    let connection = began;
    while (begun < runs) {
      begun += 1;
      if (kills > 0 && begun % Math.max(1, Math.floor(runs / kills)) === 0) killOne(live);
      if (measured.length === 0 && begun >= Math.min(WARM_CALLS, runs / 2)) measured.push(holds(first.pid));
      if (begun % 1000 === 0)
        console.log(
          `${begun} begun, ${found.answered} answered, ${Math.round((performance.now() - beganAt) / 1000)} s`,
        );
      const kind = choose(mix);
      found.kinds[kind.name] = (found.kinds[kind.name] ?? 0) + 1;
      if (await one(connection, kind.make(random), kind.name)) continue;
      connection = await connect();
      live[index] = connection;
      everyone.push(connection);
    }
  }),
);
const end = holds(first.pid);
const warm = measured[0] ?? end;
for (const { answers } of everyone) for (const count of answers.values()) if (count > 1) found.twice += 1;
await Promise.all(live.map(({ client }) => client.close()));
await canaries.close();
await takeAwayPlanted();

const runIds = place.audit().map(({ runId }) => String(runId));
const chain = spawnSync(process.execPath, [MAIN, 'audit', 'verify', ...place.flags.slice(2, 4)], { encoding: 'utf8' });
place.remove();
// What ends with its server takes a moment.
const leftovers = () => {
  const now = traces();
  return (
    now.processes > before.processes ||
    now.mounts > before.mounts ||
    now.cgroups > before.cgroups ||
    now.directories > before.directories
  );
};
for (const until = performance.now() + 10_000; leftovers() && performance.now() < until;) await sleep(50);
const after = traces();
const left = leftovers();
rmSync(scratch, { recursive: true, force: true });

const seconds = (performance.now() - beganAt) / 1000;
const settled = found.answered + found.unavailable + found.givenUp + found.serverGone;
const report = {
  runs,
  settled,
  ...found,
  wrong: found.wrong.length,
  auditLines: runIds.length,
  auditDoubles: runIds.length - new Set(runIds).size,
  auditChain: chain.status === 0 ? 'intact' : chain.stdout + chain.stderr,
  firstServer: { warm, end },
  before,
  after,
  seconds: Math.round(seconds),
};
console.log(JSON.stringify(report, null, 2));
for (const wrong of found.wrong.slice(0, 20)) console.log(`WRONG ${wrong}`);
if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(report));
const grew = end.residentMb > warm.residentMb * 1.25 + 16 || end.descriptors > warm.descriptors + 8;
const failures = [
  settled === runs ? null : `${runs - settled} calls were lost without an answer`,
  found.twice === 0 ? null : `${found.twice} calls were answered twice`,
  found.programsKilled <= kills ? null : `${found.programsKilled} programs were killed, by ${kills} kills`,
  found.wrong.length === 0 ? null : `${found.wrong.length} answers were wrong`,
  report.auditDoubles === 0 && chain.status === 0 ? null : 'the audit log is not one line a call in an intact chain',
  left ? 'something was left behind' : null,
  grew ? 'the first server holds more than at the start' : null,
].filter((failure) => failure !== null);
console.log(failures.length === 0 ? 'passed' : `FAILED: ${failures.join('; ')}`);
process.exitCode = failures.length === 0 ? 0 : 1;
