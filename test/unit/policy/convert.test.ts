import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { stringify } from 'yaml';
import { createLimits } from '../../../src/admission/limits.js';
import { dryRun } from '../../../src/admission/dry-run.js';
import { convertPolicy, type Conversion } from '../../../src/policy/convert.js';
import { decide } from '../../../src/policy/decide.js';
import { parsePolicy, PolicyError } from '../../../src/policy/load.js';
import { createIntercept, type InterceptPolicy, type InterceptRule } from './dialects/intercept-engine.js';
import { publishedExample, requestOf } from './policies.js';

const dialects = new URL('../../../../test/fixtures/dialects/', import.meta.url);

function fixture(name: string): string {
  return readFileSync(new URL(name, dialects), 'utf8');
}

/** Calls under a converted policy, limits and all, at one moment. */
function caller({ text }: Conversion): (tool: string, args: Record<string, unknown>) => Promise<string> {
  const { policy } = parsePolicy(text, 'converted');
  const limits = createLimits(dryRun(null), () => requestOf().now.getTime());
  return async (tool, args) => {
    const request = requestOf({}, { tool, args });
    const decision = decide(policy, request);
    if (decision.verdict === 'deny') return 'deny';
    const reserved = await limits.reserve(decision.limits, { grant: 'local' }, request.now);
    return reserved.ok ? decision.verdict : 'deny';
  };
}

async function verdicts(conversion: Conversion, tool: string, args: Record<string, unknown>, times: number) {
  const call = caller(conversion);
  const all: string[] = [];
  for (let time = 0; time < times; time += 1) all.push(await call(tool, args));
  return all;
}

function toolOf(conversion: Conversion, name: string): unknown {
  return (JSON.parse(conversion.text) as { tools: Record<string, unknown> }).tools[name];
}

describe('the dialects in the wild', () => {
  it('the published example is ours already, and stays as it is', async () => {
    const conversion = await convertPolicy(fixture('published.json'), 'x');
    assert.equal(conversion.dialect, 'cordon');
    assert.ok(conversion.exact);
    assert.deepEqual(JSON.parse(conversion.text), JSON.parse(publishedExample));
    assert.deepEqual(JSON.parse(fixture('published.json')), JSON.parse(publishedExample));
  });

  it('Intercept’s YAML is converted, and every decision kept', async () => {
    const conversion = await convertPolicy(fixture('intercept.yaml'), 'x');
    assert.equal(conversion.dialect, 'intercept');
    assert.ok(conversion.exact, JSON.stringify(conversion.notes));
    const args = { timeout_seconds: 1, stdin: 'x' };
    assert.deepEqual(await verdicts(conversion, 'code_execute', args, 11), [
      ...Array<string>(10).fill('allow'),
      'deny',
    ]);
    assert.deepEqual(await verdicts(conversion, 'code_execute', { ...args, timeout_seconds: 21 }, 1), ['deny']);
    assert.deepEqual(await verdicts(conversion, 'code_execute', { ...args, stdin: '-' }, 1), ['deny']);
    for (const tool of ['code_reset', 'debug_shell', 'other']) {
      assert.deepEqual(await verdicts(conversion, tool, args, 1), ['deny']);
    }
  });

  it('rules at the tool, with rate_limit { max, window } and reason, are converted', async () => {
    const conversion = await convertPolicy(fixture('tools.json'), 'x');
    assert.equal(conversion.dialect, 'tools');
    assert.ok(conversion.exact, JSON.stringify(conversion.notes));
    assert.deepEqual(await verdicts(conversion, 'code_execute', {}, 11), [...Array<string>(10).fill('allow'), 'deny']);
    assert.deepEqual(await verdicts(conversion, 'file_write', {}, 1), ['deny']);
  });

  it('one list whose first match decides is converted', async () => {
    const conversion = await convertPolicy(fixture('rules.yaml'), 'x');
    assert.equal(conversion.dialect, 'rules');
    assert.ok(conversion.exact, JSON.stringify(conversion.notes));
    assert.deepEqual(await verdicts(conversion, 'code_execute', { timeout_seconds: 61 }, 1), ['deny']);
    assert.deepEqual(await verdicts(conversion, 'code_execute', {}, 11), [...Array<string>(10).fill('allow'), 'deny']);
    assert.deepEqual(await verdicts(conversion, 'report', {}, 1), ['ask']);
    assert.deepEqual(await verdicts(conversion, 'file_write', {}, 1), ['deny']);
  });

  it('each of the others is refused by the loader, by name and with the way out', () => {
    for (const name of readdirSync(dialects).filter((file) => file !== 'published.json')) {
      assert.throws(
        () => parsePolicy(fixture(name), name),
        (error) => error instanceof PolicyError && error.message.includes('cordon policy convert FILE'),
        name,
      );
    }
  });
});

