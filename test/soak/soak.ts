/**
 * `npm run soak -- [--runs N] [--clients N] [--kills N] [--seed N] [--tier strict|confined] [--json FILE]`: N calls (20,000 by default) mixed
 * from ordinary programs, attacks, sessions, files, pictures and mounts (kinds.ts), by 8 clients at once, each a real one with a server of its own over stdio,
 * all with one state and one audit log. Servers, zygotes, wardens, programs and states of sessions are killed at random all along; a
 * client whose server is gone starts another. At the end: every call answered once, each with its own answer; nothing unavailable or lost but by
 * a kill; and memory, descriptors, processes, mounts, cgroups, directories and kept files as at the start.
 *
 * Tier `confined` runs the servers where namespaces are refused (test/support/without-namespaces.py); it has neither sessions nor mounts.
 */

import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createCanaries } from '../attack/canaries.js';
import { takeAwayPlanted } from '../support/planted.js';
import { generator } from '../fuzz/mutate.js';
import { PROGRAMS } from '../integration/programs.js';
import { createPlace, descendants, execute, MAIN, until } from '../support/server.js';
import { PYTHON } from '../support/sandbox.js';
import { connect, type Caller } from './caller.js';
import { kinds, type Kind } from './kinds.js';
import { heldFiles, holds, traces, whatIsThere } from './machine.js';
import { KEEP_STEPS, SESSIONS_MAX } from './session-kinds.js';
import { newTally } from './tally.js';

const USAGE = `npm run soak -- [options]
  --runs N       calls to make (20000)
  --clients N    clients at once, each with a server of its own (8)
  --kills N      servers and processes below them to kill (one a hundred calls, at most 200)
  --seed N       what is made of chance is made of this (20261123)
  --tier NAME    strict, or confined: without namespaces (strict)
  --json FILE    write the report there, too`;

const options = {
  runs: { type: 'string', default: '20000' },
  clients: { type: 'string', default: '8' },
  kills: { type: 'string' },
  seed: { type: 'string', default: '20261123' },
  tier: { type: 'string', default: process.env.CORDON_TEST_TIER ?? 'strict' },
  json: { type: 'string' },
  help: { type: 'boolean', default: false },
} as const;

function refuse(why: string): never {
  console.error(`${why}\n${USAGE}`);
  process.exit(2);
}

function read() {
  try {
    return parseArgs({ options }).values;
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error));
  }
}
const values = read();
if (values.help) {
  console.log(USAGE);
  process.exit(0);
}
const runs = Number(values.runs);
const clients = Number(values.clients);
const kills = Number(values.kills ?? Math.min(200, Math.ceil(runs / 100)));
if (![runs, clients, kills].every((number) => Number.isSafeInteger(number) && number >= 0) || clients === 0) {
  refuse('expected whole numbers for --runs, --clients and --kills');
}
if (values.tier !== 'strict' && values.tier !== 'confined') refuse('expected --tier strict or confined');
const isStrict = values.tier === 'strict';

const random = generator(Number(values.seed));
/** What takes longer by itself would make a soak of 20,000 a matter of hours. */
const QUICK_MS = 120;
/** Memory and descriptors are looked at so often, and those at the end compared with the first, when every kind of call has come. */
const LOOKS = 10;
/** Small enough that files are let go of all along. */
const FILES_KEPT_MB = 8;
/** Whoever runs the soak as root: the directories that the policy opens belong to somebody else, as a service's do. */
const OWNER = 45_678;

const scratch = realpathSync(mkdtempSync(join(tmpdir(), 's-')));
chmodSync(scratch, 0o755); // what attacks are after must be kept from them by the sandbox, not by the mode of our own directory
process.env.TMPDIR = scratch; // of all that is started from here, so that what is left can be counted

const opened = {
  readable: join(scratch, 'data'),
  content: { 'one.txt': 'the first', 'two.txt': 'the second' },
  writable: join(scratch, 'results'),
};
for (const directory of [opened.readable, opened.writable]) mkdirSync(directory, { mode: 0o700 });
for (const [name, content] of Object.entries(opened.content)) writeFileSync(join(opened.readable, name), content);
if (process.getuid?.() === 0) {
  for (const path of [
    opened.readable,
    opened.writable,
    ...Object.keys(opened.content).map((name) => join(opened.readable, name)),
  ])
    chownSync(path, OWNER, OWNER);
}

