import assert from 'node:assert/strict';
import { test } from 'node:test';
import { layerTable } from '../../../src/commands/doctor.js';

test('each layer has a line with yes or no, and a missing one its fix', () => {
  assert.deepEqual(
    layerTable([
      { layer: 'landlock', available: true, detail: 'ABI 2', fix: null },
      { layer: 'user namespace', available: false, detail: 'EPERM', fix: 'sysctl kernel.unprivileged_userns_clone=1' },
      { layer: 'seccomp', available: false, detail: 'not built in', fix: null },
    ]),
    [
      'yes  landlock        ABI 2',
      'no   user namespace  EPERM',
      '                     fix: sysctl kernel.unprivileged_userns_clone=1',
      'no   seccomp         not built in',
    ],
  );
});
