/** What a soak counts. */

export interface Tally {
  /** Calls that were made; each has to be in exactly one of the next five. */
  calls: number;
  answered: number;
  /** Answered that it could not be done, after something of that server's was killed. */
  unavailable: number;
  givenUp: number;
  serverGone: number;
  lost: number;
  /** Files that were read back. */
  filesRead: number;
  /** Answers that a kill during the call explains: a part of `answered`. */
  hit: number;
  /** Sessions that were lost by a kill, and said so. */
  sessionsLost: number;
  /** States of sessions that were lost by a kill, and said so. */
  statesLost: number;
  readonly wrong: string[];
  readonly kinds: Record<string, number>;
  readonly killed: Record<string, number>;
}

export function newTally(): Tally {
  return {
    calls: 0,
    answered: 0,
    unavailable: 0,
    givenUp: 0,
    serverGone: 0,
    lost: 0,
    filesRead: 0,
    hit: 0,
    sessionsLost: 0,
    statesLost: 0,
    wrong: [],
    kinds: {},
    killed: {},
  };
}
