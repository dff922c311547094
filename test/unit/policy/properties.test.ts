import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { decide } from '../../../src/policy/decide.js';
import { parsePolicy, PolicyError } from '../../../src/policy/load.js';
import { policyOf, requestOf, rulesOf } from './policies.js';

const path = fc.constantFrom('args.a', 'args.b', 'args.a.c', 'args.a.0', 'args.__proto__', 'args.code');
const scalar = fc.oneof(
  fc.constantFrom(0, 1, 5, -1, 'x', 'import os', '', true, false, null),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
);
const condition = fc.oneof(
  fc.record({ path, op: fc.constantFrom('eq', 'neq'), value: scalar }),
  fc.record({ path, op: fc.constantFrom('lt', 'lte', 'gt', 'gte'), value: fc.integer({ min: -3, max: 7 }) }),
  fc.record({ path, op: fc.constantFrom('in', 'not_in'), value: fc.array(scalar, { minLength: 1, maxLength: 3 }) }),
  fc.record({ path, op: fc.constant('exists'), value: fc.boolean() }),
  fc.record({ path, op: fc.constant('regex'), value: fc.constantFrom('^x$', '.', '(a|b)*', '[0-9]+') }),
  fc.record({ path, op: fc.constant('contains'), value: fc.constantFrom('x', 'os', 5, null) }),
  fc.record({ path: fc.constant('code.imports'), op: fc.constantFrom('in', 'not_in'), value: fc.constant(['os']) }),
  fc.record({
    path: fc.constantFrom('code.bytes', 'code.lines', 'time.hour'),
    op: fc.constantFrom('lt', 'gte'),
    value: fc.nat(20),
  }),
);
const conditions = fc.array(condition, { maxLength: 3 });
const shadow = fc.constant(false);
const rules = fc.record({
  require: fc.array(fc.record({ conditions: fc.array(condition, { minLength: 1, maxLength: 3 }), shadow }), {
    maxLength: 3,
  }),
  deny_if: fc.array(fc.record({ conditions, shadow }), { maxLength: 3 }),
  require_approval: fc.array(fc.record({ conditions, shadow }), { maxLength: 2 }),
  limits: fc.array(
    fc.record({
      counter: fc.constantFrom('one', 'two'),
      window: fc.constantFrom('second', 'minute', 'hour', 'day'),
      max: fc.integer({ min: 1, max: 9 }),
      align: fc.constantFrom('calendar', 'sliding'),
    }),
    { maxLength: 3 },
  ),
});
/** Anything a client can put in arguments, and some of what it can't. */
const args = fc.dictionary(
  fc.constantFrom('a', 'b', 'code', 'stdin', 'toString'),
  fc.oneof(
    fc.jsonValue(),
    scalar,
    fc.anything({ withNullPrototype: true }),
    fc.constantFrom('import os', 'x\0', '\ud800', Number.NaN, Infinity),
  ),
);

describe('whatever the policy and the call', () => {
  it('a policy that parses decides', () => {
    fc.assert(
      fc.property(rules, args, (some, given) => {
        const decision = decide(rulesOf(some), requestOf(given));
        assert.ok(['allow', 'deny', 'ask'].includes(decision.verdict));
        if (decision.verdict === 'deny') {
          assert.match(decision.denial.rule, /^\/(default|hide|tools)/);
          assert.ok(decision.denial.message.length > 20);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('the same policy and the same call give the same decision', () => {
    fc.assert(
      fc.property(rules, args, (some, given) => {
        assert.deepEqual(decide(rulesOf(some), requestOf(given)), decide(rulesOf(some), requestOf(given)));
      }),
    );
  });

  it('no rule that is added undoes a denial, and none but listing a tool makes an allowed call of a denied one', () => {
    fc.assert(
      fc.property(rules, rules, args, (some, more, given) => {
        const before = decide(rulesOf(some), requestOf(given));
        const after = decide(
          rulesOf({
            require: [...more.require, ...some.require],
            deny_if: [...some.deny_if, ...more.deny_if],
            require_approval: [...more.require_approval, ...some.require_approval],
            limits: [...some.limits, ...more.limits],
          }),
          requestOf(given),
        );
        if (before.verdict === 'deny') assert.equal(after.verdict, 'deny');
        if (before.verdict === 'ask') assert.notEqual(after.verdict, 'allow');
      }),
      { numRuns: 500 },
    );
  });

  it('a condition never both meets a requirement and stays clear of a denial', () => {
    fc.assert(
      fc.property(condition, args, (one, given) => {
        // A program without imports meets a requirement on each of them, and gives none to deny.
        fc.pre(one.path !== 'code.imports');
        const met = decide(rulesOf({ require: [{ conditions: [one] }] }), requestOf(given)).verdict === 'allow';
        const clear = decide(rulesOf({ deny_if: [{ conditions: [one] }] }), requestOf(given)).verdict === 'allow';
        assert.ok(!(met && clear));
      }),
      { numRuns: 500 },
    );
  });

  it('hiding everything denies everything', () => {
    fc.assert(
      fc.property(rules, fc.string(), args, (some, tool, given) => {
        const policy = policyOf({ default: 'allow', hide: ['*'], tools: { code_execute: some } });
        assert.equal(decide(policy, requestOf(given, { tool })).verdict, 'deny');
      }),
    );
  });

  it('a text is a policy or a PolicyError, and nothing else', () => {
    const text = fc.oneof(
      fc.string(),
      fc.json(),
      fc.jsonValue().map((value) => JSON.stringify({ version: '1', default: 'deny', tools: value, sandbox: value })),
    );
    fc.assert(
      fc.property(text, (some) => {
        try {
          parsePolicy(some, 'x');
        } catch (error) {
          assert.ok(error instanceof PolicyError);
          assert.ok(error.problems.length > 0);
        }
      }),
      { numRuns: 1000 },
    );
  });
});
