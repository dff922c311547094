/** `cordon policy explain`: what would be decided about one call, and why. */
import { parseArgs } from 'node:util';
import { dryRun } from '../../admission/dry-run.js';
import { createLimits, leftUnder } from '../../admission/limits.js';
import type { CounterStore } from '../../admission/store.js';
import { UsageError } from '../../command.js';
import { factsOf } from '../../policy/conditions.js';
import { limitDemands, type LimitDemand, type PolicyRequest } from '../../policy/decide.js';
import { show } from '../../policy/diagnose.js';
import { explain, type Comparison, type RuleFinding } from '../../policy/explain.js';
import { readJson } from '../../policy/json.js';
import type { LoadedPolicy } from '../../policy/load.js';
import { lookAtCounters, readPolicy } from '../../startup.js';
import { describedCallSchema, parseDescribed, requestOf } from './described-call.js';
import { judge, type Judgement } from './judge.js';
import { print, printJson, table } from './print.js';
import { InputError, readText } from './read.js';
import { refusing } from './refuse.js';

const statuses: Record<Judgement['verdict'], number> = { allow: 0, deny: 1, ask: 3 };

export async function main(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      call: { type: 'string' },
      tool: { type: 'string' },
      code: { type: 'string' },
      arg: { type: 'string', multiple: true, default: [] },
      grant: { type: 'string' },
      client: { type: 'string' },
      at: { type: 'string' },
      policy: { type: 'string' },
      state: { type: 'string' },
      json: { type: 'boolean', default: false },
    },
    strict: true,
  });
  if (values.call === '-' && values.code === '-') throw new UsageError('--call and --code: only one can be "-"');
  const named = values.arg.map(argument);
  return refusing('explain', async () => {
    const { loaded } = await readPolicy(values.policy);
    const written = values.call === undefined ? {} : await readCall(values.call);
    const { tool, grant, client, at } = values;
    const flags = Object.fromEntries(
      Object.entries({ tool, grant, client, at }).filter(([, value]) => value !== undefined),
    );
    const args = Object.fromEntries([
      ...Object.entries(written.args ?? {}),
      ...named,
      ...(values.code === undefined ? [] : [['code', await readText(values.code)] as const]),
    ]);
    const described = parseDescribed(describedCallSchema, { ...written, ...flags, args }, 'the call');
    const counted = lookAtCounters(values.state);
    try {
      const explanation = await explainCall(loaded, requestOf(described, new Date()), counted?.store ?? null);
      if (values.json) printJson(explanation);
      else print(linesOf(explanation));
      return statuses[explanation.decision.verdict];
    } finally {
      await counted?.close();
    }
  });
}

function argument(written: string): readonly [string, unknown] {
  const at = written.indexOf('=');
  if (at < 1) throw new UsageError(`--arg: expected NAME=VALUE, got ${JSON.stringify(written)}`);
  const name = written.slice(0, at);
  const text = written.slice(at + 1);
  // These are texts, whatever stands in them: `--arg stdin=5`.
  if (name === 'code' || name === 'stdin') return [name, text];
  const read = readJson(text);
  return [name, 'document' in read ? read.document.value : text];
}

async function readCall(file: string): Promise<{ args?: Record<string, unknown> }> {
  const source = file === '-' ? 'the call on standard input' : file;
  const read = readJson(await readText(file));
  if ('faults' in read) {
    const [{ line, expected, got } = { line: 1, expected: 'JSON', got: 'something else' }] = read.faults;
    throw new InputError(`${source}, line ${line}: expected ${expected}, got ${got}`);
  }
  const { value } = read.document;
  parseDescribed(describedCallSchema, value, source);
  return value as { args?: Record<string, unknown> };
}

interface LimitView extends Pick<
  LimitDemand,
  'rule' | 'counter' | 'window' | 'align' | 'scope' | 'charge' | 'max' | 'cost' | 'shadow'
> {
  /** Before this call. */
  readonly left: number;
  readonly resetsInMs: number;
}

export interface Explanation {
  readonly policy: { readonly source: string; readonly hash: string };
  readonly decision: Judgement;
  /** The rule that decides, as the policy has it; null where it is none. */
  readonly ruleText: unknown;
  readonly rules: readonly RuleFinding[];
  readonly limits: readonly LimitView[];
}

