/**
 * One client of a soak and the server it started, with the bookkeeping of what became of each call: answered, answered that it could not be done,
 * given up, gone with its server, or lost. What was killed below the server is known here, for only that excuses an answer that is not the right one.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import type { ModelSession } from './model.js';
import type { Tally } from './tally.js';

/** A call without an answer for so long is lost: longer than its time limit and all that waits before it. */
const LOST_MS = 120_000;
/** How many calls one kill may make unavailable: the one under way, and one that was being made ready. */
const EXCUSES_PER_KILL = 2;

export interface Answered {
  readonly status: string;
  readonly stdout: string;
  readonly text: string;
  readonly structured: Readonly<Record<string, unknown>>;
  readonly images: readonly Buffer[];
}

export interface Call {
  readonly args: Readonly<Record<string, unknown>>;
  readonly tool?: string;
  /** Given up by the client after so long. Milliseconds. */
  readonly cancelAfterMs?: number;
  /** What is wrong with the answer, or null. */
  readonly wrong: (answer: Answered) => string | null;
}

export interface Caller {
  readonly client: Client;
  /** Of its server. */
  readonly pid: number;
  /** Whether the policy of its server opens directories (kinds.ts). */
  readonly hasMounts: boolean;
  /** Sessions that are open there, as they have to be. */
  readonly sessions: ModelSession[];
  /** How often its server, or something below it, was killed. */
  readonly kills: number;
  /** How many answers came to each request. */
  readonly answers: ReadonlyMap<string | number, number>;
  readonly isGone: () => boolean;
  noteKill(): void;
  /**
   * Make a call. An answer is only handed out when it is the right one; whatever else came of the call is written down, and null.
   */
  call(call: Call, name: string): Promise<Answered | null>;
  /** The content of a file that a program left, in as many parts as it takes; null where the server is gone. */
  read(uri: string, name: string): Promise<Buffer | null>;
  /** Write down a fault, unless something was killed since there were `kills` kills. */
  fault(what: string, kills: number): void;
}

export interface Server {
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly hasMounts: boolean;
}

export async function connect({ command, args, cwd, env, hasMounts }: Server, tally: Tally): Promise<Caller> {
  const transport = new StdioClientTransport({ command, args: [...args], cwd, env, stderr: 'ignore' });
  const client = new Client({ name: 'soak', version: '1' });
  await client.connect(transport);
  const answers = new Map<string | number, number>();
  const inner = transport.onmessage?.bind(transport);
  transport.onmessage = (message) => {
    if ('id' in message && message.id !== undefined && !('method' in message)) {
      answers.set(message.id, (answers.get(message.id) ?? 0) + 1);
    }
    inner?.(message);
  };
  let closed = false;
  const gone = new Promise<void>((resolve) => {
    client.onclose = () => {
      closed = true;
      resolve();
    };
  });
  await client.listTools();
  let kills = 0;
  let excuses = 0;

  /** Whether a request failed because its server has ended, which its end tells a moment later. */
  async function isWithoutServer(): Promise<boolean> {
    await Promise.race([gone, sleep(2000)]);
    return closed;
  }

  const caller: Caller = {
    client,
    pid: transport.pid ?? 0,
    hasMounts,
    sessions: [],
    get kills() {
      return kills;
    },
    answers,
    isGone: () => closed,
    noteKill() {
      kills += 1;
      excuses += EXCUSES_PER_KILL;
    },
    fault(what, since) {
      if (kills > since) tally.hit += 1;
      else tally.wrong.push(what);
    },
    async call({ tool = 'code_execute', args: given, cancelAfterMs, wrong }, name) {
      tally.calls += 1;
      const before = kills;
      const abort = new AbortController();
      const stopAfter = (ms: number, why: string) =>
        setTimeout(() => {
          abort.abort(why);
        }, ms);
      const timers = [stopAfter(LOST_MS, 'lost')];
      if (cancelAfterMs !== undefined) timers.push(stopAfter(cancelAfterMs, 'given up'));
      try {
        const answer = await callOnce(client, tool, given, abort.signal);
        if (answer.status === 'unavailable') {
          tally.unavailable += 1;
          excuses -= 1;
          if (excuses < 0)
            tally.wrong.push(`${name}: unavailable, and nothing was killed: ${answer.text.slice(0, 300)}`);
          return null;
        }
        tally.answered += 1;
        const fault = wrong(answer);
        if (fault === null) return answer;
        // A sandbox that was ready and had its program killed says so to the one who gets it.
        const isExcused = answer.status === 'killed' && excuses > 0;
        if (isExcused) excuses -= 1;
        caller.fault(`${name}: ${fault}`, isExcused ? -1 : before);
      } catch (error) {
        if (abort.signal.reason === 'given up') tally.givenUp += 1;
        else if (abort.signal.reason === 'lost') tally.lost += 1;
        else if (await isWithoutServer()) tally.serverGone += 1;
        else {
          tally.answered += 1;
          tally.wrong.push(`${name}: ${String(error)}`);
        }
      } finally {
        for (const timer of timers) clearTimeout(timer);
      }
      return null;
    },
    async read(uri, name) {
      const parts: Buffer[] = [];
      try {
        for (let next: string | undefined = uri; next !== undefined;) {
          const { contents } = await client.readResource({ uri: next }, { timeout: LOST_MS });
          const [part, rest] = contents as { text?: string; blob?: string; uri: string }[];
          parts.push(part?.text === undefined ? Buffer.from(part?.blob ?? '', 'base64') : Buffer.from(part.text));
          next = rest?.uri;
        }
      } catch (error) {
        if (!(await isWithoutServer())) tally.wrong.push(`${name}: ${uri} could not be read: ${String(error)}`);
        return null;
      }
      tally.filesRead += 1;
      return Buffer.concat(parts);
    },
  };
  return caller;
}

async function callOnce(
  client: Client,
  name: string,
  args: Readonly<Record<string, unknown>>,
  signal: AbortSignal,
): Promise<Answered> {
  const result = await client.callTool({ name, arguments: args }, undefined, { signal, timeout: LOST_MS + 10_000 });
  const content = result.content as { type: string; text?: string; data?: string }[];
  const structured = result.structuredContent as Record<string, unknown>;
  return {
    status: String(structured.status),
    stdout: String(structured.stdout),
    text: content.map(({ text = '' }) => text).join('\n'),
    structured,
    images: content.filter(({ type }) => type === 'image').map(({ data = '' }) => Buffer.from(data, 'base64')),
  };
}
