/** Audit logs, read back: what each line tells of a call, and which lines tell nothing. */
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import * as z from 'zod';
import { InputError } from './read.js';
import { safeLine } from '../../terminal.js';

/** What is needed of a line; more may stand there. */
const lineSchema = z.object({
  /** Lines of another kind are no calls. */
  kind: z.literal('call').optional(),
  time: z.iso.datetime({ offset: true }),
  grant: z.string(),
  client: z.object({ name: z.string(), version: z.string() }),
  tool: z.string(),
  decision: z.object({
    verdict: z.enum(['allow', 'deny', 'ask', 'refused']),
    rule: z.string().nullable(),
    code: z.string().nullable(),
  }),
  /** The question that was put to a person. */
  approval: z.unknown().optional(),
  codeBytes: z.number().nullable(),
  status: z.string(),
  usage: z
    .object({ durationMs: z.number().min(0), cpuMs: z.number().min(0), outputBytes: z.number().min(0).optional() })
    .nullable(),
});

/** One call, as its line has it. */
export type AuditLine = z.output<typeof lineSchema> & { readonly line: number };

export interface AuditLog {
  readonly calls: readonly AuditLine[];
  /** Numbers of the lines that could not be read, counted from 1. */
  readonly unreadable: readonly number[];
}

/** Read a log line by line. @throws InputError where the file can't be read */
export async function readAuditLog(file: string): Promise<AuditLog> {
  const calls: AuditLine[] = [];
  const unreadable: number[] = [];
  let number = 0;
  try {
    for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Infinity })) {
      number += 1;
      if (line.trim() === '') continue;
      const written = parse(line);
      if (isOfAnotherKind(written)) continue;
      const parsed = lineSchema.safeParse(written);
      if (parsed.success) calls.push({ ...parsed.data, line: number });
      else unreadable.push(number);
    }
  } catch (error) {
    throw new InputError(safeLine(`can't read ${file}: ${error instanceof Error ? error.message : String(error)}`));
  }
  return { calls, unreadable };
}

function isOfAnotherKind(written: unknown): boolean {
  return typeof written === 'object' && written !== null && 'kind' in written && written.kind !== 'call';
}

/** What was decided: a question is one, whatever the answer. */
export function verdictOf({ decision, approval }: AuditLine): AuditLine['decision']['verdict'] {
  const asked = (approval ?? null) !== null || (decision.code?.startsWith('approval_') ?? false);
  return asked && decision.verdict !== 'refused' ? 'ask' : decision.verdict;
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
