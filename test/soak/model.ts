/** A session as it has to be. */

/** What a session holds after one of its steps. */
export interface State {
  /** The variable. */
  readonly words: readonly string[];
  /** The file. */
  readonly lines: readonly string[];
}

/** A session as it has to be. */
export interface ModelSession {
  readonly id: string;
  /** From step 0 on; those that are no longer kept, too. */
  readonly states: State[];
  earliest: number;
  /** How often something was killed below the server when it began. */
  readonly since: number;
}
