/** `cordon doctor`: what confines programs on this machine, and what would help where something is missing. */
import { parseArgs } from 'node:util';
import { probe } from '../backends/probe.js';
import { selectBackend } from '../backends/select.js';
import { jobLimits, type SandboxSettings } from '../policy/schema.js';
import type { LayerReport, Tier } from '../sandbox.js';
import { readPolicy, StartRefused } from '../startup.js';

export const help = `cordon doctor: what confines programs on this machine, and what is missing

Usage: cordon doctor [--policy FILE]

Tries every layer of the sandbox for real, with the interpreter that the policy names, then runs a program in one.
Exit status: 0 if the isolation that the policy asks for is to be had and the program ran, 1 if not, 2 for a wrong policy or
command line.
`;

/** From the weakest to the strongest. */
const TIERS: readonly Tier[] = ['none', 'confined', 'strict'];

export async function main(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({ args: [...argv], options: { policy: { type: 'string' } }, strict: true });
  let settings;
  let from: string;
  try {
    const { loaded, origin } = await readPolicy(values.policy);
    settings = loaded.policy.sandbox;
    from = `${loaded.source} (${origin})`;
  } catch (error) {
    if (!(error instanceof StartRefused)) throw error;
    process.stderr.write(`cordon doctor: ${error.message}\n`);
    return error.status;
  }
  const { tier, layers, interpreter, problem } = await probe(settings.python);
  const enough = tier !== null && TIERS.indexOf(tier) >= TIERS.indexOf(settings.isolation);
  const lines = [
    `system     ${process.platform} ${process.arch}, Node ${process.versions.node}`,
    `python     ${interpreter === null ? `${settings.python}: not to be had` : `${interpreter.version} (${interpreter.executable}), ${interpreter.packages.length} packages`}`,
    `policy     ${from}, asks for isolation "${settings.isolation}"`,
    '',
    ...layerTable(layers),
    ...(layers.length > 0 ? [''] : []),
    enough
      ? `yes: isolation "${tier}" is to be had here`
      : `no: isolation "${settings.isolation}" can't be had here${problem === null ? '' : `: ${problem}`}`,
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
  if (!enough) return 1;
  const trial = await tryRun(settings);
  process.stdout.write(`${trial.ok ? 'yes' : 'no'}: ${trial.words}\n`);
  return trial.ok ? 0 : 1;
}

/** How often the trial program runs. */
const TRIALS = 5;

/** One program in one sandbox, made ready before: what a call takes here, and what waits in memory for it. */
async function tryRun(settings: SandboxSettings): Promise<{ ok: boolean; words: string }> {
  const backend = await selectBackend({ ...settings, minimum: settings.isolation, preload: [], warm: 1 });
  try {
    const job = { runId: 'doctor', code: 'print(6 * 7)', stdin: '', files: [], limits: jobLimits(settings) };
    let fastestMs = Infinity;
    for (let attempt = 0; attempt < TRIALS; attempt += 1) {
      const begin = performance.now();
      const { status, reason, stdout } = await backend.run(job, new AbortController().signal);
      fastestMs = Math.min(fastestMs, performance.now() - begin);
      if (status !== 'ok' || stdout.text !== '42\n') return { ok: false, words: `a program did not run: ${reason}` };
    }
    const memoryMb = (await backend.footprintBytes()) / 2 ** 20;
    return {
      ok: true,
      words: `a program ran, in ${fastestMs.toFixed(1)} ms the fastest of ${TRIALS} times; at most ${memoryMb.toFixed(0)} MB are kept for the next`,
    };
  } finally {
    await backend.close();
  }
}

/** A line a layer, with what was found; the fix of a missing one below it. */
export function layerTable(layers: readonly LayerReport[]): string[] {
  const width = Math.max(0, ...layers.map(({ layer }) => layer.length));
  return layers.flatMap(({ layer, available, detail, fix }) => [
    `${available ? 'yes' : 'no '}  ${layer.padEnd(width)}  ${detail}`.trimEnd(),
    ...(available || fix === null ? [] : [`     ${''.padEnd(width)}  fix: ${fix}`]),
  ]);
}