describe('what has no equivalent', () => {
  const rule = (parts: Record<string, unknown>) => ({
    version: '1',
    default: 'deny',
    tools: { t: { rules: [{ name: 'n', ...parts }] } },
  });
  const lost: [title: string, policy: unknown, pointer: string][] = [
    ['an unknown action', rule({ action: 'log' }), '/tools/t/rules/0/action'],
    ['an action said twice', rule({ action: 'deny', effect: 'allow' }), '/tools/t/rules/0/effect'],
    [
      'a default said twice',
      { version: '1', default: 'deny', default_action: 'allow', tools: { t: { action: 'allow' } } },
      '/default_action',
    ],
    ['an unknown key of a rule', rule({ action: 'allow', schedule: 'x' }), '/tools/t/rules/0/schedule'],
    [
      'an unknown operator',
      rule({ conditions: [{ path: 'args.a', op: 'glob', value: 'x' }] }),
      '/tools/t/rules/0/conditions/0',
    ],
    [
      'a path that is neither',
      rule({ conditions: [{ path: 'env.a', op: 'eq', value: 'x' }] }),
      '/tools/t/rules/0/conditions/0',
    ],
    [
      'an item of a list',
      rule({ conditions: [{ path: 'args.a.0', op: 'eq', value: 1 }] }),
      '/tools/t/rules/0/conditions/0',
    ],
    [
      'a list to compare with',
      rule({ conditions: [{ path: 'args.a', op: 'eq', value: [1] }] }),
      '/tools/t/rules/0/conditions/0',
    ],
    [
      'a regex beyond RE2',
      rule({ conditions: [{ path: 'args.a', op: 'regex', value: '(?=x)' }] }),
      '/tools/t/rules/0/conditions/0',
    ],
    [
      'a counter that is no limit',
      rule({ conditions: [{ path: 'state.t.c', op: 'gt', value: 1 }], state: { counter: 'c', window: 'day' } }),
      '/tools/t/rules/0/conditions/0',
    ],
    [
      'a counter of another rule',
      rule({ conditions: [{ path: 'state.u.c', op: 'lt', value: 1 }] }),
      '/tools/t/rules/0/conditions/0',
    ],
    ['a window of a week', rule({ action: 'allow', rate_limit: '5/7d' }), '/tools/t/rules/0/rate_limit'],
    ['a rate of 0', rule({ action: 'allow', rate_limit: '0/minute' }), '/tools/t/rules/0/rate_limit'],
    ['a rate with a burst', rule({ rate_limit: { max: 5, window: '1m', burst: 9 } }), '/tools/t/rules/0/rate_limit'],
    ['a rule that says nothing', rule({}), '/tools/t/rules/0'],
    [
      'one condition or another',
      {
        version: '1',
        default: 'deny',
        tools: {
          t: {
            rules: [
              { action: 'allow', conditions: [{ path: 'args.a', op: 'eq', value: 1 }] },
              { action: 'allow', conditions: [{ path: 'args.b', op: 'eq', value: 1 }] },
            ],
          },
        },
      },
      '/tools/t/rules/1',
    ],
    [
      'a section for all calls',
      { version: '1', default: 'allow', tools: { t: { action: 'allow' } }, egress: {} },
      '/egress',
    ],
    [
      'a match by method',
      { default: 'allow', rules: [{ match: { method: 'GET' }, action: 'deny' }] },
      '/rules/0/match',
    ],
    [
      'approval for every tool',
      { version: '1', default: 'allow', tools: { t: {}, '*': { action: 'ask' } } },
      '/tools/*',
    ],
  ];
  for (const [title, policy, pointer] of lost) {
    it(`${title} is said, and denied instead`, async () => {
      const conversion = await convertPolicy(JSON.stringify(policy), 'x');
      assert.equal(conversion.exact, false);
      assert.ok(
        conversion.notes.some((note) => note.kind === 'lost' && note.pointer === pointer),
        JSON.stringify(conversion.notes),
      );
      assert.deepEqual(await verdicts(conversion, 't', { a: 1, b: 1 }, 1), ['deny']);
    });
  }

  const stricter: [title: string, policy: unknown][] = [
    ['a window of five minutes is counted in an hour', rule({ rate_limit: '5/5m' })],
    ['a list without a default denies', { rules: [{ tool: 't', action: 'allow' }] }],
    [
      'a pattern holds for named tools only',
      {
        default: 'allow',
        rules: [
          { tool: 'file_*', action: 'deny' },
          { tool: 't', action: 'allow' },
        ],
      },
    ],
    [
      'conditions for every tool hold for listed ones only',
      {
        version: '1',
        tools: { t: { rules: [] }, '*': { rules: [{ conditions: [{ path: 'args.a', op: 'eq', value: 1 }] }] } },
      },
    ],
    [
      'a denial overrides what a rule before it let through',
      {
        default: 'deny',
        rules: [
          { tool: 't', action: 'allow', conditions: [{ path: 'args.a', op: 'eq', value: 1 }] },
          { tool: 't', action: 'deny', conditions: [{ path: 'args.b', op: 'eq', value: 1 }] },
          { tool: 't', action: 'allow' },
        ],
      },
    ],
  ];
  for (const [title, policy] of stricter) {
    it(title, async () => {
      const conversion = await convertPolicy(JSON.stringify(policy), 'x');
      assert.equal(conversion.exact, false);
      assert.ok(
        conversion.notes.every(({ kind }) => kind !== 'lost'),
        JSON.stringify(conversion.notes),
      );
      assert.ok(conversion.notes.some(({ kind }) => kind === 'stricter'));
      assert.notDeepEqual(await verdicts(conversion, 'never_named', {}, 1), ['allow']);
    });
  }

  it('has its line in the original', async () => {
    const text = 'version: "1"\ntools:\n  t:\n    rules:\n      - name: a\n        action: log\n';
    const { notes } = await convertPolicy(text, 'x');
    assert.deepEqual(
      notes.filter(({ kind }) => kind === 'lost').map(({ line }) => line),
      [6],
    );
  });
});

