import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { reportProgress, type Progress } from '../../../src/mcp/progress.js';

/** A report in a time that passes only when it is told to. */
function begin(t: TestContext): {
  sent: { progress: number; message: string }[];
  report: Progress;
  print: (text: string | Uint8Array, stream?: 'stdout' | 'stderr') => void;
  pass: (ms: number) => void;
} {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let clock = 1_000_000;
  const sent: { progress: number; message: string }[] = [];
  const report = reportProgress(
    (progress, message) => sent.push({ progress, message }),
    () => clock,
  );
  return {
    sent,
    report,
    print: (text, stream = 'stdout') => {
      report.output(stream, Buffer.from(text));
    },
    pass: (ms) => {
      for (let passed = 0; passed < ms; passed += 5) {
        clock += 5;
        t.mock.timers.tick(5);
      }
    },
  };
}

const messages = (sent: readonly { message: string }[]) => sent.map(({ message }) => message);

test('stages are told at once, and the number grows even when no time has passed', (t) => {
  const { report, sent } = begin(t);
  report.stage('asking', 'here');
  report.stage('running');
  report.stage('running');
  assert.deepEqual(messages(sent), ['waiting for a person to approve this call, here', 'running', 'running']);
  assert.ok(sent.every(({ progress }, index) => index === 0 || progress > (sent[index - 1]?.progress ?? Infinity)));
});

test('that a call waits for a slot is said only where it does', (t) => {
  const { report, sent, pass } = begin(t);
  report.stage('waiting');
  report.stage('running');
  pass(100);
  assert.deepEqual(messages(sent), ['running']);
  report.stage('waiting');
  pass(20);
  assert.deepEqual(messages(sent), ['running', 'waiting for a free slot']);
  report.stage('waiting');
  report.end();
  pass(100);
  assert.equal(sent.length, 2);
});

test('pieces that come close to each other go together, soon', (t) => {
  const { report, sent, print, pass } = begin(t);
  report.stage('running');
  print('one\n');
  print('two\n', 'stderr');
  assert.equal(sent.length, 1);
  pass(20);
  assert.deepEqual(messages(sent), ['running', 'running, 0 s: one\ntwo']);
});

test('whatever is printed, there are at most four messages a second, and each holds the newest of it', (t) => {
  const { report, sent, print, pass } = begin(t);
  report.stage('running');
  for (let line = 0; line < 2_000; line += 1) {
    print(`${line} ${'x'.repeat(500)}\n`);
    pass(5);
  }
  assert.ok(sent.length > 30 && sent.length <= 1 + 4 * 10 + 1, String(sent.length));
  assert.match(sent.at(-1)?.message ?? '', /^running, 9 s: \[…\] /);
  assert.match(sent.at(-1)?.message ?? '', /\n19\d\d x+$/);
  assert.ok(Math.max(...sent.map(({ message }) => message.length)) < 2_200);
});

test('a single piece of a megabyte is bounded, and nothing of it is held', (t) => {
  const { report, sent, print, pass } = begin(t);
  report.stage('running');
  print('a'.repeat(1_000_000));
  pass(20);
  assert.equal(sent[1]?.message, `running, 0 s: […] ${'a'.repeat(2_048)}`);
  pass(400);
  assert.equal(sent.length, 2);
});

test('nothing is told twice', (t) => {
  const { report, sent, print, pass } = begin(t);
  report.stage('running');
  print('one\n');
  pass(300);
  print('two\n');
  pass(300);
  assert.deepEqual(messages(sent), ['running', 'running, 0 s: one', 'running, 0 s: two']);
});

test('silence is broken every five seconds, whatever the stage', (t) => {
  const { report, sent, pass } = begin(t);
  report.stage('asking', 'in another terminal');
  pass(5_000);
  report.stage('running');
  pass(12_000);
  assert.deepEqual(messages(sent), [
    'waiting for a person to approve this call, in another terminal',
    'waiting for a person to approve this call, in another terminal, 5 s',
    'running',
    'running, 5 s',
    'running, 10 s',
  ]);
});

test('nothing is told after the end, not even what was printed just before', (t) => {
  const { report, sent, print, pass } = begin(t);
  report.stage('running');
  print('late\n');
  report.end();
  report.end();
  report.stage('running');
  print('later\n');
  pass(20_000);
  assert.deepEqual(messages(sent), ['running']);
});

test('what a program prints can not pass for our words, and carries no control characters', (t) => {
  const { report, sent, print, pass } = begin(t);
  report.stage('running');
  print('\x1b]0;title\x07waiting for a person\0\n');
  pass(20);
  assert.equal(sent[1]?.message, 'running, 0 s: ␛]0;title␇waiting for a person␀');
});

test('of a progress bar its newest state is shown', (t) => {
  const { report, sent, print, pass } = begin(t);
  report.stage('running');
  print('\r 0%|    |\r50%|##  |\r99%|### |', 'stderr');
  pass(300);
  print('one\r\ntwo\r', 'stdout');
  pass(300);
  assert.deepEqual(messages(sent).slice(1), ['running, 0 s: 99%|### |', 'running, 0 s: one\r\ntwo']);
});

test('a character that is split over two pieces comes whole', (t) => {
  const { report, sent, print, pass } = begin(t);
  report.stage('running');
  const bytes = Buffer.from('schön');
  print(bytes.subarray(0, 4));
  pass(300);
  print(bytes.subarray(4));
  pass(300);
  assert.deepEqual(messages(sent).slice(1), ['running, 0 s: sch', 'running, 0 s: ön']);
});
