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

test('the line that failed is shown with its source, and only if there is such a line', () => {
  const code = "import pandas\r\n\r\n   df.groupby('a')  \n";
  const failing = (line: number | null) =>
    outcomeWith({ status: 'error', exitCode: 1, error: { type: 'KeyError', message: "'a'", line } });
  const first = (line: number | null) => renderText(failing(line), { code, images: [] }).split('\n')[0];
  assert.equal(first(3), "error: KeyError: 'a' (line 3: df.groupby('a'))");
  assert.equal(first(2), "error: KeyError: 'a' (line 2)");
  assert.equal(first(99), "error: KeyError: 'a' (line 99)");
  assert.equal(first(null), "error: KeyError: 'a'");
});

test('a source line of a megabyte is cut, and stays one line', () => {
  const code = `x = "${'y'.repeat(1_000_000)}\u2028z"`;
  const error = { type: 'E', message: '', line: 1 };
  const [first = ''] = renderText(outcomeWith({ status: 'error', error }), { code, images: [] }).split('\n');
  assert.match(first, /^error: E \(line 1: x = "y+…\)$/);
  assert.ok(first.length < 300);
});

test('a table as the last value begins on a line of its own', () => {
  const text = renderText(outcomeWith({ result: '   a\n0  1' }));
  assert.equal(text, `value of the last expression:\n   a\n0  1\n${FOOTER}`);
});

test('what a sandbox lacks is said where the exception tells of it', () => {
  const of = (type: string, message: string, tier: 'strict' | 'none' = 'strict') =>
    renderText(outcomeWith({ status: 'error', exitCode: 1, tier, error: { type, message, line: null } }));
  assert.match(of('ModuleNotFoundError', "No module named 'polars'"), /\nNothing can be installed here/);
  assert.match(of('socket.gaierror', '[Errno -3]'), /\nThere is no network here/);
  assert.match(of('requests.exceptions.ConnectionError', 'x'), /\nThere is no network here/);
  assert.doesNotMatch(of('socket.gaierror', '[Errno -3]', 'none'), /no network/);
  assert.match(of('OSError', '[Errno 28] No space left on device'), /\nThe disk of the sandbox is full/);
  assert.equal(of('ValueError', 'x').split('\n').length, 2);
});

test('images are numbered as they stand below, and those that are not shown say why, in one line', () => {
  const file = (name: string) => ({ name, bytes: 2048, mimeType: 'image/png', uri: `cordon://files/r/${name}` });
  const files = [file('a.png'), file('b.png'), file('c.png')];
  const size = { width: 3000, height: 2000 };
  const shown = { mimeType: 'image/png', base64: '', width: 1500, height: 1000 };
  const images = files.map((one, index) => ({
    file: one,
    size,
    shown: index === 1 ? null : index === 0 ? shown : { ...shown, ...size },
    whyNot: index === 1 ? 'it is\ndamaged' : null,
  }));
  assert.equal(
    renderText(outcomeWith({ files }), { code: null, images }),
    [
      'files:',
      '  a.png (image/png, 2.0 KB, cordon://files/r/a.png): image 1 below, 3000x2000, scaled to 1500x1000',
      '  b.png (image/png, 2.0 KB, cordon://files/r/b.png): not shown, 3000x2000: it is damaged',
      '  c.png (image/png, 2.0 KB, cordon://files/r/c.png): image 2 below, 3000x2000',
      FOOTER,
    ].join('\n'),
  );
});
