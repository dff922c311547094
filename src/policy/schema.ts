/**
 * The shape of policy.json, version "1": PolicyLayer's language, and what Cordon adds to it (`require_approval`, `charge`,
 * `align`, `shadow`, `sandbox`). Shapes only: what a value must mean beyond its type (paths, regexes, counters) is in
 * checks.ts. Every key has a description, which becomes the JSON Schema that editors complete from.
 */
import * as z from 'zod';

/** The eleven operators of a condition, in the order they are documented. */
export const operators = [
  'eq',
  'neq',
  'lt',
  'lte',
  'gt',
  'gte',
  'in',
  'not_in',
  'exists',
  'regex',
  'contains',
] as const;

/** What a limit can be charged by, besides a number in the call's arguments (`args.<path>`). */
export const measuredCharges = ['cpu_seconds', 'wall_seconds', 'output_bytes'] as const;

const onDeny = z
  .string()
  .min(1)
  .max(2000)
  .describe('The words the agent is given when this rule denies a call: say what it is to do instead.');

const shadow = z
  .boolean()
  .default(false)
  .describe('true: decide and record what this rule would have done, but do not enforce it.');

export const conditionSchema = z
  .strictObject({
    path: z
      .string()
      .describe(
        'What is compared: args.<name> (dots go deeper, a number picks a list item), or code.bytes, code.lines, ' +
          'code.imports, client.name, grant.name, time.hour (0 to 23, UTC), time.weekday (monday to sunday, UTC).',
      ),
    op: z
      .enum(operators)
      .describe(
        'eq neq: equal or not, same type; lt lte gt gte: numbers; in not_in: one of a list; exists: there (true) or not ' +
          '(false); regex: RE2 syntax, anywhere in the text; contains: a part of a text, or an item of a list.',
      ),
    value: z.unknown().describe('What it is compared with; its type depends on op.'),
  })
  .describe('One comparison. Conditions on code are lint, not a wall: the sandbox is the wall.');

const conditions = (meaning: string) => z.array(conditionSchema).max(100).default([]).describe(meaning);

export const requirementSchema = z
  .strictObject({
    conditions: conditions('All of them must hold, or the call is denied.'),
    on_deny: onDeny.optional(),
    shadow,
  })
  .describe('A call is denied unless every condition holds; one that cannot be told does not hold.');

export const denyIfSchema = z
  .strictObject({
    conditions: conditions('The call is denied if all of them hold. None at all: always denied.'),
    on_deny: onDeny.optional(),
    shadow,
  })
  .describe('A call is denied if every condition holds; one that cannot be told counts as holding.');

/** How long an approval holds, from the strictest to the loosest. */
export const rememberChoices = ['once', 'same_code', 'session'] as const;

export const requireApprovalSchema = z
  .strictObject({
    conditions: conditions('A person is asked if all of them hold. None at all: always asked.'),
    message: z.string().min(1).max(2000).optional().describe('What the person is asked.'),
    timeout_seconds: z
      .number()
      .min(1)
      .max(86_400)
      .default(120)
      .describe('How long to wait for the answer; no answer is a no. Seconds.'),
    remember: z
      .enum(rememberChoices)
      .default('once')
      .describe(
        'once: for this call only; same_code: for calls with the same arguments; session: until the client leaves.',
      ),
    on_deny: onDeny.optional(),
    shadow,
  })
  .describe('A person is asked before the call runs; asking needs every condition to hold, or not to be tellable.');

/** Lengths of a limit's window, shortest first. */
export const windows = ['second', 'minute', 'hour', 'day'] as const;

const maxPerWindow = 1_000_000_000_000;

export const limitSchema = z
  .strictObject({
    counter: z
      .string()
      .min(1)
      .max(128)
      .describe(
        'Name of the counter. Limits of the same counter, window, align and scope count together, whatever the tool.',
      ),
    window: z.enum(windows).describe('Length of the window that is counted in.'),
    max: z.int().min(1).max(maxPerWindow).describe('The most that one window lets through, in the unit of charge.'),
    scope: z
      .enum(['grant', 'server'])
      .default('grant')
      .describe('grant: counted for each identity by itself; server: everybody together.'),
    charge: z
      .string()
      .default('calls')
      .describe(
        'What one call costs: calls (1), args.<path> (a number in its arguments), or what it turns out to use: ' +
          'cpu_seconds, wall_seconds, output_bytes (refused while the budget is spent, charged afterwards).',
      ),
    align: z
      .enum(['calendar', 'sliding'])
      .default('calendar')
      .describe(
        'calendar: windows begin on the clock, UTC; sliding: any stretch of that length, no double burst at the edge.',
      ),
    on_deny: onDeny.optional(),
    shadow,
  })
  .describe('At most so much in a window. Several limits are reserved all together or not at all.');

