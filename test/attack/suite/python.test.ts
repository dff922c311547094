/** Goal: to get at our own machinery by Python's own means: frames, the collector, modules, memory, hooks. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openSandbox } from '../../support/sandbox.js';
import { attackTests } from '../attack.js';
import { attacks, misjudged, tricks } from '../python.js';

const sandbox = await openSandbox({ warm: 1 });
attackTests('python', attacks, sandbox);

for (const trick of tricks) {
  test(`python: ${trick.name}: the answer is the program’s, never ours`, { skip: sandbox.missing }, async () => {
    assert.equal(misjudged(trick, await sandbox.run(trick.code, { limits: { timeoutSeconds: 5 } })), null);
    assert.equal((await sandbox.run('print("next")')).stdout.text, 'next\n');
  });
}
