import assert from 'node:assert/strict';
import { test } from 'node:test';
import { advance, BEGINNING, rewind, shed, stateOf, stepOf, type History } from '../../../src/sessions/history.js';

/** After so many steps, whose states are 10, 20, 30 …. */
function after(steps: number, keepSteps = 100): History {
  return Array.from({ length: steps }, (_, n) => 10 * (n + 1)).reduce<History>(
    (history, state) => advance(history, state, keepSteps),
    BEGINNING,
  );
}

test('a session begins at step 0, in the empty state', () => {
  assert.equal(stepOf(BEGINNING), 0);
  assert.equal(stateOf(BEGINNING), 0);
});

test('each step that holds is one more, and the oldest states go once more are there than are kept', () => {
  const history = after(5, 2);
  assert.equal(stepOf(history), 5);
  assert.equal(stateOf(history), 50);
  assert.deepEqual(history, { earliestStep: 3, states: [30, 40, 50] });
});

test('where no earlier state is kept, there is the one it stands at', () => {
  assert.deepEqual(after(3, 0), { earliestStep: 3, states: [30] });
});

test('one can go back to any step that is kept, to the empty beginning too, and to no other', () => {
  const history = after(4, 3);
  assert.deepEqual(rewind(history, 2), { earliestStep: 1, states: [10, 20] });
  assert.deepEqual(rewind(history, 4), history);
  assert.equal(stateOf(rewind(after(2), 0) ?? history), 0);
  for (const step of [0, -1, 5, 1.5, Number.NaN]) assert.equal(rewind(history, step), null, String(step));
});

test('after going back, steps are counted from there', () => {
  const back = rewind(after(4), 1) ?? BEGINNING;
  const on = advance(back, 99, 100);
  assert.deepEqual(on, { earliestStep: 0, states: [0, 10, 99] });
  assert.equal(stepOf(on), 2);
});

test('the older half of what is kept can be given up, down to the state it stands at', () => {
  let history = after(4);
  assert.deepEqual((history = shed(history)), { earliestStep: 2, states: [20, 30, 40] });
  assert.deepEqual((history = shed(history)), { earliestStep: 3, states: [30, 40] });
  assert.deepEqual((history = shed(history)), { earliestStep: 4, states: [40] });
  assert.deepEqual(shed(history), history);
});
