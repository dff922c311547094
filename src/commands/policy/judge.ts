/**
 * What would become of a call, up to the point where a program would run: the same questions in the same order as in
 * call.ts, asked of the same functions.
 */
import type { Limits } from '../../admission/limits.js';
import type { Refusal } from '../../outcome.js';
import { decide, isHidden, type PolicyRequest } from '../../policy/decide.js';
import type { Denial } from '../../policy/denial.js';
import type { Policy } from '../../policy/schema.js';
import { toolNamed } from '../../tools/tools.js';

export interface Judgement {
  readonly verdict: 'allow' | 'deny' | 'ask';
  /** Why it is denied; null otherwise. */
  readonly code: Refusal['code'] | null;
  /** JSON pointer of the rule that says so; null where it is none of the policy's. */
  readonly rule: string | null;
  /** What the caller is told, or the person is asked. */
  readonly message: string | null;
  readonly retryAfterMs: number | null;
  /** What rules in shadow mode would have said. */
  readonly shadowed: readonly Denial[];
}

/**
 * Judge a call.
 * @param limits reserved in them: give those of a dry run
 */
export async function judge(policy: Policy, request: PolicyRequest, limits: Limits): Promise<Judgement> {
  const { tool, args } = request;
  const checked = isHidden(policy, tool) ? undefined : toolNamed(tool)?.check(args);
  if (checked?.ok === false) return refused('invalid_arguments', null, checked.problems.join('; '));
  const decision = decide(policy, request);
  if (decision.verdict === 'deny') return denied(decision.denial, []);
  if (checked === undefined) return refused('unknown_tool', null, `there is no tool ${JSON.stringify(tool)} here`);
  const excess = checked.action.excess(decision.sandbox);
  if (excess !== null) return refused(excess.code, excess.rule, excess.message);
  const shadowed = decision.shadowed ?? [];
  const reserved = await limits.reserve(decision.limits, { grant: request.grant.name }, request.now);
  if (!reserved.ok) return denied(reserved.denial, shadowed);
  return {
    verdict: decision.verdict,
    code: null,
    rule: decision.rule,
    message: decision.verdict === 'ask' ? decision.message : null,
    retryAfterMs: null,
    shadowed: [...shadowed, ...reserved.reservation.shadowed],
  };
}

function denied({ code, rule, message, retryAfterMs }: Denial, shadowed: readonly Denial[]): Judgement {
  return { verdict: 'deny', code, rule, message, retryAfterMs, shadowed };
}

function refused(code: Refusal['code'], rule: string | null, message: string): Judgement {
  return { verdict: 'deny', code, rule, message, retryAfterMs: null, shadowed: [] };
}
