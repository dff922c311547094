/** Choose a way to confine: probe what is to be had here, and refuse what is below the policy's minimum. */

import type { Backend, LayerReport, Mount, Tier } from '../sandbox.js';
import { createLinuxBackend } from './linux.js';
import { probe } from './probe.js';

/** What a backend is made by: the part of the policy's `sandbox` section that is not a limit of a single job. */
export interface BackendSettings {
  /** The weakest tier that is acceptable. */
  readonly minimum: Tier;
  readonly python: string;
  readonly preload: readonly string[];
  /** Sandboxes kept ready. */
  readonly warm: number;
  readonly diskMb: number;
  readonly diskInodes: number;
  readonly mounts: readonly Mount[];
}

/** No backend of the tier asked for is to be had here; the message says what is missing and what would help. */
export class BackendUnavailable extends Error {
  override name = 'BackendUnavailable';
  constructor(
    message: string,
    readonly layers: readonly LayerReport[],
  ) {
    super(message);
  }
}

/**
 * Find out what is to be had and make the backend for it. Throws BackendUnavailable. Starts nothing that stays.
 * `onProbing` is called as soon as the probe runs, in a process of its own.
 */
export async function selectBackend(settings: BackendSettings, onProbing?: () => unknown): Promise<Backend> {
  const found = await probe(settings.python, onProbing);
  if (found.tier === null || found.interpreter === null) {
    const fixes = found.layers
      .filter((layer) => layer.fix !== null)
      .map((layer) => `\n  ${layer.layer}: ${layer.fix ?? ''}`);
    throw new BackendUnavailable(
      `the policy asks for isolation ${JSON.stringify(settings.minimum)}, which can't be had here: ${found.problem ?? 'unknown'}${[...new Set(fixes)].join('')}`,
      found.layers,
    );
  }
  return createLinuxBackend({
    guarantees: { tier: found.tier, interpreter: found.interpreter, layers: found.layers },
    preload: settings.preload,
    warm: settings.warm,
    diskMb: settings.diskMb,
    diskInodes: settings.diskInodes,
    mounts: settings.mounts,
  });
}
