import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { inspect } from 'node:util';
import { decide, isHidden, type Decision, type PolicyRequest } from '../../../src/policy/decide.js';
import { jobLimits } from '../../../src/policy/schema.js';
import { parsePolicy } from '../../../src/policy/load.js';
import { policyOf, publishedExample, requestOf, rulesOf } from './policies.js';

/** `allow`, `ask`, or a denial's code. */
function wordOf(decision: Decision): string {
  return decision.verdict === 'deny' ? decision.denial.code : decision.verdict;
}

function ruleOf(decision: Decision): string {
  return decision.verdict === 'deny' ? decision.denial.rule : decision.rule;
}

/**
 * Each row is one condition and one call. `y`: it holds, `n`: it does not, `?`: it cannot be told. Held against require
 * (denied unless y), deny_if (denied unless n) and require_approval (asked unless n), a row is three decisions.
 */
type Row = [path: string, op: string, value: unknown, args: Record<string, unknown>, answer: 'y' | 'n' | '?'];

const deep = (levels: number): unknown => (levels === 0 ? 'x' : [deep(levels - 1)]);
const ownProto = JSON.parse('{"__proto__": {"admin": true}, "constructor": "x"}') as Record<string, unknown>;

const rows: Row[] = [
  // eq and neq: same type and value
  ['args.a', 'eq', 'x', { a: 'x' }, 'y'],
  ['args.a', 'eq', 'x', { a: 'X' }, 'n'],
  ['args.a', 'eq', 5, { a: 5 }, 'y'],
  ['args.a', 'eq', 5, { a: 5.0 }, 'y'],
  ['args.a', 'eq', 5, { a: '5' }, 'n'],
  ['args.a', 'eq', 0, { a: -0 }, 'y'],
  ['args.a', 'eq', true, { a: true }, 'y'],
  ['args.a', 'eq', true, { a: 1 }, 'n'],
  ['args.a', 'eq', null, { a: null }, 'y'],
  ['args.a', 'eq', null, {}, 'n'],
  ['args.a', 'eq', [1, 'b'], { a: [1, 'b'] }, 'y'],
  ['args.a', 'eq', [1, 'b'], { a: ['b', 1] }, 'n'],
  ['args.a', 'eq', { x: 1, y: 2 }, { a: { y: 2, x: 1 } }, 'y'],
  ['args.a', 'eq', { x: 1 }, { a: { x: 1, y: 2 } }, 'n'],
  ['args.a', 'eq', {}, { a: [] }, 'n'],
  ['args.a', 'eq', [], { a: {} }, 'n'],
  ['args.a', 'eq', 1, { a: Number.NaN }, 'n'],
  ['args.a', 'neq', 'x', { a: 'y' }, 'y'],
  ['args.a', 'neq', 'x', { a: 'x' }, 'n'],
  ['args.a', 'neq', 5, { a: '5' }, 'y'],
  ['args.a', 'neq', 'x', {}, 'n'],
  ['args.a', 'neq', 'x', { a: null }, 'y'],
  // order: numbers only
  ['args.a', 'lt', 10, { a: 9.99 }, 'y'],
  ['args.a', 'lt', 10, { a: 10 }, 'n'],
  ['args.a', 'lt', 10, { a: -Infinity }, 'y'],
  ['args.a', 'lt', 10, { a: Number.NaN }, '?'],
  ['args.a', 'lt', 10, { a: '9' }, '?'],
  ['args.a', 'lt', 10, { a: null }, '?'],
  ['args.a', 'lt', 10, { a: [1] }, '?'],
  ['args.a', 'lt', 10, { a: true }, '?'],
  ['args.a', 'lt', 10, {}, 'n'],
  ['args.a', 'lte', 10, { a: 10 }, 'y'],
  ['args.a', 'lte', 10, { a: 10.01 }, 'n'],
  ['args.a', 'lte', 10, { a: '10' }, '?'],
  ['args.a', 'gt', 10, { a: 11 }, 'y'],
  ['args.a', 'gt', 10, { a: 10 }, 'n'],
  ['args.a', 'gt', 10, { a: Infinity }, 'y'],
  ['args.a', 'gt', 10, { a: '11' }, '?'],
  ['args.a', 'gt', 10, {}, 'n'],
  ['args.a', 'gte', 10, { a: 10 }, 'y'],
  ['args.a', 'gte', 10, { a: 9 }, 'n'],
  ['args.a', 'gte', 10, { a: {} }, '?'],
  // in and not_in
  ['args.a', 'in', ['x', 5], { a: 5 }, 'y'],
  ['args.a', 'in', ['x', 5], { a: '5' }, 'n'],
  ['args.a', 'in', ['x', 5], {}, 'n'],
  ['args.a', 'in', ['x', null], { a: null }, 'y'],
  ['args.a', 'in', [['x']], { a: ['x'] }, 'y'],
  ['args.a', 'in', ['x'], { a: ['x'] }, 'n'],
  ['args.a', 'not_in', ['x', 5], { a: 'y' }, 'y'],
  ['args.a', 'not_in', ['x', 5], { a: 'x' }, 'n'],
  ['args.a', 'not_in', ['x', 5], {}, 'n'],
  // exists: null is not there
  ['args.a', 'exists', true, { a: 0 }, 'y'],
  ['args.a', 'exists', true, { a: '' }, 'y'],
  ['args.a', 'exists', true, { a: false }, 'y'],
  ['args.a', 'exists', true, {}, 'n'],
  ['args.a', 'exists', true, { a: null }, 'n'],
  ['args.a', 'exists', true, { a: undefined }, 'n'],
  ['args.a', 'exists', false, {}, 'y'],
  ['args.a', 'exists', false, { a: null }, 'y'],
  ['args.a', 'exists', false, { a: 1 }, 'n'],
  // regex: texts only, anywhere, linear
  ['args.a', 'regex', '^ab+c$', { a: 'abbbc' }, 'y'],
  ['args.a', 'regex', 'b+', { a: 'abbbc' }, 'y'],
  ['args.a', 'regex', '^ab+c$', { a: 'xabc' }, 'n'],
  ['args.a', 'regex', '^5$', { a: 5 }, '?'],
  ['args.a', 'regex', '.', { a: ['x'] }, '?'],
  ['args.a', 'regex', '.', { a: null }, '?'],
  ['args.a', 'regex', '.', {}, 'n'],
  ['args.a', 'regex', '(?i)SECRET', { a: 'my secret' }, 'y'],
  ['args.a', 'regex', '^a.c$', { a: 'a\0c' }, 'y'],
  ['args.a', 'regex', '^a.c$', { a: 'a\ud800c' }, 'y'],
  ['args.a', 'regex', '^a.c$', { a: 'a😀c' }, 'y'],
  ['args.a', 'regex', '^(a+)+$', { a: `${'a'.repeat(50_000)}b` }, 'n'],
  ['args.a', 'regex', 'x', { a: 'a'.repeat(10_000_000) }, '?'],
  // contains: a part of a text, an item of a list
  ['args.a', 'contains', 'ell', { a: 'hello' }, 'y'],
  ['args.a', 'contains', 'ELL', { a: 'hello' }, 'n'],
  ['args.a', 'contains', 'x', { a: ['y', 'x'] }, 'y'],
  ['args.a', 'contains', 'x', { a: ['xy'] }, 'n'],
  ['args.a', 'contains', 5, { a: [4, 5] }, 'y'],
  ['args.a', 'contains', 5, { a: '5' }, '?'],
  ['args.a', 'contains', 'x', { a: 5 }, '?'],
  ['args.a', 'contains', 'x', { a: { x: 1 } }, '?'],
  ['args.a', 'contains', 'x', {}, 'n'],
  ['args.a', 'contains', 'b', { a: `${'a'.repeat(10_000_000)}b` }, 'y'],
  ['args.a', 'contains', '\0', { a: 'a\0b' }, 'y'],
  // paths
  ['args.a.b', 'eq', 1, { a: { b: 1 } }, 'y'],
  ['args.a.b.c', 'eq', 1, { a: { b: 1 } }, 'n'],
  ['args.a.0', 'eq', 'x', { a: ['x'] }, 'y'],
  ['args.a.1', 'exists', true, { a: ['x'] }, 'n'],
  ['args.a.-1', 'exists', true, { a: ['x'] }, 'n'],
  ['args.a.length', 'exists', true, { a: ['x'] }, 'n'],
  ['args.a.length', 'exists', true, { a: 'text' }, 'n'],
  ['args.a.toString', 'exists', true, { a: {} }, 'n'],
  ['args.__proto__', 'exists', true, { a: 1 }, 'n'],
  ['args.constructor.name', 'exists', true, {}, 'n'],
  ['args.a.__proto__.admin', 'eq', true, { a: ownProto }, 'y'],
  ['args.a.constructor', 'eq', 'x', { a: ownProto }, 'y'],
  ['args.a', 'eq', 'x', { a: deep(5000) }, 'n'],
  ['args.a', 'eq', [['x']], { a: deep(5000) }, 'n'],
  // what is derived from the call
  ['code.bytes', 'eq', 8, {}, 'y'],
  ['code.bytes', 'gt', 8, { code: 'ääää€' }, 'y'],
  ['code.bytes', 'lte', 100, { code: 5 }, '?'],
  ['code.bytes', 'gt', 100, { code: undefined }, 'n'],
  ['code.lines', 'eq', 0, { code: '' }, 'y'],
  ['code.lines', 'eq', 1, { code: 'a' }, 'y'],
  ['code.lines', 'eq', 1, { code: 'a\n' }, 'y'],
  ['code.lines', 'eq', 3, { code: 'a\n\nb' }, 'y'],
  ['code.imports', 'contains', 'os', { code: 'import os.path' }, 'y'],
  ['code.imports', 'contains', 'os', { code: 'import osmium' }, 'n'],
  ['code.imports', 'contains', 'os', { code: `import os\n${'#'.repeat(1_100_000)}` }, '?'],
  ['code.imports', 'contains', 'os', { code: ['import os'] }, '?'],
  ['client.name', 'regex', '^claude', {}, 'y'],
  ['client.name', 'eq', 'codex-mcp-client', {}, 'n'],
  ['grant.name', 'in', ['local'], {}, 'y'],
  ['grant.name', 'not_in', ['local'], {}, 'n'],
  ['time.hour', 'eq', 15, {}, 'y'],
  ['time.hour', 'lt', 9, {}, 'n'],
  ['time.weekday', 'eq', 'wednesday', {}, 'y'],
  ['time.weekday', 'in', ['saturday', 'sunday'], {}, 'n'],
];

