/** `cordon policy simulate`: what a policy would have decided about the calls in an audit log. */
import { parseArgs } from 'node:util';
import { UsageError } from '../../command.js';
import type { Policy } from '../../policy/schema.js';
import { readPolicy } from '../../startup.js';
import { readAuditLog, verdictOf, type AuditLine } from './audit-lines.js';
import { print, printJson, table } from './print.js';
import { refusing } from './refuse.js';
import { replay, type Simulated } from './replay.js';

/** Changed calls that are shown to a person; `--json` has all of them. */
const CHANGES_SHOWN = 20;
const NO_LOG_STATUS = 1;

export async function main(argv: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    options: {
      audit: { type: 'string', multiple: true, default: [] },
      json: { type: 'boolean', default: false },
    },
    allowPositionals: true,
    strict: true,
  });
  const [file, ...more] = positionals;
  if (file === undefined || more.length > 0) throw new UsageError(`expected one POLICY, got ${positionals.length}`);
  if (values.audit.length === 0) throw new UsageError('expected --audit FILE, got none');
  return refusing('simulate', async () => {
    const { loaded } = await readPolicy(file);
    const calls: AuditLine[] = [];
    const unreadable: string[] = [];
    for (const audit of values.audit) {
      const log = await readAuditLog(audit);
      for (const call of log.calls) calls.push(call);
      unreadable.push(...log.unreadable.map((line) => `${audit}:${line}`));
    }
    const simulation = summarize(await replay(loaded.policy, calls), loaded.policy, unreadable);
    if (values.json) printJson({ policy: { source: loaded.source, hash: loaded.hash }, ...simulation });
    else print(linesOf(simulation, loaded.source));
    return calls.length === 0 ? NO_LOG_STATUS : 0;
  });
}

interface Count {
  readonly verdict: Simulated['verdict'];
  readonly code: string | null;
  readonly rule: string | null;
  calls: number;
}

interface Change {
  readonly time: string;
  readonly grant: string;
  readonly client: string;
  readonly tool: string;
  readonly was: { readonly verdict: string; readonly code: string | null; readonly rule: string | null };
  readonly wouldBe: { readonly verdict: string; readonly code: string | null; readonly rule: string | null };
}

export interface Simulation {
  readonly calls: number;
  readonly counts: readonly Count[];
  /** Calls that would be decided otherwise; those that can't be told are counted, and not here. */
  readonly changes: readonly Change[];
  /** What the log can't tell. */
  readonly caveats: readonly string[];
  readonly unreadable: readonly string[];
}

/** Count what a replay gave. */
export function summarize(simulated: readonly Simulated[], policy: Policy, unreadable: readonly string[]): Simulation {
  const counts = new Map<string, Count>();
  for (const { verdict, code, rule } of simulated) {
    const key = JSON.stringify([verdict, code, rule]);
    const count = counts.get(key) ?? { verdict, code, rule, calls: 0 };
    count.calls += 1;
    counts.set(key, count);
  }
  return {
    calls: simulated.length,
    counts: [...counts.values()].sort((one, other) => other.calls - one.calls),
    changes: simulated.filter(isChange).map(({ call, verdict, code, rule }) => ({
      time: call.time,
      grant: call.grant,
      client: call.client.name,
      tool: call.tool,
      was: { verdict: verdictOf(call), code: call.decision.code, rule: call.decision.rule },
      wouldBe: { verdict, code, rule },
    })),
    caveats: caveatsOf(simulated, policy),
    unreadable,
  };
}

function isChange({ call, verdict }: Simulated): boolean {
  return verdict !== 'unknown' && verdict !== 'kept' && verdict !== verdictOf(call);
}

function caveatsOf(simulated: readonly Simulated[], policy: Policy): string[] {
  const untold = simulated.filter(({ verdict }) => verdict === 'unknown');
  const rules = [...new Set(untold.map(({ rule }) => rule))].join(', ');
  const uncounted = [...new Set(simulated.flatMap((one) => one.uncounted))].join(', ');
  const limits = [...policy.all_tools.limits, ...Object.values(policy.tools).flatMap((tool) => tool.limits)];
  const output = limits.some(({ charge }) => charge === 'output_bytes');
  const unmeasured = simulated.some(({ call }) => call.usage !== null && call.usage.outputBytes === undefined);
  const newlyAllowed = simulated.some(({ call, verdict }) => verdict === 'allow' && call.usage === null);
  return [
    ...(untold.length === 0
      ? []
      : [
          `${counted(untold.length, 'call')} can't be told: arguments and code are not logged, and ${rules} looks at them`,
        ]),
    ...(uncounted === '' ? [] : [`not counted, because an argument is what they charge: ${uncounted}`]),
    ...(output && unmeasured
      ? ['the log does not have how much calls printed: limits on output_bytes charge nothing']
      : []),
    ...(newlyAllowed && limits.some(({ charge }) => charge.endsWith('_seconds'))
      ? ['what calls that did not run would have cost is not known: they are charged no seconds']
      : []),
    ...(simulated.some(({ verdict }) => verdict === 'kept')
      ? ['"kept" calls were refused for what they were (wrong arguments, a fault of ours), and not by a rule']
      : []),
  ];
}

function linesOf({ calls, counts, changes, caveats, unreadable }: Simulation, source: string): string[] {
  const shown = changes.slice(0, CHANGES_SHOWN);
  const more = changes.length - shown.length;
  const wrong = unreadable.length;
  return [
    `${counted(calls, 'call')} under ${source}`,
    '',
    ...(counts.length === 0
      ? []
      : table([
          ['calls', 'decision', 'code', 'rule'],
          ...counts.map((count) => [String(count.calls), ...cells(count)]),
        ])),
    '',
    changes.length === 0 ? 'no call would be decided otherwise' : `${changes.length} would be decided otherwise:`,
    ...(shown.length === 0
      ? []
      : table([['time', 'tool', 'grant', 'was', 'would be', 'rule'], ...shown.map(changeRow)])),
    ...(more > 0 ? [`and ${more} more: --json has them all`] : []),
    ...(caveats.length === 0 ? [] : ['', 'What the log can’t tell:', ...caveats.map((caveat) => `- ${caveat}`)]),
    ...(wrong === 0
      ? []
      : [
          '',
          `${counted(wrong, 'line')} could not be read: ${unreadable.slice(0, 10).join(', ')}${wrong > 10 ? ', …' : ''}`,
        ]),
  ];
}

function counted(count: number, thing: string): string {
  return `${count} ${thing}${count === 1 ? '' : 's'}`;
}

function cells({ verdict, code, rule }: Omit<Count, 'calls'>): string[] {
  return [verdict, code ?? '-', rule ?? '-'];
}

function changeRow({ time, tool, grant, was, wouldBe }: Change): string[] {
  const words = ({ verdict, code }: Change['was']) => (code === null ? verdict : `${verdict} (${code})`);
  return [time, tool, grant, words(was), words(wouldBe), wouldBe.rule ?? '-'];
}
