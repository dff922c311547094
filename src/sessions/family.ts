/**
 * Sessions that were forked from one another share one sandbox, which holds a tree of states. Its steps run one after the other, and a
 * state is let go of when none of them can reach it any more; with the last of them, the sandbox is closed.
 */
import { createSlots, type Slots } from '../admission/slots.js';
import type { SessionSandbox } from '../sandbox.js';
import { BEGINNING, shed, type History } from './history.js';

/** From this share of memory or disk on, old states are let go of: a step that finds no room left is undone. */
const CROWDED_SHARE = 0.75;
/** A state is a process, and a sandbox holds 64 (sandbox/states.py): with some of them free, a step always finds one. */
const CROWDED_STATES = 56;

/** A session as its family sees it. */
interface Member {
  history: History;
}

export interface Family {
  readonly sandbox: SessionSandbox;
  /** Whose turn it is: one at a time, in the order they came. */
  readonly turns: Slots;
  readonly members: Set<Member>;
  /** A state was made. */
  made(state: number): void;
  /** After a step: where the states take nearly all that they may, the older half of them is given up. */
  makeRoom(max: { readonly memoryBytes: number; readonly diskBytes: number }): void;
  /** Let go of what nobody can reach. Only where no step is under way: the state it began in must stay until its end. */
  tidy(): void;
}

/** @param maxWaiting how many calls may wait for their turn */
export function createFamily(sandbox: SessionSandbox, maxWaiting: number): Family {
  const turns = createSlots({ maxRunning: 1, maxWaiting });
  const members = new Set<Member>();
  let states = new Set(BEGINNING.states);

  return {
    sandbox,
    turns,
    members,
    made: (state) => void states.add(state),
    makeRoom(max) {
      const crowded =
        sandbox.memoryBytes > CROWDED_SHARE * max.memoryBytes ||
        sandbox.diskBytes > CROWDED_SHARE * max.diskBytes ||
        states.size > CROWDED_STATES;
      if (!crowded) return;
      for (const member of members) member.history = shed(member.history);
    },
    tidy() {
      if (members.size === 0) {
        sandbox.close();
        return;
      }
      const reachable = new Set([...members].flatMap(({ history }) => [...history.states]));
      const lost = [...states].filter((state) => !reachable.has(state));
      if (lost.length > 0) sandbox.drop(lost);
      states = reachable;
    },
  };
}