const policyOf = (more: object) => ({
  version: '1',
  default: 'deny',
  tools: { code_execute: {}, session_list: {}, session_fork: {}, session_rewind: {}, session_end: {} },
  sandbox: {
    python: PYTHON,
    warm: 1,
    timeout_seconds: 20,
    memory_mb: 384,
    max_running: 4,
    max_waiting: 64,
    files_kept_mb: FILES_KEPT_MB,
    sessions: { max: SESSIONS_MAX, keep_steps: KEEP_STEPS, memory_mb: 2048 },
    ...more,
  },
});
const place = createPlace(policyOf({ isolation: values.tier }));
const mountsPolicy = join(place.directory, 'mounts.json');
const mounts = [
  { host: opened.readable, inside: '/mnt/data', mode: 'ro' },
  { host: opened.writable, inside: '/mnt/results', mode: 'rw' },
];
writeFileSync(mountsPolicy, JSON.stringify(policyOf({ isolation: values.tier, mounts })));

/** From dist/test/soak. */
const PACKAGE = join(dirname(fileURLToPath(import.meta.url)), '../../..');
const confining = isStrict
  ? []
  : [PYTHON, join(PACKAGE, 'test/support/without-namespaces.py'), join(PACKAGE, 'sandbox')];
const tally = newTally();

/** A client and its server: every second one opens directories to programs. */
function start(index: number): Promise<Caller> {
  const hasMounts = isStrict && index % 2 === 1;
  const flags = place.flags.map((flag, at) => (hasMounts && place.flags[at - 1] === '--policy' ? mountsPolicy : flag));
  const [command = '', ...args] = [...confining, process.execPath, MAIN, 'serve', ...flags];
  const env = { PATH: process.env.PATH ?? '', TMPDIR: scratch };
  return connect({ command, args, cwd: place.directory, env, hasMounts }, tally);
}

/** The programs of the corpus that are over soon here. */
async function quickPrograms({ client }: Caller): Promise<Set<string>> {
  const quick = new Set<string>();
  for (const { name, code, needs, stdin = '' } of PROGRAMS) {
    if (needs !== undefined) continue;
    const { structured } = await execute(client, { code, stdin });
    if (structured.status === 'ok' && Number(structured.durationMs) <= QUICK_MS) quick.add(name);
  }
  return quick;
}

/** A number that has not changed for half a second. */
async function steady(look: () => number): Promise<number> {
  let seen = look();
  for (let same = 0; same < 10; same += 1) {
    await sleep(50);
    const now = look();
    if (now !== seen) same = 0;
    seen = now;
  }
  return seen;
}

function choose(all: readonly Kind[]): Kind {
  let left = random() * all.reduce((sum, { weight }) => sum + weight, 0);
  const chosen = all.find(({ weight }) => (left -= weight) < 0);
  if (chosen === undefined) throw new Error('the weights do not add up');
  return chosen;
}

/** Kill a server, or a process at any depth below one: launcher, zygote, warden, program, state. The first server itself is spared, to be measured. */
function killOne(live: readonly Caller[]): void {
  const caller = live[Math.floor(random() * live.length)];
  if (caller === undefined || caller.isGone()) return;
  const victims = [...(caller === live[0] ? [] : [caller.pid]), ...descendants(caller.pid)];
  const victim = victims[Math.floor(random() * victims.length)];
  if (victim === undefined) return;
  try {
    process.kill(victim, 'SIGKILL');
    caller.noteKill();
    const name = victim === caller.pid ? 'servers' : 'below them';
    tally.killed[name] = (tally.killed[name] ?? 0) + 1;
  } catch {
    // It was quicker.
  }
}

const before = traces();
const beganAt = performance.now();
const secondsSince = () => Math.round((performance.now() - beganAt) / 1000);
const canaries = await createCanaries();
const first = await start(0);
const live = [first, ...(await Promise.all(Array.from({ length: clients - 1 }, (_, index) => start(index + 1))))];
const everyone = [...live];
const quick = await quickPrograms(first);
const quickWithMounts = await quickPrograms(live.find(({ hasMounts }) => hasMounts) ?? first);
const mix = kinds(canaries, (hasMounts) => (hasMounts ? quickWithMounts : quick), opened, tally, values.tier);
console.log(
  `${runs} calls by ${clients} clients, ${kills} kills, seed ${values.seed}, tier ${values.tier}, ${quick.size} and ${quickWithMounts.size} (with mounts) of ${PROGRAMS.length} programs are quick enough`,
);
/** What runs below a server that does nothing. */
const idle = await steady(() => descendants(first.pid).length);