const limits = z.array(limitSchema).max(100).default([]);

export const toolSchema = z
  .strictObject({
    require: z.array(requirementSchema).max(200).default([]).describe('Each must hold.'),
    deny_if: z.array(denyIfSchema).max(200).default([]).describe('None may hold.'),
    require_approval: z.array(requireApprovalSchema).max(200).default([]).describe('When to ask a person first.'),
    limits: limits.describe('How often, or how much.'),
  })
  .describe('Rules of one tool. {} under "default": "deny" allows it.');

export const allToolsSchema = z
  .strictObject({ limits: limits.describe('Limits that every allowed call counts against, whatever the tool.') })
  .describe('Rules of every tool.');

const mountSchema = z
  .strictObject({
    host: z.string().min(1).max(4096).describe('The directory: an absolute path without symbolic links.'),
    inside: z.string().min(1).max(4096).describe('Where programs find it: a path below /mnt or /data.'),
    mode: z.enum(['ro', 'rw']).default('ro').describe('ro: programs can read it; rw: they can change it as well.'),
  })
  .describe('A directory of this machine that every program sees, with all that is in it.');

/** What sessions may use: Python states that several calls continue. */
interface SessionSettings {
  /** Of a grant at the same time; 0: none are to be had. */
  readonly max: number;
  /** One that is not used for so long ends. */
  readonly idleSeconds: number;
  /** None gets older. */
  readonly ageSeconds: number;
  /** Memory of one with all states that are kept, in units of 2^20 bytes. */
  readonly memoryMb: number;
  /** Files of one with those of all states that are kept, in units of 2^20 bytes. */
  readonly diskMb: number;
  /** How many steps one can go back. */
  readonly keepSteps: number;
}

/** The `sandbox` section with its defaults filled in: what a job may use, and how many run. */
export interface SandboxSettings {
  /** The weakest tier that is acceptable; below it nothing runs. */
  readonly isolation: 'strict' | 'confined' | 'none';
  /** The interpreter: a name on PATH or a path. */
  readonly python: string;
  /** Directories of the host that programs see. */
  readonly mounts: readonly { readonly host: string; readonly inside: string; readonly mode: 'ro' | 'rw' }[];
  /** Modules imported before a program starts. */
  readonly preload: readonly string[];
  /** Sandboxes kept ready. */
  readonly warm: number;
  /** Wall time of one job. */
  readonly timeoutSeconds: number;
  /** CPU time of one job's whole process tree. */
  readonly cpuSeconds: number;
  /** Memory of the whole tree, in units of 2^20 bytes. */
  readonly memoryMb: number;
  /** Processes and threads at the same time. */
  readonly processes: number;
  /** Open descriptors of each process. */
  readonly openFiles: number;
  /** The largest file, in units of 2^20 bytes. */
  readonly fileSizeMb: number;
  /** Everything written to disk together, in units of 2^20 bytes. */
  readonly diskMb: number;
  /** Files and directories together. */
  readonly diskInodes: number;
  /** What both output streams may produce before the job is ended, in units of 2^20 bytes. */
  readonly outputMb: number;
  /** What is kept of each output stream, in units of 2^10 bytes. */
  readonly outputKeptKb: number;
  /** How many files a call may bring, and how much of them together, in units of 2^20 bytes. */
  readonly filesIn: number;
  readonly filesInMb: number;
  /** How many of the files that a run leaves come back, and how much of them together, in units of 2^20 bytes. */
  readonly filesOut: number;
  readonly filesOutMb: number;
  /** How long they can be fetched, and how much is kept of all runs together, in units of 2^20 bytes. */
  readonly filesKeptSeconds: number;
  readonly filesKeptMb: number;
  /** The largest `code`, in units of 2^10 bytes of UTF-8. */
  readonly codeKb: number;
  /** The largest `stdin`, in units of 2^20 bytes of UTF-8. */
  readonly stdinMb: number;
  /** Jobs at the same time. */
  readonly maxRunning: number;
  /** Calls waiting for a slot. */
  readonly maxWaiting: number;
  readonly sessions: SessionSettings;
}

