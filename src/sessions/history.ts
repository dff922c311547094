/** The steps of one session that hold, and the states they made: a value, so that a fork is a second name for it. */

export interface History {
  /** The step of the oldest state that is kept; step 0 is the empty beginning. */
  readonly earliestStep: number;
  /** States of the sandbox, one a step from `earliestStep` on. Never empty. */
  readonly states: readonly [number, ...number[]];
}

/** Before the first step: the empty state. */
export const BEGINNING: History = { earliestStep: 0, states: [0] };

/** The step it stands at. */
export function stepOf({ earliestStep, states }: History): number {
  return earliestStep + states.length - 1;
}

/** The state it stands at. */
export function stateOf({ states }: History): number {
  return states.at(-1) ?? states[0];
}

/**
 * One step on.
 * @param keepSteps how many earlier states stay, so that one can go back to them
 */
export function advance(history: History, state: number, keepSteps: number): History {
  return keep({ ...history, states: [...history.states, state] }, keepSteps);
}

/** Back to an earlier step, or to the one it stands at; null where that state is not kept, or was never made. */
export function rewind({ earliestStep, states }: History, toStep: number): History | null {
  const [first, ...rest] = states;
  const back = toStep - earliestStep;
  if (!Number.isSafeInteger(back) || back < 0 || back >= states.length) return null;
  return { earliestStep, states: [first, ...rest.slice(0, back)] };
}

/** Without the older half of what one could go back to. */
export function shed(history: History): History {
  return keep(history, Math.floor((history.states.length - 1) / 2));
}

function keep({ earliestStep, states }: History, keepSteps: number): History {
  const tooMany = Math.max(0, states.length - 1 - keepSteps);
  const [first, ...rest] = states.slice(tooMany);
  if (first === undefined) throw new RangeError(`keepSteps: expected a number of 0 or more, got ${keepSteps}`);
  return { earliestStep: earliestStep + tooMany, states: [first, ...rest] };
}
