/**
 * Arguments of tools, checked; and those of `code_execute`: one schema, checked here and shown to clients, so that the two can't differ.
 */
import * as z from 'zod';
import { clash, nameProblem } from './files/name.js';
import type { InputFile } from './sandbox.js';

/** The tool that runs programs. */
export const TOOL = 'code_execute';

/** What `session` says to begin one. */
export const NEW_SESSION = 'new';

const inputFile = z.strictObject({
  name: z.string().describe('Relative to the working directory, with / between directories: "data.csv", "in/a.json".'),
  text: z.string().optional().describe('The content, for a text file. Either this or base64.'),
  base64: z
    .string()
    .optional()
    .describe('The content in base64 (RFC 4648, padded, no line breaks), for any other file.'),
});

const schema = z.strictObject({
  code: z
    .string()
    .describe(
      'The Python program. What it prints comes back; if its last line is an expression, the value of that comes back too.',
    ),
  stdin: z.string().optional().describe("The program's standard input. Empty when left out."),
  files: z.array(inputFile).optional().describe('Files to put into the working directory before the program starts.'),
  timeout_seconds: z
    .number()
    .positive()
    .optional()
    .describe("Wall time after which the program is ended. Can only lower the policy's limit."),
  session: z
    .string()
    .min(1)
    .optional()
    .describe('"new" begins a session, its handle goes on with it. Left out: nothing is kept.'),
});

/** The arguments of a call, checked. */
export interface CodeArguments {
  readonly code: string;
  readonly stdin: string;
  /** Decoded; their names are fit for a working directory, and fit together. */
  readonly files: readonly InputFile[];
  /** What the caller asks for; it can only lower the policy's. */
  readonly timeoutSeconds: number | undefined;
  /** A handle, or NEW_SESSION. */
  readonly session: string | undefined;
}

export type CheckedArguments<T> =
  | { readonly ok: true; readonly value: T }
  /** `problems` is readable and complete: what is wrong, and what is taken instead. */
  | { readonly ok: false; readonly problems: readonly string[] };

/**
 * The schema as JSON Schema (2020-12), for `tools/list`.
 * @param sessions whether the policy has any
 */
export function argumentsJsonSchema(sessions: boolean): Record<string, unknown> {
  return z.toJSONSchema(sessions ? schema : schema.omit({ session: true }));
}

/** Check what a caller sent to `code_execute`. */
export function checkArguments(args: unknown): CheckedArguments<CodeArguments> {
  const checked = checkStrictly(TOOL, schema, args);
  if (!checked.ok) return checked;
  const { code, stdin = '', files: sent = [], timeout_seconds: timeoutSeconds, session } = checked.value;
  const problems: string[] = [];
  for (const [name, text] of Object.entries({ code, stdin })) {
    // It would reach the program as U+FFFD: another text than the one that was sent, decided on and hashed.
    const at = text.search(/\p{Surrogate}/u);
    if (at !== -1) problems.push(`${name}: expected valid Unicode, got half a surrogate pair at character ${at}`);
  }
  const files = checkFiles(sent, problems);
  if (problems.length > 0) return { ok: false, problems };
  return { ok: true, value: { code, stdin, files, timeoutSeconds, session } };
}

/** What is wrong with many files is told of the first few. */
const FILE_PROBLEMS_MAX = 10;