describe('a text that is no policy of any dialect', () => {
  const texts: [title: string, text: string][] = [
    ['nothing', ''],
    ['a scalar', 'hello'],
    ['two equal keys', 'version: "1"\ntools: {}\ntools: {}\n'],
    ['two documents', 'version: "1"\n---\nversion: "1"\n'],
    [
      'an alias bomb',
      `a: &a [x,x,x,x,x,x,x,x,x]\n${'bcdefghij'.replaceAll(
        /./g,
        (l, at: number) =>
          `${l}: &${l} [${Array(9)
            .fill(`*${'abcdefghi'[at] ?? ''}`)
            .join(',')}]\n`,
      )}`,
    ],
    ['what contains itself', 'tools: &t\n  x: *t\n'],
    ['deep nesting', `${'- '.repeat(20_000)}x`],
    ['an unknown tag', 'version: !!python/object:os.system "1"\n'],
    ['__proto__ as a tool', '{"version":"1","default":"deny","tools":{"__proto__":{"action":"allow"}}}'],
    [
      'a wrong value of ours beside it',
      '{"version":"1","default":"deny","tools":{"t":{"action":"allow","limits":[{"counter":1}]}}}',
    ],
  ];
  for (const [title, text] of texts) {
    it(`${title} is refused with a PolicyError`, async () => {
      await assert.rejects(convertPolicy(text, 'x'), PolicyError);
    });
  }
});

