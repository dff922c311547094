import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LAYERS, TIER_LAYERS } from '../../../src/backends/layers.js';
import { bestTier, isEnough, missingFor, TIERS } from '../../../src/backends/tiers.js';

const STRICT = [
  ...['user namespace', 'mount and pid namespace', 'network namespace', 'ipc namespace', 'uts namespace'],
  ...['landlock', 'seccomp', 'no_new_privs'],
];
const all = [...STRICT, 'identity', 'interpreter'];
const without = (...names: string[]) =>
  all.map((layer) => {
    const available = !names.includes(layer);
    return { layer, available, detail: available ? 'fine' : 'refused', fix: available ? null : `allow ${layer}` };
  });

for (const [where, missing, tier] of [
  ['a host with everything', [], 'strict'],
  ['no user namespaces (max_user_namespaces=0)', STRICT.slice(0, 5), 'confined'],
  ['namespaces without rights (AppArmor of Ubuntu 24.04)', ['mount and pid namespace'], 'confined'],
  ['the filter of a default Docker container', STRICT.slice(0, 5), 'confined'],
  ['one namespace only', ['network namespace'], 'confined'],
  ['no landlock', ['landlock'], 'none'],
  ['no seccomp', ['seccomp'], 'none'],
  ['no namespaces, and a root without CAP_SETUID', [...STRICT.slice(0, 5), 'identity'], 'none'],
  ['a root without CAP_SETUID', ['identity'], 'strict'],
  ['an interpreter that can’t be opened to programs', ['interpreter'], null],
] as const) {
  test(`the best tier with ${where} is ${tier ?? 'none at all'}`, () => {
    assert.equal(bestTier(without(...missing)), tier);
  });
}

test('what was not reported is missing', () => {
  assert.equal(bestTier([]), null);
  for (const name of STRICT) {
    const layers = without().filter(({ layer }) => layer !== name);
    assert.notEqual(bestTier(layers), 'strict', name);
    assert.deepEqual(
      missingFor('strict', layers).map(({ layer }) => layer),
      [name],
    );
  }
});

test('a tier is enough for itself and all below it', () => {
  assert.deepEqual(
    TIERS.map((tier) => TIERS.filter((minimum) => isEnough(tier, minimum))),
    [['none'], ['none', 'confined'], ['none', 'confined', 'strict']],
  );
});

test('each tier has all layers of the one below it, and strict has all', () => {
  assert.deepEqual(TIER_LAYERS.strict, Object.keys(LAYERS));
  for (const layer of TIER_LAYERS.none) assert.ok(TIER_LAYERS.confined.includes(layer));
  for (const layer of TIER_LAYERS.confined) assert.ok(TIER_LAYERS.strict.includes(layer));
});
