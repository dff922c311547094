import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { decide } from '../../../src/policy/decide.js';
import { explain } from '../../../src/policy/explain.js';
import { policyOf, requestOf, rulesOf } from './policies.js';

const policy = rulesOf({
  require: [{ conditions: [{ path: 'args.timeout_seconds', op: 'lte', value: 20 }] }],
  deny_if: [
    { conditions: [{ path: 'code.imports', op: 'contains', value: 'socket' }], on_deny: 'No.' },
    { conditions: [{ path: 'args.stdin', op: 'gt', value: 5 }], shadow: true },
  ],
  require_approval: [{ conditions: [{ path: 'code.bytes', op: 'gt', value: 5000 }] }],
});

describe('an explanation', () => {
  it('has every rule, not only the first that denies, with what each condition compared', () => {
    const findings = explain(policy, requestOf({ code: 'import socket', stdin: 'x' }));
    assert.deepEqual(
      findings.map(({ rule, effect, shadow }) => [rule, effect, shadow]),
      [
        ['/tools/code_execute/require/0', 'denies', false],
        ['/tools/code_execute/deny_if/0', 'denies', false],
        ['/tools/code_execute/deny_if/1', 'denies', true],
        ['/tools/code_execute/require_approval/0', 'passes', false],
      ],
    );
    const [missing, imports, text, bytes] = findings.map(({ comparisons }) => comparisons[0]);
    assert.equal(missing?.found, 'nothing');
    assert.equal(missing.answer, 'no');
    assert.deepEqual(imports?.found, { value: ['socket'] });
    assert.equal(imports.answer, 'yes');
    assert.equal(text?.answer, 'unknown');
    assert.deepEqual(bytes?.found, { value: 13 });
    assert.deepEqual(findings[1]?.text, {
      conditions: [{ path: 'code.imports', op: 'contains', value: 'socket' }],
      on_deny: 'No.',
    });
  });

  it('names the first enforced rule that denies exactly as the decision does', () => {
    const calls = [{}, { timeout_seconds: 5 }, { timeout_seconds: 5, code: 'import socket' }, { timeout_seconds: 'x' }];
    for (const args of calls) {
      const first = explain(policy, requestOf(args)).find(({ effect, shadow }) => effect === 'denies' && !shadow);
      const decision = decide(policy, requestOf(args));
      assert.equal(decision.verdict === 'deny' ? decision.denial.rule : undefined, first?.rule);
    }
  });

  it('says so where the tool is hidden or not listed', () => {
    const hidden = explain(policyOf({ hide: ['a'], tools: { a: {} } }), requestOf({}, { tool: 'a' }));
    assert.deepEqual(
      hidden.map(({ rule, effect }) => [rule, effect]),
      [['/hide/0', 'denies']],
    );
    const unlisted = explain(policyOf({ default: 'allow' }), requestOf({}, { tool: 'b' }));
    assert.deepEqual(
      unlisted.map(({ rule, effect }) => [rule, effect]),
      [['/default', 'passes']],
    );
  });
});
