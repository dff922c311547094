/**
 * A policy, replayed over logged calls: each is decided when it was made, its limits are reserved then and settled when it
 * ended, by the clock of the log. Nothing is counted anywhere else.
 */
import { dryRun } from '../../admission/dry-run.js';
import { createLimits } from '../../admission/limits.js';
import { decidePartly } from '../../policy/partial.js';
import type { Policy } from '../../policy/schema.js';
import { toolNamed } from '../../tools/tools.js';
import type { AuditLine } from './audit-lines.js';

export interface Simulated {
  readonly call: AuditLine;
  /** `unknown`: it rests on arguments, which are not logged. `kept`: refused, and not by a rule of the policy. */
  readonly verdict: 'allow' | 'deny' | 'ask' | 'unknown' | 'kept';
  readonly code: string | null;
  readonly rule: string | null;
  /** Limits that could not be counted: they are charged by an argument. */
  readonly uncounted: readonly string[];
}

/** Refusals that come of the call itself, whatever the policy. */
const notOfThePolicy: readonly (string | null)[] = [
  'invalid_arguments',
  'unknown_tool',
  'stdin_too_large',
  'no_such_session',
  'too_many_sessions',
  'no_sessions',
  'no_such_step',
];

/** Replay a policy over calls, in whatever order they are given. @returns what became of each, in the order they began */
export async function replay(policy: Policy, calls: readonly AuditLine[]): Promise<Simulated[]> {
  let nowMs = 0;
  const limits = createLimits(dryRun(null), () => nowMs);
  const simulated: Simulated[] = [];
  const settlements = new Map<AuditLine, () => Promise<void>>();

  for (const { call, atMs, ends } of eventsOf(calls)) {
    nowMs = atMs;
    if (ends) {
      await settlements.get(call)?.();
      settlements.delete(call);
    } else simulated.push(await decideOne(call));
  }
  return simulated;

  async function decideOne(call: AuditLine): Promise<Simulated> {
    const { tool, codeBytes, usage } = call;
    if (call.decision.verdict === 'refused' || notOfThePolicy.includes(call.decision.code)) {
      const { code, rule } = call.decision;
      return { call, verdict: 'kept', code, rule, uncounted: [] };
    }
    const now = new Date(nowMs);
    const decision = decidePartly(policy, { tool, grant: { name: call.grant }, client: call.client, now, codeBytes });
    const { verdict, code, rule, uncounted } = decision;
    if (verdict === 'deny') return { call, verdict, code, rule, uncounted };
    if (toolNamed(tool) === undefined) return { call, verdict: 'deny', code: 'unknown_tool', rule: null, uncounted };
    if ((codeBytes ?? 0) > policy.sandbox.codeKb * 2 ** 10) {
      return { call, verdict: 'deny', code: 'code_too_large', rule: '/sandbox/code_kb', uncounted };
    }
    // Whether a call that rests on a person or on its arguments would have run, the log tells best.
    if (verdict !== 'allow' && usage === null) return { call, verdict, code, rule, uncounted };
    const reserved = await limits.reserve(decision.limits, { grant: call.grant }, now);
    if (!reserved.ok) {
      return { call, verdict: 'deny', code: reserved.denial.code, rule: reserved.denial.rule, uncounted };
    }
    const { reservation } = reserved;
    if (usage !== null) {
      const { cpuMs, durationMs, outputBytes = 0 } = usage;
      const measured = { cpuSeconds: cpuMs / 1000, wallSeconds: durationMs / 1000, outputBytes };
      settlements.set(call, () => reservation.settle(measured));
    } else if (call.decision.verdict === 'allow') settlements.set(call, () => reservation.refund());
    return { call, verdict, code, rule, uncounted };
  }
}

/** Beginnings and ends in order of time; at the same moment, ends first: their sandbox and budget are free by then. */
function eventsOf(calls: readonly AuditLine[]): { call: AuditLine; atMs: number; ends: boolean }[] {
  return calls
    .flatMap((call) => {
      // A line is written when its call ends.
      const endMs = Date.parse(call.time);
      const beginMs = Math.max(0, endMs - Math.ceil(call.usage?.durationMs ?? 0));
      return [
        { call, atMs: beginMs, ends: false },
        { call, atMs: Math.max(endMs, beginMs + 1), ends: true },
      ];
    })
    .sort((one, other) => one.atMs - other.atMs || Number(other.ends) - Number(one.ends));
}
