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
    value: { code: 'print(1)', stdin: '', files: [], timeoutSeconds: undefined },
  });
});

test('an unknown argument is refused by name, with the arguments that exist', () => {
  const problems = problemsOf({ code: '', cwd: '/', 'shell\n': true });
  assert.match(problems, /unknown arguments "cwd", "shell\\n"/);
  assert.match(problems, /code \(required\), stdin, files, timeout_seconds/);
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

test('what clients are shown is what is checked', () => {
  const schema = argumentsJsonSchema();
  assert.deepEqual(Object.keys(schema.properties as object), ['code', 'stdin', 'files', 'timeout_seconds']);
  assert.deepEqual(schema.required, ['code']);
  assert.equal(schema.additionalProperties, false);
});

const withFiles = (...files: unknown[]) => ({ code: '', files });

test('files are decoded, text as UTF-8 and base64 as bytes', () => {
  const checked = checkArguments(
    withFiles({ name: 'a', text: 'ü' }, { name: 'd/b', base64: '/wA=' }, { name: 'c', base64: '' }),
  );
  assert.ok(checked.ok);
  assert.deepEqual(
    checked.value.files.map(({ name, bytes }) => [name, [...bytes]]),
    [
      ['a', [0xc3, 0xbc]],
      ['d/b', [0xff, 0]],
      ['c', []],
    ],
  );
});

const wrongFiles: [what: string, args: unknown, problem: RegExp][] = [
  ['no list', { code: '', files: 'a' }, /^files: expected an array of files, got a string$/],
  ['a name alone', withFiles('a'), /^files\.0: expected an object with name, and text or base64, got a string$/],
  ['no name', withFiles({ text: '' }), /^files\.0\.name is missing; a file has name, and text or base64$/],
  ['a number as content', withFiles({ name: 'a', text: 1 }), /^files\.0\.text: expected a string, got the number 1$/],
  ['no content', withFiles({ name: 'a' }), /^files\.0: expected either text or base64, got neither$/],
  [
    'two contents',
    withFiles({ name: 'a', text: '', base64: '' }),
    /^files\.0: expected either text or base64, got both$/,
  ],
  ['a path', withFiles({ name: 'a', text: '', path: '/etc' }), /^files\.0: unknown key "path"; a file has name/],
  ['half a surrogate pair', withFiles({ name: 'a', text: '\ud800' }), /^files\.0\.text: expected valid Unicode/],
  [
    'the same name twice',
    withFiles({ name: 'a', text: '' }, { name: 'a', text: '' }),
    /^files\.1\.name: "a" comes twice$/,
  ],
  [
    'a file as a directory',
    withFiles({ name: 'a', text: '' }, { name: 'a/b', text: '' }),
    /^files\.1\.name: "a\/b" needs a directory a, which is a file of this call$/,
  ],
  ['a name that climbs', withFiles({ name: '../x', text: '' }), /^files\.0\.name: "\.\.\/x" has a part/],
];
for (const [what, args, problem] of wrongFiles) {
  test(`files with ${what} are refused`, () => {
    assert.match(problemsOf(args), problem);
  });
}

test('ten thousand wrong files make a short answer', () => {
  const files = Array.from({ length: 10_000 }, () => ({ name: '/'.repeat(1000), text: '' }));
  assert.ok(problemsOf({ code: '', files }).length < 3000);
});
