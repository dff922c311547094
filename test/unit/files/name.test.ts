import assert from 'node:assert/strict';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { clash, nameProblem } from '../../../src/files/name.js';

for (const name of [
  'data.csv',
  'in/a.json',
  'a b/ü.txt',
  '-rf',
  '~',
  '...',
  '..x66',
  'x..',
  '.hidden',
  'CON',
  '日本\u3000語.txt',
  'x'.repeat(255),
  Array.from({ length: 33 }, () => 'd').join('/'),
]) {
  test(`a file may be named ${JSON.stringify(name.slice(0, 40))}`, () => {
    assert.equal(nameProblem(name), null);
  });
}

const refused: [name: string, problem: RegExp][] = [
  ['', /empty/],
  ['/etc/passwd', /begins with \//],
  ['../../x', /"\."|"\.\."/],
  ['a/../b', /"\.\."/],
  ['a/..', /"\.\."/],
  ['./a', /"\."/],
  ['.', /"\."/],
  ['a//b', /empty part/],
  ['a/', /empty part/],
  ['..\\x66', /backslash/],
  ['a\\..\\b', /backslash/],
  ['a\0b', /U\+0000/],
  ['a\nb', /U\+000A/],
  ['a\u001b[2Jb', /U\+001B/],
  ['a\u202efdp.exe', /U\+202E/],
  ['a\u200bb', /U\+200B/],
  ['a\u2028b', /U\+2028/],
  ['a\ud800b', /U\+D800/],
  ['\ufeffa', /U\+FEFF/],
  ['x'.repeat(256), /longer than 255 bytes/],
  ['ü'.repeat(128), /longer than 255 bytes/],
  [`${'x'.repeat(200)}/`.repeat(6) + 'y', /longer than 1024 bytes/],
  [Array.from({ length: 34 }, () => 'd').join('/'), /32 directories deep/],
];
for (const [name, problem] of refused) {
  test(`no file may be named ${JSON.stringify(name.slice(0, 40))}`, () => {
    assert.match(nameProblem(name) ?? 'nothing', problem);
  });
}

test('whatever passes lies below the directory it is joined to', () => {
  const part = fc.oneof(fc.constantFrom('.', '..', '', '/', '\\', 'a'), fc.string({ maxLength: 4 }));
  fc.assert(
    fc.property(fc.array(part, { maxLength: 5 }), (parts) => {
      const name = parts.join('/');
      if (nameProblem(name) !== null) return;
      assert.ok(resolve(join('/top', name)).startsWith('/top/'));
    }),
  );
});

test('no name may come twice, and none may be a directory of another', () => {
  assert.equal(clash(['a', 'b/c', 'b/d', 'ab']), null);
  assert.deepEqual(clash(['a', 'b', 'a']), { index: 2, problem: 'comes twice' });
  assert.equal(clash(['a/b/c', 'a/b'])?.index, 0);
  assert.equal(clash(['a', 'a/b'])?.index, 1);
  assert.equal(clash(['constructor', '__proto__', '__proto__/x'])?.index, 2);
});
