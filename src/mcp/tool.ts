/** What a model is told of `code_execute`: the truth of this machine and this policy, so that it need not find out. */
import type { Tool } from '@modelcontextprotocol/sdk/types.js';
import { argumentsJsonSchema, TOOL } from '../arguments.js';
import { isOffered } from '../policy/decide.js';
import type { Policy, SandboxSettings } from '../policy/schema.js';
import type { Guarantees, Tier } from '../sandbox.js';
import { outcomeJsonSchema } from './result.js';
import { describeSessionTools } from './session-tools.js';

const PACKAGES_NAMED_MAX = 40;

/** What programs are most often written with; named first when there are too many to name them all. */
const WELL_KNOWN = new Set(
  (
    'numpy pandas scipy matplotlib scikit-learn sympy statsmodels polars pyarrow networkx seaborn pillow openpyxl ' +
    'lxml beautifulsoup4 requests pyyaml python-dateutil pytz tabulate jinja2 pydantic duckdb xarray numba torch'
  ).split(' '),
);

/** Installers: they import, and there is nothing to install from. */
const INSTALLERS = new Set(['pip', 'setuptools', 'wheel']);

/** What `tools/list` shows under this policy: no tool of which every call would be denied. */
export function describeTools(policy: Policy, guarantees: Guarantees): Tool[] {
  const offered = ({ name }: { readonly name: string }) => isOffered(policy, name);
  const { sandbox } = policy;
  // Where the tier has none, it is as if the policy allowed none.
  const settings = guarantees.sessions ? sandbox : { ...sandbox, sessions: { ...sandbox.sessions, max: 0 } };
  const sessionTools = settings.sessions.max === 0 ? [] : describeSessionTools().filter(offered);
  const names = sessionTools.map(({ name }) => name);
  return [describeTool(settings, guarantees, names), ...sessionTools].filter(offered);
}

/** @param sessionTools the names of those that are shown beside it */
export function describeTool(
  settings: SandboxSettings,
  guarantees: Guarantees,
  sessionTools: readonly string[] = [],
): Tool {
  return {
    name: TOOL,
    title: 'Run Python',
    description: description(settings, guarantees, sessionTools),
    inputSchema: { ...argumentsJsonSchema(settings.sessions.max > 0), type: 'object' },
    outputSchema: { ...outcomeJsonSchema(), type: 'object' },
    annotations: annotations(guarantees.tier, settings.mounts),
  };
}

function description(
  settings: SandboxSettings,
  { interpreter, tier }: Guarantees,
  sessionTools: readonly string[],
): string {
  const s = settings;
  return `Run a Python ${interpreter.version} program and get back what it printed, how it ended, and the value of its last line if that is an expression (a DataFrame as a table).

- ${keeping(s, sessionTools)}
- ${packages(interpreter.packages, s.preload)}
- ${network(tier)}
- The working directory is temporary, up to ${s.diskMb} MB. ${filesIn(s)} ${filesOut(s, interpreter.packages)} ${files(tier)}${mounted(s.mounts)}
- Limits: ${s.timeoutSeconds} s of time ("timeout_seconds" can lower it), ${s.cpuSeconds} s of CPU, ${s.memoryMb} MB of memory, ${s.processes} processes, ${s.outputMb} MB of output, of which ${s.outputKeptKb} KB each of stdout and stderr come back (beginning and end). "code" up to ${s.codeKb} KB, "stdin" up to ${s.stdinMb} MB.
- The owner's policy decides about each call before it runs. A denial says why, and when to try again.`;
}

function keeping({ sessions }: SandboxSettings, tools: readonly string[]): string {
  const alone =
    'Each call is a new interpreter in a sandbox of its own. Nothing is kept between calls: no variables, no files, no imports. ' +
    'Put all that a program needs into one call; pass data in "code", "stdin" or "files".';
  if (sessions.max === 0) return alone;
  const also = tools.length === 0 ? '' : ` See also ${tools.join(', ')}.`;
  return (
    `${alone.replace('Each call', 'Without "session", each call')}\n` +
    '- "session": "new" begins a session; give the handle that comes back to go on in it, with its variables, imports, functions and files. ' +
    'A call that raises keeps what it did until then; one that times out, runs out of memory, is cancelled, exits or crashes is undone, and the session ' +
    `stands as before. At most ${sessions.max} at a time, each up to ${sessions.memoryMb} MB; one that is not used for ` +
    `${sessions.idleSeconds} s ends.${also}`
  );
}

function packages(names: readonly string[], preload: readonly string[]): string {
  const usable = names.filter((name) => !INSTALLERS.has(name.toLowerCase()));
  if (usable.length === 0) return 'The standard library is there, and no other packages. Nothing can be installed.';
  const first = (name: string) => preload.includes(name) || WELL_KNOWN.has(name.toLowerCase());
  const named = [...usable.filter(first), ...usable.filter((name) => !first(name))].slice(0, PACKAGES_NAMED_MAX);
  const more = usable.length > named.length ? ` and ${usable.length - named.length} more` : '';
  return `Installed besides the standard library: ${named.join(', ')}${more}. Nothing can be installed.`;
}

function network(tier: Tier): string {
  return tier === 'none'
    ? 'The network is not shut off.'
    : 'No network: no connections, no downloads, no name lookups.';
}

function filesIn({ filesIn, filesInMb }: SandboxSettings): string {
  if (filesIn === 0 || filesInMb === 0) return 'It is empty at the start.';
  return `"files" puts files into it before the program starts (up to ${filesIn}, ${filesInMb} MB together): open them by name.`;
}

function filesOut({ filesOut, filesOutMb, filesKeptSeconds }: SandboxSettings, packages: readonly string[]): string {
  if (filesOut === 0 || filesOutMb === 0) return 'What a program leaves there is gone with it.';
  const plots = packages.includes('matplotlib')
    ? ' Open matplotlib figures are saved and shown by themselves, at plt.show() and at the end.'
    : '';
  const kept = filesKeptSeconds < 120 ? `${filesKeptSeconds} s` : `${Math.floor(filesKeptSeconds / 60)} minutes`;
  return `What a program leaves there comes back (up to ${filesOut} files, ${filesOutMb} MB together): regular files, each with an address (cordon://…) to be read as an MCP resource for ${kept}. Images among them are shown in the result.${plots} Save large tables as files instead of printing them.`;
}

function files(tier: Tier): string {
  return tier === 'none'
    ? "Other files of this machine are not shut off: leave them alone unless the user's task is about them."
    : 'No other files of this machine are there but the interpreter and its libraries.';
}

/** The directories that the policy opens, by the paths that programs find them at. */
function mounted(mounts: SandboxSettings['mounts']): string {
  const named = mounts.map(
    ({ inside, mode }) => `${inside} (${mode === 'rw' ? 'what a program changes there stays changed' : 'read only'})`,
  );
  return named.length === 0 ? '' : `\n- Directories that the owner opened to every program: ${named.join(', ')}.`;
}

/** Clients take a tool that says nothing for destructive and open to the world. */
function annotations(tier: Tier, mounts: SandboxSettings['mounts']): Tool['annotations'] {
  const sealed = tier !== 'none' && mounts.every(({ mode }) => mode === 'ro');
  return {
    title: 'Run Python',
    readOnlyHint: sealed,
    destructiveHint: !sealed,
    idempotentHint: sealed,
    openWorldHint: tier === 'none',
  };
}
