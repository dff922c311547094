import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fileUri, parseFileUri } from '../../../src/files/uri.js';

const wellFormed = fc.string({ unit: 'grapheme', minLength: 1 }).filter((name) => !/\p{Surrogate}/u.test(name));

test('whatever a file is called, its address says that name and nothing more', () => {
  fc.assert(
    fc.property(wellFormed, (name) => {
      const uri = fileUri('run', name);
      assert.match(uri, /^cordon:\/\/files\/run\/[\x21-\x7e]*$/);
      assert.deepEqual(parseFileUri(uri), { runId: 'run', name });
      assert.deepEqual(parseFileUri(`${uri}?from=7&bytes=9`), { runId: 'run', name, from: 7, bytes: 9 });
    }),
  );
});

test('any text at all is an address or a problem, and never an exception', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.string().map((rest) => `cordon://files/${rest}`),
      ),
      (text) => {
        const parsed = parseFileUri(text);
        if ('problem' in parsed) assert.ok(parsed.problem.length < 1500);
        else assert.ok(parsed.runId !== '' && !parsed.runId.includes('/'));
      },
    ),
  );
});