let killed = 0;
let told = 0;
const measured: ReturnType<typeof holds>[] = [];
await Promise.all(
  live.map(async (began, index) => {
    let caller = began;
    while (tally.calls < runs) {
      while (killed < kills && tally.calls > ((killed + 1) * runs) / (kills + 1)) {
        killed += 1;
        killOne(live);
      }
      if (tally.calls >= ((measured.length + 1) * runs) / LOOKS) measured.push(holds(first.pid));
      if (Math.floor(tally.calls / 1000) > told) {
        told = Math.floor(tally.calls / 1000);
        console.log(
          `${tally.calls} begun, ${tally.answered} answered, ${tally.wrong.length} wrong, ${secondsSince()} s`,
        );
      }
      const kind = choose(mix);
      const callsBefore = tally.calls;
      await kind.play(caller, random);
      tally.kinds[kind.name] = (tally.kinds[kind.name] ?? 0) + 1;
      if (tally.calls === callsBefore) throw new Error(`${kind.name} made no call`);
      if (!caller.isGone()) continue;
      caller = await start(index);
      live[index] = caller;
      everyone.push(caller);
    }
  }),
);

// What is in use until it is let go of: sessions.
let openSessions = 0;
for (const caller of isStrict ? live : []) {
  if (caller.isGone()) continue;
  const { structured } = await execute(caller.client, {}, 'session_list');
  for (const { id } of structured.sessions as { id: string }[]) {
    openSessions += 1;
    await execute(caller.client, { session: id }, 'session_end');
  }
}
const isIdle = await until('a server that does nothing has no more below it than at the start', () => {
  return descendants(first.pid).length <= idle;
}).then(
  () => true,
  () => false,
);
const idleAtEnd = descendants(first.pid).length;
const end = holds(first.pid);
const warm = measured[0] ?? end;
const kept = heldFiles(scratch, first.pid);
let twice = 0;
for (const { answers } of everyone) for (const count of answers.values()) if (count > 1) twice += 1;
await Promise.all(live.map(({ client }) => client.close()));
// What a killed server left, the next one sweeps.
await (await start(0)).client.close();
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
for (const deadline = performance.now() + 10_000; leftovers() && performance.now() < deadline;) await sleep(50);
const after = traces();
const left = leftovers();
if (left) console.log(`left behind:\n${whatIsThere(scratch).join('\n')}`);
rmSync(scratch, { recursive: true, force: true });

const settled = tally.answered + tally.unavailable + tally.givenUp + tally.serverGone;
const report = {
  runs,
  ...tally,
  wrong: tally.wrong.length,
  settled,
  twice,
  openSessions,
  auditLines: runIds.length,
  auditDoubles: runIds.length - new Set(runIds).size,
  auditChain: chain.status === 0 ? 'intact' : chain.stdout + chain.stderr,
  firstServer: {
    warm,
    end,
    residentMb: measured.map(({ residentMb }) => residentMb),
    processes: { atStart: idle, atEnd: idleAtEnd },
    keptFiles: kept,
  },
  before,
  after,
  seconds: secondsSince(),
};
console.log(JSON.stringify(report, null, 2));
for (const wrong of tally.wrong.slice(0, 20)) console.log(`WRONG ${wrong}`);
if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(report));
/** The collector lets memory go up and down: what counts is whether the second half of the run took more than the first. */
const median = (numbers: readonly number[]): number =>
  [...numbers].sort((one, other) => one - other)[Math.floor(numbers.length / 2)] ?? 0;
const resident = measured.map(({ residentMb }) => residentMb);
const [early, late] = [median(resident.slice(1, LOOKS / 2)), median(resident.slice(LOOKS / 2))];
const grew = late > early * 1.25 + 16 || end.descriptors > warm.descriptors + 8;
const failures = [
  settled === tally.calls ? null : `${tally.calls - settled} calls were lost without an answer`,
  twice === 0 ? null : `${twice} calls were answered twice`,
  tally.wrong.length === 0 ? null : `${tally.wrong.length} answers were wrong`,
  tally.hit <= kills ? null : `${tally.hit} answers were others because of a kill, by ${kills} kills`,
  report.auditDoubles === 0 && chain.status === 0 ? null : 'the audit log is not one line a call in an intact chain',
  kept.megabytes <= FILES_KEPT_MB
    ? null
    : `${kept.megabytes} MB of files are kept, and at most ${FILES_KEPT_MB} may be`,
  isIdle ? null : `${idleAtEnd} processes are below a server that does nothing, at the start there were ${idle}`,
  left ? 'something was left behind' : null,
  grew ? 'the first server holds more than at the start' : null,
].filter((failure) => failure !== null);
console.log(failures.length === 0 ? 'passed' : `FAILED: ${failures.join('; ')}`);
process.exitCode = failures.length === 0 ? 0 : 1;
