/**
 * From a file to a policy that holds: found, read, understood and frozen, or refused with everything that is wrong with
 * it at once. There is no half-valid policy and no default for a broken one.
 */
import { lstatSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { resolve } from 'node:path';
import type * as z from 'zod';
import { sha256 } from '../sha256.js';
import { checkMeaning } from './checks.js';
import type { Finding } from './finding.js';
import { diagnoseChoice, diagnoseKey, show } from './diagnose.js';
import { maxTextLength, readJson } from './json.js';
import { pointer } from './pointer.js';
import { policySchema, type Policy } from './schema.js';

/** One thing that is wrong with a policy. */
export interface PolicyProblem {
  /** JSON pointer of the place. */
  readonly pointer: string;
  readonly expected: string;
  readonly got: string;
  /** What was probably meant, or what to do. */
  readonly hint: string | null;
  /** The line in the file, counted from 1; null where the file could not be read at all. */
  readonly line: number | null;
}

/** No one reads more at once, and what is sent to a terminal or a log stays small. */
const maxProblems = 100;

/** A policy that cannot be used; `message` is written for a terminal and lists every problem. */
export class PolicyError extends Error {
  override readonly name = 'PolicyError';
  /** The first ones, in the order of the file. */
  readonly problems: readonly PolicyProblem[];
  constructor(
    readonly source: string,
    problems: readonly PolicyProblem[],
    options?: ErrorOptions,
  ) {
    super(messageOf(oneLine(source), problems), options);
    this.problems = problems.slice(0, maxProblems);
  }
}

/** The name of a file may hold the end of a line. */
const oneLine = (name: string): string => name.replace(/[\n\r\p{Zl}\p{Zp}]/gu, '\uFFFD');

export interface LoadedPolicy {
  /** Frozen, with all defaults filled in. */
  readonly policy: Policy;
  /** SHA-256 of the file's bytes, hexadecimal: what audit lines and approvals are bound to. */
  readonly hash: string;
  /** Where it came from: the path. */
  readonly source: string;
}

export type PolicyOrigin = '--policy' | 'CORDON_POLICY' | './policy.json' | 'shipped';

/**
 * Which policy file counts: the flag, the environment, the working directory's, the shipped one. One that was named and
 * does not exist is still the answer, so that loading it fails: a wrong path must not fall back to another policy. An
 * empty $CORDON_POLICY counts as not set.
 */
export function locatePolicy(options: {
  readonly flag?: string | undefined;
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  readonly shipped: string;
}): { path: string; origin: PolicyOrigin } {
  const { flag, env, cwd, shipped } = options;
  const named = env.CORDON_POLICY;
  if (flag !== undefined) return { path: flag === '' ? '' : resolve(cwd, flag), origin: '--policy' };
  if (named !== undefined && named !== '') return { path: resolve(cwd, named), origin: 'CORDON_POLICY' };
  const local = resolve(cwd, 'policy.json');
  return isThere(local) ? { path: local, origin: './policy.json' } : { path: shipped, origin: 'shipped' };
}

/** A link that leads nowhere and a file behind a closed directory are there: reading them is to fail, not to be skipped. */
function isThere(path: string): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return true;
  }
}

/** @throws PolicyError where the file cannot be read or is not a valid policy */
export async function loadPolicy(path: string): Promise<LoadedPolicy> {
  const bytes = await readBounded(path);
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw unreadable(path, 'text in UTF-8', 'bytes that are none', 'save the file as UTF-8', cause);
  }
  return parsePolicy(text, path);
}

/** More bytes than a text of the greatest length can have are not read. */
async function readBounded(path: string): Promise<Uint8Array> {
  const maxBytes = 3 * maxTextLength;
  try {
    const file = await open(path, 'r');
    try {
      const chunks: Uint8Array[] = [];
      let total = 0;
      for (;;) {
        const { bytesRead, buffer } = await file.read(new Uint8Array(65_536), 0, 65_536, null);
        if (bytesRead === 0) return Buffer.concat(chunks);
        chunks.push(buffer.subarray(0, bytesRead));
        total += bytesRead;
        if (total > maxBytes) throw unreadable(path, `at most ${maxBytes} bytes`, 'more', 'is this the right file?');
      }
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof PolicyError) throw error;
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    const got =
      { ENOENT: 'no such file', EISDIR: 'a directory', EACCES: 'a file that this user may not read' }[code] ??
      (error instanceof Error ? error.message : String(error));
    const hint = code === 'EACCES' ? 'change its owner or its mode' : 'correct the path, or create the file';
    throw unreadable(path, 'a file with a policy', got, hint, error);
  }
}

function unreadable(source: string, expected: string, got: string, hint: string, cause?: unknown): PolicyError {
  return new PolicyError(source, [{ pointer: '', expected, got, hint, line: null }], { cause });
}

