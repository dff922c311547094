/**
 * The arguments of `code_execute`: one schema, checked here and shown to clients, so that the two can't differ.
 */
import { z } from 'zod';

/** The one tool there is. */
export const TOOL = 'code_execute';

const schema = z.strictObject({
  code: z
    .string()
    .describe(
      'The Python program. What it prints comes back; if its last line is an expression, the value of that comes back too.',
    ),
  stdin: z.string().optional().describe("The program's standard input. Empty when left out."),
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
  const { code, stdin = '', timeout_seconds: timeoutSeconds } = parsed.data;
  const problems: string[] = [];
  for (const [name, text] of Object.entries({ code, stdin })) {
    // It would reach the program as U+FFFD: another text than the one that was sent, decided on and hashed.
    const at = text.search(/\p{Surrogate}/u);
    if (at !== -1) problems.push(`${name}: expected valid Unicode, got half a surrogate pair at character ${at}`);
  }
  return problems.length > 0 ? { ok: false, problems } : { ok: true, value: { code, stdin, timeoutSeconds } };
}

function explain(issue: z.core.$ZodIssue, args: unknown): string {
  if (issue.code === 'unrecognized_keys') {
    const names = issue.keys.slice(0, 10).map((key) => JSON.stringify(key.slice(0, 80)));
    const more = issue.keys.length > names.length ? ` and ${issue.keys.length - names.length} more` : '';
    return `unknown argument${issue.keys.length > 1 ? 's' : ''} ${names.join(', ')}${more}; ${TOOL} takes ${signature()}`;
  }
  const name = issue.path.join('.');
  if (name === '') return `expected an object with the arguments ${signature()}, got ${kind(args)}`;
  const got = (args as Record<string, unknown>)[name];
  if (got === undefined) return `${name} is missing; ${TOOL} takes ${signature()}`;
  return `${name}: expected ${name === 'timeout_seconds' ? 'a number greater than 0' : 'a string'}, got ${kind(got)}`;
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
