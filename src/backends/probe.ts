/**
 * What this machine and this interpreter give: sandbox/probe.py, which tries each mechanism, asked from Node.
 */

import * as z from 'zod';
import { sandboxDirectory } from '../package.js';
import type { Interpreter, LayerReport, Tier } from '../sandbox.js';
import { bestTier, missingFor } from './tiers.js';

const PROBE_TIMEOUT_MS = 20_000;

/** What was found out; `tier` is the best to be had, null for none, and `problem` says why it is not the strongest one. */
export interface Probe {
  readonly tier: Tier | null;
  readonly layers: readonly LayerReport[];
  readonly interpreter: Interpreter | null;
  readonly problem: string | null;
}

const answer = z.strictObject({
  interpreter: z.strictObject({ version: z.string(), executable: z.string(), packages: z.array(z.string()) }),
  layers: z.array(
    z.strictObject({ layer: z.string(), available: z.boolean(), detail: z.string(), fix: z.string().nullable() }),
  ),
});

const nothing = (problem: string): Probe => ({ tier: null, layers: [], interpreter: null, problem });

/** Try everything once, with the interpreter `python` (a command on PATH or a path; shims are seen through). Never rejects. */
export async function probe(python: string, onProbing?: () => unknown): Promise<Probe> {
  if (process.platform !== 'linux') {
    return nothing(
      `programs are confined by the Linux kernel, and this is ${process.platform}: run Cordon on Linux, in a virtual machine or in WSL 2`,
    );
  }
  if (process.arch !== 'x64' && process.arch !== 'arm64') {
    return nothing(`the system call filters are for x86-64 and aarch64, and this is ${process.arch}`);
  }
  const { execa } = await import('execa');
  // The environment stays: a shim (pyenv, asdf) finds the real interpreter by it. -I keeps PYTHON* variables out.
  const running = execa(python, ['-I', '-S', 'probe.py'], {
    cwd: sandboxDirectory,
    reject: false,
    stdin: 'ignore',
    timeout: PROBE_TIMEOUT_MS,
    maxBuffer: 1 << 20,
  });
  onProbing?.();
  const ran = await running;
  if (ran.failed) {
    const why = ran.timedOut
      ? `did not answer within ${PROBE_TIMEOUT_MS / 1000} s`
      : ran.code === 'ENOENT'
        ? 'was not found'
        : `${ran.stderr} ${ran.shortMessage}`.trim().slice(-1000);
    return nothing(
      `sandbox.python is ${JSON.stringify(python)}, expected a Python of 3.9 or later: ${why}. Install python3, or name another interpreter in the policy`,
    );
  }
  let found: z.infer<typeof answer>;
  try {
    found = answer.parse(JSON.parse(ran.stdout));
  } catch {
    return nothing(
      `sandbox.python is ${JSON.stringify(python)}, and its answer was ${JSON.stringify(ran.stdout.slice(0, 200))}: is it a Python?`,
    );
  }
  const missing = missingFor('strict', found.layers);
  return {
    tier: bestTier(found.layers),
    layers: found.layers,
    interpreter: found.interpreter,
    problem: missing.length === 0 ? null : missing.map(({ layer, detail }) => `${layer}: ${detail}`).join('; '),
  };
}