/**
 * Read a policy from its text.
 * @param text the whole file; a byte order mark is accepted
 * @param source named in errors
 * @throws PolicyError with all problems at once
 */
export function parsePolicy(text: string, source: string): LoadedPolicy {
  const read = readJson(text.startsWith('\uFEFF') ? text.slice(1) : text);
  if ('faults' in read) throw new PolicyError(source, read.faults);
  const { document } = read;
  const parsed = policySchema.safeParse(document.value);
  const shape = parsed.success ? [] : parsed.error.issues.flatMap((issue) => findingsOf(issue, document.value));
  const findings = [...shape, ...checkMeaning(document.value)];
  if (!parsed.success || findings.length > 0) throw new PolicyError(source, problemsOf(findings, document));
  const hash = sha256(text);
  return { policy: deepFreeze(parsed.data), hash, source };
}

/** In the order of the file. */
function problemsOf(
  findings: readonly Finding[],
  document: { offsetAt(path: readonly PropertyKey[]): number; lineAt(offset: number): number },
): PolicyProblem[] {
  return findings
    .map(({ path, expected, got, hint }) => ({ offset: document.offsetAt(path), path, expected, got, hint }))
    .sort((one, other) => one.offset - other.offset)
    .map(({ offset, path, ...rest }) => ({ pointer: pointer(path), ...rest, line: document.lineAt(offset) }));
}

/** One of zod's issues in our words; an unknown key each by itself. */
function findingsOf(issue: z.core.$ZodIssue, root: unknown): Finding[] {
  const { path } = issue;
  const value = valueAt(root, path);
  const finding = (expected: string, hint: string | null = null): Finding[] => [
    { path, expected, got: show(value), hint },
  ];
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => ({
        path: [...path, key],
        got: `the unknown key ${JSON.stringify(key)}`,
        ...diagnoseKey(path, key, valueAt(value, [key])),
      }));
    case 'invalid_value': {
      const choices = issue.values.map((choice) => String(choice));
      return finding(
        choices.map((choice) => JSON.stringify(choice)).join(' or '),
        diagnoseChoice(path, value, choices),
      );
    }
    case 'invalid_type':
      return finding(typeWords[issue.expected] ?? `a value of type ${issue.expected}`, typeHint(issue.expected, value));
    case 'too_small': {
      const least = `${issue.inclusive === false ? 'greater than' : 'at least'} ${String(issue.minimum)}`;
      return finding(issue.origin === 'string' ? 'a text that is not empty' : `a number ${least}`);
    }
    case 'too_big': {
      const most = `at most ${String(issue.maximum)}`;
      if (issue.origin === 'string') return finding(`a text of ${most} characters`);
      return finding(issue.origin === 'array' ? `a list of ${most} items` : `a number of ${most}`);
    }
    case 'invalid_key':
      return finding('a name of 1 to 128 characters');
    case 'invalid_format':
    case 'not_multiple_of':
    case 'invalid_union':
    case 'invalid_element':
    case 'custom':
      return finding(issue.message);
  }
}

const typeWords: Readonly<Record<string, string>> = {
  object: 'an object { … }',
  record: 'an object { … }',
  array: 'a list [ … ]',
  string: 'a text in double quotes',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
};

function typeHint(expected: string, value: unknown): string | null {
  const isNumber = typeof value === 'string' && value.trim() !== '' && Number.isFinite(Number(value));
  if ((expected === 'number' || expected === 'int') && isNumber) return `write ${Number(value)}, without quotes`;
  if (expected === 'boolean' && (value === 'true' || value === 'false')) return `write ${value}, without quotes`;
  if (expected === 'array' && value !== undefined && value !== null) return `write [${show(value)}]`;
  return null;
}

function valueAt(root: unknown, path: readonly PropertyKey[]): unknown {
  let here = root;
  for (const step of path) {
    if (typeof here !== 'object' || here === null || !Object.hasOwn(here, step)) return undefined;
    here = (here as Record<PropertyKey, unknown>)[step];
  }
  return here;
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inside of Object.values(value)) deepFreeze(inside);
  }
  return value;
}

function messageOf(source: string, problems: readonly PolicyProblem[]): string {
  const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`;
  const parts = problems
    .slice(0, maxProblems)
    .map(({ pointer: place, expected, got, hint, line }) =>
      [
        `  ${place === '' ? '(the whole file)' : place}${line === null ? '' : `, line ${line}`}`,
        `    expected  ${expected}`,
        `    got       ${got}`,
        ...(hint === null ? [] : [`    hint      ${hint}`]),
      ].join('\n'),
    );
  if (problems.length > maxProblems) parts.push(`  and ${problems.length - maxProblems} more`);
  return `${source === '' ? 'the policy (an empty path)' : source}: not a valid policy, ${count}\n\n${parts.join('\n\n')}\n`;
}
