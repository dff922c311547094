import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readRate, type Rate } from '../../../../src/policy/dialects/rate.js';

const exact = (max: number, window: Rate['window']): Rate => ({ max, window, exact: true });

describe('a rate of another dialect', () => {
  const readable: [unknown, Rate][] = [
    ['10/minute', exact(10, 'minute')],
    ['10/minutes', exact(10, 'minute')],
    [' 10 / minute ', exact(10, 'minute')],
    ['10 per hour', exact(10, 'hour')],
    ['10/1h', exact(10, 'hour')],
    ['10/60s', exact(10, 'minute')],
    ['10/1000ms', exact(10, 'second')],
    ['10/24h', exact(10, 'day')],
    ['5/5m', { max: 5, window: 'hour', exact: false }],
    [{ max: 10, window: '1m' }, exact(10, 'minute')],
    [{ max: 10, window: 'minute' }, exact(10, 'minute')],
    [{ max: 10, window: 60 }, exact(10, 'minute')],
    [{ limit: 10, per: 'day' }, exact(10, 'day')],
    [{ max: 10, window_seconds: 3600 }, exact(10, 'hour')],
    [
      { maxCalls: 10, windowSeconds: 90 },
      { max: 10, window: 'hour', exact: false },
    ],
    [{ max: 10, window_ms: 1000 }, exact(10, 'second')],
  ];
  for (const [written, rate] of readable) {
    it(`${JSON.stringify(written)} is ${rate.max} in a ${rate.window}`, () => {
      assert.deepEqual(readRate(written), rate);
    });
  }
  const unreadable: unknown[] = [
    '10',
    10,
    '10/fortnight',
    '10/1M',
    '10/2d',
    '-1/minute',
    '1.5/minute',
    '0/minute',
    '10/0s',
    '10//minute',
    '',
    null,
    [],
    { max: 10 },
    { max: '10', window: '1m' },
    { max: 10, window: '1m', burst: 3 },
    { max: 10, limit: 5, window: '1m' },
    { max: Number.NaN, window: '1m' },
    { max: 10, window: -60 },
  ];
  for (const written of unreadable) {
    it(`${JSON.stringify(written)} is none that can be written over`, () => {
      assert.ok('fault' in readRate(written));
    });
  }
});
