import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { loadPolicy, locatePolicy, parsePolicy, PolicyError, type PolicyProblem } from '../../../src/policy/load.js';
import { unknownTools } from '../../../src/policy/diagnose.js';
import { policySchema } from '../../../src/policy/schema.js';
import { everyKey, policyOf, publishedExample } from './policies.js';

function problemsOf(policy: unknown): readonly PolicyProblem[] {
  try {
    parsePolicy(typeof policy === 'string' ? policy : JSON.stringify(policy), 'policy.json');
  } catch (error) {
    assert.ok(error instanceof PolicyError);
    return error.problems;
  }
  return [];
}

describe('a valid policy', () => {
  it('is the published example, unchanged', () => {
    assert.deepEqual(problemsOf(publishedExample), []);
  });

  it('may hold every key of the language', () => {
    assert.deepEqual(problemsOf(everyKey), []);
  });

  it('gets the defaults of what it leaves out, and is frozen', () => {
    const { policy } = parsePolicy('{"version":"1","default":"deny"}', 'x');
    assert.deepEqual(policy, {
      version: '1',
      default: 'deny',
      hide: [],
      all_tools: { limits: [] },
      tools: {},
      sandbox: {
        isolation: 'confined',
        python: 'python3',
        preload: [],
        warm: 2,
        timeoutSeconds: 30,
        cpuSeconds: 30,
        memoryMb: 512,
        processes: 64,
        openFiles: 256,
        fileSizeMb: 64,
        diskMb: 128,
        diskInodes: 8192,
        mounts: [],
        outputMb: 8,
        outputKeptKb: 64,
        filesIn: 100,
        filesInMb: 16,
        filesOut: 100,
        filesOutMb: 32,
        filesKeptSeconds: 3600,
        filesKeptMb: 256,
        codeKb: 256,
        stdinMb: 4,
        maxRunning: 4,
        maxWaiting: 64,
        sessions: { max: 4, idleSeconds: 900, ageSeconds: 14_400, memoryMb: 1024, diskMb: 256, keepSteps: 16 },
      },
    });
    assert.ok(Object.isFrozen(policy) && Object.isFrozen(policy.sandbox.preload) && Object.isFrozen(policy.tools));
  });

  it('has the hash of its bytes, byte order mark included', () => {
    const bytes = Buffer.from(`\uFEFF${publishedExample}`, 'utf8');
    const { hash } = parsePolicy(bytes.toString('utf8'), 'x');
    assert.equal(hash, createHash('sha256').update(bytes).digest('hex'));
  });

  it('may be in any of the windows, scopes, charges and alignments', () => {
    for (const window of ['second', 'minute', 'hour', 'day']) {
      for (const scope of ['grant', 'server']) {
        for (const charge of ['calls', 'args.a.b', 'cpu_seconds', 'wall_seconds', 'output_bytes']) {
          for (const align of ['calendar', 'sliding']) {
            const limits = [{ counter: 'c', window, max: 1, scope, charge, align }];
            assert.deepEqual(problemsOf({ version: '1', default: 'allow', tools: { t: { limits } } }), []);
          }
        }
      }
    }
  });
});

describe('the shipped policy', () => {
  // From dist/test/unit/policy or wherever the tests were compiled to, up to the package.
  const shipped = async () => {
    for (let folder = dirname(fileURLToPath(import.meta.url)); folder !== dirname(folder); folder = dirname(folder)) {
      const loaded = await loadPolicy(join(folder, 'policy.json')).catch(() => null);
      if (loaded !== null) return loaded;
    }
    throw new Error('no policy.json above this test');
  };

  it('denies by default and lets code run, under a limit, and sessions be kept, and in no tier below confined', async () => {
    const { policy } = await shipped();
    assert.equal(policy.default, 'deny');
    const sessionTools = ['session_list', 'session_fork', 'session_rewind', 'session_end'];
    assert.deepEqual(Object.keys(policy.tools), ['code_execute', ...sessionTools]);
    assert.equal(policy.tools.code_execute?.limits.length, 1);
    assert.equal(policy.sandbox.isolation, 'confined');
  });

  it('writes out the defaults of the sandbox', async () => {
    const { policy } = await shipped();
    assert.deepEqual(policy.sandbox, policyOf({}).sandbox);
  });
});

