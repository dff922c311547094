/** From what a machine has to the tier that is to be had on it: pure, and the whole of the downgrade. */

import type { LayerReport, Tier } from '../sandbox.js';

/** From the weakest to the strongest. */
export const TIERS: readonly Tier[] = ['none', 'confined', 'strict'];

/** Whether `tier` is at least `minimum`. */
export function isEnough(tier: Tier, minimum: Tier): boolean {
  return TIERS.indexOf(tier) >= TIERS.indexOf(minimum);
}

/** What every tier needs: without it nothing can be run. */
const ALWAYS = ['interpreter'];

/** What each tier needs, by the names sandbox/probe.py gives them. A name that was not reported is missing. */
const NEEDS: Readonly<Record<Tier, readonly string[]>> = {
  strict: [
    'user namespace',
    'mount and pid namespace',
    'network namespace',
    'ipc namespace',
    'uts namespace',
    'landlock',
    'seccomp',
    'no_new_privs',
  ],
  confined: ['landlock', 'seccomp', 'no_new_privs', 'identity'],
  none: [],
};

/** What keeps `tier` from being had: the reports of what is missing, with their fixes. */
export function missingFor(tier: Tier, layers: readonly LayerReport[]): readonly LayerReport[] {
  return [...ALWAYS, ...NEEDS[tier]].flatMap((name) => {
    const found = layers.find(({ layer }) => layer === name);
    if (found?.available === true) return [];
    return [found ?? { layer: name, available: false, detail: 'was not reported by the probe', fix: null }];
  });
}

/** The strongest tier that is to be had; null for none at all. `layers` is what was found out by trying. */
export function bestTier(layers: readonly LayerReport[]): Tier | null {
  return [...TIERS].reverse().find((tier) => missingFor(tier, layers).length === 0) ?? null;
}
