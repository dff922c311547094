import assert from 'node:assert/strict';
import { test } from 'node:test';
import { argumentsJsonSchema, checkArguments } from '../../src/arguments.js';

function problemsOf(args: unknown): string {
  const checked = checkArguments(args);
  assert.equal(checked.ok, false);
  return checked.problems.join('\n');
}

test('code alone is enough: stdin is empty and no time limit is asked for', () => {
  assert.deepEqual(checkArguments({ code: 'print(1)' }), {
    ok: true,
    value: { code: 'print(1)', stdin: '', files: [], timeoutSeconds: undefined, session: undefined },
  });
});

test('an unknown argument is refused by name, with the arguments that exist', () => {
  const problems = problemsOf({ code: '', cwd: '/', 'shell\n': true });
  assert.match(problems, /unknown arguments "cwd", "shell\\n"/);
  assert.match(problems, /code \(required\), stdin, files, timeout_seconds, session/);
});

test('a key named __proto__ is an unknown argument like any other', () => {
  assert.match(problemsOf(JSON.parse('{"code": "", "__proto__": {"timeout_seconds": 1}}')), /"__proto__"/);
});

test('ten thousand unknown arguments make a short answer', () => {
  const args = Object.fromEntries(Array.from({ length: 10_000 }, (_, n) => [`${n}${'x'.repeat(1000)}`, 1]));
  assert.ok(problemsOf({ code: '', ...args }).length < 2000);
});

test('every problem is told at once, with what was expected and what came', () => {
  const problems = problemsOf({ code: 7, stdin: ['a'], timeout_seconds: -1 });
  assert.match(problems, /code: expected a string, got the number 7/);
  assert.match(problems, /stdin: expected a string, got an array/);
  assert.match(problems, /timeout_seconds: expected a number greater than 0, got the number -1/);
});

test('a missing program is told as missing', () => {
  assert.match(problemsOf({}), /code is missing/);
});

for (const timeout of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, '5', null, true]) {
  test(`timeout_seconds ${JSON.stringify(timeout)} (${String(timeout)}) is refused`, () => {
    assert.match(
      problemsOf({ code: '', timeout_seconds: timeout }),
      /timeout_seconds: expected a number greater than 0/,
    );
  });
}

test('half a surrogate pair is refused, because the program would get another text', () => {
  assert.match(problemsOf({ code: 'print("\ud800")' }), /code: expected valid Unicode, .* at character 7/);
  assert.match(problemsOf({ code: '', stdin: '\udc00' }), /stdin: expected valid Unicode/);
  assert.equal(checkArguments({ code: '# \u{1f600}' }).ok, true);
});

test('where the policy has no sessions, none is offered', () => {
  assert.deepEqual(Object.keys(argumentsJsonSchema(false).properties as object), [
    'code',
    'stdin',
    'files',
    'timeout_seconds',
  ]);
});

test('what clients are shown is what is checked', () => {
  const schema = argumentsJsonSchema(true);
  assert.deepEqual(Object.keys(schema.properties as object), ['code', 'stdin', 'files', 'timeout_seconds', 'session']);
  assert.deepEqual(schema.required, ['code']);
  assert.equal(schema.additionalProperties, false);
});