function short(value: unknown): string {
  return inspect(value, { breakLength: Infinity, compact: true, depth: 6, maxStringLength: 40 }).slice(0, 120);
}

describe('a condition, as require, as deny_if and as require_approval', () => {
  assert.ok(rows.length * 3 >= 150);
  for (const [path, op, value, args, answer] of rows) {
    const conditions = [{ path, op, value }];
    it(`${path} ${op} ${short(value)} on ${short(args)}: ${answer}`, () => {
      const request = requestOf(args);
      assert.equal(
        wordOf(decide(rulesOf({ require: [{ conditions }] }), request)),
        answer === 'y' ? 'allow' : 'requirement_not_met',
      );
      assert.equal(
        wordOf(decide(rulesOf({ deny_if: [{ conditions }] }), request)),
        answer === 'n' ? 'allow' : 'condition_denied',
      );
      assert.equal(
        wordOf(decide(rulesOf({ require_approval: [{ conditions }] }), request)),
        answer === 'n' ? 'allow' : 'ask',
      );
    });
  }
});

describe('imports are compared one by one', () => {
  const both = { code: 'import os\nimport json' };
  const cases: [rules: Record<string, unknown>, args: Record<string, unknown>, word: string][] = [
    [{ require: [{ conditions: [{ path: 'code.imports', op: 'in', value: ['os', 'json'] }] }] }, both, 'allow'],
    [{ require: [{ conditions: [{ path: 'code.imports', op: 'in', value: ['json'] }] }] }, both, 'requirement_not_met'],
    [{ require: [{ conditions: [{ path: 'code.imports', op: 'in', value: ['json'] }] }] }, { code: '1' }, 'allow'],
    [
      { require: [{ conditions: [{ path: 'code.imports', op: 'not_in', value: ['os'] }] }] },
      both,
      'requirement_not_met',
    ],
    [{ require: [{ conditions: [{ path: 'code.imports', op: 'not_in', value: ['re'] }] }] }, both, 'allow'],
    [
      { deny_if: [{ conditions: [{ path: 'code.imports', op: 'in', value: ['os', 'socket'] }] }] },
      both,
      'condition_denied',
    ],
    [{ deny_if: [{ conditions: [{ path: 'code.imports', op: 'in', value: ['socket'] }] }] }, both, 'allow'],
    [
      { deny_if: [{ conditions: [{ path: 'code.imports', op: 'not_in', value: ['json'] }] }] },
      both,
      'condition_denied',
    ],
    [{ deny_if: [{ conditions: [{ path: 'code.imports', op: 'not_in', value: ['json'] }] }] }, { code: '1' }, 'allow'],
    [{ deny_if: [{ conditions: [{ path: 'code.imports', op: 'regex', value: '^o' }] }] }, both, 'condition_denied'],
  ];
  for (const [rules, args, word] of cases) {
    it(`${short(rules)} on ${short(args)}: ${word}`, () => {
      assert.equal(wordOf(decide(rulesOf(rules), requestOf(args))), word);
    });
  }
});

