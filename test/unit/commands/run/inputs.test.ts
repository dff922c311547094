import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UsageError } from '../../../../src/command.js';
import { namedFiles } from '../../../../src/commands/run/inputs.js';

test('a file is called by its last part, or by what follows the last =', () => {
  assert.deepEqual(namedFiles(['/srv/sales.csv', 'a=b.csv=in/c.csv', './d']), [
    { path: '/srv/sales.csv', name: 'sales.csv' },
    { path: 'a=b.csv', name: 'in/c.csv' },
    { path: './d', name: 'd' },
  ]);
});

for (const [said, why] of [
  [['a=../b'], /\.\./],
  [['a=/etc/b'], /begins with \//],
  [['a='], /is empty/],
  [['=b'], /no path/],
  [['..'], /"\.\."/],
  [['x/a', 'y/a'], /comes twice/],
  [['a=b', 'c=b/d'], /needs a directory b/],
  [['a=b\x1b[2J'], /invisible character U\+001B/],
] as const) {
  test(`--file ${said.join(' --file ')} is refused before anything starts`, () => {
    assert.throws(
      () => namedFiles(said),
      (error) => error instanceof UsageError && why.test(error.message),
    );
  });
}
