/**
 * `npm run attack`: every attack of test/attack once with all layers, and once without each single one, in each tier; as root, at the same
 * time as an ordinary user. `npm run attack -- --help` says how to ask for less, and how to read what it prints.
 *
 * With a layer off an attack may reach this machine for real: what it plants has names of its own and is taken away (planted.ts), the processes it is told of
 * are decoys, and the ordinary user is one whom nobody else is. A slow attack (memory, CPU and time up to a limit) is tried without those layers only that keep limits.
 */

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { LAYERS, TIER_LAYERS, type Layer } from '../../src/backends/layers.js';
import { selectBackend } from '../../src/backends/select.js';
import type { Backend, Tier } from '../../src/sandbox.js';
import { createCanaries, type Canaries } from '../attack/canaries.js';
import { trials as allTrials, type Trial, type Verdict } from '../attack/goals.js';
import { whyOnly } from '../attack/one-layer.js';
import { judge, print, verdictOf, type Matrix, type Row } from './matrix.js';
import { ownDirectory, takeAwayPlanted } from './planted.js';
import { LIMITS, PYTHON, type RunOptions, type TestSandbox } from './sandbox.js';

/** An id that nobody has: a process of `nobody` could be anybody's. */
const USER_ID = 64_987;
/** Layers by which limits are kept: what is slow is tried without these. */
const LIMIT_LAYERS: ReadonlySet<Layer> = new Set(['rlimits', 'user namespace']);
/** Most of an attack is waiting for processes to start and end. */
const AT_ONCE = 4;
/** Of attacks on processes only one at a time: what one kills must not be another's. */
const ALONE: ReadonlySet<string> = new Set(['processes']);
/** What every attack imports (attack.ts), imported once: by a policy's `sandbox.preload`, as its owner would. */
const PRELOAD = ['ctypes', 'json', 're', 'socket', 'struct'];
/** Of util-linux. */
const SETPRIV = 'setpriv';
const TIERS: readonly Tier[] = ['strict', 'confined'];
const GOALS = [...new Set(allTrials.map(({ goal }) => goal))];

const HELP = `npm run attack -- [--goal NAME]... [--tier NAME]... [--layer NAME]... [--full] [--why] [--json FILE] [--this-user]

Runs every attack with all layers on, and again with each single layer off; run by root, a second time as an ordinary user (uid ${USER_ID}).

  --goal NAME   only these: ${GOALS.join(', ')}
  --tier NAME   only these: ${TIERS.join(', ')}
  --layer NAME  only these off: ${Object.keys(LAYERS).join(', ')}
  --full        show every attack, not just those that some layer alone stops
  --why         say what was got, for every attack that one layer alone stops
  --json FILE   write all of it as data
  --this-user   not a second time as an ordinary user

How to read it. One table a tier and a user; one line an attack; one column a way to try it:

  outside       without any sandbox: the control. An attack that does not succeed there proves nothing; then the line below the table says what
                this user or this kernel lacks for it.
  inside        in a sandbox with all layers on. Every X here is a hole.
  a layer       in a sandbox that lacks this one layer. An X says that no other layer stops the attack.

  X  it got what it was after
  .  it was stopped
  ?  it ended in a way that says neither: a fault of ours, never of the attack's; counted as not stopped
     (nothing) not tried: slow attacks on limits are tried only without the layers that keep limits

"Not promised" marks what SECURITY.md says that this tier does not stop. "One layer, NAME" lists what only NAME stops, each with the reason why there is no
second layer; test/attack/one-layer.ts has the list, and "ONE LAYER ONLY" is what is not on it.

The exit status is 0 only if, for every tier and user, nothing that is promised gets through, nothing is "?", nothing that two layers are to stop is stopped by
one that is not on the list, and every attack succeeds outside but where the user or the kernel lacks what it takes.`;

const values = options();
const tiers = TIERS.filter((tier) => values.tier === undefined || values.tier.includes(tier));
const trials = allTrials.filter(({ goal }) => values.goal === undefined || values.goal.includes(goal));

