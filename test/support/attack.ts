/**
 * `npm run attack [-- --json FILE] [--full] [--goal NAME] [--tier strict|confined] [--why]`: every attack of test/attack once with all layers, and
 * once without each single one, in each tier; as root, a second time as an ordinary user. Prints a matrix attack x layers and what
 * only one layer stops. The exit status is 0 only if nothing gets through with all layers on, and nothing that two layers are to stop
 * does with one off (but for the list in test/attack/one-layer.ts).
 *
 * With a layer off an attack may reach this machine for real: the processes it is told of are decoys, and the ordinary user is one whom
 * nobody else is. A slow attack (memory, CPU and time up to a limit) is tried without those layers only that keep limits.
 */

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { TIER_LAYERS, type Layer } from '../../src/backends/layers.js';
import { selectBackend } from '../../src/backends/select.js';
import type { Backend, Tier } from '../../src/sandbox.js';
import { createCanaries } from '../attack/attack.js';
import { trials as allTrials, type Trial, type Verdict } from '../attack/goals.js';
import { whyOnly } from '../attack/one-layer.js';
import { judge, print, type Matrix, type Row } from './matrix.js';
import { LIMITS, PYTHON, type RunOptions, type TestSandbox } from './sandbox.js';

/** An id that nobody has: a process of `nobody` could be anybody's. */
const USER_ID = 64_987;
/** Layers by which limits are kept: what is slow is tried without these. */
const LIMIT_LAYERS: ReadonlySet<Layer> = new Set(['rlimits', 'user namespace']);
const AT_ONCE = 2;
/** Of util-linux. */
const SETPRIV = 'setpriv';

const { values } = parseArgs({
  options: {
    json: { type: 'string' },
    full: { type: 'boolean', default: false },
    why: { type: 'boolean', default: false },
    goal: { type: 'string', multiple: true },
    tier: { type: 'string', multiple: true },
    layer: { type: 'string', multiple: true },
    'this-user': { type: 'boolean', default: false },
  },
});
const TIERS: readonly Tier[] = ['strict', 'confined'];
const tiers = TIERS.filter((tier) => values.tier === undefined || values.tier.includes(tier));
const trials = allTrials.filter(({ goal }) => values.goal === undefined || values.goal.includes(goal));
if (tiers.length === 0 || trials.length === 0) {
  console.error(
    `expected --tier ${TIERS.join('|')} and --goal of ${[...new Set(allTrials.map(({ goal }) => goal))].join(', ')}`,
  );
  process.exit(2);
}

/** Run each trial in sandboxes of this tier without one layer (null: with all). */
async function attempt(
  tier: Tier,
  without: Layer | null,
  chosen: readonly Trial[],
): Promise<Map<Trial, { verdict: Verdict; why: string }>> {
  const verdicts = new Map<Trial, { verdict: Verdict; why: string }>();
  const backend: Backend = await selectBackend({
    minimum: tier,
    weaken: { tier, without: without === null ? [] : [without] },
    python: PYTHON,
    preload: [],
    mounts: [],
    warm: AT_ONCE,
    diskMb: 32,
    diskInodes: 1024,
  });
  let canaries = await createCanaries();
  try {
    const run: TestSandbox['run'] = (code, options: RunOptions = {}) =>
      backend.run(
        { runId: randomUUID(), code, stdin: '', files: [], limits: { ...LIMITS, ...options.limits } },
        new AbortController().signal,
      );
    const pending = [...chosen];
    const work = async () => {
      for (let one = pending.shift(); one !== undefined; one = pending.shift()) {
        // A victim that one attack killed can't be one for the next.
        if (!isAlive(canaries.told.victim)) {
          const gone = canaries;
          canaries = await createCanaries();
          await gone.close();
        }
        const { told } = canaries;
        const seen = await one.inside(run, { ...canaries, told: { ...told, server: told.victim } });
        verdicts.set(
          one,
          isAlive(told.victim) ? seen : { verdict: 'through', why: `a process of the host was killed; ${seen.why}` },
        );
      }
    };
    // One after the other where they could be taken for each other.
    await Promise.all(Array.from({ length: chosen.some(({ goal }) => goal === 'processes') ? 1 : AT_ONCE }, work));
  } finally {
    await canaries.close();
    await backend.close();
  }
  return verdicts;
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
  const byGoal = new Map<string, Trial[]>();
  for (const one of trials) byGoal.set(one.goal, [...(byGoal.get(one.goal) ?? []), one]);
  const layers = TIER_LAYERS[tier].filter((layer) => values.layer === undefined || values.layer.includes(layer));
  const results = new Map<Layer | null, Map<Trial, { verdict: Verdict; why: string }>>();
  for (const without of [null, ...layers]) {
    const found = new Map<Trial, { verdict: Verdict; why: string }>();
    results.set(without, found);
    for (const group of byGoal.values()) {
      const chosen = group.filter(({ slow }) => !slow || without === null || LIMIT_LAYERS.has(without));
      if (chosen.length === 0) continue;
      for (const [one, seen] of await attempt(tier, without, chosen)) found.set(one, seen);
    }
    console.error(`tier ${tier}, ${without === null ? 'all layers' : `without ${without}`}: ${found.size} attacks`);
  }
  const rows = trials.map((one): Row => {
    const verdicts = layers.flatMap((layer) => {
      const seen = results.get(layer)?.get(one);
      return seen === undefined ? [] : [[layer, seen] as const];
    });
    const all = results.get(null)?.get(one) ?? { verdict: 'odd' as const, why: 'it was not tried' };
    return {
      goal: one.goal,
      name: one.name,
      byTwo: one.byTwo,
      promised: one.promisedIn.includes(tier),
      outside: null,
      all: all.verdict,
      without: Object.fromEntries(verdicts.map(([layer, { verdict }]) => [layer, verdict])),
      why: Object.fromEntries<string>(
        [['all', all.why] as const, ...verdicts.map(([layer, { why }]) => [layer, why] as const)].filter(
          ([, why]) => why !== '',
        ),
      ),
    };
  });
  return { tier, user: process.getuid?.() === 0 ? 'root' : `uid ${process.getuid?.() ?? '?'}`, layers, rows };
}

