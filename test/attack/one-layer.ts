/**
 * What a single layer stops, and why the kernel has no second one for it. Whatever the matrix finds beyond this list is a fault.
 * SECURITY.md has the same list in words.
 */

import type { Layer } from '../../src/backends/layers.js';
import type { Tier } from '../../src/sandbox.js';

interface OneLayer {
  readonly goal: string;
  /** Of the attack's name. */
  readonly attack: RegExp;
  readonly layer: Layer;
  /** Only in this tier, where another one has a second layer. */
  readonly tier?: Tier;
  readonly why: string;
}

export const ONE_LAYER: readonly OneLayer[] = [];

/** Why this layer alone stops an attack in a tier; null where it is not known, and so a fault. */
export function whyOnly(tier: Tier, layer: Layer, goal: string, attack: string): string | null {
  const found = ONE_LAYER.find(
    (one) => one.layer === layer && one.goal === goal && (one.tier ?? tier) === tier && one.attack.test(attack),
  );
  return found?.why ?? null;
}
