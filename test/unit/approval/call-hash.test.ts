import assert from 'node:assert/strict';
import { test } from 'node:test';
import { callHash, type ExactCall } from '../../../src/approval/call-hash.js';

const file = { name: 'a', bytes: 1, sha256: 'ab'.repeat(32) };
const call: ExactCall = { tool: 'code_execute', code: 'print(1)', stdin: '', files: [file], timeoutSeconds: null };

const changes: [what: string, changed: Partial<ExactCall>][] = [
  ['other code', { code: 'print(2)' }],
  ['no files', { files: [] }],
  ['a file more', { files: [file, { ...file, name: 'b' }] }],
  ['a file of another name', { files: [{ ...file, name: 'b' }] }],
  ['a file with other content', { files: [{ ...file, sha256: 'cd'.repeat(32) }] }],
];
for (const [what, changed] of changes) {
  test(`an approval is for this very call: ${what} makes it another`, () => {
    assert.notEqual(callHash({ ...call, ...changed }), callHash(call));
  });
}
