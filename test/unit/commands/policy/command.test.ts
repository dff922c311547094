/** `cordon policy`, as a person or a CI job runs it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Simulation } from '../../../../src/commands/policy/simulate.js';
import type { Explanation } from '../../../../src/commands/policy/explain.js';

const main = fileURLToPath(new URL('../../../../src/main.js', import.meta.url));
const dialects = fileURLToPath(new URL('../../../../../test/fixtures/dialects/', import.meta.url));
let directory = '';
before(() => {
  directory = mkdtempSync(join(tmpdir(), 'cordon-policy-'));
});
after(() => {
  rmSync(directory, { recursive: true });
});

function cordon(argv: readonly string[], input = '') {
  const env = { PATH: process.env.PATH, HOME: directory };
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, 'policy', ...argv], {
    cwd: directory,
    env,
    input,
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

function file(name: string, content: unknown): string {
  const path = join(directory, name);
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

const rules = (parts: Record<string, unknown>) => ({ version: '1', default: 'deny', tools: { code_execute: parts } });

describe('cordon policy', () => {
  const wrong: [readonly string[], RegExp][] = [
    [[], /expected one of check, explain/],
    [['frobnicate'], /got "frobnicate"/],
    [['constructor'], /got "constructor"/],
    [['check', 'a', 'b'], /expected one FILE/],
    [['explain', '--arg', 'x'], /expected NAME=VALUE/],
    [['test'], /no file of cases/],
    [['convert', 'a', 'b'], /expected one FILE/],
    [['schema', 'x'], /Unexpected argument/],
    [['simulate'], /expected one POLICY/],
    [['simulate', 'a'], /expected --audit FILE/],
  ];
  for (const [argv, words] of wrong) {
    it(`answers a wrong command line with the usage and status 2: ${argv.join(' ') || '(nothing)'}`, () => {
      const { status, stdout, stderr } = cordon(argv);
      assert.equal(status, 2, stderr);
      assert.equal(stdout, '');
      assert.match(stderr, words);
      assert.match(stderr, /Usage: cordon policy/);
    });
  }
  it('has help', () => {
    const { status, stdout } = cordon(['--help']);
    assert.equal(status, 0);
    for (const name of ['check', 'explain', 'test', 'convert', 'schema', 'simulate']) assert.ok(stdout.includes(name));
  });
});

describe('cordon policy check', () => {
  it('is content with a valid policy, and warns of a tool that is not there', () => {
    const { status, stdout, stderr } = cordon(['check', file('p.json', { ...rules({}), hide: ['code_exeute'] })]);
    assert.equal(status, 0);
    assert.match(stdout, /^valid: .*p\.json\n/);
    assert.match(stderr, /warning: \/hide\/0: .* did you mean "code_execute"\?/);
  });

  it('says all that is wrong at once, each with line, expectation and hint, with status 2', () => {
    const broken = file(
      'broken.json',
      '{ "version": "1",\n "default": "maybe",\n "tools": { "t": { "limitz": [] } } }',
    );
    const { status, stdout, stderr } = cordon(['check', broken]);
    assert.equal(status, 2);
    assert.equal(stdout, '');
    assert.match(stderr, /2 problems/);
    assert.match(stderr, /\/default, line 2\n {4}expected {2}"allow" or "deny"\n {4}got {7}"maybe"/);
    assert.match(stderr, /\/tools\/t\/limitz, line 3[^]*did you mean "limits"\?/);
    const json = JSON.parse(cordon(['check', broken, '--json']).stdout) as { valid: boolean; problems: unknown[] };
    assert.equal(json.valid, false);
    assert.equal(json.problems.length, 2);
  });

  it('shows the way out of another dialect', () => {
    for (const name of ['intercept.yaml', 'tools.json', 'rules.yaml']) {
      const { status, stderr } = cordon(['check', join(dialects, name)]);
      assert.equal(status, 2);
      assert.match(stderr, /cordon policy convert FILE/);
    }
  });

  it('can’t be made to steer the terminal', () => {
    const { stderr } = cordon(['check', file('evil.json', '{ "version": "1", "default": "deny", "a\\u009b2J": 1 }')]);
    assert.doesNotMatch(stderr, /\u009b/);
  });
});

describe('cordon policy explain', () => {
  const policy = rules({
    deny_if: [{ conditions: [{ path: 'code.imports', op: 'contains', value: 'socket' }], on_deny: 'No network.' }],
    require_approval: [{ conditions: [{ path: 'args.timeout_seconds', op: 'gt', value: 20 }], message: 'So long?' }],
    limits: [{ counter: 'c', window: 'minute', max: 10 }],
  });

  it('allows with status 0, and shows the limits with what is left', () => {
    const { status, stdout } = cordon([
      'explain',
      '--policy',
      file('e.json', policy),
      '--code',
      file('a.py', 'print(1)'),
    ]);
    assert.equal(status, 0, stdout);
    assert.match(stdout, /^decision {2}allow$/m);
    assert.match(stdout, /\/limits\/0 {2}costs 1 {2}10 of 10 calls left/);
    assert.match(stdout, /no {2}code\.imports contains "socket" {2}code\.imports is \[\]/);
  });

  it('denies with status 1, naming the rule, its text and what it compared', () => {
    const { status, stdout } = cordon(['explain', '--policy', file('e.json', policy), '--code', '-'], 'import socket');
    assert.equal(status, 1);
    assert.match(
      stdout,
      /deny \(condition_denied\)\nrule {6}\/tools\/code_execute\/deny_if\/0\n {10}\{.*No network\."\}\n/,
    );
    assert.match(stdout, /yes {2}code\.imports contains "socket" {2}code\.imports is \["socket"\]/);
  });

  it('asks with status 3, from a call in JSON with flags over it', () => {
    const call = JSON.stringify({ code: 'print(1)', args: { timeout_seconds: 5 }, at: '2026-03-04T15:30:00Z' });
    const argv = [
      'explain',
      '--policy',
      file('e.json', policy),
      '--call',
      '-',
      '--arg',
      'timeout_seconds=30',
      '--json',
    ];
    const { status, stdout } = cordon(argv, call);
    assert.equal(status, 3, stdout);
    const { decision, limits } = JSON.parse(stdout) as Explanation;
    assert.equal(decision.message, 'So long?');
    assert.deepEqual(
      limits.map(({ left, cost, resetsInMs }) => [left, cost, resetsInMs]),
      [[10, 1, 60_000]],
    );
  });

  it('knows what is refused before any rule is asked', () => {
    const path = file('e.json', policy);
    const table: [string[], RegExp][] = [
      [['--arg', 'cod=x'], /deny \(invalid_arguments\)/],
      [['--tool', 'other'], /deny \(tool_not_allowed\)/],
    ];
    for (const [flags, words] of table) {
      const { status, stdout } = cordon(['explain', '--policy', path, ...flags]);
      assert.equal(status, 1);
      assert.match(stdout, words);
    }
  });

  it('says what is wrong with a call', () => {
    const { status, stderr } = cordon(['explain', '--policy', file('e.json', policy), '--at', 'tomorrow']);
    assert.equal(status, 2);
    assert.match(stderr, /the call is not what was expected\n {2}\/at: /);
  });
});

describe('cordon policy test', () => {
  const policy = rules({ limits: [{ counter: 'c', window: 'minute', max: 10 }] });
  const cases = [
    { name: 'a program runs', call: { code: '1' }, expect: 'allow' },
    { name: 'ten a minute', call: { code: '1' }, repeat: 10, expect: 'allow' },
    {
      name: 'and no more',
      call: { code: '1' },
      repeat: 11,
      expect: 'deny',
      code: 'limit_reached',
      rule: '/tools/code_execute/limits/0',
    },
  ];

  it('passes with status 0, and finds the policy from where the file is', () => {
    file('p.json', policy);
    const { status, stdout } = cordon(['test', file('cases.json', { policy: 'p.json', cases })]);
    assert.equal(status, 0, stdout);
    assert.equal(stdout, '3 passed\n');
  });

  it('fails with status 1, and says what was expected, what came and why', () => {
    const yaml =
      '- name: never\n  call: { code: "1", at: 2026-03-04T15:30:00Z }\n  expect: deny\n  code: condition_denied\n';
    const { status, stdout } = cordon(['test', file('cases.yaml', yaml), '--policy', file('p.json', policy)]);
    assert.equal(status, 1);
    assert.match(
      stdout,
      /^FAILED {2}.*cases\.yaml: never\n {2}expected {2}deny \(condition_denied\)\n {2}got {7}allow by \/tools\/code_execute\n {2}because {3}it is allow/,
    );
    assert.match(stdout, /\n1 of 1 failed\n$/);
  });

  it('refuses a file of cases with a typo, with status 2', () => {
    const { status, stderr } = cordon(['test', file('typo.json', [{ ...cases[0], expects: 'deny' }])]);
    assert.equal(status, 2);
    assert.match(stderr, /\/0: Unrecognized key: "expects"/);
  });
});

describe('cordon policy convert', () => {
  it('prints the policy on stdout and the rest on stderr; status 0 where all is kept', () => {
    const { status, stdout, stderr } = cordon(['convert', join(dialects, 'intercept.yaml')]);
    assert.equal(status, 0, stderr);
    assert.match(stderr, /Intercept[^]*every decision is kept/);
    const { status: valid } = cordon(['check', file('converted.json', stdout)]);
    assert.equal(valid, 0);
  });

  it('status 1 where something has no equivalent, with its place', () => {
    const original = { version: '1', default: 'deny', tools: { code_execute: { action: 'allow', schedule: 'night' } } };
    const { status, stdout, stderr } = cordon(['convert', '-'], JSON.stringify(original));
    assert.equal(status, 1);
    assert.match(stderr, /lost {2}line 1 {2}\/tools\/code_execute\/schedule/);
    assert.equal(cordon(['explain', '--policy', file('lost.json', stdout)], '').status, 1);
  });

  it('status 2 for what is no policy', () => {
    const { status, stdout, stderr } = cordon(['convert', '-'], 'hello');
    assert.equal(status, 2);
    assert.equal(stdout, '');
    assert.match(stderr, /standard input: not a valid policy/);
  });
});

it('cordon policy schema prints the schema that is shipped', () => {
  const shipped = new URL('../../../../../policy.schema.json', import.meta.url);
  assert.deepEqual(JSON.parse(cordon(['schema']).stdout), JSON.parse(readFileSync(shipped, 'utf8')));
});

describe('cordon policy simulate', () => {
  const line = (at: string, changes: Record<string, unknown> = {}) => ({
    time: `2026-03-04T15:${at}Z`,
    runId: 'r',
    grant: 'local',
    client: { name: 'claude-code', version: '2' },
    tool: 'code_execute',
    decision: { verdict: 'allow', rule: '/tools/code_execute', code: null },
    policyHash: 'x',
    codeSha256: 'x',
    codeBytes: 8,
    status: 'ok',
    exitCode: 0,
    signal: null,
    usage: { durationMs: 500, cpuMs: 400, peakMemoryBytes: 1 },
    tier: 'strict',
    ...changes,
  });
  const log = (lines: readonly unknown[]) =>
    lines.map((one) => (typeof one === 'string' ? one : JSON.stringify(one))).join('\n');

  it('says which calls would be decided otherwise, by the clock of the log', () => {
    const audit = file(
      'audit.jsonl',
      log([
        line('30:01.000'),
        line('30:02.000'),
        line('30:03.000'),
        line('31:01.000'),
        line('31:02.000', { codeBytes: 900 }),
      ]),
    );
    const policy = rules({
      deny_if: [{ conditions: [{ path: 'code.bytes', op: 'gt', value: 500 }] }],
      limits: [{ counter: 'c', window: 'minute', max: 2 }],
    });
    const { status, stdout } = cordon(['simulate', file('s.json', policy), '--audit', audit]);
    assert.equal(status, 0, stdout);
    assert.match(stdout, /^5 calls under/);
    assert.match(stdout, /3 {6}allow/);
    assert.match(stdout, /2 would be decided otherwise:/);
    assert.match(stdout, /15:30:03\.000Z {2}code_execute {2}local {2}allow {2}deny \(limit_reached\)/);
    assert.match(stdout, /15:31:02\.000Z .* deny \(condition_denied\) {2}\/tools\/code_execute\/deny_if\/0/);
  });

  it('charges what calls cost, when they ended', () => {
    const audit = file('audit.jsonl', log([line('30:01.000'), line('30:02.000'), line('30:03.000')]));
    const policy = rules({ limits: [{ counter: 'c', window: 'day', max: 1, charge: 'wall_seconds' }] });
    const { stdout } = cordon(['simulate', file('s.json', policy), '--audit', audit, '--json']);
    const { changes } = JSON.parse(stdout) as Simulation;
    assert.deepEqual(
      changes.map(({ time, wouldBe }) => [time.slice(14, 22), wouldBe.code]),
      [['30:03.00', 'budget_spent']],
    );
  });

  it('says what the log can’t tell: arguments, and lines that can’t be read', () => {
    const refused = {
      decision: { verdict: 'deny', rule: null, code: 'invalid_arguments' },
      status: 'denied',
      usage: null,
    };
    const audit = file(
      'audit.jsonl',
      log([{ kind: 'policy_refused' }, line('30:01.000'), '{"torn', line('30:02.000', refused)]),
    );
    const policy = rules({ deny_if: [{ conditions: [{ path: 'args.stdin', op: 'exists', value: true }] }] });
    const { status, stdout } = cordon(['simulate', file('s.json', policy), '--audit', audit]);
    assert.equal(status, 0);
    assert.match(stdout, /1 {6}unknown {3}-/);
    assert.match(
      stdout,
      /1 call can't be told: arguments and code are not logged, and \/tools\/code_execute\/deny_if\/0/,
    );
    assert.match(stdout, /1 {6}kept/);
    assert.match(stdout, /no call would be decided otherwise/);
    assert.match(stdout, /1 line could not be read: .*audit\.jsonl:3/);
  });

  it('takes an answered question for a question', () => {
    const decision = { verdict: 'deny', rule: '/tools/code_execute/require_approval/0', code: 'approval_timeout' };
    const audit = file(
      'audit.jsonl',
      log([line('30:01.000', { kind: 'call', approval: { id: 'a' } }), line('30:02.000', { decision, usage: null })]),
    );
    const { stdout } = cordon([
      'simulate',
      file('s.json', rules({ require_approval: [{}] })),
      '--audit',
      audit,
      '--json',
    ]);
    const { changes, counts } = JSON.parse(stdout) as Simulation;
    assert.deepEqual(changes, []);
    assert.deepEqual(
      counts.map(({ verdict, calls }) => [verdict, calls]),
      [['ask', 2]],
    );
  });

  it('status 1 for a log with no call in it, 2 for one that is not there', () => {
    const policy = file('s.json', rules({}));
    assert.equal(cordon(['simulate', policy, '--audit', file('empty.jsonl', '')]).status, 1);
    const { status, stderr } = cordon(['simulate', policy, '--audit', join(directory, 'none.jsonl')]);
    assert.equal(status, 2);
    assert.match(stderr, /can't read .*none\.jsonl/);
  });
});
