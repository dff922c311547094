/** An attack that could not succeed would prove nothing: each has a control, or is on the list of those that can't. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judgeNaively } from '../../support/naive-judge.js';
import { trials } from '../goals.js';
import { noControls, whyNoControl } from '../no-control.js';
import { misjudged, tricks } from '../python.js';
import { forgeries, untrue } from '../outcome.js';
import { buffers } from '../resources.js';

const skip = process.platform === 'linux' ? false : 'needs Linux';

for (const forgery of forgeries) {
  const why = whyNoControl('outcome', forgery.name);
  test(
    why === null
      ? `outcome, control: ${forgery.name} is believed by a judge that takes a program’s word`
      : `outcome: ${forgery.name} has no control, and would have none before a naive judge`,
    { skip },
    async () => {
      const found = untrue(forgery, await judgeNaively(forgery.code));
      if (why === null) assert.notEqual(found, null);
      else assert.equal(found, null);
    },
  );
}

for (const trick of tricks) {
  const why = whyNoControl('python', trick.name);
  test(
    why === null
      ? `python, control: ${trick.name} misleads a judge in the program’s own interpreter`
      : `python: ${trick.name} has no control, for a naive judge gets it right as well`,
    { skip },
    async () => {
      const found = misjudged(trick, await judgeNaively(trick.code));
      if (why === null) assert.notEqual(found, null);
      else assert.equal(found, null);
    },
  );
}

test('the naive judge judges an honest program rightly', { skip }, async () => {
  const said = await judgeNaively('print("out")\n6 * 7');
  assert.deepEqual([said.status, said.exitCode, said.result, said.stdout.text], ['ok', 0, '42', 'out\n']);
  assert.equal((await judgeNaively('1 / 0')).error?.type, 'ZeroDivisionError');
});

test('what is said to have no control is an attack that there is, with a reason', () => {
  const others = [
    ...tricks.map(({ name }) => ({ goal: 'python', name })),
    ...buffers.map(({ name }) => ({ goal: 'resources', name })),
  ];
  const known = new Set([...trials, ...others].map(nameOf));
  for (const { goal, names, why } of noControls) {
    assert.notEqual(why, '');
    for (const name of names) assert.ok(known.has(nameOf({ goal, name })), `${goal}: ${name}`);
  }
});

test('no two attacks of a goal have the same name', () => {
  const names = trials.map(nameOf);
  assert.deepEqual(
    names.filter((name, place) => names.indexOf(name) !== place),
    [],
  );
});

function nameOf({ goal, name }: { goal: string; name: string }): string {
  return `${goal}: ${name}`;
}