describe('whatever Intercept’s policy and the calls', () => {
  const scalar = fc.constantFrom<unknown>(0, 1, 5, 2.5, 'x', '5', '', 'true', true, false);
  const path = fc.constantFrom('args.a', 'args.b', 'args.c.d');
  const condition = fc.oneof(
    fc.record({ path, op: fc.constantFrom('eq', 'neq'), value: scalar }),
    fc.record({ path, op: fc.constantFrom('in', 'not_in'), value: fc.array(scalar, { minLength: 1, maxLength: 3 }) }),
    fc.record({ path, op: fc.constantFrom('lt', 'lte', 'gt', 'gte'), value: fc.constantFrom(0, 1, 2.5, 5) }),
    fc.record({ path, op: fc.constant('exists'), value: fc.boolean() }),
    fc.record({ path, op: fc.constant('regex'), value: fc.constantFrom('^x$', '.', '5') }),
    fc.record({ path, op: fc.constant('contains'), value: fc.constantFrom('x', '5', 'tru') }),
  );
  const window = fc.constantFrom('minute', 'hour', 'day');
  const rule = (scope: string, at: number) =>
    fc.oneof(
      fc.record({ name: fc.constant('r'), conditions: fc.array(condition, { minLength: 1, maxLength: 2 }) }),
      fc.record({
        name: fc.constant('r'),
        rate_limit: fc.tuple(fc.integer({ min: 1, max: 4 }), window).map(([max, per]) => `${max}/${per}`),
      }),
      fc
        .record({
          op: fc.constantFrom('lt', 'lte'),
          value: fc.constantFrom(0, 1, 3, 4.5, 10),
          window,
          others: fc.array(condition, { maxLength: 1 }),
          increment: fc.constantFrom<object>({}, { increment: 2 }, { increment: 0 }, { increment_from: 'args.a' }),
        })
        .map(({ op, value, window: per, others, increment }) => ({
          name: 'r',
          conditions: [{ path: `state.${scope}.c${at}`, op, value }, ...others],
          state: { counter: `c${at}`, window: per, ...increment },
        })),
      { weight: 1, arbitrary: fc.constant({ name: 'r', action: 'deny' }) },
    );
  /** Intercept refuses two rates of the same window at a tool. */
  const noTwins = (rules: readonly InterceptRule[]) => {
    const rates = rules.flatMap(({ rate_limit: rate }) => (rate === undefined ? [] : [rate.split('/')[1]]));
    return new Set(rates).size === rates.length;
  };
  const rules = (scope: string) =>
    fc
      .tuple(fc.integer({ min: 0, max: 3 }), rule(scope, 0), rule(scope, 1), rule(scope, 2))
      .map(([many, ...all]) => all.slice(0, many) as InterceptRule[])
      .filter(noTwins);
  const policy = fc
    .record({
      default: fc.constantFrom('allow', 'deny', undefined),
      hide: fc.constantFrom([], ['hidden']),
      t: rules('t'),
      u: rules('u'),
      every: fc.option(rules('_global'), { nil: undefined, freq: 2 }),
    })
    .map(({ default: posture, hide, t, u, every }) => ({
      version: '1',
      ...(posture === undefined ? {} : { default: posture }),
      hide,
      tools: { t: { rules: t }, u: { rules: u }, ...(every === undefined ? {} : { '*': { rules: every } }) },
    })) as fc.Arbitrary<InterceptPolicy>;
  const anything = fc.oneof(scalar, fc.constantFrom<unknown>(null, -1, '[5]', [5], ['x'], { d: 5 }, { d: 'x' }));
  const args = fc.dictionary(fc.constantFrom('a', 'b', 'c'), anything, { maxKeys: 3 });
  const calls = fc.array(fc.tuple(fc.constantFrom('t', 't', 'u', 'hidden', 'unlisted'), args), {
    minLength: 1,
    maxLength: 8,
  });

  it('what is converted loads, and never allows more', async () => {
    await fc.assert(
      fc.asyncProperty(policy, calls, fc.boolean(), async (original, made, asYaml) => {
        const conversion = await convertPolicy(asYaml ? stringify(original) : JSON.stringify(original), 'x');
        assert.equal(conversion.dialect, 'intercept');
        const call = caller(conversion);
        const before = createIntercept(original);
        for (const [tool, given] of made) {
          const now = await call(tool, given);
          // From the first call on that is decided otherwise, the counters are not the same.
          const then = before(tool, given) ? 'allow' : 'deny';
          if (now !== then) {
            assert.equal(now, 'deny', JSON.stringify([conversion.text, tool, given]));
            return;
          }
        }
      }),
      { numRuns: 3000 },
    );
  });

  it('decisions are kept where the conversion says so, for values of the types that are compared', async () => {
    let compared = 0;
    // Numbers in a and c.d, a text in b; conditions to match.
    const typed = fc.record({ a: fc.constantFrom(0, 1, 5), b: fc.constantFrom('x', '', 'y5') });
    const well = policy.filter((original) =>
      Object.values(original.tools).every(({ rules: all }) =>
        all.every((one) =>
          (one.conditions ?? []).every(({ path: place, op, value }) => {
            if (place.startsWith('state.') || op === 'exists') return true;
            const wanted = place === 'args.b' ? 'string' : 'number';
            return (Array.isArray(value) ? (value as unknown[]) : [value]).every((item) => typeof item === wanted);
          }),
        ),
      ),
    );
    await fc.assert(
      fc.asyncProperty(
        well,
        fc.array(fc.tuple(fc.constantFrom('t', 't', 'u', 'unlisted'), typed), { maxLength: 8 }),
        async (original, made) => {
          const conversion = await convertPolicy(JSON.stringify(original), 'x');
          if (!conversion.exact) return;
          const call = caller(conversion);
          const before = createIntercept(original);
          for (const [tool, given] of made) {
            compared += 1;
            assert.equal(
              await call(tool, given),
              before(tool, given) ? 'allow' : 'deny',
              JSON.stringify([original, tool, given]),
            );
          }
        },
      ),
      { numRuns: 1500 },
    );
    assert.ok(compared > 1000, `only ${compared} decisions were compared`);
  });
});

