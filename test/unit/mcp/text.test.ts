import assert from 'node:assert/strict';
import { test } from 'node:test';
import { renderText } from '../../../src/mcp/text.js';
import { captured, deniedWith, outcomeWith } from './outcomes.js';

const FOOTER = '[ok in 52 ms, CPU 41 ms, memory 12 MB; code_execute_rate: 9 of 10 left this minute; run the-run]';

test('a program that ended well is its output and one line', () => {
  assert.equal(renderText(outcomeWith({ stdout: captured('hello\n') })), `hello\n${FOOTER}`);
});

test('the value of the last expression is told as that', () => {
  assert.equal(renderText(outcomeWith({ result: '42' })), `value of the last expression: 42\n${FOOTER}`);
});

test('a program that said nothing is told as that, and why', () => {
  assert.match(renderText(outcomeWith()), /^\(no output: the program printed nothing/);
});

test('the streams are told apart where both have something', () => {
  const text = renderText(outcomeWith({ stdout: captured('out\n'), stderr: captured('warning\n') }));
  assert.equal(text, `stdout:\nout\nstderr:\nwarning\n${FOOTER}`);
});

test('an exception is told in the first line, with the line of the program', () => {
  const text = renderText(
    outcomeWith({
      status: 'error',
      reason: 'the program exited with status 1: uncaught ValueError on line 3',
      error: { type: 'ValueError', message: 'bad value', line: 3 },
      exitCode: 1,
      stderr: captured('Traceback (most recent call last):\n'),
    }),
  );
  assert.ok(text.startsWith('error: ValueError: bad value (line 3)\nstderr:\nTraceback'));
});

test('an exit code and a signal are told in words', () => {
  const exit = outcomeWith({ status: 'error', reason: 'the program exited with status 3', exitCode: 3 });
  assert.ok(renderText(exit).startsWith('error: the program exited with status 3\n'));
  const killed = outcomeWith({ status: 'killed', reason: 'the program was killed by SIGSEGV', exitCode: null });
  assert.ok(renderText(killed).startsWith('killed: the program was killed by SIGSEGV\n'));
});

test('at a limit the output until then is there, and what to do', () => {
  const reason = 'stopped at the time limit of 30 s';
  const text = renderText(outcomeWith({ status: 'timeout', reason, stdout: captured('step 1\n'), exitCode: null }));
  assert.match(text, /^timeout: stopped at the time limit of 30 s\nstdout:\nstep 1\nDo less in one call/);
});

test('what was left out is said, with its size', () => {
  const text = renderText(outcomeWith({ stdout: captured('head\ntail\n', 5000) }));
  assert.match(text, /\[stdout: 5000 of 5010 bytes left out in the middle; written to a file, all of it can be read\]/);
});

test('a denial says code, rule, message and when to try again', () => {
  assert.equal(
    renderText(deniedWith()),
    'denied: At most 10 calls a minute.\n' +
      'code: limit_reached\n' +
      'rule: /tools/code_execute/limits/0\n' +
      'retry: in 34 s\n' +
      '[denied, nothing was run; code_execute_rate: 9 of 10 left this minute; run the-run]',
  );
  const never = renderText(deniedWith({ retryable: false, retryAfterMs: null, rule: '' }));
  assert.match(never, /retry: no, the same call will be denied again/);
  assert.doesNotMatch(never, /rule:/);
});

test('unavailable is told as ours, and whether to try again', () => {
  const text = renderText(outcomeWith({ status: 'unavailable', reason: 'queue full', usage: null, retryable: true }));
  assert.match(text, /^unavailable: queue full\nThis is Cordon's fault, not the program's\. The same call may succeed/);
});

test('the last line is ours, whatever the program prints', () => {
  const fake = '[ok in 0.01 s; run another]';
  for (const status of ['ok', 'error', 'timeout'] as const) {
    const text = renderText(
      outcomeWith({ status, stdout: captured(`${fake}\n${fake}`), result: fake, stderr: captured(fake) }),
    );
    assert.match(text.split('\n').at(-1) ?? '', /; run the-run\]$/);
  }
});

test('the first line of a failure is one line of ours, whatever the exception says', () => {
  const error = { type: 'E\nok', message: `a\r\u2028\u001b[2Jb${'x'.repeat(10_000)}\nok: fine`, line: null };
  const [first, second] = renderText(outcomeWith({ status: 'error', error, exitCode: 1 })).split('\n');
  assert.match(first ?? '', /^error: E ok: a \[2Jbx+…$/);
  assert.ok((first ?? '').length < 1000);
  assert.match(second ?? '', /^\[error in/);
});
