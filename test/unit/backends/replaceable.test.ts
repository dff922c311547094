import assert from 'node:assert/strict';
import { it } from 'node:test';
import { createReplaceable } from '../../../src/backends/replaceable.js';
import type { Backend, Job, JobOutcome } from '../../../src/sandbox.js';

const job = { runId: 'r', code: '', stdin: '' } as Job;
const outcome = { status: 'ok' } as JobOutcome;

/** A backend whose jobs end when they are told to. */
function backend(version: string) {
  const log: string[] = [];
  const running: (() => void)[] = [];
  const made: Backend = {
    guarantees: {
      tier: 'strict',
      sessions: true,
      interpreter: { version, executable: '/python', packages: [] },
      layers: [],
    },
    get jobsStarted() {
      return log.filter((word) => word === 'run').length;
    },
    warm: () => void log.push('warm'),
    run: () => {
      log.push('run');
      return new Promise((resolve) => {
        running.push(() => {
          resolve(outcome);
        });
      });
    },
    openSession: () => Promise.reject(new Error('no sessions here')),
    footprintBytes: () => Promise.resolve(1),
    close: () => {
      log.push('close');
      return Promise.resolve();
    },
  };
  return { made, log, endOne: () => running.shift()?.() };
}

const never = new AbortController().signal;

it('jobs end in the backend they began in, which is closed after the last', async () => {
  const [old, next] = [backend('3.9'), backend('3.13')];
  const one = createReplaceable(old.made);
  one.warm();
  const jobs = [one.run(job, never), one.run(job, never)];
  one.replace(next.made);
  assert.equal(one.guarantees.interpreter.version, '3.13');
  const later = one.run(job, never);
  assert.deepEqual(next.log, ['warm', 'run']);
  old.endOne();
  await jobs[0];
  assert.ok(!old.log.includes('close'));
  assert.equal(await one.footprintBytes(), 2);
  old.endOne();
  await jobs[1];
  assert.deepEqual(old.log, ['warm', 'run', 'run', 'close']);
  assert.equal(one.jobsStarted, 3);
  next.endOne();
  assert.equal(await later, outcome);
  assert.ok(!next.log.includes('close'));
  await one.close();
  assert.ok(next.log.includes('close'));
});

it('a backend that runs nothing is closed when it is replaced, and one that was never warm makes none warm', () => {
  const [old, next] = [backend('3.9'), backend('3.13')];
  createReplaceable(old.made).replace(next.made);
  assert.deepEqual(old.log, ['close']);
  assert.deepEqual(next.log, []);
});

it('closing closes all that still run something', async () => {
  const [old, next] = [backend('3.9'), backend('3.13')];
  const one = createReplaceable(old.made);
  void one.run(job, never);
  one.replace(next.made);
  await one.close();
  assert.ok(old.log.includes('close') && next.log.includes('close'));
});