describe('whatever a list of rules', () => {
  it('allows nothing that its first match does not allow', async () => {
    const condition = fc
      .record({
        path: fc.constantFrom('args.a', 'args.b'),
        op: fc.constantFrom('eq', 'neq', 'in', 'exists', 'gt'),
        value: fc.constantFrom(1, 2),
      })
      .map((one) => ({
        ...one,
        value: one.op === 'in' ? [one.value] : one.op === 'exists' ? one.value === 1 : one.value,
      }));
    const rule = fc.record({
      tool: fc.constantFrom('t', 'u', '*', 't*', '?'),
      action: fc.constantFrom('allow', 'deny', 'ask'),
      conditions: fc.array(condition, { maxLength: 2 }),
    });
    const list = fc.record({
      default: fc.constantFrom('allow', 'deny'),
      rules: fc.array(rule, { minLength: 1, maxLength: 5 }),
    });
    const args = fc.record({ a: fc.constantFrom(1, 2, 3), b: fc.constantFrom(1, 2, 3) }, { requiredKeys: [] });
    const matches =
      (tool: string, { a, b }: { a?: number; b?: number }) =>
      (one: { tool: string; conditions: { path: string; op: string; value: unknown }[] }) => {
        const named =
          one.tool === tool ||
          one.tool === '*' ||
          (one.tool === 't*' && tool.startsWith('t')) ||
          (one.tool === '?' && tool.length === 1);
        return (
          named &&
          one.conditions.every(({ path, op, value }) => {
            const found = path === 'args.a' ? a : b;
            if (op === 'exists') return (found !== undefined) === value;
            // Whether what is not there differs: here it does, as the loosest reading has it.
            if (op === 'neq') return found !== value;
            if (found === undefined) return false;
            return op === 'eq'
              ? found === value
              : op === 'in'
                ? (value as unknown[]).includes(found)
                : found > Number(value);
          })
        );
      };
    const ranks = ['deny', 'ask', 'allow'];
    await fc.assert(
      fc.asyncProperty(list, args, fc.constantFrom('t', 'u', 'tt', 'zz'), async (original, given, tool) => {
        const conversion = await convertPolicy(JSON.stringify(original), 'x');
        const [now] = await verdicts(conversion, tool, given, 1);
        const then = original.rules.find(matches(tool, given))?.action ?? original.default;
        assert.ok(ranks.indexOf(now ?? '') <= ranks.indexOf(then), JSON.stringify([then, now, conversion.text]));
        if (conversion.exact && conversion.notes.length === 0) assert.equal(now, then);
      }),
      { numRuns: 3000 },
    );
  });
});

it('a converted file says nothing of a tool twice', async () => {
  const conversion = await convertPolicy(fixture('intercept.yaml'), 'x');
  assert.deepEqual(toolOf(conversion, 'code_reset'), {
    deny_if: [{ conditions: [], on_deny: 'Sessions are not reset by agents.' }],
  });
});
