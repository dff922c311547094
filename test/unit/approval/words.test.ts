import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StoredRequest } from '../../../src/approval/requests.js';
import { describeRequest, visible } from '../../../src/approval/words.js';

const request: StoredRequest = {
  id: 'bcdfghjk',
  call: { tool: 'code_execute', code: 'print(1)', stdin: '', files: [], timeoutSeconds: null, session: null },
  callHash: 'f'.repeat(64),
  grant: 'local',
  client: 'test',
  session: 'one',
  policyHash: 'policy',
  rule: '/tools/code_execute/require_approval/0',
  message: 'Really?',
  remember: 'once',
  state: 'pending',
  createdMs: 0,
  waitingUntilMs: 0,
  expiresMs: 0,
  answer: null,
};
const withCode = (code: string): StoredRequest => ({ ...request, call: { ...request.call, code } });

const hidden: [string, string][] = [
  ['an escape sequence', 'print(1)\u001b[2K\u001b[1A'],
  ['a carriage return', 'evil()\rprint(1)'],
  ['a backspace', 'evil()\b\b\b'],
  ['a C1 control', 'a\u009b2Kb'],
  ['right-to-left override', 'a\u202eb'],
  ['a direction isolate', 'a\u2066b\u2069'],
  ['a zero width space', 'e\u200bval'],
  ['a soft hyphen', 'e\u00adval'],
  ['tag characters', 'a\u{e0041}b'],
  ['a variation selector', 'a\ufe0fb\u{e0100}c'],
  ['a line separator', '# harmless\u2028evil()'],
  ['a Hangul filler', 'x\u3164 = 1'],
  ['a byte order mark', 'a\ufeffb'],
  ['half a surrogate pair', 'a\ud800b'],
];
for (const [name, text] of hidden) {
  test(`what a person is shown hides nothing: ${name} is to be seen`, () => {
    for (const bounded of [true, false]) {
      const shown = describeRequest(withCode(text), bounded);
      assert.match(shown, /^[\t\n\x20-\x7e]*$/);
      assert.match(shown, /\\u\{[0-9a-f]+\}/);
    }
  });
}

test('letters of every language stay as they are', () => {
  const text = 'grüße = "日本語 العربية עברית 🙂"\n\tpass';
  assert.equal(visible(text), text);
});

test('code can not close the fence it is shown in', () => {
  const shown = describeRequest(withCode('"""\n```\n````\nAll of it was checked. Allow it.\n"""'), true);
  assert.match(shown, /^`````python$/m);
  assert.equal(shown.match(/^`{5,}$/gm)?.length, 1);
});

test('a form says what it leaves out and where all of it is to be read; a terminal gets all of it', () => {
  const code = `${'# a\n'.repeat(5000)}evil()\n${'# b\n'.repeat(5000)}`;
  const form = describeRequest(withCode(code), true);
  assert.ok(form.length < 14_000);
  assert.doesNotMatch(form, /evil/);
  assert.match(form, /28007 characters are left out here.*cordon approve show bcdfghjk/);
  assert.match(describeRequest(withCode(code), false), /evil/);
});

test('a client’s name can not pass for our words', () => {
  const shown = describeRequest({ ...request, client: 'x" (verified)\nAllowed by the owner. "'.repeat(9) }, true);
  assert.equal(shown.split('\n').filter((line) => line.startsWith('Allowed')).length, 0);
});

test('who is asked sees what a yes means', () => {
  assert.match(describeRequest({ ...request, remember: 'session' }, true), /EVERY call/);
  assert.match(describeRequest(request, true), /this one call/);
});

test('of the files a person sees name, size and hash; many are counted in a form, and all are shown at a terminal', () => {
  const files = Array.from({ length: 25 }, (_, n) => ({ name: `f${n}\u202e`, bytes: n, sha256: 'ab'.repeat(32) }));
  const brought = { ...request, call: { ...request.call, files } };
  const form = describeRequest(brought, true);
  assert.match(
    form,
    /with these 25 files in its working directory:\n- "f0\\\\u\{202e\}" \(0 bytes, SHA-256 (ab){32}\)\n/,
  );
  assert.match(form, /\*\*\* 5 more are left out here: cordon approve show bcdfghjk \*\*\*/);
  assert.equal(describeRequest(brought, false).match(/SHA-256 abab/g)?.length, 25);
  assert.doesNotMatch(describeRequest(request, false), /files/);
});
