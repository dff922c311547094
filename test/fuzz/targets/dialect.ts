/** A policy of another dialect, JSON or YAML: converted to one that is valid, or refused; never a hang, never anything else thrown. */
import assert from 'node:assert/strict';
import { convertPolicy } from '../../../src/policy/convert.js';
import { parsePolicy, PolicyError } from '../../../src/policy/load.js';
import type { FuzzTarget } from '../target.js';

export const dialect: FuzzTarget = {
  name: 'dialect',
  seeds: [
    'version: "1"\ndefault: deny\ntools:\n  code_execute:\n    rules:\n      - name: r\n        action: deny\n        conditions:\n          - path: args.code\n            op: contains\n            value: x\n        rate_limit: 10/minute\n',
    'rules:\n  - tool: "*"\n    action: allow\n    reason: why\n  - tool: code_execute\n    rate_limit: {max: 3, window: hour}\n',
    '{"rules":[{"tool":"code_execute","action":"deny","when":{"args.code":{"contains":"os"}}}]}',
    'a: &a [1, *a]\nb: !!binary x\n<<: {c: 1}\nd: 2020-01-01\n',
  ],
  words: [
    ...[
      '- ',
      '\n  ',
      ': ',
      '&a ',
      '*a',
      '<<: ',
      '!!set ',
      '|\n',
      '>-\n',
      '? ',
      '---\n',
      '...\n',
      '{',
      '}',
      '[',
      ']',
      '"',
      "'",
      '#',
      '%YAML 1.2\n',
    ],
    ...[
      'rules',
      'action',
      'deny',
      'allow',
      'rate_limit',
      '10/minute',
      'conditions',
      'path',
      'op',
      'value',
      'tools',
      'default',
      'on_deny',
    ],
  ],
  maxBytes: 2048,
  cases: 1000,
  async run(input) {
    const text = new TextDecoder().decode(input);
    try {
      const { text: written } = await convertPolicy(text, 'fuzzed');
      parsePolicy(written, 'converted');
    } catch (error) {
      if (!(error instanceof PolicyError)) throw error;
      assert.ok(error.problems.length > 0);
    }
  },
};
