import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { decide } from '../../../src/policy/decide.js';
import { decidePartly, type LoggedCall } from '../../../src/policy/partial.js';
import { policyOf, requestOf, rulesOf } from './policies.js';

function logged(changes: Partial<LoggedCall> = {}): LoggedCall {
  const { tool, grant, client, now } = requestOf();
  return { tool, grant, client, now, codeBytes: 8, ...changes };
}

const on = (path: string, op: string, value: unknown) => ({ conditions: [{ path, op, value }] });

describe('a decision from an audit line', () => {
  const table: [title: string, rules: Record<string, unknown>, verdict: string][] = [
    ['a rule on arguments can’t be told', { deny_if: [on('args.stdin', 'eq', 'x')] }, 'unknown'],
    ['nor can whether an argument is there', { require: [on('args.stdin', 'exists', true)] }, 'unknown'],
    ['nor that it is not', { require: [on('args.stdin', 'exists', false)] }, 'unknown'],
    ['nor what code imports', { deny_if: [on('code.imports', 'contains', 'os')] }, 'unknown'],
    ['how long code is stands in the line', { deny_if: [on('code.bytes', 'gt', 7)] }, 'deny'],
    ['a shorter one passes', { deny_if: [on('code.bytes', 'gt', 8)] }, 'allow'],
    [
      'who and when stand there too',
      { require: [on('time.hour', 'eq', 15), on('client.name', 'eq', 'claude-code')] },
      'allow',
    ],
    ['a person would be asked', { require_approval: [{}] }, 'ask'],
    ['a certain denial outweighs what can’t be told', { require: [on('args.a', 'eq', 1)], deny_if: [{}] }, 'deny'],
    ['an untold denial outweighs a question', { deny_if: [on('args.a', 'eq', 1)], require_approval: [{}] }, 'unknown'],
    [
      'one condition that fails settles the rule',
      { deny_if: [{ conditions: [on('args.a', 'eq', 1).conditions[0], on('time.hour', 'eq', 3).conditions[0]] }] },
      'allow',
    ],
    ['shadow rules decide nothing', { deny_if: [{ shadow: true }] }, 'allow'],
  ];
  for (const [title, rules, verdict] of table) {
    it(title, () => {
      assert.equal(decidePartly(rulesOf(rules), logged()).verdict, verdict);
    });
  }

  it('names limits that can’t be counted, and keeps the others', () => {
    const limit = { window: 'day', max: 5 };
    const decision = decidePartly(
      rulesOf({
        limits: [
          { counter: 'a', charge: 'args.n', ...limit },
          { counter: 'b', ...limit },
        ],
      }),
      logged(),
    );
    assert.deepEqual(decision.uncounted, ['/tools/code_execute/limits/0']);
    assert.deepEqual(
      decision.limits.map(({ rule }) => rule),
      ['/tools/code_execute/limits/1'],
    );
  });

  it('tells hidden and unlisted tools', () => {
    assert.equal(decidePartly(policyOf({ hide: ['*'] }), logged()).code, 'tool_hidden');
    assert.equal(decidePartly(policyOf({}), logged()).code, 'tool_not_allowed');
  });

  it('is what the policy decided, or unknown, whatever the arguments were', () => {
    const condition = fc.oneof(
      fc.record({ path: fc.constantFrom('args.a', 'args.b'), op: fc.constantFrom('eq', 'neq'), value: fc.nat(2) }),
      fc.record({ path: fc.constant('args.a'), op: fc.constant('exists'), value: fc.boolean() }),
      fc.record({ path: fc.constant('code.imports'), op: fc.constantFrom('in', 'not_in'), value: fc.constant(['os']) }),
      fc.record({
        path: fc.constantFrom('code.bytes', 'time.hour'),
        op: fc.constantFrom('lt', 'gte'),
        value: fc.nat(20),
      }),
    );
    const rule = fc.record({ conditions: fc.array(condition, { minLength: 1, maxLength: 3 }) });
    const rules = fc.record({
      require: fc.array(rule, { maxLength: 2 }),
      deny_if: fc.array(rule, { maxLength: 2 }),
      require_approval: fc.array(rule, { maxLength: 1 }),
    });
    const args = fc.record(
      { a: fc.oneof(fc.nat(2), fc.string()), b: fc.nat(2), code: fc.constantFrom('', 'import os', 'import sys') },
      { requiredKeys: ['code'] },
    );
    fc.assert(
      fc.property(rules, args, (some, given) => {
        const policy = rulesOf(some);
        const whole = decide(policy, requestOf(given));
        const partly = decidePartly(policy, logged({ codeBytes: Buffer.byteLength(given.code) }));
        if (partly.verdict !== 'unknown') assert.equal(partly.verdict, whole.verdict);
      }),
      { numRuns: 1000 },
    );
  });
});
