import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { narrow, widen, type ForeignCondition } from '../../../../src/policy/dialects/condition.js';
import { decide } from '../../../../src/policy/decide.js';
import { requestOf, rulesOf } from '../policies.js';

/** Values that a loose comparison takes for one another. */
const alike: [unknown, unknown][] = [
  [5, '5'],
  ['5', 5],
  [true, 'true'],
  ['true', true],
  [0, '0'],
];

function verdict(rules: Record<string, unknown>, a: unknown): string {
  return decide(rulesOf(rules), requestOf(a === undefined ? {} : { a })).verdict;
}

function required(condition: ForeignCondition, a: unknown): string {
  const converted = narrow(condition);
  assert.ok(!('fault' in converted));
  return verdict({ require: [{ conditions: converted.conditions }] }, a);
}

function denying(condition: ForeignCondition, a: unknown): string {
  const converted = widen(condition);
  assert.ok(converted !== null && !('fault' in converted));
  return verdict({ deny_if: [{ conditions: converted.conditions }] }, a);
}

describe('a condition of another dialect', () => {
  for (const [value, given] of alike) {
    const words = `${JSON.stringify(value)} and ${JSON.stringify(given)}`;
    it(`lets nothing through because ${words} are taken for different`, () => {
      assert.equal(required({ path: 'args.a', op: 'neq', value }, given), 'deny');
      assert.equal(required({ path: 'args.a', op: 'not_in', value: [value] }, given), 'deny');
      assert.equal(denying({ path: 'args.a', op: 'eq', value }, given), 'deny');
      assert.equal(denying({ path: 'args.a', op: 'in', value: [value] }, given), 'deny');
    });
  }

  it('decides values of its own type as it says', () => {
    assert.equal(required({ path: 'args.a', op: 'neq', value: 'x' }, 'y'), 'allow');
    assert.equal(required({ path: 'args.a', op: 'neq', value: 'x' }, 'x'), 'deny');
    assert.equal(required({ path: 'args.a', op: 'not_in', value: [1, 2] }, -3), 'allow');
    assert.equal(required({ path: 'args.a', op: 'neq', value: true }, false), 'allow');
    assert.equal(required({ path: 'args.a', op: 'neq', value: 'x' }, undefined), 'deny');
    assert.equal(denying({ path: 'args.a', op: 'eq', value: 5 }, 6), 'allow');
  });

  it('that denies unless equal is left out, because what is not there may differ', () => {
    assert.equal(widen({ path: 'args.a', op: 'neq', value: 1 }), null);
  });

  it('is not written over where its values are no plain ones', () => {
    for (const value of [[1], { a: 1 }, null, new Date(0), 2 ** 60]) {
      assert.ok('fault' in narrow({ path: 'args.a', op: 'neq', value }));
    }
    assert.ok('fault' in narrow({ path: 'args.a', op: 'not_in', value: [1, 'x'] }));
  });
});
