/** The shop window is true: what the README shows works as it stands. */

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { decide } from '../../src/policy/decide.js';
import { parsePolicy } from '../../src/policy/load.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const readme = readFileSync(join(root, 'README.md'), 'utf8');

/** The fenced blocks whose opening line is exactly `info`. */
function blocks(info: string): string[] {
  return [...readme.matchAll(/^```(.*)\n([\s\S]*?)^```$/gm)]
    .filter(([, opening]) => opening === info)
    .map(([, , body = '']) => body);
}

const policies = blocks('json policy');

test('there are policies to show', () => {
  assert.ok(policies.length >= 3);
});

for (const [index, text] of policies.entries()) {
  test(`policy ${index + 1} of the README loads, allows code_execute and denies every other tool`, () => {
    const { policy } = parsePolicy(text, `README.md, policy ${index + 1}`);
    const request = {
      args: { code: 'print(1)' },
      grant: { name: 'local' },
      client: { name: 'test', version: '1' },
      now: new Date(0),
    };
    assert.equal(decide(policy, { ...request, tool: 'code_execute' }).verdict, 'allow');
    assert.equal(decide(policy, { ...request, tool: 'another' }).verdict, 'deny');
  });
}

test('the other JSON in the README is JSON', () => {
  for (const block of blocks('json')) assert.doesNotThrow(() => JSON.parse(block) as unknown);
});

test('every npm script and every file that the README names is there', () => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  for (const [, name = ''] of readme.matchAll(/npm run (?:--silent )?([\w:]+)/g)) assert.ok(name in scripts, name);
  for (const [, path = ''] of readme.matchAll(/\]\((?!https?:)([^)#]+)\)/g))
    assert.ok(existsSync(join(dirname(join(root, 'README.md')), path)), path);
});
