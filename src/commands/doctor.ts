/** `cordon doctor`: what confines programs on this machine, and what would help where something is missing. */
import { parseArgs } from 'node:util';
import { isLayer, LAYERS, SELF_ENDING, TIER_LAYERS, type Layer } from '../backends/layers.js';
import { probe, type Probe } from '../backends/probe.js';
import { BackendUnavailable, selectBackend, type Weakened } from '../backends/select.js';
import { isEnough, missingFor, TIERS } from '../backends/tiers.js';
import { jobLimits, type SandboxSettings } from '../policy/schema.js';
import type { LayerReport, Tier } from '../sandbox.js';
import { readPolicy, StartRefused } from '../startup.js';
import { printJson } from './policy/print.js';
import { safeLines } from '../terminal.js';

export const help = `cordon doctor: what confines programs on this machine, and what is missing

Usage: cordon doctor [--policy FILE] [--json] [--tier TIER] [--without LAYER]...

  --json           the same facts for a program: one object on stdout
  --tier TIER      try this tier (strict, confined, none), not the best that is to be had
  --without LAYER  run the program with this layer switched off, and say what then still holds; for trying out only: no policy
                   and no client can switch a layer off. Layers: ${Object.keys(LAYERS).join(', ')}

Tries every layer of the sandbox for real, with the interpreter that the policy names, then runs a program in one.
Exit status: 0 if the isolation that the policy asks for is to be had and the program ran, 1 if not, 2 for a wrong policy or
command line.
`;

export async function main(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      policy: { type: 'string' },
      json: { type: 'boolean', default: false },
      tier: { type: 'string' },
      without: { type: 'string', multiple: true, default: [] },
    },
    strict: true,
  });
  const wanted = TIERS.find((one) => one === values.tier);
  const unknown = values.without.find((name) => !isLayer(name)) ?? (wanted === undefined ? values.tier : undefined);
  if (unknown !== undefined) {
    process.stderr.write(
      `cordon doctor: ${JSON.stringify(unknown)} is no layer and no tier: see cordon doctor --help\n`,
    );
    return 2;
  }
  const without = values.without.filter(isLayer);
  let settings;
  let from: string;
  try {
    const { loaded, origin } = await readPolicy(values.policy);
    settings = loaded.policy.sandbox;
    from = `${loaded.source} (${origin})`;
  } catch (error) {
    if (!(error instanceof StartRefused)) throw error;
    process.stderr.write(`cordon doctor: ${safeLines(error.message)}\n`);
    return error.status;
  }
  const { tier, layers, interpreter, problem } = await probe(settings.python);
  const minimum = settings.isolation;
  const enough = tier !== null && isEnough(tier, minimum);
  const tried = wanted ?? tier;
  const found = { tier, layers, interpreter, problem, minimum, enough, tried, without, python: settings.python, from };
  const weaken = { ...(wanted === undefined ? {} : { tier: wanted }), without };
  const examine = () => (enough ? tryRun(settings, weaken) : Promise.resolve(null));
  const trial = values.json ? await examine() : await inWords(found, examine);
  if (values.json) printJson(asData(found, trial));
  return trial?.ok === true ? 0 : 1;
}

/** What was found out, before a program was tried. */
interface Found extends Probe {
  /** The policy asks for it. */
  readonly minimum: Tier;
  readonly enough: boolean;
  /** The tier that a program is tried in; null where there is none. */
  readonly tried: Tier | null;
  readonly without: readonly Layer[];
  /** As the policy names it. */
  readonly python: string;
  /** Which policy it is, and why that one. */
  readonly from: string;
}

type Trial =
  | { readonly ok: true; readonly fastestMs: number; readonly trials: number; readonly keptBytes: number }
  | { readonly ok: false; readonly problem: string };

/** Print what was found as soon as it is, and then what came of the trial. */
async function inWords(found: Found, examine: () => Promise<Trial | null>): Promise<Trial | null> {
  const { tier, layers, interpreter, minimum, enough, tried, without } = found;
  const why = whyNot(found);
  const lines = [
    `system     ${process.platform} ${process.arch}, Node ${process.versions.node}`,
    `python     ${interpreter === null ? `${found.python}: not to be had` : `${interpreter.version} (${interpreter.executable}), ${interpreter.packages.length} packages`}`,
    `policy     ${found.from}, asks for isolation "${minimum}"`,
    '',
    ...layerTable(layers),
    ...(layers.length > 0 ? [''] : []),
    enough
      ? `yes: isolation "${tier}" is to be had here`
      : `no: isolation "${minimum}" can't be had here${why === null ? '' : `: ${why}`}`,
  ];
  if (tier !== null && tier !== 'strict') {
    const missing = missingFor('strict', layers).map(({ layer }) => layer);
    lines.push(`     "strict" would need: ${missing.join(', ')} (the fixes are above)`);
  }
  if (tried !== null) lines.push('', ...holding(tried, without, layers), '');
  process.stdout.write(`${lines.join('\n')}\n`);
  const trial = await examine();
  if (trial !== null) process.stdout.write(`${trial.ok ? 'yes' : 'no'}: ${trialWords(trial)}\n`);
  return trial;
}