describe('the order of rules', () => {
  const always = [{}];
  const never = [{ conditions: [{ path: 'args.x', op: 'exists', value: true }] }];
  const cases: [
    title: string,
    parts: Record<string, unknown>,
    request: Partial<PolicyRequest>,
    word: string,
    rule: string,
  ][] = [
    ['a tool that is not listed falls to default deny', {}, {}, 'tool_not_allowed', '/default'],
    ['a tool that is not listed falls to default allow', { default: 'allow' }, {}, 'allow', '/default'],
    ['a listed tool with no rules is allowed', { tools: { code_execute: {} } }, {}, 'allow', '/tools/code_execute'],
    [
      'a hidden tool is denied even where it is listed',
      { hide: ['a', 'code_execute'], tools: { code_execute: {} } },
      {},
      'tool_hidden',
      '/hide/1',
    ],
    ['"*" hides every tool', { default: 'allow', hide: ['*'] }, {}, 'tool_hidden', '/hide/0'],
    [
      'deny_if with no conditions always denies',
      { tools: { code_execute: { deny_if: always } } },
      {},
      'condition_denied',
      '/tools/code_execute/deny_if/0',
    ],
    [
      'deny_if under default allow denies',
      { default: 'allow', tools: { code_execute: { deny_if: always } } },
      {},
      'condition_denied',
      '/tools/code_execute/deny_if/0',
    ],
    [
      'a rule that does not apply is passed over',
      { tools: { code_execute: { deny_if: [...never, ...always] } } },
      {},
      'condition_denied',
      '/tools/code_execute/deny_if/1',
    ],
    [
      'require is looked at before deny_if',
      { tools: { code_execute: { require: never, deny_if: always } } },
      {},
      'requirement_not_met',
      '/tools/code_execute/require/0',
    ],
    [
      'a denial comes before a question',
      { tools: { code_execute: { require_approval: always, deny_if: always } } },
      {},
      'condition_denied',
      '/tools/code_execute/deny_if/0',
    ],
    [
      'require_approval with no conditions always asks',
      { tools: { code_execute: { require_approval: always } } },
      {},
      'ask',
      '/tools/code_execute/require_approval/0',
    ],
    [
      'a name with / and ~ is escaped in the pointer',
      { tools: { 'a/b~c': { deny_if: always } } },
      { tool: 'a/b~c' },
      'condition_denied',
      '/tools/a~1b~0c/deny_if/0',
    ],
    [
      'a tool named like an inherited property is not listed',
      {},
      { tool: 'constructor' },
      'tool_not_allowed',
      '/default',
    ],
    ['a tool named __proto__ is not listed', {}, { tool: '__proto__' }, 'tool_not_allowed', '/default'],
    [
      'a rule in shadow mode does not deny',
      { tools: { code_execute: { deny_if: [{ shadow: true }] } } },
      {},
      'allow',
      '/tools/code_execute',
    ],
    [
      'a question in shadow mode is not asked',
      { tools: { code_execute: { require_approval: [{ shadow: true }] } } },
      {},
      'allow',
      '/tools/code_execute',
    ],
  ];
  for (const [title, parts, request, word, rule] of cases) {
    it(title, () => {
      const decision = decide(policyOf(parts), requestOf({}, request));
      assert.equal(wordOf(decision), word);
      assert.equal(ruleOf(decision), rule);
    });
  }
});

