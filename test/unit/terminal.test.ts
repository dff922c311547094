import assert from 'node:assert/strict';
import { test } from 'node:test';
import { safeLine, terminalSafe } from '../../src/terminal.js';

test('no escape sequence reaches a terminal', () => {
  const safe = terminalSafe();
  assert.equal(safe(Buffer.from('a\u001b]0;title\u0007b\u009b2J\u007f\n\tc\r')), 'a␛]0;title␇b\uFFFD2J␡\n\tc\r');
});

test('a character split over two pieces is one character', () => {
  const safe = terminalSafe();
  const bytes = Buffer.from('é');
  assert.equal(safe(bytes.subarray(0, 1)) + safe(bytes.subarray(1)), 'é');
});

test('no mark turns a line around', () => {
  assert.equal(terminalSafe()(Buffer.from('a\u202Eb\u2066c\u200Fd')), 'a\uFFFDb\uFFFDc\uFFFDd');
});

test('in a line of a log nothing begins another line', () => {
  assert.equal(safeLine('a\ncordon: forged\r\u001b[2K\u0085b'), 'a␊cordon: forged␍␛[2K\uFFFDb');
});