describe('a policy is refused', () => {
  const base = { version: '1', default: 'deny' };
  const rule = (list: string, entry: unknown) => ({ ...base, tools: { t: { [list]: [entry] } } });
  const condition = (path: unknown, op: unknown, value?: unknown) =>
    rule('deny_if', { conditions: [{ path, op, value }] });
  const limit = (changes: object) => rule('limits', { counter: 'c', window: 'day', max: 1, ...changes });
  const at = '/tools/t/deny_if/0/conditions/0';
  const cases: [policy: unknown, pointer: string, hint: RegExp | null][] = [
    ['null', '', null],
    ['[]', '', null],
    [{ default: 'deny' }, '/version', /"1"/],
    [{ ...base, version: 1 }, '/version', /write "version": "1"/],
    [{ ...base, version: '2' }, '/version', /version "1"/],
    [{ version: '1' }, '/default', /"default": "deny"/],
    [{ ...base, default: 'DENY' }, '/default', /"deny"/],
    [{ ...base, default: 'block' }, '/default', /"deny"/],
    [{ ...base, hide: '*' }, '/hide', /\["\*"\]/],
    [{ ...base, hide: ['a', 'a'] }, '/hide/1', /remove/],
    [{ ...base, hide: [''] }, '/hide/0', null],
    [{ ...base, tools: { '': {} } }, '/tools/', null],
    [{ ...base, tools: { '*': {} } }, '/tools/*', /all_tools/],
    [{ ...base, tools: { t: null } }, '/tools/t', null],
    [{ ...base, tools: { t: true } }, '/tools/t', null],
    [{ ...base, tools: ['t'] }, '/tools', null],
    [rule('require', {}), '/tools/t/require/0/conditions', /deny_if/],
    [rule('require', { conditions: [] }), '/tools/t/require/0/conditions', /deny_if/],
    [condition('code', 'exists', true), `${at}/path`, /args\.code/],
    [condition('args', 'exists', true), `${at}/path`, null],
    [condition('args.', 'exists', true), `${at}/path`, null],
    [condition('args..a', 'exists', true), `${at}/path`, null],
    [condition('arguments.code', 'exists', true), `${at}/path`, /args\.code/],
    [condition('state.t.hourly_count', 'lte', 5), `${at}/path`, /limits/],
    [condition('code.import', 'contains', 'os'), `${at}/path`, /code\.imports/],
    [condition('args.a', '==', 1), `${at}/op`, /"eq"/],
    [condition('args.a', 'matches', 'x'), `${at}/op`, /"regex"/],
    [condition('args.a', 'NotIn', ['x']), `${at}/op`, /"not_in"/],
    [condition('args.a', 'eq'), `${at}/value`, null],
    [condition('args.a', 'lt', '5'), `${at}/value`, /write 5/],
    [condition('args.a', 'in', 'x'), `${at}/value`, /\["x"\]/],
    [condition('args.a', 'in', []), `${at}/value`, null],
    [condition('args.a', 'exists', 'true'), `${at}/value`, null],
    [condition('args.a', 'contains'), `${at}/value`, null],
    [condition('args.a', 'contains', ''), `${at}/value`, null],
    [condition('args.a', 'regex', '('), `${at}/value`, /./],
    [condition('args.a', 'regex', '(?=x)'), `${at}/value`, /Perl/],
    [condition('args.a', 'regex', '(a)\\1'), `${at}/value`, /./],
    [condition('args.a', 'regex', 'a'.repeat(2001)), `${at}/value`, /2000/],
    [condition('code.bytes', 'contains', 'x'), `${at}/op`, null],
    [condition('code.bytes', 'eq', '5'), `${at}/value`, null],
    [condition('code.imports', 'gt', 1), `${at}/op`, null],
    [condition('time.hour', 'in', ['9']), `${at}/value`, null],
    [condition('time.weekday', 'eq', 'Sonntag'), `${at}/value`, null],
    [condition('time.weekday', 'in', ['mondya']), `${at}/value`, /monday/],
    [limit({ max: 0 }), '/tools/t/limits/0/max', null],
    [limit({ max: -1 }), '/tools/t/limits/0/max', null],
    [limit({ max: 1.5 }), '/tools/t/limits/0/max', null],
    [limit({ max: '10' }), '/tools/t/limits/0/max', /write 10/],
    [limit({ max: null }), '/tools/t/limits/0/max', null],
    [limit({ max: 1e16 }), '/tools/t/limits/0/max', null],
    [limit({ window: 'minutes' }), '/tools/t/limits/0/window', /"minute"/],
    [limit({ window: 60 }), '/tools/t/limits/0/window', /"minute"/],
    [limit({ window: '1h' }), '/tools/t/limits/0/window', /"hour"/],
    [limit({ window: 'week' }), '/tools/t/limits/0/window', null],
    [limit({ scope: 'global' }), '/tools/t/limits/0/scope', null],
    [limit({ charge: 'cpu' }), '/tools/t/limits/0/charge', null],
    [limit({ charge: 'cpu_second' }), '/tools/t/limits/0/charge', /cpu_seconds/],
    [limit({ charge: 'code.bytes' }), '/tools/t/limits/0/charge', null],
    [limit({ counter: '' }), '/tools/t/limits/0/counter', null],
    [rule('require_approval', { remember: 'always' }), '/tools/t/require_approval/0/remember', null],
    [rule('require_approval', { timeout_seconds: 0 }), '/tools/t/require_approval/0/timeout_seconds', null],
    [{ ...base, sandbox: { output_kept_kb: 129 } }, '/sandbox/output_kept_kb', null],
    [{ ...base, sandbox: { cpu_seconds: 0 } }, '/sandbox/cpu_seconds', null],
    [{ ...base, sandbox: { memory_mb: 1.5 } }, '/sandbox/memory_mb', null],
    [{ ...base, sandbox: { warm: 17 } }, '/sandbox/warm', null],
    [{ ...base, sandbox: { isolation: 'Strict' } }, '/sandbox/isolation', /"strict"/],
    [{ ...base, sandbox: { preload: ['numpy; import os'] } }, '/sandbox/preload/0', null],
    [{ ...base, sandbox: { preload: 'numpy' } }, '/sandbox/preload', /\["numpy"\]/],
    [{ ...base, sandbox: { python: 'py\0thon' } }, '/sandbox/python', null],
    // other dialects, by name
    [{ ...base, rules: [{ tool: 't', action: 'deny' }] }, '/rules', /deny_if/],
    [{ ...base, tools: { t: { rules: [{ name: 'x' }] } } }, '/tools/t/rules', /deny_if/],
    [{ ...base, tools: { t: { action: 'deny', reason: 'x' } } }, '/tools/t/action', /"deny_if": \[/],
    [{ ...base, tools: { t: { action: 'require_approval' } } }, '/tools/t/action', /"require_approval": \[/],
    [{ ...base, tools: { t: { action: 'allow' } } }, '/tools/t/action', /as \{\}/],
    [
      { ...base, tools: { t: { rate_limit: '10/minute' } } },
      '/tools/t/rate_limit',
      /"counter": "t_rate", "window": "minute", "max": 10/,
    ],
    [
      { ...base, tools: { t: { rate_limit: { max: 3, window: '1h' } } } },
      '/tools/t/rate_limit',
      /"window": "hour", "max": 3/,
    ],
    [{ ...base, rate_limit: '5 per day' }, '/rate_limit', /"all_tools".*"window": "day", "max": 5/],
    [rule('deny_if', { reason: 'x' }), '/tools/t/deny_if/0/reason', /"on_deny"/],
    [rule('deny_if', { path: 'args.a' }), '/tools/t/deny_if/0/path', /conditions/],
    [limit({ per: 'minute' }), '/tools/t/limits/0/per', /"window"/],
    [{ ...base, deny: ['t'] }, '/deny', /deny_if/],
    [{ ...base, limits: [] }, '/limits', /all_tools/],
    [{ ...base, tools: { t: { state: { counter: 'x' } } } }, '/tools/t/state', /limits/],
  ];
  for (const [policy, pointer, hint] of cases) {
    it(`${(typeof policy === 'string' ? policy : JSON.stringify(policy)).slice(0, 120)} at ${pointer === '' ? 'the top' : pointer}`, () => {
      const problem = problemsOf(policy).find((one) => one.pointer === pointer);
      assert.ok(problem, JSON.stringify(problemsOf(policy)));
      if (hint === null) return;
      assert.match(problem.hint ?? '', hint);
    });
  }

  it('for a counter that is charged in two ways', () => {
    const [problem] = problemsOf({
      ...base,
      all_tools: { limits: [{ counter: 'c', window: 'day', max: 1 }] },
      tools: { t: { limits: [{ counter: 'c', window: 'hour', max: 1, charge: 'cpu_seconds' }] } },
    });
    assert.equal(problem?.pointer, '/tools/t/limits/0/charge');
  });

  it('with all its problems at once, in the order of the file', () => {
    const problems = problemsOf(
      '{"version":1,\n"defualt":"deny","default":"deny",\n"tools":{"t":{"limits":[{"counter":"c","window":"hour","max":0}],\n' +
        '"deny_if":[{"conditions":[{"path":"x","op":"is","value":1}]}]}},\n"sandbox":{"warm":-1}}',
    );
    assert.deepEqual(
      problems.map(({ pointer, line }) => [pointer, line]),
      [
        ['/version', 1],
        ['/defualt', 2],
        ['/tools/t/limits/0/max', 3],
        ['/tools/t/deny_if/0/conditions/0/path', 4],
        ['/tools/t/deny_if/0/conditions/0/op', 4],
        ['/sandbox/warm', 5],
      ],
    );
  });

  it('with a message that says where, what was expected, what came and what was meant', () => {
    assert.throws(
      () => parsePolicy('{"version":"1",\n"defalt":"deny"}', 'my.json'),
      (error: unknown) => {
        assert.ok(error instanceof PolicyError);
        assert.match(error.message, /^my\.json: not a valid policy, 2 problems\n/);
        assert.match(
          error.message,
          /\/defalt, line 2\n {4}expected {2}one of .*default.*\n {4}got .*"defalt"\n {4}hint .*"default"\?/,
        );
        return true;
      },
    );
  });
});

describe('every typo of every key', () => {
  function* keysOf(
    value: unknown,
    path: (string | number)[] = [],
  ): Generator<{ path: (string | number)[]; key: string }> {
    if (Array.isArray(value)) {
      for (const [index, item] of value.entries()) yield* keysOf(item, [...path, index]);
    } else if (typeof value === 'object' && value !== null) {
      for (const [key, inside] of Object.entries(value)) {
        // The names of tools are the owner's to choose; unknownTools looks after them.
        if (!(path.length === 1 && path[0] === 'tools')) yield { path, key };
        yield* keysOf(inside, [...path, key]);
      }
    }
  }

  function typosOf(key: string): Set<string> {
    const typos = new Set<string>([key.toUpperCase(), `${key} `, ` ${key}`, `${key}s`, key.replaceAll('_', '-')]);
    typos.add(key.replaceAll('_', ''));
    typos.add(key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()));
    for (let at = 0; at < key.length; at += 1) {
      typos.add(key.slice(0, at) + key.slice(at + 1));
      typos.add(key.slice(0, at + 1) + key.slice(at));
      typos.add(`${key.slice(0, at)}x${key.slice(at + 1)}`);
      typos.add(key.slice(0, at) + (key[at + 1] ?? '') + (key[at] ?? '') + key.slice(at + 2));
    }
    typos.delete(key);
    typos.delete('');
    return typos;
  }

  /** The policy with one key renamed. */
  function renamed(value: unknown, path: (string | number)[], key: string, typo: string): unknown {
    const [step, ...rest] = path;
    if (step === undefined) {
      return Object.fromEntries(
        Object.entries(value as object).map(([name, inside]) => [name === key ? typo : name, inside as unknown]),
      );
    }
    if (Array.isArray(value)) {
      return value.map((item: unknown, index) => (index === step ? renamed(item, rest, key, typo) : item));
    }
    return Object.fromEntries(
      Object.entries(value as object).map(([name, inside]) => [
        name,
        name === step ? renamed(inside, rest, key, typo) : (inside as unknown),
      ]),
    );
  }

  const escaped = (step: string | number) => String(step).replaceAll('~', '~0').replaceAll('/', '~1');
  let count = 0;
  for (const { path, key } of keysOf(everyKey)) {
    it(`of ${path.join('.')}${path.length === 0 ? '' : '.'}${key} is refused with its pointer`, () => {
      for (const typo of typosOf(key)) {
        const pointer = [...path, typo].map((step) => `/${escaped(step)}`).join('');
        const problems = problemsOf(renamed(everyKey, path, key, typo));
        assert.ok(
          problems.some((problem) => problem.pointer === pointer),
          `${pointer}: ${JSON.stringify(problems)}`,
        );
        count += 1;
      }
    });
  }
  after(() => {
    assert.ok(count > 1000, `only ${count} typos were tried`);
  });

  it('covers every key there is', () => {
    const known = Object.keys(policySchema.shape);
    assert.deepEqual(Object.keys(everyKey).sort(), known.sort());
  });

  it('in the name of a tool can be found by who knows the tools', () => {
    const policy = policyOf({ hide: ['*', 'code_exceute'], tools: { code_execute: {}, weather: {} } });
    assert.deepEqual(unknownTools(policy, ['code_execute']), [
      { path: ['hide', 1], tool: 'code_exceute', near: 'code_execute' },
      { path: ['tools', 'weather'], tool: 'weather', near: null },
    ]);
  });
});

describe('a policy file', () => {
  let folder = '';
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'cordon-policy-'));
  });
  after(async () => {
    await rm(folder, { recursive: true });
  });
  const shipped = '/shipped/policy.json';

  it('is the flag, then the environment, then the one here, then the shipped one', async () => {
    const env = { CORDON_POLICY: 'env.json' };
    assert.deepEqual(locatePolicy({ flag: 'flag.json', env, cwd: folder, shipped }), {
      path: join(folder, 'flag.json'),
      origin: '--policy',
    });
    assert.deepEqual(locatePolicy({ env, cwd: folder, shipped }), {
      path: join(folder, 'env.json'),
      origin: 'CORDON_POLICY',
    });
    assert.deepEqual(locatePolicy({ env: { CORDON_POLICY: '' }, cwd: folder, shipped }), {
      path: shipped,
      origin: 'shipped',
    });
    const here = join(folder, 'policy.json');
    await writeFile(here, publishedExample);
    assert.deepEqual(locatePolicy({ env: {}, cwd: folder, shipped }), { path: here, origin: './policy.json' });
    await rm(here);
  });

  it('that is a link to nowhere is refused, not skipped', async () => {
    const here = join(folder, 'policy.json');
    await symlink(join(folder, 'nowhere'), here);
    const located = locatePolicy({ env: {}, cwd: folder, shipped });
    assert.equal(located.origin, './policy.json');
    await assert.rejects(loadPolicy(located.path), PolicyError);
    await rm(here);
  });

  it('that was named and does not exist is refused', async () => {
    for (const { path } of [
      locatePolicy({ flag: 'missing.json', env: {}, cwd: folder, shipped }),
      locatePolicy({ flag: '', env: {}, cwd: folder, shipped }),
      locatePolicy({ env: { CORDON_POLICY: 'missing.json' }, cwd: folder, shipped }),
    ]) {
      await assert.rejects(loadPolicy(path), /no such file/);
    }
  });

  it('that is a directory, too long, or not UTF-8 is refused', async () => {
    const file = join(folder, 'bad.json');
    await assert.rejects(loadPolicy(folder), /a directory/);
    await writeFile(file, ' '.repeat(4_000_000));
    await assert.rejects(loadPolicy(file), PolicyError);
    await writeFile(file, Buffer.from([0x7b, 0xff, 0x7d]));
    await assert.rejects(loadPolicy(file), /UTF-8/);
    await writeFile(file, Buffer.from(publishedExample, 'utf16le'));
    await assert.rejects(loadPolicy(file), PolicyError);
  });

  it('may begin with a byte order mark, and has the hash of its bytes', async () => {
    const file = join(folder, 'bom.json');
    const bytes = Buffer.from(`\uFEFF${publishedExample}`, 'utf8');
    await writeFile(file, bytes);
    const loaded = await loadPolicy(file);
    assert.equal(loaded.hash, createHash('sha256').update(bytes).digest('hex'));
    assert.equal(loaded.source, file);
  });
});
