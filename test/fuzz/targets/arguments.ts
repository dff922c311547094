/** The arguments of a call: checked whole, or refused with words that stay short whatever was sent. */
import assert from 'node:assert/strict';
import { checkArguments } from '../../../src/arguments.js';
import type { FuzzTarget } from '../target.js';

const MAX_PROBLEMS_CHARS = 16 << 10;

export const callArguments: FuzzTarget = {
  name: 'arguments',
  seeds: ['{"code":"print(1)"}', '{"code":"1","stdin":"x","timeout_seconds":2.5}', '[]', 'null', '"code"'],
  words: [
    '"code":',
    '"stdin":',
    '"timeout_seconds":',
    '"__proto__":',
    '"toString":',
    '1e308',
    '-1',
    '\\ud800',
    '\\u0000',
    '{}',
    '[]',
    'null',
  ],
  maxBytes: 2048,
  cases: 4000,
  run(input) {
    let args: unknown;
    try {
      args = JSON.parse(Buffer.from(input).toString());
    } catch {
      return;
    }
    const checked = checkArguments(args);
    if (checked.ok) {
      const { code, stdin, timeoutSeconds } = checked.value;
      assert.ok(Buffer.from(code).toString() === code && Buffer.from(stdin).toString() === stdin);
      assert.ok(timeoutSeconds === undefined || (timeoutSeconds > 0 && Number.isFinite(timeoutSeconds)));
    } else {
      const said = checked.problems.join('\n');
      assert.ok(said !== '' && said.length < MAX_PROBLEMS_CHARS, `${said.length} characters`);
    }
  },
};
