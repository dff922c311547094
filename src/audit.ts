/**
 * One JSON line a call, denied ones too; never the code itself.
 *
 * Fails closed: `openAudit` throws when the file can't be written, so that nothing starts, and `ready` throws before a
 * call spawns anything. A line that could not be written is kept and written before anything else runs again, so a
 * disk that was full for a while leaves no hole. The file is opened anew for each line: one that was moved away or
 * deleted is made again, and no line goes to a file that is no longer there.
 */
import { closeSync, constants, fstatSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import type { Status, Tier, Usage } from './sandbox.js';

/** What is said of a call. Strings that came from outside may be cut, `time` is ISO 8601 in UTC. */
export interface AuditRecord {
  readonly time: string;
  readonly runId: string;
  readonly grant: string;
  readonly client: { readonly name: string; readonly version: string };
  readonly tool: string;
  /** `refused`: our own fault came before any decision. A question (`ask`) that nobody could be asked was a no. */
  readonly decision: {
    readonly verdict: 'allow' | 'deny' | 'ask' | 'refused';
    /** JSON pointer into the policy. */
    readonly rule: string | null;
    readonly code: string | null;
  };
  /** What rules in shadow mode would have said, had they been enforced. */
  readonly shadowed: readonly { readonly rule: string; readonly code: string }[];
  readonly policyHash: string;
  readonly codeSha256: string | null;
  readonly codeBytes: number | null;
  readonly status: Status;
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly usage: Usage | null;
  readonly tier: Tier | null;
}

export interface Audit {
  /** Where the lines go, or null where the owner wants none. */
  readonly path: string | null;
  /** Throws `AuditError` unless a line could be written now and none is owed. Called before anything is spawned. */
  ready(): void;
  /** Write a call's line. Throws `AuditError` when it can't be; the line is then owed. */
  write(record: AuditRecord): void;
}

export class AuditError extends Error {
  override readonly name = 'AuditError';
}

/** Lines kept while the file can't be written. Each belongs to a refused call, so more say nothing new. */
const OWED_LINES_MAX = 1000;
const TEXT_MAX_CHARACTERS = 200;

/**
 * Open the audit log.
 * @param choice a file, `off`, or undefined for `$XDG_STATE_HOME/cordon/audit.jsonl`
 * @throws AuditError when the file can't be appended to
 */
export function openAudit(choice: string | undefined, env: NodeJS.ProcessEnv): Audit {
  if (choice === 'off') return { path: null, ready: nothing, write: nothing };
  const path = choice === undefined ? defaultPath(env) : resolve(choice);
  const owed: string[] = [];
  let torn = false;

  function append(line: string | null): void {
    let descriptor: number | null = null;
    try {
      descriptor = open(path);
      if (line === null) return;
      // After a write that stopped half-way, a line of its own is what keeps the next one readable.
      const bytes = Buffer.from(`${torn ? '\n' : ''}${line}\n`);
      const written = writeSync(descriptor, bytes);
      torn = written > 0 && written < bytes.length;
      if (written < bytes.length) throw new Error(`only ${written} of ${bytes.length} bytes were written: disk full?`);
      torn = false;
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new AuditError(
        `the audit log ${path} can't be written: ${why}. Make it writable, choose another with --audit FILE, ` +
          'or do without with --audit off.',
        { cause: error },
      );
    } finally {
      if (descriptor !== null) closeSync(descriptor);
    }
  }

  function ready(): void {
    for (let line = owed[0]; line !== undefined; line = owed[0]) {
      append(line);
      owed.shift();
    }
    append(null);
  }

  function write(record: AuditRecord): void {
    const line = JSON.stringify(record, (_key, value: unknown) =>
      typeof value === 'string' && value.length > TEXT_MAX_CHARACTERS
        ? `${value.slice(0, TEXT_MAX_CHARACTERS)}…`
        : value,
    );
    try {
      append(line);
    } catch (error) {
      if (owed.length < OWED_LINES_MAX) owed.push(line);
      throw error;
    }
  }

  ready();
  return { path, ready, write };
}

/** The XDG base directory specification: a path that is not absolute is to be ignored. */
function defaultPath(env: NodeJS.ProcessEnv): string {
  const state = env.XDG_STATE_HOME;
  const base = state !== undefined && isAbsolute(state) ? state : join(env.HOME ?? homedir(), '.local', 'state');
  return join(base, 'cordon', 'audit.jsonl');
}

/** One descriptor for one append: O_APPEND puts a line that is written in one call after all others, whole. */
function open(path: string): number {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const { O_APPEND, O_CREAT, O_WRONLY, O_NONBLOCK } = constants;
  // O_NONBLOCK: opening a named pipe that nobody reads would otherwise wait for ever.
  const descriptor = openSync(path, O_APPEND | O_CREAT | O_WRONLY | O_NONBLOCK, 0o600);
  if (!fstatSync(descriptor).isFile()) {
    closeSync(descriptor);
    throw new Error('it is not a regular file');
  }
  return descriptor;
}

function nothing(): void {
  // The owner wants no log.
}
