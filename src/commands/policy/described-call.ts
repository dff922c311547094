/** A call as a person describes it, for `explain` and `test`: everything about it can be left out. */
import * as z from 'zod';
import { TOOL } from '../../arguments.js';
import type { PolicyRequest } from '../../policy/decide.js';
import { pointer } from '../../policy/pointer.js';
import { InputError } from './read.js';

export const describedCallSchema = z.strictObject({
  tool: z.string().min(1).default(TOOL),
  args: z.record(z.string(), z.unknown()).default({}),
  /** The same as `args.code`. */
  code: z.string().optional(),
  grant: z.string().min(1).default('local'),
  client: z
    .union([z.string(), z.strictObject({ name: z.string(), version: z.string().default('') })])
    .default('unknown'),
  at: z.iso.datetime({ offset: true }).optional(),
});

export type DescribedCall = z.output<typeof describedCallSchema>;

/** @throws InputError that names the place and what is wrong with it */
export function parseDescribed<T>(schema: z.ZodType<T>, value: unknown, source: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(
    ({ path, message }) => `  ${path.length === 0 ? '(the whole file)' : pointer(path)}: ${message}`,
  );
  throw new InputError(`${source} is not what was expected\n${problems.join('\n')}\nSee cordon policy --help.`);
}

/** @param now for a call that does not say when */
export function requestOf(call: DescribedCall, now: Date): PolicyRequest {
  const { tool, args, code, grant, client, at } = call;
  if (code !== undefined && Object.hasOwn(args, 'code')) {
    throw new InputError('a call has its code in "code" or in "args.code", not in both');
  }
  return {
    tool,
    args: code === undefined ? args : { ...args, code },
    grant: { name: grant },
    client: typeof client === 'string' ? { name: client, version: '' } : client,
    now: at === undefined ? now : new Date(at),
  };
}