const count = (min: number, max: number, preset: number, meaning: string) =>
  z.int().min(min).max(max).default(preset).describe(meaning);

const seconds = (preset: number, meaning: string) =>
  z.number().positive().max(86_400).default(preset).describe(meaning);

const sessionAge = (preset: number, meaning: string) =>
  z.number().positive().max(604_800).default(preset).describe(meaning);

const oneTibInMb = 1_048_576;

const sessionsSchema = z
  .strictObject({
    max: count(0, 256, 4, 'Sessions of a grant at the same time. 0: none are to be had.'),
    idle_seconds: seconds(900, 'A session that is not used for so long ends. Seconds.'),
    age_seconds: sessionAge(14_400, 'No session gets older. Seconds.'),
    memory_mb: count(1, oneTibInMb, 1024, 'Memory of a session with all the states that are kept, forks too. MiB.'),
    disk_mb: count(
      1,
      oneTibInMb,
      256,
      'Files of a session with those of all the states that are kept, forks too. MiB.',
    ),
    keep_steps: count(0, 48, 16, 'How many steps one can go back with session_rewind; each is a process that waits.'),
  })
  .describe('Sessions: Python states that several calls continue, each confined as closely as a single call.');

/** Keys as they are written; defaults are the shipped policy's. */
export const sandboxSchema = z
  .strictObject({
    isolation: z
      .enum(['strict', 'confined', 'none'])
      .default('confined')
      .describe(
        'The weakest confinement that is acceptable; the best that is to be had is taken. strict: namespaces, landlock and seccomp; ' +
          'confined: landlock and seccomp; none: resource limits only. The server does not start below it.',
      ),
    python: z
      .string()
      .min(1)
      .max(4096)
      .default('python3')
      .describe('The interpreter: a name on PATH, or a path (a virtual environment, a pyenv shim).'),
    preload: z
      .array(z.string().min(1).max(200))
      .max(64)
      .default([])
      .describe('Modules imported before programs start, so that theirs is fast: ["numpy", "pandas"].'),
    mounts: z
      .array(mountSchema)
      .max(32)
      .default([])
      .describe('Directories of this machine that programs see. None by default.'),
    warm: count(0, 16, 2, 'Sandboxes kept ready; each is used once.'),
    timeout_seconds: seconds(30, 'Wall time of one run. A call can only lower it. Seconds.'),
    cpu_seconds: seconds(30, 'CPU time of one run, all its processes together. Seconds.'),
    memory_mb: count(1, oneTibInMb, 512, 'Memory of one run, all its processes together. MiB.'),
    processes: count(1, 32_768, 64, 'Processes and threads of one run at the same time.'),
    open_files: count(1, 1_048_576, 256, 'Open files of each process.'),
    file_size_mb: count(1, oneTibInMb, 64, 'The largest file a run can write. MiB.'),
    disk_mb: count(1, oneTibInMb, 128, 'All files of one run together; they live in memory. MiB.'),
    disk_inodes: count(1, 16_777_216, 8192, 'Files and directories of one run.'),
    output_mb: count(1, 1024, 8, 'What stdout and stderr may produce together before the run is ended. MiB.'),
    output_kept_kb: count(
      1,
      128,
      64,
      'What is kept of each of stdout and stderr, head and tail; at most 128, as clients cut a result at 1 MB. KiB.',
    ),
    files_in: count(0, 10_000, 100, 'How many files a call may bring.'),
    files_in_mb: count(0, 256, 16, 'How much of them together; a part of disk_mb. MiB.'),
    files_out: count(0, 10_000, 100, 'How many of the files that a run leaves in its working directory come back.'),
    files_out_mb: count(0, 4096, 32, 'How much of them comes back from one run, together. MiB.'),
    files_kept_seconds: count(1, 604_800, 3600, 'How long the files of a run can be fetched. Seconds.'),
    files_kept_mb: count(
      1,
      oneTibInMb,
      256,
      'How much of the files of all runs is kept together, on disk; the oldest runs go first. MiB.',
    ),
    code_kb: count(1, 16_384, 256, 'The largest code of a call. KiB.'),
    stdin_mb: count(1, 1024, 4, 'The largest stdin of a call. MiB.'),
    max_running: count(1, 1024, 4, 'Runs at the same time.'),
    max_waiting: count(0, 65_536, 64, 'Calls that may wait for their turn; one more is answered "unavailable".'),
    sessions: sessionsSchema.prefault({}),
  })
  .describe('How programs are confined, and what each may use.');

