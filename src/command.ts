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

/** Subcommands by name, each loaded when it is asked for. */
export type Subcommands = Readonly<Record<string, () => Promise<Pick<Command, 'main'>>>>;

/** Run the subcommand that the first word of `argv` names. Returns its exit status. @throws UsageError for another word, or none */
export async function runSubcommand(subcommands: Subcommands, argv: readonly string[]): Promise<number> {
  const [name, ...rest] = argv;
  const names = Object.keys(subcommands).join(', ');
  if (name === undefined) throw new UsageError(`expected one of ${names}, got nothing`);
  const load = Object.hasOwn(subcommands, name) ? subcommands[name] : undefined;
  if (load === undefined) throw new UsageError(`expected one of ${names}, got ${JSON.stringify(name)}`);
  return (await load()).main(rest);
}
