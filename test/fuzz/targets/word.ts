/** The program's own word and the warden's report: what comes out has the shape that was asked for, and nothing of the prototype's. */
import assert from 'node:assert/strict';
import { readWord, wardenReport } from '../../../src/backends/ending.js';
import type { FuzzTarget } from '../target.js';

const MAX_CHARS = 16_384;
const MAX_WORD_BYTES = 256 << 10;

export const word: FuzzTarget = {
  name: 'word',
  seeds: [
    '{"result": "42", "error": null}',
    '{"result": null, "error": {"type": "ValueError", "message": "x", "line": 3}}',
    '{"cause":"exit","exit_code":0,"signal":null,"duration_us":1,"cpu_us":1,"peak_memory_bytes":1}',
  ],
  words: [
    '"result":',
    '"error":',
    '"type":',
    '"message":',
    '"line":',
    'null',
    '1e999',
    '-0',
    '"__proto__":',
    '"cause":',
    '{',
    '}',
    '\\ud800',
  ],
  maxBytes: 2048,
  cases: 4000,
  run(whole) {
    const input = whole.subarray(0, MAX_WORD_BYTES); // the frame reader takes no more
    const { result, error, ...rest } = readWord(Buffer.from(input));
    assert.deepEqual(rest, {});
    assert.ok(result === null || (typeof result === 'string' && result.length <= MAX_CHARS && !result.includes('\0')));
    if (error !== null) {
      assert.deepEqual(Object.keys(error).sort(), ['line', 'message', 'type']);
      assert.ok(error.type.length <= MAX_CHARS && error.message.length <= MAX_CHARS);
      assert.ok(error.line === null || (Number.isSafeInteger(error.line) && error.line > 0));
    }
    let value: unknown;
    try {
      value = JSON.parse(Buffer.from(input).toString());
    } catch {
      return;
    }
    const report = wardenReport.safeParse(value);
    if (report.success) {
      const { duration_us, cpu_us, peak_memory_bytes } = report.data;
      for (const number of [duration_us, cpu_us, peak_memory_bytes])
        assert.ok(Number.isSafeInteger(number) && number >= 0);
    }
  },
};
