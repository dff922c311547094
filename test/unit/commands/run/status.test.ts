import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exitStatus } from '../../../../src/commands/run/status.js';
import type { Outcome } from '../../../../src/outcome.js';
import { deniedWith, outcomeWith } from '../../mcp/outcomes.js';

const table: [string, Partial<Outcome>, number][] = [
  ['a program that ended well', {}, 0],
  ['an exit code is the program’s own', { status: 'error', exitCode: 3 }, 3],
  ['a signal is 128 and its number', { status: 'killed', exitCode: null, signal: 'SIGSEGV' }, 139],
  ['a time limit is 124, as timeout(1) has it', { status: 'timeout', exitCode: null, signal: 'SIGKILL' }, 124],
  ['memory is 137', { status: 'memory', exitCode: null, signal: null }, 137],
  ['a MemoryError is the program’s exit code', { status: 'memory', exitCode: 1 }, 1],
  ['output is 137', { status: 'output', exitCode: null, signal: 'SIGKILL' }, 137],
  ['our fault is 125', { status: 'unavailable', exitCode: null, usage: null }, 125],
  ['cancelled is 130', { status: 'cancelled', exitCode: null }, 130],
  ['a failure never looks like success', { status: 'killed', exitCode: 0, signal: null }, 137],
];
for (const [title, changes, status] of table) {
  test(`exit status: ${title}`, () => {
    assert.equal(exitStatus(outcomeWith(changes)), status);
  });
}

test('exit status: a denial is 126', () => {
  assert.equal(exitStatus(deniedWith()), 126);
});
