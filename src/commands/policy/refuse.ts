/** A subcommand that can't do its work: said on stderr, with status 2. */
import { PolicyError } from '../../policy/load.js';
import { StartRefused } from '../../startup.js';
import { InputError } from './read.js';

export const WRONG_INPUT_STATUS = 2;

/** Run a subcommand's work; a wrong file or policy becomes a message, everything else is a fault of ours. */
export async function refusing(name: string, work: () => Promise<number>): Promise<number> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof InputError || error instanceof PolicyError || error instanceof StartRefused)) throw error;
    process.stderr.write(`cordon policy ${name}: ${error.message.trimEnd()}\n`);
    return WRONG_INPUT_STATUS;
  }
}
