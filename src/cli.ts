/** The command line: which command, which flags, and what a wrong one is answered with. */
import { UsageError, type Command } from './command.js';
import { packageVersion } from './package.js';
import { safeLine } from './terminal.js';

/** Wrong usage: answered with the usage and exit status 2. */
const USAGE_STATUS = 2;

/** Each is loaded when it is asked for: starting one does not pay for the others. */
const commands: Readonly<Record<string, () => Promise<Command>>> = {
  serve: () => import('./commands/serve.js'),
  run: () => import('./commands/run.js'),
  doctor: () => import('./commands/doctor.js'),
  policy: () => import('./commands/policy.js'),
  approve: () => import('./commands/approve.js'),
  audit: () => import('./commands/audit.js'),
};

const HELP = `cordon: a Python interpreter for AI agents, in a sandbox, on its owner's terms

Usage: cordon [serve] [--policy FILE] [--audit FILE|off]   serve MCP over stdin and stdout (the default)
       cordon run FILE|-|-c CODE [options]                 run one program the way a tool call would
       cordon doctor [--policy FILE]                       what confines programs on this machine, and what is missing
       cordon policy check|explain|test|convert|schema|simulate   what a policy says, before it is used
       cordon approve list|show|allow|deny                 calls that wait for a person's yes
       cordon audit tail|stats|verify                      what was called, and that the record is whole
       cordon COMMAND --help
       cordon --version

The policy is --policy FILE, else $CORDON_POLICY, else ./policy.json, else the one that comes with cordon.
`;

/** Run the command that `argv` (without node and script) names. */
export async function cli(argv: readonly string[]): Promise<number> {
  // That nobody reads what is meant for people is no reason to stop.
  process.stderr.on('error', () => undefined);
  const [first = 'serve', ...rest] = argv;
  if (first === '--help' || first === '-h' || first === 'help') {
    process.stdout.write(HELP);
    return 0;
  }
  if (first === '--version' || first === '-V') {
    process.stdout.write(`cordon ${packageVersion()}\n`);
    return 0;
  }
  const [name, flags] = first.startsWith('-') ? ['serve', argv] : [first, rest];
  const load = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (load === undefined) {
    process.stderr.write(`cordon: unknown command ${safeLine(JSON.stringify(name))}\n\n${HELP}`);
    return USAGE_STATUS;
  }
  const command = await load();
  if (flags.includes('--help') || flags.includes('-h')) {
    process.stdout.write(command.help);
    return 0;
  }
  try {
    return await command.main(flags);
  } catch (error) {
    if (!isUsageError(error)) throw error;
    // "Unknown option '--foo'. To specify a positional …": the first sentence is what a person needs.
    process.stderr.write(
      `cordon ${name}: ${safeLine(error.message.replace(/\. To specify .*$/s, ''))}\n\n${command.help}`,
    );
    return USAGE_STATUS;
  }
}

/** `parseArgs` of node:util throws its own kind. */
function isUsageError(error: unknown): error is Error {
  if (error instanceof UsageError) return true;
  return error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS');
}
