/** What is killed from outside, as the kernel does when memory runs out, harms as little as can be. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { descendants, openSandbox } from '../support/sandbox.js';
import { openTestSession } from '../support/session.js';

const sandbox = await openSandbox();
const skip = sandbox.missing;
const noSessions = skip === false && sandbox.backend.guarantees.tier !== 'strict' ? 'needs namespaces' : skip;

const statusOf = (pid: number, field: string): number => {
  try {
    return Number(new RegExp(`^${field}:\\t(\\d+)$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
  } catch {
    return NaN; // it has ended
  }
};
const parentOf = (pid: number) => statusOf(pid, 'PPid');
const isConfined = (pid: number) => statusOf(pid, 'Seccomp') === 2;

test('a sandbox whose program was killed while it waited is given to nobody', { skip }, async () => {
  await sandbox.run('pass');
  // The one made ahead: its program is the only process that is confined and whose parent is not, and, where there are keepers, has one.
  let programs: number[] = [];
  const started = sandbox.backend.jobsStarted;
  const hasKeepers = sandbox.backend.guarantees.tier === 'strict';
  const look = () => {
    const all = descendants();
    const parents = new Set(all.map(parentOf));
    programs = all.filter((pid) => isConfined(pid) && !isConfined(parentOf(pid)) && parents.has(pid) === hasKeepers);
    return programs.length;
  };
  for (const until = performance.now() + 10_000; look() !== 1 && performance.now() < until;) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const [program = 0] = programs;
  const warden = parentOf(program);
  process.kill(program, 'SIGKILL');
  for (const until = performance.now() + 10_000; descendants().includes(warden) && performance.now() < until;) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.ok(!descendants().includes(warden), 'its warden has ended');
  const { status, stdout } = await sandbox.run('print(1)');
  assert.deepEqual([status, stdout.text, sandbox.backend.jobsStarted], ['ok', '1\n', started + 1]);
});

test(
  'a step that ends by a signal says by which, even where a state was killed meanwhile',
  { skip: noSessions },
  async () => {
    const session = await openTestSession(sandbox);
    try {
      await session.step('import os\nfirst = os.getpid()');
      await session.step('second = 1');
      const ended = await session.step('os.kill(first, 9)\nos.kill(os.getpid(), 9)');
      assert.deepEqual([ended.status, ended.signal, ended.state], ['killed', 'SIGKILL', null], ended.reason);
      assert.equal((await session.step('print(second)')).stdout.text, '1\n');
    } finally {
      session.sandbox.close();
      await session.sandbox.ended;
    }
  },
);
