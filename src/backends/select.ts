/** Choose a way to confine: probe what is to be had here, and refuse what is below the policy's minimum. */

import type { Backend, LayerReport, Mount, Tier } from '../sandbox.js';
import { hasSessions, type Layer } from './layers.js';
import { createLinuxBackend } from './linux.js';
import { probe, type Probe } from './probe.js';
import { isEnough, missingFor } from './tiers.js';

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
  /** For tests and `cordon doctor`, never from a policy or a client: a weaker sandbox than could be had. */
  readonly weaken?: Weakened;
}

/** What is taken away from the best that is to be had. */
export interface Weakened {
  /** This tier, and not a stronger one. */
  readonly tier?: Tier;
  /** Layers that are switched off, of those the tier has. */
  readonly without?: readonly Layer[];
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
  if (found.tier === null || found.interpreter === null || !isEnough(found.tier, settings.minimum)) {
    throw new BackendUnavailable(refusal(settings.minimum, found), found.layers);
  }
  const tier = settings.weaken?.tier ?? found.tier;
  // A stronger tier may do without what a weaker one needs.
  if (missingFor(tier, found.layers).length > 0) throw new BackendUnavailable(refusal(tier, found), found.layers);
  if (tier !== 'strict' && settings.mounts.length > 0) {
    throw new BackendUnavailable(
      `sandbox.mounts needs isolation "strict": without a file tree of its own a program would find these directories where they are. What is to be had here is "${tier}"`,
      found.layers,
    );
  }
  const without = settings.weaken?.without ?? [];
  const sessions = hasSessions(tier, without);
  return createLinuxBackend({
    guarantees: { tier, sessions, interpreter: found.interpreter, layers: found.layers },
    without,
    preload: settings.preload,
    warm: settings.warm,
    diskMb: settings.diskMb,
    diskInodes: settings.diskInodes,
    mounts: settings.mounts,
  });
}

/** Why `minimum` can't be had, what would bring it, and what the policy would have to say to go without. */
function refusal(minimum: Tier, { tier, layers, problem }: Probe): string {
  const missing = missingFor(minimum, layers);
  const why = layers.length === 0 ? problem : missing.map(({ layer, detail }) => `${layer}: ${detail}`).join('; ');
  const fixes = new Set(
    missing.filter(({ fix }) => fix !== null).map(({ layer, fix }) => `\n  ${layer}: ${fix ?? ''}`),
  );
  const instead =
    tier === null
      ? ''
      : `\n  What is to be had here is ${JSON.stringify(tier)}: to accept it, write "isolation": ${JSON.stringify(tier)} under "sandbox" in the policy.`;
  return `isolation ${JSON.stringify(minimum)} is asked for, which can't be had here: ${why ?? 'unknown'}${[...fixes].join('')}${instead}`;
}
