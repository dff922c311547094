/** `cordon policy test`: cases with the decisions they expect, for people's own CI. */
import { dirname, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import * as z from 'zod';
import { dryRun } from '../../admission/dry-run.js';
import { createLimits } from '../../admission/limits.js';
import { UsageError } from '../../command.js';
import { readForeign } from '../../policy/dialects/read.js';
import { explain } from '../../policy/explain.js';
import type { LoadedPolicy } from '../../policy/load.js';
import { readPolicy } from '../../startup.js';
import { describedCallSchema, parseDescribed, requestOf } from './described-call.js';
import { judge, type Judgement } from './judge.js';
import { print, printJson } from './print.js';
import { InputError, readText } from './read.js';
import { refusing } from './refuse.js';

const caseSchema = z.strictObject({
  name: z.string().min(1),
  call: describedCallSchema.prefault({}),
  expect: z.enum(['allow', 'deny', 'ask']),
  code: z.string().optional(),
  rule: z.string().optional(),
  /** How often the call is made, at the same moment; the last one is judged. */
  repeat: z.int().min(1).max(100_000).default(1),
});

const casesSchema = z.array(caseSchema).min(1);
const fileSchema = z.strictObject({ policy: z.string().optional(), cases: casesSchema });

type Case = z.output<typeof caseSchema>;

export interface CaseResult {
  readonly file: string;
  readonly name: string;
  readonly passed: boolean;
  readonly expected: {
    readonly verdict: string;
    readonly code?: string | undefined;
    readonly rule?: string | undefined;
  };
  readonly got: Judgement;
  /** For a failed one: what speaks against the expectation. */
  readonly why: string | null;
}

export async function main(argv: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    options: { policy: { type: 'string' }, json: { type: 'boolean', default: false } },
    allowPositionals: true,
    strict: true,
  });
  if (positionals.length === 0) throw new UsageError('expected FILE..., got no file of cases');
  return refusing('test', async () => {
    const results: CaseResult[] = [];
    for (const file of positionals) results.push(...(await runFile(file, values.policy)));
    const failed = results.filter(({ passed }) => !passed);
    if (values.json) printJson({ passed: results.length - failed.length, failed: failed.length, results });
    else print([...failed.flatMap(failureLines), summary(results.length, failed.length)]);
    return failed.length === 0 ? 0 : 1;
  });
}

async function runFile(file: string, flag: string | undefined): Promise<CaseResult[]> {
  const read = await readForeign(await readText(file));
  if ('faults' in read) {
    const lines = read.faults.map(({ line, expected, got }) => `  line ${line}: expected ${expected}, got ${got}`);
    throw new InputError(`${file} can't be read\n${lines.join('\n')}`);
  }
  const written = plainTimes(read.document.value);
  const { policy, cases } = Array.isArray(written)
    ? { policy: undefined, cases: parseDescribed(casesSchema, written, file) }
    : parseDescribed(fileSchema, written, file);
  // A path in the file is meant from where the file is.
  const { loaded } = await readPolicy(flag ?? (policy === undefined ? undefined : resolve(dirname(file), policy)));
  const results: CaseResult[] = [];
  for (const one of cases) results.push(await runCase(loaded, one, file));
  return results;
}

/** YAML reads `at: 2026-03-04T15:30:00Z` as a time. */
function plainTimes(value: unknown): unknown {
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
  if (Array.isArray(value)) return value.map(plainTimes);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inside]) => [key, plainTimes(inside)]));
}

/** Judge one case; its calls are counted from nothing. */
export async function runCase({ policy }: LoadedPolicy, one: Case, file: string): Promise<CaseResult> {
  const request = requestOf(one.call, new Date());
  const limits = createLimits(dryRun(null), () => request.now.getTime());
  let got = await judge(policy, request, limits);
  for (let made = 1; made < one.repeat; made += 1) got = await judge(policy, request, limits);
  const wrong = [
    ...(got.verdict === one.expect ? [] : [`it is ${words(got)}`]),
    ...(one.code === undefined || one.code === got.code ? [] : [`its code is ${got.code ?? 'none'}`]),
    ...(one.rule === undefined || one.rule === got.rule ? [] : [`the rule is ${got.rule ?? 'none'}`]),
  ];
  const others = explain(policy, request)
    .filter(({ effect, rule }) => effect !== 'passes' && rule !== got.rule)
    .map(({ rule, effect }) => `${rule} ${effect} too`);
  return {
    file,
    name: one.name,
    passed: wrong.length === 0,
    expected: { verdict: one.expect, code: one.code, rule: one.rule },
    got,
    why: wrong.length === 0 ? null : [...wrong, ...(got.message === null ? [] : [got.message]), ...others].join('; '),
  };
}

function words({ verdict, code, rule }: Pick<Judgement, 'verdict' | 'code' | 'rule'>): string {
  return `${verdict}${code === null ? '' : ` (${code})`}${rule === null ? '' : ` by ${rule}`}`;
}

function failureLines({ file, name, expected, got, why }: CaseResult): string[] {
  const { verdict, code, rule } = expected;
  return [
    `FAILED  ${file}: ${name}`,
    `  expected  ${words({ verdict: verdict as Judgement['verdict'], code: (code ?? null) as Judgement['code'], rule: rule ?? null })}`,
    `  got       ${words(got)}`,
    `  because   ${why ?? ''}`,
  ];
}

function summary(all: number, failed: number): string {
  return failed === 0 ? `${all} passed` : `${failed} of ${all} failed`;
}
