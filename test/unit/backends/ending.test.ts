import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ending, readWord, signalName, wardenReport, type WardenReport } from '../../../src/backends/ending.js';
import { LIMITS } from '../../support/sandbox.js';

const REPORT: WardenReport = {
  cause: 'exit',
  exit_code: 0,
  signal: null,
  duration_us: 1,
  cpu_us: 1,
  peak_memory_bytes: 1,
  files_left_out: { count: 0, examples: [] },
};
const word = (text: string) => readWord(Buffer.from(text));
const memoryError = { type: 'MemoryError', message: '', line: null };

const ENDINGS: readonly (readonly [
  report: Partial<WardenReport>,
  error: Parameters<typeof ending>[1],
  status: string,
  reason: string,
])[] = [
  [{}, null, 'ok', 'the program ended normally'],
  [{}, memoryError, 'ok', 'the program ended normally'],
  [{ exit_code: 3 }, null, 'error', 'the program exited with status 3'],
  [
    { exit_code: 1 },
    { type: 'KeyError', message: '1', line: 7 },
    'error',
    'the program exited with status 1: uncaught KeyError on line 7',
  ],
  [
    { exit_code: 1 },
    { type: 'KeyError', message: '1', line: null },
    'error',
    'the program exited with status 1: uncaught KeyError',
  ],
  [{ exit_code: 1 }, memoryError, 'memory', 'the program ran into the memory limit of 256 MB (MemoryError)'],
  [
    { exit_code: null, signal: 15 },
    null,
    'killed',
    'the program was killed by SIGTERM (it was terminated from inside the sandbox)',
  ],
  [
    { exit_code: null, signal: 15 },
    memoryError,
    'killed',
    'the program was killed by SIGTERM (it was terminated from inside the sandbox)',
  ],
  [{ exit_code: null, signal: 50 }, null, 'killed', 'the program was killed by signal 50'],
  [{ exit_code: null, signal: 9, cause: 'wall' }, null, 'timeout', 'stopped at the time limit of 20 s'],
  [{ exit_code: null, signal: 9, cause: 'cpu' }, null, 'timeout', 'stopped at the CPU time limit of 20 s'],
  [{ exit_code: null, signal: 9, cause: 'memory' }, null, 'memory', 'stopped at the memory limit of 256 MB'],
  [{ exit_code: null, signal: 9, cause: 'output' }, null, 'output', 'stopped after printing 4 MB, the output limit'],
  [{ exit_code: 0, cause: 'output' }, null, 'output', 'stopped after printing 4 MB, the output limit'],
  [{ exit_code: null, signal: 9, cause: 'cancel' }, null, 'cancelled', 'cancelled by the caller'],
  [{ exit_code: 0, cause: 'wall' }, null, 'timeout', 'stopped at the time limit of 20 s'],
];

for (const [report, error, status, reason] of ENDINGS) {
  test(`${JSON.stringify(report)} with ${error?.type ?? 'no error'} is ${status}: ${reason}`, () => {
    assert.deepEqual(ending({ ...REPORT, ...report }, error, LIMITS), { status, reason });
  });
}

test('signals have names, and numbers where they have none', () => {
  assert.deepEqual(
    [signalName(11), signalName(9), signalName(40), signalName(64)],
    ['SIGSEGV', 'SIGKILL', 'signal 40', 'signal 64'],
  );
});

test('a report of another shape is refused', () => {
  for (const wrong of [
    { ...REPORT, cause: 'luck' },
    { ...REPORT, exit_code: 256 },
    { ...REPORT, exit_code: -1 },
    { ...REPORT, signal: 0 },
    { ...REPORT, signal: 65 },
    { ...REPORT, cpu_us: 0.5 },
    { ...REPORT, duration_us: Infinity },
    { ...REPORT, peak_memory_bytes: '1' },
    { ...REPORT, extra: true },
    { cause: 'exit' },
    null,
    [],
  ]) {
    assert.equal(wardenReport.safeParse(wrong).success, false, JSON.stringify(wrong));
  }
  assert.deepEqual(wardenReport.parse(REPORT), REPORT);
});

test('the program’s word: what makes sense is taken, the rest is silence', () => {
  const silence = { result: null, error: null };
  assert.deepEqual(readWord(null), silence);
  for (const text of ['', 'null', '[]', '5', '"x"', '{', '\0', '[['.repeat(1000), '{}'])
    assert.deepEqual(word(text), silence, text);
  assert.deepEqual(word('{"result": "5", "error": null}'), { result: '5', error: null });
  assert.deepEqual(word('{"result": 5, "error": {"type": "A", "message": "m", "line": 3}}'), {
    result: null,
    error: { type: 'A', message: 'm', line: 3 },
  });
  assert.deepEqual(word('{"result": "x", "error": {"type": "A"}}'), { result: 'x', error: null });
  for (const line of ['-1', '0', '1.5', '"3"', 'null', '1e400', '[]']) {
    assert.deepEqual(word(`{"result": null, "error": {"type": "A", "message": "m", "line": ${line}}}`).error, {
      type: 'A',
      message: 'm',
      line: null,
    });
  }
});

test('the program’s word is cut to 16,384 characters and has no NUL', () => {
  const { result, error } = word(
    JSON.stringify({ result: '\0' + 'x'.repeat(20_000), error: { type: 'A\0', message: 'y'.repeat(20_000), line: 1 } }),
  );
  assert.equal(result, '\ufffd' + 'x'.repeat(16_383));
  assert.deepEqual([error?.type, error?.message.length], ['A\ufffd', 16_384]);
});

test('no bytes at all make reading the word throw, or give it other keys', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array(),
        fc.json().map((text) => Buffer.from(text)),
      ),
      (bytes) => {
        assert.deepEqual(Object.keys(readWord(Buffer.from(bytes))).sort(), ['error', 'result']);
      },
    ),
  );
});