describe('a decision', () => {
  it('lets the published example allow its tool under its one limit, and nothing else', () => {
    const { policy } = parsePolicy(publishedExample, 'design.md');
    const allowed = decide(policy, requestOf());
    assert.ok(allowed.verdict === 'allow');
    assert.deepEqual(allowed.limits, [
      {
        rule: '/tools/code_execute/limits/0',
        counter: 'code_execute_rate',
        window: 'minute',
        align: 'calendar',
        scope: 'grant',
        charge: 'calls',
        max: 10,
        cost: 1,
        onDeny: null,
        shadow: false,
      },
    ]);
    assert.equal(wordOf(decide(policy, requestOf({}, { tool: 'other' }))), 'tool_not_allowed');
  });

  it('carries the limits of the tool and those of every tool', () => {
    const limit = { counter: 'a', window: 'day', max: 1 };
    const decision = decide(
      policyOf({ default: 'allow', all_tools: { limits: [limit] }, tools: { code_execute: { limits: [limit] } } }),
      requestOf(),
    );
    assert.ok(decision.verdict === 'allow');
    assert.deepEqual(
      decision.limits.map(({ rule }) => rule),
      ['/tools/code_execute/limits/0', '/all_tools/limits/0'],
    );
  });

  for (const bad of [-1, Number.NaN, Infinity, -Infinity, '5', null, undefined, true, [1], { valueOf: () => 1 }]) {
    it(`refuses a call whose charge is ${short({ bad })}`, () => {
      const limits = [{ counter: 'n', window: 'day', max: 10, charge: 'args.n' }];
      const decision = decide(rulesOf({ limits }), requestOf({ n: bad }));
      assert.equal(wordOf(decision), 'charge_invalid');
      assert.equal(ruleOf(decision), '/tools/code_execute/limits/0');
    });
  }

  it('takes a charge of 0 or of a fraction as it is, and leaves a measured one open', () => {
    const limits = [
      { counter: 'n', window: 'day', max: 10, charge: 'args.n' },
      { counter: 'cpu', window: 'day', max: 10, charge: 'cpu_seconds' },
    ];
    for (const n of [0, 0.25, 7]) {
      const decision = decide(rulesOf({ limits }), requestOf({ n }));
      assert.ok(decision.verdict === 'allow');
      assert.deepEqual(
        decision.limits.map(({ cost }) => cost),
        [n, null],
      );
    }
  });

  it('asks one question for several rules, under the strictest of their terms', () => {
    const decision = decide(
      rulesOf({
        require_approval: [
          { message: 'First?', timeout_seconds: 300, remember: 'session' },
          { message: 'Second?', timeout_seconds: 30, remember: 'same_code', on_deny: 'Sorry.' },
        ],
      }),
      requestOf(),
    );
    assert.ok(decision.verdict === 'ask');
    const { rule, message, timeoutSeconds, remember, onDeny } = decision;
    assert.deepEqual(
      { rule, message, timeoutSeconds, remember, onDeny },
      {
        rule: '/tools/code_execute/require_approval/0',
        message: 'First?\nSecond?',
        timeoutSeconds: 30,
        remember: 'same_code',
        onDeny: 'Sorry.',
      },
    );
  });

  it('says what a rule in shadow mode would have said', () => {
    const decision = decide(
      rulesOf({
        deny_if: [{ shadow: true, on_deny: 'Later.' }],
        require_approval: [{ shadow: true }],
        limits: [{ counter: 'n', window: 'day', max: 1, charge: 'args.n', shadow: true }],
      }),
      requestOf(),
    );
    assert.ok(decision.verdict === 'allow');
    assert.deepEqual(
      decision.shadowed?.map(({ code }) => code),
      ['condition_denied', 'charge_invalid', 'approval_required'],
    );
  });

  it('puts the words of the owner first, and then what to do instead', () => {
    const decision = decide(rulesOf({ deny_if: [{ on_deny: 'Not on a weekday' }] }), requestOf());
    assert.ok(decision.verdict === 'deny');
    assert.match(decision.denial.message, /^Not on a weekday\. Do not rephrase/);
    assert.equal(decision.denial.retryable, false);
    assert.equal(decision.denial.retryAfterMs, null);
  });

  it('tells what is required, and keeps what is forbidden to itself', () => {
    const required = decide(
      rulesOf({ require: [{ conditions: [{ path: 'args.n', op: 'lte', value: 77 }] }] }),
      requestOf(),
    );
    const forbidden = decide(
      rulesOf({ deny_if: [{ conditions: [{ path: 'args.code', op: 'contains', value: 'print' }] }] }),
      requestOf(),
    );
    assert.ok(required.verdict === 'deny' && forbidden.verdict === 'deny');
    assert.match(required.denial.message, /args\.n to be at most 77/);
    assert.match(forbidden.denial.message, /because of args\.code/);
    assert.doesNotMatch(forbidden.denial.message, /print/);
  });

  it('does not let a long or odd tool name into a message whole', () => {
    const decision = decide(policyOf({}), requestOf({}, { tool: `a\n${'x'.repeat(100_000)}` }));
    assert.ok(decision.verdict === 'deny');
    assert.ok(decision.denial.message.length < 600);
    assert.ok(!decision.denial.message.includes('\n'));
  });

  it('needs no code to decide on a tool that has none', () => {
    const policy = policyOf({
      tools: { other: { deny_if: [{ conditions: [{ path: 'code.imports', op: 'contains', value: 'os' }] }] } },
    });
    assert.equal(wordOf(decide(policy, { ...requestOf({}, { tool: 'other' }), args: {} })), 'allow');
  });
});

it('isHidden names hidden tools and all of them under "*"', () => {
  assert.equal(isHidden(policyOf({ hide: ['a'] }), 'a'), true);
  assert.equal(isHidden(policyOf({ hide: ['a'] }), 'b'), false);
  assert.equal(isHidden(policyOf({ hide: ['*'] }), 'b'), true);
});

describe('jobLimits', () => {
  const { sandbox } = policyOf({ sandbox: { timeout_seconds: 10 } });
  it('lets a call lower its timeout and not raise it', () => {
    assert.equal(jobLimits(sandbox).timeoutSeconds, 10);
    assert.equal(jobLimits(sandbox, 2.5).timeoutSeconds, 2.5);
    assert.equal(jobLimits(sandbox, 11).timeoutSeconds, 10);
    assert.equal(jobLimits(sandbox, Infinity).timeoutSeconds, 10);
  });
  for (const bad of [0, -1, Number.NaN]) {
    it(`does not take ${bad} for a timeout`, () => {
      assert.throws(() => jobLimits(sandbox, bad), RangeError);
    });
  }
});
