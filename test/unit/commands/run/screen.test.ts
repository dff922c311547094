import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { createScreen, type Screen } from '../../../../src/commands/run/screen.js';

/** What each stream was given, in the order it came; `both` is what one terminal would have been given. */
function terminal(
  t: TestContext,
  which: { stdout?: boolean; stderr?: boolean; env?: NodeJS.ProcessEnv; columns?: number },
): { screen: Screen; both: () => string; pass: (seconds: number) => void } {
  t.mock.timers.enable({ apis: ['setInterval'] });
  let clock = 0;
  let shown = '';
  const output = (isTTY: boolean) => ({
    isTTY,
    columns: which.columns ?? 80,
    write: (text: string | Uint8Array) => (shown += typeof text === 'string' ? text : Buffer.from(text).toString()),
  });
  const outputs = { stdout: output(which.stdout ?? false), stderr: output(which.stderr ?? false) };
  return {
    screen: createScreen(outputs, which.env ?? { TERM: 'xterm' }, () => clock),
    both: () => shown,
    pass: (seconds) => {
      for (let passed = 0; passed < seconds; passed += 1) {
        clock += 1000;
        t.mock.timers.tick(1000);
      }
    },
  };
}

const ERASE = '\r\x1b[K';
const line = (seconds: number) => `${ERASE}cordon: running, ${seconds} s of at most 30 s (Ctrl-C ends it)`;
const bytes = (text: string) => Buffer.from(text);

test('on a terminal a line shows the time pass, and is gone at the end', (t) => {
  const { screen, both, pass } = terminal(t, { stdout: true, stderr: true });
  screen.running(30);
  assert.equal(both(), '');
  pass(2);
  screen.ended();
  screen.say('ok');
  pass(5);
  assert.equal(both(), `${line(1)}${line(2)}${ERASE}cordon: ok\n`);
});

test('it is taken off before the program prints, and stays away while the program is in the middle of a line', (t) => {
  const { screen, both, pass } = terminal(t, { stdout: true, stderr: true });
  screen.running(30);
  pass(1);
  screen.program('stdout', bytes('half'));
  pass(2);
  screen.program('stdout', bytes(' a line\n'));
  pass(1);
  screen.ended();
  assert.equal(both(), `${line(1)}${ERASE}half a line\n${line(4)}${ERASE}`);
});

for (const [where, which] of [
  ['a pipe', { stdout: true, stderr: false }],
  ['a dumb terminal', { stdout: true, stderr: true, env: { TERM: 'dumb' } }],
  ['a terminal with NO_COLOR', { stdout: true, stderr: true, env: { TERM: 'xterm', NO_COLOR: '1' } }],
] as const) {
  test(`it is never drawn into ${where}`, (t) => {
    const { screen, both, pass } = terminal(t, which);
    screen.running(30);
    pass(3);
    screen.program('stdout', bytes('x\n'));
    screen.ended();
    assert.equal(both(), 'x\n');
  });
}

test('it never reaches the margin, where it would wrap', (t) => {
  const { screen, both, pass } = terminal(t, { stderr: true, columns: 20 });
  screen.running(30);
  pass(1);
  assert.equal(both(), `${ERASE}cordon: running, 1 `);
});

test('what is half a line of the program’s is ended before a line of ours', (t) => {
  const { screen, both } = terminal(t, {});
  screen.program('stderr', bytes('no newline'));
  screen.say('ok');
  screen.say('more');
  assert.equal(both(), 'no newline\ncordon: ok\ncordon: more\n');
});

test('a line of ours is one line, whatever it quotes', (t) => {
  const { screen, both } = terminal(t, {});
  screen.say('file \x1b[2J\r\ncordon: ok\u2028\u202eko');
  assert.equal(both(), 'cordon: file ␛[2J␍␊cordon: ok\uFFFD\uFFFDko\n');
});

test('bytes go into a pipe as they are, and to a terminal without control characters', (t) => {
  const piped = terminal(t, {});
  piped.screen.program('stdout', bytes('\x1b[2Jx'));
  assert.equal(piped.both(), '\x1b[2Jx');
  t.mock.timers.reset();
  const shown = terminal(t, { stdout: true, stderr: true });
  shown.screen.program('stdout', bytes('\x1b[2Jx\n'));
  shown.screen.say('value:', 'a\x07\nb');
  assert.equal(shown.both(), '␛[2Jx\ncordon: value:\na␇\nb\n');
});
