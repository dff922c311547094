/** A policy file: a frozen policy, or a PolicyError that says where; the strict reader agrees with JSON.parse wherever both read. */
import assert from 'node:assert/strict';
import { decide } from '../../../src/policy/decide.js';
import { parsePolicy, PolicyError } from '../../../src/policy/load.js';
import { readJson } from '../../../src/policy/json.js';
import type { FuzzTarget } from '../target.js';
import { POLICY_SEEDS, POLICY_WORDS } from './policy-seeds.js';

const REQUEST = {
  tool: 'code_execute',
  args: { code: 'print(1)' },
  grant: { name: 'local' },
  client: { name: 'client', version: '1' },
  now: new Date(0),
};

export const policy: FuzzTarget = {
  name: 'policy',
  seeds: POLICY_SEEDS,
  words: POLICY_WORDS,
  maxBytes: 8192,
  cases: 3000,
  run(input) {
    const text = new TextDecoder().decode(input);
    const read = readJson(text);
    if ('document' in read) {
      const parsed = JSON.parse(text) as unknown;
      if (!text.includes('__proto__')) assert.deepEqual(read.document.value, parsed);
    } else {
      assert.ok(read.faults.length > 0 && read.faults.every((fault) => fault.line >= 1));
    }
    try {
      const loaded = parsePolicy(text, 'fuzzed');
      assert.ok(Object.isFrozen(loaded.policy));
      // What is accepted can be decided with.
      decide(loaded.policy, REQUEST);
    } catch (error) {
      if (!(error instanceof PolicyError)) throw error;
      assert.ok(error.problems.length > 0 && error.message.length < 4 << 20);
    }
  },
};
