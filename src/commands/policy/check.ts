/** `cordon policy check`: all that is wrong with a policy, and what in a valid one does nothing. */
import { parseArgs } from 'node:util';
import { UsageError } from '../../command.js';
import { unknownTools } from '../../policy/diagnose.js';
import { PolicyError, type LoadedPolicy } from '../../policy/load.js';
import { pointer } from '../../policy/pointer.js';
import { readPolicy, StartRefused } from '../../startup.js';
import { TOOL_NAMES } from '../../tools/tools.js';
import { print, printJson } from './print.js';
import { WRONG_INPUT_STATUS } from './refuse.js';

export async function main(argv: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    options: { policy: { type: 'string' }, json: { type: 'boolean', default: false } },
    allowPositionals: true,
    strict: true,
  });
  if (positionals.length + (values.policy === undefined ? 0 : 1) > 1) {
    throw new UsageError(`expected one FILE, got ${[...positionals, `--policy ${values.policy ?? ''}`].join(' ')}`);
  }
  let loaded: LoadedPolicy;
  let origin: string;
  try {
    ({ loaded, origin } = await readPolicy(positionals[0] ?? values.policy));
  } catch (error) {
    if (!(error instanceof StartRefused) || !(error.cause instanceof PolicyError)) throw error;
    const { source, problems, message } = error.cause;
    if (values.json) printJson({ valid: false, source, problems, warnings: [] });
    else print([message.trimEnd()], process.stderr);
    return WRONG_INPUT_STATUS;
  }
  const warnings = warningsOf(loaded);
  if (values.json) {
    printJson({ valid: true, source: loaded.source, hash: loaded.hash, problems: [], warnings });
    return 0;
  }
  const named = positionals[0] === undefined && values.policy === undefined ? ` (${origin})` : '';
  print([`valid: ${loaded.source}${named}`, `sha256 ${loaded.hash}`]);
  for (const { pointer: place, message } of warnings) print([`warning: ${place}: ${message}`], process.stderr);
  return 0;
}

/** What is no error and most likely not meant. */
export function warningsOf({ policy }: LoadedPolicy): { pointer: string; message: string }[] {
  return unknownTools(policy, TOOL_NAMES).map(({ path, tool, near }) => ({
    pointer: pointer(path),
    message:
      `there is no tool ${JSON.stringify(tool)} here, so this does nothing` +
      (near === null ? `; the tools are ${TOOL_NAMES.join(', ')}` : `; did you mean "${near}"?`),
  }));
}
