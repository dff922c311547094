/** The name of a process is the program's to choose (prctl(2), PR_SET_NAME), and stands in files of /proc that the warden reads. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openSandbox } from '../support/sandbox.js';

const sandbox = await openSandbox();
const skip = sandbox.missing;

const named = (name: string, code: string): string => `
import ctypes
ctypes.CDLL(None).prctl(15, ${JSON.stringify(name)}.encode(), 0, 0, 0)
${code}`;

/** Fifteen bytes at most; a carriage return is left as it is by the kernel. */
const NAMES = ['\rVmPTE:', '\rVmPTE:\t0 kB', '\rVmRSS: x', '\rRssAnon:', ') R 1 1 1', '\nVmPTE: 0'];

for (const name of NAMES) {
  test(`a program named ${JSON.stringify(name)} is measured as any other`, { skip }, async () => {
    // More than half of the memory, so that page tables are asked for.
    const half = await sandbox.run(named(name, 'import time\nheld = b"x" * (160 << 20)\ntime.sleep(0.1)\nprint("ok")'));
    assert.deepEqual([half.status, half.stdout.text], ['ok', 'ok\n'], half.reason);
    assert.ok(half.usage.peakMemoryBytes > 150 << 20);
  });
}
