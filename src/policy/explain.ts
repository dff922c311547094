/**
 * Why a call is decided as it is: every rule that has a say, in the order decide.ts asks them, with every condition, what
 * it compared and how that came out. decide.ts stops at the first rule that denies; this goes through all of them.
 */
import { allHold, factsOf, holds, type Answer, type Facts } from './conditions.js';
import { hiddenBy, type PolicyRequest } from './decide.js';
import { parsePath } from './path.js';
import { pointer } from './pointer.js';
import type { Condition, Policy } from './schema.js';

/** One condition, and what it found in the call. */
export interface Comparison {
  readonly condition: Condition;
  /** What the call brings at the condition's path; `nothing` is not there, `untold` can't be told. */
  readonly found: { readonly value: unknown } | 'nothing' | 'untold';
  readonly answer: Answer;
}

/** What a rule makes of a call. `unknown`: only where facts are unseen; else what can't be told counts as the stricter. */
type Effect = 'passes' | 'denies' | 'asks' | 'unknown';

export interface RuleFinding {
  /** JSON pointer of the rule. */
  readonly rule: string;
  readonly kind: 'hide' | 'default' | 'require' | 'deny_if' | 'require_approval';
  /** The rule as the policy has it, without keys that say nothing. */
  readonly text: unknown;
  readonly shadow: boolean;
  readonly comparisons: readonly Comparison[];
  /** Whether all conditions together hold. */
  readonly answer: Answer;
  readonly effect: Effect;
}

/**
 * Every rule that has a say in a call.
 * @param facts of the call; where some are unseen, what rests on them is `unknown`
 */
export function explain(policy: Policy, request: PolicyRequest, facts: Facts = factsOf(request)): RuleFinding[] {
  const findings: RuleFinding[] = [];
  const hidden = hiddenBy(policy, request.tool);
  if (hidden !== -1) findings.push(plain('hide', ['hide', hidden], policy.hide[hidden], 'denies'));
  const tool = Object.hasOwn(policy.tools, request.tool) ? policy.tools[request.tool] : undefined;
  if (tool === undefined) {
    findings.push(plain('default', ['default'], policy.default, policy.default === 'deny' ? 'denies' : 'passes'));
    return findings;
  }
  for (const kind of ['require', 'deny_if', 'require_approval'] as const) {
    for (const [index, rule] of tool[kind].entries()) {
      const items = kind === 'require' ? 'every' : 'some';
      const comparisons = rule.conditions.map((condition) => compared(condition, facts, items));
      const answer = allHold(rule.conditions, facts, items);
      findings.push({
        rule: pointer(['tools', request.tool, kind, index]),
        kind,
        text: ruleText(rule),
        shadow: rule.shadow,
        comparisons,
        answer,
        effect: effectOf(kind, answer, rule.conditions, facts),
      });
    }
  }
  return findings;
}

function plain(
  kind: 'hide' | 'default',
  path: readonly PropertyKey[],
  text: unknown,
  effect: 'denies' | 'passes',
): RuleFinding {
  return { rule: pointer(path), kind, text, shadow: false, comparisons: [], answer: 'yes', effect };
}

function compared(condition: Condition, facts: Facts, items: 'every' | 'some'): Comparison {
  const path = parsePath(condition.path);
  const found = path === null ? 'unknown' : facts.at(path);
  return {
    condition,
    found: found === 'unknown' || found === 'unseen' ? 'untold' : found?.value === undefined ? 'nothing' : found,
    answer: holds(condition, facts, items),
  };
}

function effectOf(
  kind: 'require' | 'deny_if' | 'require_approval',
  answer: Answer,
  conditions: readonly Condition[],
  facts: Facts,
): Effect {
  const unseen = conditions.some(({ path }) => {
    const parsed = parsePath(path);
    return parsed !== null && facts.at(parsed) === 'unseen';
  });
  if (answer === 'unknown' && unseen) return 'unknown';
  if (kind === 'require') return answer === 'yes' ? 'passes' : 'denies';
  if (answer === 'no') return 'passes';
  return kind === 'deny_if' ? 'denies' : 'asks';
}

/** `shadow: false` says nothing. */
function ruleText(rule: { readonly shadow: boolean }): unknown {
  const { shadow, ...rest } = rule;
  return shadow ? rule : rest;
}
