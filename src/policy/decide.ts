/**
 * The decision on one call: policy and request in, decision out; no clock, no file, no state. Order: hide, default,
 * require, deny_if, charges, require_approval. Limits are not counted here: the decision carries what has to be
 * reserved. Where something cannot be told, the answer is the stricter one.
 */
import { denial, type Denial, type DenialCode } from './denial.js';
import { allHold, factsOf, type Facts } from './conditions.js';
import { parsePath } from './path.js';
import { pointer } from './pointer.js';
import {
  rememberChoices,
  type Condition,
  type LimitRule,
  type Policy,
  type Remember,
  type SandboxSettings,
} from './schema.js';

/** A tool call, as the policy sees it. */
export interface PolicyRequest {
  readonly tool: string;
  readonly args: Readonly<Record<string, unknown>>;
  readonly grant: { readonly name: string };
  readonly client: { readonly name: string; readonly version: string };
  readonly now: Date;
}

/** One limit that an allowed call falls under. */
export interface LimitDemand {
  /** JSON pointer of the limit. */
  readonly rule: string;
  readonly counter: string;
  readonly window: LimitRule['window'];
  readonly align: LimitRule['align'];
  readonly scope: LimitRule['scope'];
  /** What is counted: `calls`, `args.<path>`, `cpu_seconds`, `wall_seconds` or `output_bytes`. */
  readonly charge: string;
  /** The most one window lets through, in the unit of `charge`. */
  readonly max: number;
  /** What this call costs, in the unit of `charge`; null where only its run will tell. */
  readonly cost: number | null;
  readonly onDeny: string | null;
  /** Counted, but not enforced. */
  readonly shadow: boolean;
}

interface Allow {
  readonly verdict: 'allow';
  /** JSON pointer of what allowed it: the tool's entry, or the default. */
  readonly rule: string;
  /** To be reserved before the call runs, all or none. */
  readonly limits: readonly LimitDemand[];
  readonly sandbox: SandboxSettings;
  /** What rules in shadow mode would have said, had they been enforced. */
  readonly shadowed?: readonly Denial[];
}

interface Deny {
  readonly verdict: 'deny';
  readonly denial: Denial;
}

interface Ask {
  readonly verdict: 'ask';
  /** JSON pointer of the first rule that wants a person. */
  readonly rule: string;
  /** What the person is asked. */
  readonly message: string;
  /** How long to wait for the answer; none in time is a no. */
  readonly timeoutSeconds: number;
  readonly remember: Remember;
  /** The owner's words for when the answer is no. */
  readonly onDeny: string | null;
  readonly limits: readonly LimitDemand[];
  readonly sandbox: SandboxSettings;
  readonly shadowed?: readonly Denial[];
}

export type Decision = Allow | Deny | Ask;

type Tool = Policy['tools'][string];

/** Whether a tool is left out of the list. Calling it all the same is denied. */
export function isHidden(policy: Policy, tool: string): boolean {
  return hiddenBy(policy, tool) !== -1;
}

/** Whether a tool is shown to clients: hidden ones, and those that no call of is ever allowed, are not. */
export function isOffered(policy: Policy, tool: string): boolean {
  return !isHidden(policy, tool) && (policy.default === 'allow' || Object.hasOwn(policy.tools, tool));
}

/** Where in `hide` a tool is hidden, or -1. */
export function hiddenBy(policy: Policy, tool: string): number {
  return policy.hide.findIndex((name) => name === tool || name === '*');
}

/** Decide on a call. Never throws for anything a request can hold; a policy that parsed always decides. */
export function decide(policy: Policy, request: PolicyRequest): Decision {
  const hidden = hiddenBy(policy, request.tool);
  if (hidden !== -1) {
    return deny('tool_hidden', pointer(['hide', hidden]), `The policy hides the tool ${quote(request.tool)}`);
  }
  const tool = Object.hasOwn(policy.tools, request.tool) ? policy.tools[request.tool] : undefined;
  if (tool === undefined && policy.default === 'deny') {
    return deny('tool_not_allowed', '/default', `The policy does not allow the tool ${quote(request.tool)}`);
  }

  const facts = factsOf(request);
  const shadowed: Denial[] = [];
  if (tool !== undefined) {
    for (const { enforced, said } of objections(tool, request.tool, facts)) {
      if (enforced) return { verdict: 'deny', denial: said };
      shadowed.push(said);
    }
  }
  const demands = limitDemands(policy, request.tool, facts);
  for (const { enforced, said } of demands.objections) {
    if (enforced) return { verdict: 'deny', denial: said };
    shadowed.push(said);
  }
  const question = tool === undefined ? null : approvalQuestion(tool, request.tool, facts, shadowed);
  const granted = {
    limits: demands.limits,
    sandbox: policy.sandbox,
    ...(shadowed.length > 0 ? { shadowed } : {}),
  };
  if (question !== null) return { verdict: 'ask', ...question, ...granted };
  return { verdict: 'allow', rule: tool === undefined ? '/default' : pointer(['tools', request.tool]), ...granted };
}

interface Objection {
  readonly enforced: boolean;
  readonly said: Denial;
}

