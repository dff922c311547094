/** A log that somebody wrote into: a verdict, whatever it holds; a line counts as intact only if its hash is right; nothing printed of it moves a cursor. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chain, ORIGIN, readChained } from '../../../src/audit/chain.js';
import { verify } from '../../../src/audit/verify.js';
import { linesIn } from '../../../src/commands/audit/read.js';
import type { FuzzTarget } from '../target.js';

const first = chain(ORIGIN, { time: '2026-01-01T00:00:00.000Z', status: 'ok', client: { name: 'c' } });
const second = chain(first.link, { time: '2026-01-01T00:00:01.000Z', status: 'denied' });

export const audit: FuzzTarget = {
  name: 'audit',
  seeds: [`${first.line}\n${second.line}\n`, `${second.line}\n`, '{"seq":1}\n', '\n\n'],
  words: ['{"seq":', '"prev":"', '"hash":"', '\n', '"torn"', '999999999999999', '{"seq":1,"prev":"', '"},'],
  maxBytes: 4096,
  cases: 1500,
  run(input) {
    const intact = readChained(input);
    if (intact.intact) {
      const covered = Buffer.from(input).subarray(0, input.length - ',"hash":""}'.length - 64);
      assert.equal(intact.hash, createHash('sha256').update(covered).digest('hex'));
    }
    const directory = mkdtempSync(join(tmpdir(), 'fuzz-'));
    const path = join(directory, 'audit.jsonl');
    writeFileSync(path, input);
    const descriptor = openSync(path, 'r');
    try {
      const snapshot = {
        files: [{ name: 'audit.jsonl', descriptor, bytes: input.length }],
        head: null,
        close: () => undefined,
      };
      const verdict = verify(snapshot);
      const lines = [...linesIn(snapshot)];
      assert.equal(verdict.lines, lines.length);
      assert.ok(verdict.problems.length + verdict.torn.length <= 3 * lines.length + 2);
    } finally {
      closeSync(descriptor);
      rmSync(directory, { recursive: true, force: true });
    }
  },
};