/** Decode the files, and say what is wrong with them. */
function checkFiles(sent: readonly z.infer<typeof inputFile>[], problems: string[]): InputFile[] {
  const files: InputFile[] = [];
  const found: string[] = [];
  for (const [index, { name, text, base64 }] of sent.entries()) {
    const problem = nameProblem(name);
    if (problem !== null) found.push(`files.${index}.name: ${JSON.stringify(name.slice(0, 100))} ${problem}`);
    if (text !== undefined && base64 === undefined) {
      const at = text.search(/\p{Surrogate}/u);
      if (at === -1) files.push({ name, bytes: Buffer.from(text, 'utf8') });
      else found.push(`files.${index}.text: expected valid Unicode, got half a surrogate pair at character ${at}`);
    } else if (base64 !== undefined && text === undefined) {
      const bytes = Buffer.from(base64, 'base64');
      // Buffer takes anything. What does not come back as it went in would be a guess at what was meant.
      if (bytes.toString('base64') === base64) files.push({ name, bytes });
      else
        found.push(`files.${index}.base64: expected base64 (RFC 4648, section 4) with padding and without line breaks`);
    } else {
      found.push(`files.${index}: expected either text or base64, got ${text === undefined ? 'neither' : 'both'}`);
    }
  }
  const clashing = clash(sent.map(({ name }) => name));
  if (clashing !== null) {
    const { index, problem } = clashing;
    found.push(`files.${index}.name: ${JSON.stringify(sent[index]?.name.slice(0, 100))} ${problem}`);
  }
  problems.push(...found.slice(0, FILE_PROBLEMS_MAX));
  if (found.length > FILE_PROBLEMS_MAX) problems.push(`${found.length - FILE_PROBLEMS_MAX} more problems with files`);
  return files;
}

/** Check what a caller sent. Nothing is coerced, and an argument that does not exist is an error, never ignored. */
export function checkStrictly<S extends z.ZodObject>(
  tool: string,
  shape: S,
  args: unknown,
): CheckedArguments<z.output<S>> {
  const parsed = shape.safeParse(args);
  if (parsed.success) return { ok: true, value: parsed.data };
  return { ok: false, problems: parsed.error.issues.map((issue) => explain(tool, shape, issue, args)) };
}

function explain(tool: string, shape: z.ZodObject, issue: z.core.$ZodIssue, args: unknown): string {
  if (issue.code === 'unrecognized_keys') {
    const names = issue.keys.slice(0, 10).map((key) => JSON.stringify(key.slice(0, 80)));
    const more = issue.keys.length > names.length ? ` and ${issue.keys.length - names.length} more` : '';
    if (issue.path.length > 0) {
      const where = issue.path.join('.');
      return `${where}: unknown key${issue.keys.length > 1 ? 's' : ''} ${names.join(', ')}${more}; a file has name, and text or base64`;
    }
    return `unknown argument${issue.keys.length > 1 ? 's' : ''} ${names.join(', ')}${more}; ${tool} takes ${signature(shape)}`;
  }
  const name = issue.path.join('.');
  if (name === '') return `expected an object with the arguments ${signature(shape)}, got ${kind(args)}`;
  const got = issue.path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown>)[key], args);
  if (got === undefined) {
    const takes = issue.path.length > 1 ? 'a file has name, and text or base64' : `${tool} takes ${signature(shape)}`;
    return `${name} is missing; ${takes}`;
  }
  return `${name}: expected ${expected(issue.path)}, got ${kind(got)}`;
}

/** By the argument's name, which means the same for every tool that takes it. */
const EXPECTED: Readonly<Record<string, string>> = {
  timeout_seconds: 'a number greater than 0',
  session: 'the handle of a session',
  steps: 'a whole number greater than 0',
  to_step: 'a whole number of 0 or more',
  files: 'an array of files',
};

function expected([name, index, ...deeper]: readonly PropertyKey[]): string {
  if (index !== undefined) return deeper.length > 0 ? 'a string' : 'an object with name, and text or base64';
  return EXPECTED[String(name)] ?? 'a string';
}

function signature(shape: z.ZodObject): string {
  const names = Object.entries(shape.shape).map(([name, type]) =>
    type instanceof z.ZodOptional ? name : `${name} (required)`,
  );
  return names.length === 0 ? 'none' : names.join(', ');
}

function kind(value: unknown): string {
  if (value === null) return 'null';
  if (value === '') return 'an empty string';
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'number') return `the number ${value}`;
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}
