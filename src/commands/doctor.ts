/** `cordon doctor`: what confines programs on this machine, and what would help where something is missing. */
import { parseArgs } from 'node:util';
import { probe } from '../backends/probe.js';
import type { LayerReport, Tier } from '../sandbox.js';
import { readPolicy, StartRefused } from '../startup.js';

export const help = `cordon doctor: what confines programs on this machine, and what is missing

Usage: cordon doctor [--policy FILE]

Tries every layer of the sandbox for real, with the interpreter that the policy names.
Exit status: 0 if the isolation that the policy asks for is to be had, 1 if not, 2 for a wrong policy or command line.
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
  return enough ? 0 : 1;
}

/** A line a layer, with what was found; the fix of a missing one below it. */
export function layerTable(layers: readonly LayerReport[]): string[] {
  const width = Math.max(0, ...layers.map(({ layer }) => layer.length));
  return layers.flatMap(({ layer, available, detail, fix }) => [
    `${available ? 'yes' : 'no '}  ${layer.padEnd(width)}  ${detail}`.trimEnd(),
    ...(available || fix === null ? [] : [`     ${''.padEnd(width)}  fix: ${fix}`]),
  ]);
}
