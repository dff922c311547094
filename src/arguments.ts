/**
 * The arguments of `code_execute`: one schema, checked here and shown to clients, so that the two can't differ.
 */
import { z } from 'zod';
import { clash, nameProblem } from './files/name.js';
import type { InputFile } from './sandbox.js';

/** The one tool there is. */
export const TOOL = 'code_execute';

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
});

/** The arguments of a call, checked. */
export interface CodeArguments {
  readonly code: string;
  readonly stdin: string;
  /** Decoded; their names are fit for a working directory, and fit together. */
  readonly files: readonly InputFile[];
  /** What the caller asks for; it can only lower the policy's. */
  readonly timeoutSeconds: number | undefined;
}

export type CheckedArguments =
  | { readonly ok: true; readonly value: CodeArguments }
  /** `problems` is readable and complete: what is wrong, and what is taken instead. */
  | { readonly ok: false; readonly problems: readonly string[] };

/** The schema as JSON Schema (2020-12), for `tools/list`. */
export function argumentsJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(schema);
}

/** Check what a caller sent. Nothing is coerced, and an argument that does not exist is an error, never ignored. */
export function checkArguments(args: unknown): CheckedArguments {
  const parsed = schema.safeParse(args);
  if (!parsed.success) return { ok: false, problems: parsed.error.issues.map((issue) => explain(issue, args)) };
  const { code, stdin = '', files: sent = [], timeout_seconds: timeoutSeconds } = parsed.data;
  const problems: string[] = [];
  for (const [name, text] of Object.entries({ code, stdin })) {
    // It would reach the program as U+FFFD: another text than the one that was sent, decided on and hashed.
    const at = text.search(/\p{Surrogate}/u);
    if (at !== -1) problems.push(`${name}: expected valid Unicode, got half a surrogate pair at character ${at}`);
  }
  const files = checkFiles(sent, problems);
  return problems.length > 0 ? { ok: false, problems } : { ok: true, value: { code, stdin, files, timeoutSeconds } };
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

function explain(issue: z.core.$ZodIssue, args: unknown): string {
  if (issue.code === 'unrecognized_keys') {
    const names = issue.keys.slice(0, 10).map((key) => JSON.stringify(key.slice(0, 80)));
    const more = issue.keys.length > names.length ? ` and ${issue.keys.length - names.length} more` : '';
    if (issue.path.length > 0) {
      const where = issue.path.join('.');
      return `${where}: unknown key${issue.keys.length > 1 ? 's' : ''} ${names.join(', ')}${more}; a file has name, and text or base64`;
    }
    return `unknown argument${issue.keys.length > 1 ? 's' : ''} ${names.join(', ')}${more}; ${TOOL} takes ${signature()}`;
  }
  const name = issue.path.join('.');
  if (name === '') return `expected an object with the arguments ${signature()}, got ${kind(args)}`;
  const got = issue.path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown>)[key], args);
  if (got === undefined) {
    const takes = issue.path.length > 1 ? 'a file has name, and text or base64' : `${TOOL} takes ${signature()}`;
    return `${name} is missing; ${takes}`;
  }
  return `${name}: expected ${expected(issue.path)}, got ${kind(got)}`;
}

function expected(path: readonly PropertyKey[]): string {
  if (path[0] === 'timeout_seconds') return 'a number greater than 0';
  if (path[0] !== 'files' || path.length > 2) return 'a string';
  return path.length === 1 ? 'an array of files' : 'an object with name, and text or base64';
}

function signature(): string {
  return Object.entries(schema.shape)
    .map(([name, type]) => (type instanceof z.ZodOptional ? name : `${name} (required)`))
    .join(', ');
}

function kind(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'number') return `the number ${value}`;
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}
