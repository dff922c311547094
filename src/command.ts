/** What a command of the command line is. */

export interface Command {
  /** What it answers `--help` with. */
  readonly help: string;
  /**
   * @param argv what follows the command's name
   * @returns the exit status
   * @throws UsageError, or what node:util's `parseArgs` throws, when `argv` is wrong
   */
  main(argv: readonly string[]): Promise<number>;
}

/** The command line is wrong; the message says what. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