/**
 * Explain a call. Nothing is counted.
 * @param counted where the counters live; null: nothing has been counted
 */
async function explainCall(
  loaded: LoadedPolicy,
  request: PolicyRequest,
  counted: CounterStore | null,
): Promise<Explanation> {
  const { policy, source, hash } = loaded;
  const store = dryRun(counted);
  const who = { grant: request.grant.name };
  const { limits: demands } = limitDemands(policy, request.tool, factsOf(request));
  const left = await leftUnder(store, demands, who, request.now);
  const decision = await judge(
    policy,
    request,
    createLimits(store, () => request.now.getTime()),
  );
  const rules = explain(policy, request);
  const deciding = rules.find(({ rule }) => rule === decision.rule);
  return {
    policy: { source, hash },
    decision,
    ruleText: deciding?.text ?? (decision.rule === null ? null : valueAt(policy, decision.rule)),
    rules,
    limits: demands.map((demand, index) => ({
      rule: demand.rule,
      counter: demand.counter,
      window: demand.window,
      align: demand.align,
      scope: demand.scope,
      charge: demand.charge,
      max: demand.max,
      cost: demand.cost,
      shadow: demand.shadow,
      left: left[index]?.left ?? 0,
      resetsInMs: left[index]?.resetsInMs ?? 0,
    })),
  };
}

function valueAt(root: unknown, place: string): unknown {
  let here = root;
  for (const step of place.split('/').slice(1)) {
    const key = step.replaceAll('~1', '/').replaceAll('~0', '~');
    if (typeof here !== 'object' || here === null || !Object.hasOwn(here, key)) return null;
    here = (here as Record<string, unknown>)[key];
  }
  return here;
}

function linesOf({ policy, decision, ruleText, rules, limits }: Explanation): string[] {
  const { verdict, code, rule, message, shadowed } = decision;
  return [
    `policy    ${policy.source}`,
    `decision  ${verdict === 'ask' ? 'ask a person' : verdict}${code === null ? '' : ` (${code})`}`,
    ...(rule === null ? [] : [`rule      ${rule}`]),
    ...(ruleText === null || ruleText === undefined ? [] : [`          ${JSON.stringify(ruleText)}`]),
    ...(message === null ? [] : [`${verdict === 'ask' ? 'question ' : 'message  '} ${message}`]),
    ...shadowed.map((denial) => `shadow    ${denial.rule} would have said ${denial.code}`),
    '',
    rules.length === 0 ? 'rules: the tool has none' : 'rules, in the order they are asked:',
    ...rules.flatMap(ruleLines),
    '',
    limits.length === 0 ? 'limits: none' : 'limits (what is left now; nothing is counted here):',
    ...table(limits.map(limitRow)),
  ];
}

function ruleLines({ rule, kind, text, effect, shadow, comparisons }: RuleFinding): string[] {
  const plain = kind === 'hide' || kind === 'default';
  const what = plain ? `  ${JSON.stringify(text)}` : comparisons.length === 0 ? '  no conditions: always' : '';
  const head = `  ${effect.padEnd(7)} ${rule}${what}${shadow ? '  (shadow: not enforced)' : ''}`;
  return [head, ...table(comparisons.map(comparisonRow)).map((line) => `          ${line}`)];
}

function comparisonRow({ condition, found, answer }: Comparison): string[] {
  const { path, op, value } = condition;
  const got = found === 'nothing' ? 'is not there' : found === 'untold' ? 'can’t be told' : `is ${show(found.value)}`;
  return [answer, `${path} ${op} ${show(value)}`, `${path} ${got}`];
}

function limitRow({
  rule,
  counter,
  window,
  align,
  scope,
  charge,
  max,
  cost,
  left,
  resetsInMs,
  shadow,
}: LimitView): string[] {
  const price = cost === null ? 'charged afterwards' : `costs ${cost}`;
  return [
    `  ${rule}`,
    price,
    `${left} of ${max} ${charge.replace('_', ' ')} left`,
    `${align === 'sliding' ? 'in any' : window === 'hour' ? 'an' : 'a'} ${window}, for ${scope === 'grant' ? 'the grant' : 'everybody together'}, counter ${JSON.stringify(counter)}`,
    `${resetsInMs > 0 ? `resets in ${Math.ceil(resetsInMs / 1000)} s` : ''}${shadow ? ' (shadow: not enforced)' : ''}`,
  ];
}
