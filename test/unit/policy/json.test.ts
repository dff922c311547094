import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { maxDepth, maxTextLength, readJson } from '../../../src/policy/json.js';

function valueOf(text: string): unknown {
  const read = readJson(text);
  assert.ok('document' in read, JSON.stringify(read));
  return read.document.value;
}

function parses(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

describe('the strict JSON reader', () => {
  it('reads what JSON.parse reads, to the same value', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 6 }), fc.constantFrom(undefined, 1, '\t'), (text, indent) => {
        const expected: unknown = JSON.parse(text);
        fc.pre(!text.includes('__proto__'));
        assert.deepEqual(valueOf(JSON.stringify(expected, null, indent)), expected);
      }),
    );
  });

  it('refuses what JSON.parse refuses', () => {
    const pieces = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ':',
      ',',
      '"a"',
      '"b"',
      '1',
      '-',
      '0',
      '.5',
      'e3',
      'true',
      'nul',
      ' ',
      '"\\u00',
      '\\',
      '\n',
      "'",
    );
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 12 }), (parts) => {
        const text = parts.join('');
        if (parses(text)) return;
        assert.ok('faults' in readJson(text), text);
      }),
      { numRuns: 2000 },
    );
  });

  const refused: [text: string, pointer: string, got: RegExp, line: number][] = [
    ['{"a":1,\n"a":2}', '/a', /"a" a second time/, 2],
    ['{"a":1,"\\u0061":2}', '/a', /second time/, 1],
    ['{"x":[{},{"b":1,\n\n"b":1}]}', '/x/1/b', /second time/, 3],
    ['{"__proto__":{"version":"1"}}', '/__proto__', /__proto__/, 1],
    ['{"a":{"\\u005f_proto__":1}}', '/a/__proto__', /__proto__/, 1],
    ['{"max":1e999}', '/max', /1e999/, 1],
    ['{"a":-1e999}', '/a', /-1e999/, 1],
    ['{"a":1,}', '', /"}"/, 1],
    ['[1,]', '', /"]"/, 1],
    ['{"a" 1}', '/a', /"1"/, 1],
    ['{"a":01}', '/a', /"1"/, 1],
    ['{"a":NaN}', '/a', /"N"/, 1],
    ['{"a":"\n"}', '/a', /"\\n"/, 1],
    ['{"a":"\\x41"}', '/a', /./, 1],
    ['// note\n{}', '', /"\/"/, 1],
    ["{'a':1}", '', /"'"/, 1],
    ['{"a":1} x', '', /"x"/, 1],
    ['', '', /end of the text/, 1],
    ['{"a":', '/a', /end of the text/, 1],
    [`{"${'k'.repeat(300)}":1}`, '', /300/, 1],
    [' '.repeat(maxTextLength + 1), '', /1048577/, 1],
  ];
  for (const [text, pointer, got, line] of refused) {
    it(`refuses ${JSON.stringify(text.slice(0, 40))} at ${pointer === '' ? 'the top' : pointer}`, () => {
      const read = readJson(text);
      assert.ok('faults' in read);
      assert.equal(read.faults.length, 1);
      const [fault] = read.faults;
      assert.equal(fault?.pointer, pointer);
      assert.match(fault.got, got);
      assert.equal(fault.line, line);
    });
  }

  it('tells of all keys that come twice at once', () => {
    const read = readJson('{"a":1,"a":2,"b":{"c":1,"c":2}}');
    assert.ok('faults' in read);
    assert.deepEqual(
      read.faults.map(({ pointer }) => pointer),
      ['/a', '/b/c'],
    );
  });

  it('reads to the greatest depth and not below it', () => {
    assert.ok('document' in readJson('['.repeat(maxDepth) + ']'.repeat(maxDepth)));
    assert.ok('faults' in readJson('['.repeat(maxDepth + 1) + ']'.repeat(maxDepth + 1)));
    assert.ok('faults' in readJson('['.repeat(1_000_000)));
  });

  it('keeps names that objects inherit as ordinary keys', () => {
    assert.deepEqual(Object.keys(valueOf('{"constructor":1,"toString":2}') as object), ['constructor', 'toString']);
  });

  it('knows where a value begins', () => {
    const text = '{\n "a": [\n  1,\n  {"b": 2}\n ]\n}';
    const read = readJson(text);
    assert.ok('document' in read);
    const line = (...path: (string | number)[]) => read.document.lineAt(read.document.offsetAt(path));
    assert.deepEqual([line(), line('a'), line('a', 0), line('a', 1, 'b'), line('a', 1, 'missing')], [1, 2, 3, 4, 4]);
  });
});
