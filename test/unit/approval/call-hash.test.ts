import assert from 'node:assert/strict';
import { test } from 'node:test';
import { callHash, type ExactProgram } from '../../../src/approval/call-hash.js';

const file = { name: 'a', bytes: 1, sha256: 'ab'.repeat(32) };
const state = { digest: 'abc', step: 1, state: 7 };
const call: ExactProgram = {
  tool: 'code_execute',
  code: 'print(1)',
  stdin: '',
  files: [file],
  timeoutSeconds: null,
  session: state,
};

const changes: [what: string, changed: Partial<ExactProgram>][] = [
  ['other code', { code: 'print(2)' }],
  ['no files', { files: [] }],
  ['a file more', { files: [file, { ...file, name: 'b' }] }],
  ['a file of another name', { files: [{ ...file, name: 'b' }] }],
  ['no session', { session: null }],
  ['a new session', { session: 'new' }],
  ['another session', { session: { ...state, digest: 'abd' } }],
  ['another state of the session', { session: { ...state, state: 8 } }],
  ['a file with other content', { files: [{ ...file, sha256: 'cd'.repeat(32) }] }],
];
for (const [what, changed] of changes) {
  test(`an approval is for this very call: ${what} makes it another`, () => {
    assert.notEqual(callHash({ ...call, ...changed }), callHash(call));
  });
}

test('a session tool with other arguments, or at another state, is another call', () => {
  const rewind = { tool: 'session_rewind', args: { steps: 1 }, session: state };
  const others = [
    { ...rewind, args: { steps: 2 } },
    { ...rewind, session: { ...state, state: 8 } },
    { ...rewind, tool: 'session_fork' },
  ];
  assert.equal(new Set([rewind, ...others].map(callHash)).size, 4);
});