function options() {
  try {
    const { values } = parseArgs({
      options: {
        help: { type: 'boolean', default: false, short: 'h' },
        json: { type: 'string' },
        full: { type: 'boolean', default: false },
        why: { type: 'boolean', default: false },
        goal: { type: 'string', multiple: true },
        tier: { type: 'string', multiple: true },
        layer: { type: 'string', multiple: true },
        'this-user': { type: 'boolean', default: false },
      },
    });
    if (values.help) {
      console.log(HELP);
      process.exit(0);
    }
    for (const [option, known] of [
      ['goal', GOALS],
      ['tier', TIERS],
      ['layer', Object.keys(LAYERS)],
    ] as const) {
      for (const given of values[option] ?? []) {
        if (!known.some((name) => name === given))
          throw new Error(`--${option} ${given}: expected one of ${known.join(', ')}`);
      }
    }
    return values;
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n\n${HELP}`);
    process.exit(2);
  }
}

interface Seen {
  readonly verdict: Verdict;
  readonly why: string;
  readonly ms: number;
}

/** Run each trial in sandboxes of this tier without one layer (null: with all). */
async function attempt(tier: Tier, without: Layer | null, chosen: readonly Trial[]): Promise<Map<Trial, Seen>> {
  const backend: Backend = await selectBackend({
    minimum: tier,
    weaken: { tier, without: without === null ? [] : [without] },
    python: PYTHON,
    preload: PRELOAD,
    mounts: [],
    warm: AT_ONCE,
    diskMb: 32,
    diskInodes: 1024,
  });
  const run: TestSandbox['run'] = (code, options: RunOptions = {}) =>
    backend.run(
      { runId: randomUUID(), code, stdin: '', files: [], limits: { ...LIMITS, ...options.limits } },
      options.signal ?? new AbortController().signal,
      options,
    );
  const seen = new Map<Trial, Seen>();
  try {
    const [together, alone] = [false, true].map((is) => chosen.filter(({ goal }) => ALONE.has(goal) === is));
    await withCanaries(together ?? [], AT_ONCE, async (one, canaries) => {
      const began = performance.now();
      seen.set(one, { ...(await one.inside(run, canaries)), ms: performance.now() - began });
    });
    await withCanaries(alone ?? [], 1, async (one, canaries) => {
      const { told } = canaries;
      const began = performance.now();
      const answer = await one.inside(run, { ...canaries, told: { ...told, server: told.victim } });
      const found = { ...answer, ms: performance.now() - began };
      const killed = { ...found, verdict: 'through' as const, why: `a process of the host was killed; ${found.why}` };
      seen.set(one, isAlive(told.victim) ? found : killed);
    });
  } finally {
    await backend.close();
  }
  return seen;
}

/** Do something with each trial, so many at a time, each worker with canaries of its own; new ones, when an attack has killed the victim. */
async function withCanaries(
  chosen: readonly Trial[],
  atOnce: number,
  act: (one: Trial, canaries: Canaries) => Promise<void>,
): Promise<void> {
  const pending = [...chosen];
  const work = async () => {
    let canaries: Canaries | null = null;
    for (let one = pending.shift(); one !== undefined; one = pending.shift()) {
      if (canaries !== null && !isAlive(canaries.told.victim)) {
        await canaries.close();
        canaries = null;
      }
      canaries ??= await createCanaries();
      await act(one, canaries);
    }
    await canaries?.close();
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, pending.length) }, work));
}

function isAlive(pid: unknown): boolean {
  try {
    const stat = readFileSync(`/proc/${String(pid)}/stat`, 'latin1');
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2));
  } catch {
    return false;
  }
}

async function matrixOf(tier: Tier): Promise<Matrix> {
  const layers = TIER_LAYERS[tier].filter((layer) => values.layer === undefined || values.layer.includes(layer));
  const results = new Map<Layer | null, Map<Trial, Seen>>();
  for (const without of [null, ...layers]) {
    const began = performance.now();
    const chosen = trials.filter(({ slow }) => !slow || without === null || LIMIT_LAYERS.has(without));
    const found = await attempt(tier, without, chosen);
    results.set(without, found);
    const what = without === null ? 'all layers' : `without ${without}`;
    console.error(`${userName()}, tier ${tier}, ${what}: ${found.size} attacks, ${secondsSince(began)} s`);
  }
  const rows = trials.map((one): Row => {
    const tried = layers.flatMap((layer) => {
      const seen = results.get(layer)?.get(one);
      return seen === undefined ? [] : [[layer, seen] as const];
    });
    const all = results.get(null)?.get(one) ?? { verdict: 'odd' as const, why: 'it was not tried', ms: 0 };
    return {
      goal: one.goal,
      name: one.name,
      byTwo: one.byTwo,
      promised: one.promisedIn.includes(tier),
      needs: one.needs,
      outside: null,
      all: all.verdict,
      without: Object.fromEntries(tried.map(([layer, { verdict }]) => [layer, verdict])),
      ms: Object.fromEntries([
        ['all', Math.round(all.ms)] as const,
        ...tried.map(([layer, { ms }]) => [layer, Math.round(ms)] as const),
      ]),
      why: Object.fromEntries<string>(
        [['all', all.why] as const, ...tried.map(([layer, { why }]) => [layer, why] as const)].filter(
          ([, why]) => why !== '',
        ),
      ),
    };
  });
  return { tier, user: userName(), layers, rows };
}

/** What succeeds without a sandbox, in the order of the trials: an attack that never does says nothing of the layers. */
async function controls(): Promise<(boolean | null)[]> {
  const found = new Map<Trial, boolean>();
  const began = performance.now();
  await withCanaries(trials, AT_ONCE, async (one, canaries) => {
    if (one.noControl === null) found.set(one, await one.outside(canaries));
  });
  console.error(`${userName()}, controls: ${found.size} attacks, ${secondsSince(began)} s`);
  return trials.map((one) => found.get(one) ?? null);
}

/** The matrices of this user. */
async function asThisUser(): Promise<Matrix[]> {
  const matrices: Matrix[] = [];
  for (const tier of tiers) matrices.push(await matrixOf(tier));
  // Last: what a control leaves on the machine for a while (a process, a lock) is not to be what an attack finds.
  const outside = await controls();
  return matrices.map((matrix) => ({
    ...matrix,
    rows: matrix.rows.map((row, place) => ({ ...row, outside: outside[place] ?? null })),
  }));
}

/** The same in a process of its own, under an id that nobody has and without any capability. */
async function asOrdinaryUser(): Promise<Matrix[]> {
  // It ends with us: nobody else would know what it is there for.
  const user = [`--reuid=${USER_ID}`, `--regid=${USER_ID}`, '--clear-groups', '--inh-caps=-all', '--bounding-set=-all'];
  const script = process.argv[1] ?? '';
  const readable = spawnSync(SETPRIV, [...user, '--pdeathsig=KILL', process.execPath, '--check', script]);
  if (readable.status !== 0) {
    console.error(
      `skipped: the same as an ordinary user, who needs setpriv (util-linux) and a checkout that anyone may read`,
    );
    return [];
  }
  const directory = join(ownDirectory(), 'user');
  mkdirSync(directory);
  chownSync(directory, USER_ID, USER_ID);
  const answer = join(directory, 'matrix.json');
  const args = [...process.argv.slice(2), '--this-user', '--json', answer];
  const child = spawn(SETPRIV, [...user, '--pdeathsig=KILL', process.execPath, script, ...args], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { PATH: process.env.PATH, LANG: 'C.UTF-8', HOME: directory, TMPDIR: directory },
  });
  await once(child, 'close');
  return JSON.parse(readFileSync(answer, 'utf8')) as Matrix[];
}

function userName(): string {
  return process.getuid?.() === 0 ? 'root' : `uid ${process.getuid?.() ?? '?'}`;
}

function secondsSince(began: number): string {
  return ((performance.now() - began) / 1000).toFixed(0);
}

const began = performance.now();
// All of ours in one place, the server's own directories included, which is taken away whatever becomes of us.
process.env.TMPDIR = ownDirectory();
const both = process.getuid?.() === 0 && !values['this-user'];
// One after the other: with a layer off, they would meet in what it keeps apart.
const own = await asThisUser();
const matrices = both ? [...own, ...(await asOrdinaryUser())] : own;
if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(matrices, null, 1));
await takeAwayPlanted();

let failed = false;
for (const matrix of matrices) {
  console.log(print(matrix, values.full));
  const verdict = verdictOf(judge(matrix, whyOnly), values.why);
  console.log(`\n${verdict.lines.join('\n')}`);
  failed ||= verdict.failed;
}
console.log(`\n${secondsSince(began)} s`);
process.exitCode = failed ? 1 : 0;