const resolvedSandboxSchema = sandboxSchema.transform((written): SandboxSettings => ({
  isolation: written.isolation,
  python: written.python,
  mounts: written.mounts,
  preload: written.preload,
  warm: written.warm,
  timeoutSeconds: written.timeout_seconds,
  cpuSeconds: written.cpu_seconds,
  memoryMb: written.memory_mb,
  processes: written.processes,
  openFiles: written.open_files,
  fileSizeMb: written.file_size_mb,
  diskMb: written.disk_mb,
  diskInodes: written.disk_inodes,
  outputMb: written.output_mb,
  outputKeptKb: written.output_kept_kb,
  filesIn: written.files_in,
  filesInMb: written.files_in_mb,
  filesOut: written.files_out,
  filesOutMb: written.files_out_mb,
  filesKeptSeconds: written.files_kept_seconds,
  filesKeptMb: written.files_kept_mb,
  codeKb: written.code_kb,
  stdinMb: written.stdin_mb,
  maxRunning: written.max_running,
  maxWaiting: written.max_waiting,
  sessions: {
    max: written.sessions.max,
    idleSeconds: written.sessions.idle_seconds,
    ageSeconds: written.sessions.age_seconds,
    memoryMb: written.sessions.memory_mb,
    diskMb: written.sessions.disk_mb,
    keepSteps: written.sessions.keep_steps,
  },
}));

const toolName = z.string().min(1).max(128);

export const policySchema = z
  .strictObject({
    $schema: z.string().optional().describe('Address of the JSON Schema, for editors.'),
    version: z.literal('1').describe('Version of the policy language: the text "1".'),
    default: z
      .enum(['allow', 'deny'])
      .describe('What happens to a tool that is not listed under tools. deny is the safer one.'),
    hide: z
      .array(toolName)
      .max(1000)
      .default([])
      .describe('Tools that are not listed to clients, and denied when called all the same. "*" hides every tool.'),
    all_tools: allToolsSchema.prefault({}),
    tools: z.record(toolName, toolSchema).default({}).describe('Rules by the name of the tool.'),
    sandbox: resolvedSandboxSchema.prefault({}),
  })
  .describe('A policy of Cordon: decides, before anything is spawned, whether a tool call runs.');

/** A valid policy: defaults filled in, the sandbox section resolved, frozen by the loader. */
export type Policy = z.output<typeof policySchema>;
export type Condition = z.output<typeof conditionSchema>;
export type Operator = (typeof operators)[number];
export type LimitRule = z.output<typeof limitSchema>;
export type Remember = (typeof rememberChoices)[number];

/**
 * The caps of one job under these settings. A caller's own timeout can lower the policy's, never raise it.
 * The result is a JobLimits of src/sandbox.ts, without knowing it.
 * @throws RangeError for a requested timeout that is not a number of seconds greater than 0
 */
export function jobLimits(settings: SandboxSettings, requestedTimeoutSeconds?: number) {
  if (requestedTimeoutSeconds !== undefined && !(requestedTimeoutSeconds > 0)) {
    throw new RangeError(`timeout_seconds: expected a number greater than 0, got ${requestedTimeoutSeconds}`);
  }
  return {
    timeoutSeconds: Math.min(settings.timeoutSeconds, requestedTimeoutSeconds ?? settings.timeoutSeconds),
    cpuSeconds: settings.cpuSeconds,
    memoryMb: settings.memoryMb,
    processes: settings.processes,
    openFiles: settings.openFiles,
    fileSizeMb: settings.fileSizeMb,
    outputMb: settings.outputMb,
    outputKeptKb: settings.outputKeptKb,
    filesOut: settings.filesOut,
    filesOutMb: settings.filesOutMb,
  };
}
