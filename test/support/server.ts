/** The built server, started the way clients start it, for tests and the demo. */
import { spawn, spawnSync, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';

/** The command itself, as it ships. */
export const MAIN = fileURLToPath(new URL('../../bin/main.js', import.meta.url));

/** The design's example: ten calls a minute, and no other tool. */
export const EXAMPLE_POLICY = {
  version: '1',
  default: 'deny',
  tools: {
    code_execute: { limits: [{ counter: 'code_execute_rate', window: 'minute', max: 10, scope: 'grant' }] },
  },
};

/** No limit on calls. */
export const OPEN_POLICY = { version: '1', default: 'deny', tools: { code_execute: {} } };

/** Why sandboxes can't be had on this machine, or false; for a test's `skip`. */
export function whyNoSandbox(): string | false {
  const doctor = spawnSync(process.execPath, [MAIN, 'doctor'], { encoding: 'utf8', cwd: tmpdir() });
  if (doctor.status === 0) return false;
  const said = `${doctor.stdout}${doctor.stderr}`;
  // Anything else than a plain no is a fault, and must fail the tests instead of skipping them.
  if (!said.includes("can't be had here")) throw new Error(`cordon doctor failed:\n${said}`);
  return `no sandbox here:\n${said}`;
}

/** The best tier that is to be had here. */
export function tierHere(): string {
  const { stdout } = spawnSync(process.execPath, [MAIN, 'doctor', '--json'], { encoding: 'utf8', cwd: tmpdir() });
  return (JSON.parse(stdout) as { tier: string }).tier;
}

/** The same as `whyNoSandbox`, for what only tier strict has. */
export function whyNotStrict(): string | false {
  const lack = whyNoSandbox();
  if (lack !== false) return lack;
  const tier = tierHere();
  return tier === 'strict' ? false : `needs tier strict, and what is to be had here is ${tier}`;
}

/** A directory with a policy and room for an audit log, gone with `remove`. */
export interface Place {
  readonly directory: string;
  /** The flags that make cordon use it. */
  readonly flags: readonly string[];
  readonly audit: () => Record<string, unknown>[];
  /** Another policy, for a server that starts later. */
  readonly write: (policy: unknown) => void;
  readonly remove: () => void;
}

export function createPlace(policy: unknown = OPEN_POLICY): Place {
  const directory = mkdtempSync(join(tmpdir(), 'cordon-test-'));
  const [policyPath, auditPath] = [join(directory, 'policy.json'), join(directory, 'audit.jsonl')];
  const write = (text: unknown): void => {
    writeFileSync(policyPath, typeof text === 'string' ? text : JSON.stringify(text));
  };
  write(policy);
  return {
    directory,
    flags: ['--policy', policyPath, '--audit', auditPath, '--state', join(directory, 'state.db')],
    audit: () =>
      readFileSync(auditPath, 'utf8')
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Record<string, unknown>),
    write,
    remove: () => {
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** A real client, connected. */
export interface Session {
  readonly client: Client;
  readonly place: Place;
  /** What the server has said on stderr until now. */
  readonly stderr: () => string;
  readonly close: () => Promise<void>;
}

/** @param argv more flags of `serve` @param under the command that the server is started by */
export async function connect(
  policy: unknown = OPEN_POLICY,
  clientName = 'cordon-test',
  argv: readonly string[] = [],
  under: readonly string[] = [],
): Promise<Session> {
  const place = createPlace(policy);
  const line = [...under, process.execPath, MAIN, 'serve', ...place.flags, ...argv];
  const transport = new StdioClientTransport({
    command: line[0] ?? process.execPath,
    args: line.slice(1),
    cwd: place.directory,
    stderr: 'pipe',
  });
  let said = '';
  transport.stderr?.on('data', (bytes: Buffer) => (said += bytes.toString()));
  const client = new Client({ name: clientName, version: '1.2.3' });
  await client.connect(transport).catch((error: unknown) => {
    place.remove();
    throw new Error(`the server did not start: ${said}`, { cause: error });
  });
  // With the list known, the client checks structured content against the output schema.
  await client.listTools();
  return {
    client,
    place,
    stderr: () => said,
    async close() {
      await client.close();
      place.remove();
    },
  };
}

/** The parts of a result that tests look at. */
export interface Answer {
  readonly text: string;
  readonly isError: boolean;
  readonly structured: Record<string, unknown>;
}

export async function execute(client: Client, args: Record<string, unknown>, tool = 'code_execute'): Promise<Answer> {
  const result = await client.callTool({ name: tool, arguments: args });
  const content = result.content as { type: string; text?: string }[];
  return {
    text: content.map(({ text = '' }) => text).join('\n'),
    isError: result.isError === true,
    structured: result.structuredContent as Record<string, unknown>,
  };
}

/** The server without a client: lines go in and out as they are. */
export interface RawServer {
  readonly process: ChildProcessByStdio<Writable, Readable, Readable>;
  /** Every line on stdout until now. */
  readonly lines: readonly string[];
  readonly stderr: () => string;
  send(message: object): void;
  /** Resolves with the first message, past or future, that fits. */
  message(fits: (message: Record<string, unknown>) => boolean): Promise<Record<string, unknown>>;
  /** Initialize, as a client does. */
  initialize(): Promise<void>;
  /** Exit status, or the signal's name. */
  readonly exited: Promise<number | string>;
}

export function startRaw(argv: readonly string[], cwd: string): RawServer {
  const child = spawn(process.execPath, [MAIN, ...argv], { cwd, stdio: ['pipe', 'pipe', 'pipe'] });
  const lines: string[] = [];
  const waiting = new Set<() => void>();
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(line);
    for (const look of waiting) look();
  });
  let said = '';
  child.stderr.on('data', (bytes: Buffer) => (said += bytes.toString()));
  // A server that stopped while something was written to it is what some tests are about.
  child.stdin.on('error', () => undefined);
  const exited = once(child, 'close').then(([code, signal]) => (code ?? signal) as number | string);

  const server: RawServer = {
    process: child,
    lines,
    stderr: () => said,
    send: (message) => void child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`),
    message: (fits) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          const found = lines.map((line) => JSON.parse(line) as Record<string, unknown>).find(fits);
          if (found === undefined) return;
          waiting.delete(look);
          resolve(found);
        };
        waiting.add(look);
        void exited.then((status) => {
          reject(new Error(`the server ended with ${status}: ${said}`));
        });
        look();
      }),
    async initialize() {
      const clientInfo = { name: 'raw', version: '1' };
      const params = { protocolVersion: '2025-06-18', capabilities: {}, clientInfo };
      server.send({ id: 'hello', method: 'initialize', params });
      await server.message(({ id }) => id === 'hello');
      server.send({ method: 'notifications/initialized' });
    },
    exited,
  };
  return server;
}

/** Every process below one, at any depth, by `/proc`. */
export function descendants(pid: number): number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (state !== 'Z') parents.set(Number(name), Number(parent));
    } catch {
      // It ended while we looked.
    }
  }
  const below = (of: number): number[] =>
    [...parents].filter(([, parent]) => parent === of).flatMap(([child]) => [child, ...below(child)]);
  return below(pid);
}

export function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return !stat.slice(stat.lastIndexOf(')') + 2).startsWith('Z');
  } catch {
    return false;
  }
}

/** Look until something holds; there is no event for what the process table says. Rejects after ten seconds. */
export async function until(what: string, holds: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`not within 10 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