function* objections(tool: Tool, name: string, facts: Facts): Generator<Objection> {
  for (const [index, entry] of tool.require.entries()) {
    if (entry.conditions.length > 0 && allHold(entry.conditions, facts, 'every') === 'yes') continue;
    const rule = pointer(['tools', name, 'require', index]);
    const what = `The policy requires ${entry.conditions.map(describe).join(' and ')}, and this call does not meet that`;
    yield { enforced: !entry.shadow, said: denial('requirement_not_met', rule, what, entry.on_deny ?? null) };
  }
  for (const [index, entry] of tool.deny_if.entries()) {
    if (allHold(entry.conditions, facts, 'some') === 'no') continue;
    const rule = pointer(['tools', name, 'deny_if', index]);
    // Which values are forbidden is the owner's to tell, in on_deny: here it would only teach the way around.
    const about = [...new Set(entry.conditions.map(({ path }) => path))].join(' and ');
    const what =
      about === ''
        ? `The policy denies every call of ${quote(name)}`
        : `The policy denies this call because of ${about}`;
    yield { enforced: !entry.shadow, said: denial('condition_denied', rule, what, entry.on_deny ?? null) };
  }
}

/** All limits that a call falls under, and those whose charge is no number that can be charged. */
export function limitDemands(
  policy: Policy,
  name: string,
  facts: Facts,
): { limits: LimitDemand[]; objections: Objection[] } {
  const tool = Object.hasOwn(policy.tools, name) ? policy.tools[name] : undefined;
  const rules = [
    ...(tool?.limits ?? []).map((limit, index) => ({ limit, rule: pointer(['tools', name, 'limits', index]) })),
    ...policy.all_tools.limits.map((limit, index) => ({ limit, rule: pointer(['all_tools', 'limits', index]) })),
  ];
  const limits: LimitDemand[] = [];
  const objections: Objection[] = [];
  for (const { limit, rule } of rules) {
    const cost = costOf(limit.charge, facts);
    if (cost === 'invalid') {
      const what = `The policy charges this call by ${limit.charge}, which is not a number of 0 or more`;
      objections.push({ enforced: !limit.shadow, said: denial('charge_invalid', rule, what) });
      continue;
    }
    const { counter, window, align, scope, charge, max, shadow } = limit;
    limits.push({ rule, counter, window, align, scope, charge, max, cost, onDeny: limit.on_deny ?? null, shadow });
  }
  return { limits, objections };
}

/** Not a number, not finite or less than 0 would refund or disable a limit: such a call is refused instead. */
function costOf(charge: string, facts: Facts): number | null | 'invalid' {
  if (charge === 'calls') return 1;
  const path = parsePath(charge);
  if (path === null) return null;
  const found = facts.at(path);
  if (found === null || found === 'unknown' || found === 'unseen') return 'invalid';
  const { value } = found;
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : 'invalid';
}

/** All rules that want a person are put in one question, and the strictest of each of their terms holds. */
function approvalQuestion(tool: Tool, name: string, facts: Facts, shadowed: Denial[]) {
  let question: Pick<Ask, 'rule' | 'message' | 'timeoutSeconds' | 'remember' | 'onDeny'> | null = null;
  for (const [index, entry] of tool.require_approval.entries()) {
    if (allHold(entry.conditions, facts, 'some') === 'no') continue;
    const rule = pointer(['tools', name, 'require_approval', index]);
    if (entry.shadow) {
      shadowed.push(
        denial('approval_required', rule, 'The policy wants a person to approve this call', entry.on_deny ?? null),
      );
      continue;
    }
    const message = entry.message ?? `Allow this call of ${quote(name)}?`;
    question =
      question === null
        ? {
            rule,
            message,
            timeoutSeconds: entry.timeout_seconds,
            remember: entry.remember,
            onDeny: entry.on_deny ?? null,
          }
        : {
            rule: question.rule,
            message: question.message === message ? message : `${question.message}\n${message}`,
            timeoutSeconds: Math.min(question.timeoutSeconds, entry.timeout_seconds),
            remember: stricter(question.remember, entry.remember),
            onDeny: question.onDeny ?? entry.on_deny ?? null,
          };
  }
  return question;
}

function stricter(one: Remember, other: Remember): Remember {
  return rememberChoices.indexOf(one) <= rememberChoices.indexOf(other) ? one : other;
}

function deny(code: DenialCode, rule: string, what: string): Deny {
  return { verdict: 'deny', denial: denial(code, rule, what) };
}

const operatorWords: Record<Condition['op'], string> = {
  eq: 'to equal',
  neq: 'not to equal',
  lt: 'to be less than',
  lte: 'to be at most',
  gt: 'to be greater than',
  gte: 'to be at least',
  in: 'to be one of',
  not_in: 'not to be one of',
  exists: 'to be given',
  regex: 'to match the regex',
  contains: 'to contain',
};

function describe({ path, op, value }: Condition): string {
  if (op === 'exists') return `${path} ${value === true ? '' : 'not '}to be given`;
  return `${path} ${operatorWords[op]} ${clip(JSON.stringify(value))}`;
}

/** A name that comes from outside, short and with no control characters. */
function quote(name: string): string {
  return clip(JSON.stringify(name));
}

function clip(text: string): string {
  return text.length <= 200 ? text : `${text.slice(0, 199)}…`;
}