/** What succeeds without a sandbox, in the order of the trials: an attack that never does says nothing of the layers. */
async function controls(): Promise<(boolean | null)[]> {
  const found: (boolean | null)[] = trials.map(() => null);
  const pending = [...trials.entries()];
  const work = async () => {
    const canaries = await createCanaries();
    for (let next = pending.shift(); next !== undefined; next = pending.shift()) {
      const [place, one] = next;
      if (one.outside !== null) found[place] = await one.outside(canaries);
    }
    await canaries.close();
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return found;
}

async function asOrdinaryUser(): Promise<Matrix[]> {
  const user = [`--reuid=${USER_ID}`, `--regid=${USER_ID}`, '--clear-groups', '--inh-caps=-all', '--bounding-set=-all'];
  const script = process.argv[1] ?? '';
  const readable = spawnSync(SETPRIV, [...user, process.execPath, '--check', script]);
  if (readable.status !== 0) {
    console.error(
      `skipped: the same as an ordinary user, who needs setpriv (util-linux) and a checkout that anyone may read`,
    );
    return [];
  }
  const directory = mkdtempSync(join(tmpdir(), 'a-'));
  try {
    chownSync(directory, USER_ID, USER_ID);
    const answer = join(directory, 'matrix.json');
    const child = spawn(
      SETPRIV,
      [...user, process.execPath, script, ...process.argv.slice(2), '--this-user', '--json', answer],
      {
        stdio: ['ignore', 'ignore', 'inherit'],
        env: { PATH: process.env.PATH, LANG: 'C.UTF-8', HOME: directory, TMPDIR: directory },
      },
    );
    await once(child, 'close');
    return JSON.parse(readFileSync(answer, 'utf8')) as Matrix[];
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const matrices: Matrix[] = [];
for (const tier of tiers) matrices.push(await matrixOf(tier));
// The controls come last: what some leave on the machine for a while (a process, a lock) must not be what an attack finds.
const outside = await controls();
for (const [index, matrix] of matrices.entries()) {
  const rows: Row[] = matrix.rows.map((row, place) => ({ ...row, outside: outside[place] ?? null }));
  matrices[index] = { ...matrix, rows };
}
if (process.getuid?.() === 0 && !values['this-user']) matrices.push(...(await asOrdinaryUser()));
if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(matrices, null, 1));

for (const matrix of matrices) {
  console.log(print(matrix, values.full));
  const { through, single } = judge(matrix, whyOnly);
  const known = single.filter(({ why }) => why !== null);
  const unknown = single.filter(({ why }) => why === null);
  const two = matrix.rows.filter(({ byTwo }) => byTwo).length - new Set(single.map(({ row }) => row)).size;
  console.log(
    `\n${matrix.rows.length - through.length} of ${matrix.rows.length} stopped with all layers; ${two} of them whichever layer is off`,
  );
  for (const row of through) console.log(`GETS THROUGH ${row.goal}: ${row.name}: ${row.why.all ?? ''}`);
  for (const { row, layer, why } of known) console.log(`one layer, ${layer}: ${row.goal}: ${row.name}: ${why ?? ''}`);
  for (const { row, layer } of unknown) {
    console.log(`ONE LAYER ONLY, ${layer}: ${row.goal}: ${row.name}${values.why ? `: ${row.why[layer] ?? ''}` : ''}`);
  }
  if (through.length + unknown.length > 0) process.exitCode = 1;
}
