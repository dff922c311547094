/** Goal: to take more than a job's share, by every kind of it; or to lift a limit. */

import assert from 'node:assert/strict';
import { freemem } from 'node:os';
import { test } from 'node:test';
import { openSandbox } from '../../support/sandbox.js';
import { attackTests } from '../attack.js';
import { attacks, buffers } from '../resources.js';

const sandbox = await openSandbox({ warm: 1 });
attackTests('resources', attacks, sandbox);

for (const { name, fill } of buffers) {
  test(`resources: ${name} count as memory as well`, { skip: sandbox.missing }, async () => {
    const before = freemem();
    let lowest = before;
    const timer = setInterval(() => {
      lowest = Math.min(lowest, freemem());
    }, 20);
    const outcome = await sandbox.run(
      `
import fcntl, os, socket, time
for _ in range(40):
    if os.fork() == 0:
        keep = []
        try:
          while True:
            ${fill}
        except OSError: pass
        time.sleep(60)
time.sleep(60)`,
      { limits: { memoryMb: 128, timeoutSeconds: 6 } },
    );
    clearInterval(timer);
    const takenMb = Math.round((before - lowest) / 2 ** 20);
    assert.ok(['memory', 'timeout'].includes(outcome.status), outcome.reason);
    assert.ok(takenMb < 128 + 512, `${takenMb} MB were taken with a limit of 128 MB: ${outcome.reason}`);
  });
}
