/**
 * The decision on a call of which only the audit line is left. Arguments are not logged, so that what rests on them can't
 * be told: unlike in decide.ts, where the stricter answer is taken, this says so.
 */
import { factsOf, type Facts } from './conditions.js';
import { limitDemands, type LimitDemand, type PolicyRequest } from './decide.js';
import { explain, type RuleFinding } from './explain.js';
import { pointer } from './pointer.js';
import type { Policy } from './schema.js';

/** What an audit line tells of a call. */
export interface LoggedCall extends Omit<PolicyRequest, 'args'> {
  /** Bytes of `code`; null: there was none. */
  readonly codeBytes: number | null;
}

export interface PartialDecision {
  readonly verdict: 'allow' | 'deny' | 'ask' | 'unknown';
  /** JSON pointer of the rule that decides; for `unknown`, of the first that can't be told. */
  readonly rule: string;
  readonly code: 'tool_hidden' | 'tool_not_allowed' | 'requirement_not_met' | 'condition_denied' | null;
  /** Limits that the call falls under and whose cost is known. */
  readonly limits: readonly LimitDemand[];
  /** Pointers of limits that are charged by an argument, which the log does not have. */
  readonly uncounted: readonly string[];
}

const codes = {
  hide: 'tool_hidden',
  default: 'tool_not_allowed',
  require: 'requirement_not_met',
  deny_if: 'condition_denied',
  require_approval: null,
} as const;

/** Decide as far as the audit line allows. A rule that certainly denies outweighs one that can't be told. */
export function decidePartly(policy: Policy, call: LoggedCall): PartialDecision {
  const request: PolicyRequest = { ...call, args: {} };
  const facts = loggedFacts(call);
  const enforced = explain(policy, request, facts).filter(({ shadow }) => !shadow);
  const { limits, objections } = limitDemands(policy, call.tool, facts);
  const counted = { limits, uncounted: objections.map(({ said }) => said.rule) };
  const first = (effect: RuleFinding['effect']) => enforced.find((finding) => finding.effect === effect);
  const denying = first('denies');
  if (denying !== undefined) {
    return { verdict: 'deny', rule: denying.rule, code: codes[denying.kind], limits: [], uncounted: [] };
  }
  const untold = first('unknown');
  if (untold !== undefined) return { verdict: 'unknown', rule: untold.rule, code: null, ...counted };
  const asking = first('asks');
  if (asking !== undefined) return { verdict: 'ask', rule: asking.rule, code: null, ...counted };
  const listed = Object.hasOwn(policy.tools, call.tool);
  return { verdict: 'allow', rule: listed ? pointer(['tools', call.tool]) : '/default', code: null, ...counted };
}

function loggedFacts(call: LoggedCall): Facts {
  const known = factsOf({ ...call, args: {} });
  return {
    at(path) {
      if ('args' in path) return 'unseen';
      if (path.derived === 'code.bytes') return call.codeBytes === null ? null : { value: call.codeBytes };
      if (path.derived === 'code.lines' || path.derived === 'code.imports') {
        return call.codeBytes === null ? null : 'unseen';
      }
      return known.at(path);
    },
  };
}
