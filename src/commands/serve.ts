/** `cordon serve`: MCP over stdin and stdout, until the client leaves. */
import { parseArgs } from 'node:util';
import { UsageError } from '../command.js';
import { IMAGE_MODES, STRUCTURED_MODES } from '../mcp/presentation.js';
import { keepHeapSmall } from '../heap.js';
import { packageVersion } from '../package.js';
import type { LimitRule, Policy } from '../policy/schema.js';
import { start, StartRefused, type Started } from '../startup.js';
import { safeLines } from '../terminal.js';

export const help = `cordon serve: serve MCP over stdin and stdout; the default command

Usage: cordon [serve] [--policy FILE] [--audit FILE|off] [--state FILE|memory|URL]
                      [--structured auto|always|never] [--images inline|link|none]

  --policy FILE     the policy (else $CORDON_POLICY, else ./policy.json, else the one that comes with cordon)
  --audit FILE|off  where each call leaves a line (default: $XDG_STATE_HOME/cordon/audit.jsonl)
  --state FILE|memory|redis://HOST
                    where counters and approvals are kept (else $CORDON_STATE, else $XDG_STATE_HOME/cordon/state.db,
                    shared by all servers of this user); memory: gone with the server; Redis: for several machines
  --structured auto|always|never
                    whether results have structured content besides the text; auto: not for clients that would show it in
                    place of the text (Codex, Claude Code)
  --images inline|link|none
                    how images come that a program leaves: in the result itself (the default), as links to resources, not at all

An edited policy holds from the next call on; an edit that is not valid is refused here, and the old one stays.
stdout belongs to MCP; everything for people goes to stderr.
Exit status: 0 when the client left, 1 when it could not start, 2 for a wrong policy or command line, 128+n for a signal.
`;

/** The identity of all calls over stdio: who starts the server is who calls. */
const GRANT = { name: 'local' };

/** At most this is taken from a client in one message, however much the policy would: V8's strings end there. */
const MESSAGE_MAX_BYTES = 500_000_000;
const MESSAGE_MIN_BYTES = 16_000_000;
/** JSON writes a control character as six bytes, `\\u0001`. */
const JSON_INFLATION = 6;

const importMcp = () => Promise.all([import('../mcp/server.js'), import('../mcp/stdio.js')]);

export async function main(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      policy: { type: 'string' },
      audit: { type: 'string' },
      state: { type: 'string' },
      structured: { type: 'string', default: 'auto' },
      images: { type: 'string', default: 'inline' },
    },
    strict: true,
  });
  const presentation = {
    structured: oneOf('--structured', STRUCTURED_MODES, values.structured),
    images: oneOf('--images', IMAGE_MODES, values.images),
  };
  let started: Started;
  let loadMcp: ReturnType<typeof importMcp> | undefined;
  try {
    // The SDK takes as long to load as the machine to be probed, and neither needs the other.
    started = await start({ ...values, onProbing: () => (loadMcp = importMcp()) });
  } catch (error) {
    if (!(error instanceof StartRefused)) throw error;
    process.stderr.write(`cordon: not started: ${safeLines(error.message)}\n`);
    return error.status;
  }
  const { rooms, backend, loaded } = started;
  const [{ createServer }, { serveStdio }] = await (loadMcp ?? importMcp());
  process.stderr.write(safeLines(greeting(started)));
  keepHeapSmall();

  const server = createServer(rooms, GRANT, packageVersion(), presentation);
  const { codeKb, stdinMb, filesInMb } = loaded.policy.sandbox;
  const largest = JSON_INFLATION * (codeKb * 2 ** 10 + (stdinMb + filesInMb) * 2 ** 20);
  const stop = await serveStdio(server, Math.min(MESSAGE_MAX_BYTES, Math.max(MESSAGE_MIN_BYTES, 2 * largest)));
  // Every call under way was told to stop. Closing the backend makes sure of it; then each has its audit line.
  await backend.close();
  await server.idle();
  await started.close();
  process.stderr.write(`cordon: stopped: ${stop.reason}\n`);
  return stop.status;
}

/** @throws UsageError for another word than one of `words` */
function oneOf<Word extends string>(flag: string, words: readonly Word[], said: string): Word {
  const found = words.find((word) => word === said);
  if (found === undefined) throw new UsageError(`${flag}: expected ${words.join(', ')}, got ${JSON.stringify(said)}`);
  return found;
}

/** What a person wants to see at the start: what was found, and what holds. */
function greeting({ rooms, backend, loaded, origin, state }: Started): string {
  const { tier, interpreter } = backend.guarantees;
  const lines = [
    `version ${packageVersion()}, serving MCP on stdin and stdout`,
    `policy: ${loaded.source} (${origin})`,
    ...policyLines(loaded.policy).map((line) => `  ${line}`),
    ...(tier === 'strict'
      ? []
      : [
          `WARNING: isolation is "${tier}", not "strict": ${WEAKER[tier]} cordon doctor says what would raise it; "isolation": "strict" in the policy refuses to start without.`,
        ]),
    `sandbox: tier ${tier}, Python ${interpreter.version} (${interpreter.executable})`,
    `state: ${state}`,
    `audit log: ${rooms.audit.path ?? 'off'}`,
  ];
  if (process.stdin.isTTY) lines.push('this is a server for MCP clients, and stdin is a terminal: see cordon --help');
  return lines.map((line) => `cordon: ${line}\n`).join('');
}

const WEAKER = {
  confined: 'programs share the namespaces of this machine, behind landlock and seccomp.',
  none: 'PROGRAMS CAN DO WHAT THIS USER CAN DO, within resource limits only.',
} as const;

function policyLines(policy: Policy): string[] {
  const tools = Object.keys(policy.tools);
  const s = policy.sandbox;
  return [
    `default: ${policy.default}; tools with rules: ${tools.join(', ') || 'none'}; hidden: ${policy.hide.join(', ') || 'none'}`,
    ...policy.all_tools.limits.map((limit) => `all tools: ${limitWords(limit)}`),
    ...Object.entries(policy.tools).flatMap(([name, { limits }]) =>
      limits.map((limit) => `${name}: ${limitWords(limit)}`),
    ),
    `each run: ${s.timeoutSeconds} s, CPU ${s.cpuSeconds} s, memory ${s.memoryMb} MB, disk ${s.diskMb} MB, output ${s.outputMb} MB, ${s.processes} processes; ${s.maxRunning} at a time, ${s.maxWaiting} waiting`,
  ];
}

function limitWords({ counter, max, charge, window, scope, shadow }: LimitRule): string {
  const what = charge === 'calls' ? `${max} calls` : `${max} of ${charge}`;
  const whom = scope === 'grant' ? 'each grant' : 'everybody together';
  return `at most ${what} a ${window} for ${whom} (${counter})${shadow ? ', not enforced' : ''}`;
}
