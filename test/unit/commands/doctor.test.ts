import assert from 'node:assert/strict';
import { test } from 'node:test';
import { holding, layerTable } from '../../../src/commands/doctor.js';

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

test('a cgroup that a tier makes no use of is not said to hold', () => {
  const found = (available: boolean) => [{ layer: 'cgroup', available, detail: '', fix: null }];
  const line = (...asked: Parameters<typeof holding>) => holding(...asked).filter((one) => one.includes('cgroup'));
  assert.match(line('strict', [], found(true)).join(), /^ {2}on {3}cgroup: /);
  assert.match(line('strict', [], found(false)).join(), /^ {2}no {3}cgroup: is not to be had here/);
  assert.match(
    line('strict', ['pid namespace'], found(true)).join(),
    /^ {2}no {3}cgroup: is used only in tier "strict"/,
  );
  assert.match(line('confined', [], found(true)).join(), /^ {2}no {3}cgroup: is used only in tier "strict"/);
});