/** The same for a program. */
function asData(found: Found, trial: Trial | null) {
  const { tier, layers, interpreter, minimum, enough, tried, without } = found;
  return {
    system: { platform: process.platform, arch: process.arch, node: process.versions.node },
    python: { asked: found.python, ...(interpreter ?? { version: null, executable: null, packages: [] }) },
    policy: { source: found.from, isolation: minimum },
    layers,
    tier,
    enough,
    problem: whyNot(found),
    missing: Object.fromEntries(TIERS.map((one) => [one, missingFor(one, layers).map(({ layer }) => layer)])),
    holds:
      tried === null
        ? null
        : {
            tier: tried,
            layers: TIER_LAYERS[tried].map((layer) => ({ layer, on: !without.includes(layer), stops: LAYERS[layer] })),
          },
    trial,
  };
}

/** Why the policy's isolation can't be had; null where it can. */
function whyNot({ enough, minimum, layers, problem }: Found): string | null {
  if (enough) return null;
  if (layers.length === 0) return problem;
  return missingFor(minimum, layers)
    .map(({ layer, detail }) => `${layer}: ${detail}`)
    .join('; ');
}

function trialWords(trial: Trial): string {
  if (!trial.ok) return trial.problem;
  const { fastestMs, trials, keptBytes } = trial;
  return `a program ran, in ${fastestMs.toFixed(1)} ms the fastest of ${trials} times; at most ${(keptBytes / 2 ** 20).toFixed(0)} MB are kept for the next`;
}

/** How often the trial program runs. */
const TRIALS = 5;

/** One program in one sandbox, made ready before: what a call takes here, and what waits in memory for it. */
async function tryRun(settings: SandboxSettings, weaken: Weakened): Promise<Trial> {
  let backend;
  try {
    backend = await selectBackend({ ...settings, minimum: settings.isolation, preload: [], warm: 1, weaken });
  } catch (error) {
    if (!(error instanceof BackendUnavailable)) throw error;
    return { ok: false, problem: error.message };
  }
  try {
    const job = { runId: 'doctor', code: 'print(6 * 7)', stdin: '', files: [], limits: jobLimits(settings) };
    let fastestMs = Infinity;
    for (let attempt = 0; attempt < TRIALS; attempt += 1) {
      const begin = performance.now();
      const { status, reason, stdout } = await backend.run(job, new AbortController().signal);
      fastestMs = Math.min(fastestMs, performance.now() - begin);
      if (status !== 'ok' || stdout.text !== '42\n') return { ok: false, problem: `a program did not run: ${reason}` };
    }
    return { ok: true, fastestMs, trials: TRIALS, keptBytes: await backend.footprintBytes() };
  } finally {
    await backend.close();
  }
}

/** What holds in a tier, a line a layer; those that are switched off are said so. `layers` is what was found here. */
export function holding(tier: Tier, without: readonly Layer[], layers: readonly LayerReport[]): string[] {
  const lines = TIER_LAYERS[tier].map(
    (layer) => `  ${without.includes(layer) ? 'OFF' : 'on '}  ${layer}: ${LAYERS[layer]}`,
  );
  // Otherwise the cgroups would have to be removed by hand.
  const has = layers.some(({ layer, available }) => layer === 'cgroup' && available);
  const used = has && tier === 'strict' && !SELF_ENDING.some((layer) => without.includes(layer));
  const why = has ? `is used only in tier "strict" with its ${SELF_ENDING.join(' and ')}` : 'is not to be had here';
  lines.push(
    used
      ? '  on   cgroup: the program as a whole taking more than its memory, processes and share of the processors; killing it leaves nothing out'
      : `  no   cgroup: ${why}; Cordon watches the memory and the processes of the program by itself`,
  );
  return [`what holds in tier "${tier}"${without.length > 0 ? `, without ${without.join(' and ')}` : ''}:`, ...lines];
}

/** A line a layer, with what was found; the fix of a missing one below it. */
export function layerTable(layers: readonly LayerReport[]): string[] {
  const width = Math.max(0, ...layers.map(({ layer }) => layer.length));
  return layers.flatMap(({ layer, available, detail, fix }) => [
    `${available ? 'yes' : 'no '}  ${layer.padEnd(width)}  ${detail}`.trimEnd(),
    ...(available || fix === null ? [] : [`     ${''.padEnd(width)}  fix: ${fix}`]),
  ]);
}
