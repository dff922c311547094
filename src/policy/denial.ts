/**
 * What a refused call is told. Codes are stable words that programs may switch on; messages are for an agent and tell it
 * what to do instead of trying to get around the rule.
 */

/**
 * - `tool_not_allowed`: the tool is not listed, and the policy's default is deny
 * - `tool_hidden`: the tool is hidden
 * - `requirement_not_met`: an entry of `require` does not hold
 * - `condition_denied`: an entry of `deny_if` holds
 * - `charge_invalid`: a limit is charged by an argument that is not a number of 0 or more
 * - `limit_reached`: a limit on calls, or on an argument, has no room for this call in the current window
 * - `budget_spent`: a limit on measured cost is used up for the current window
 * - `limiter_unavailable`: what is left cannot be told (the store failed); our fault
 * - `approval_required`: a person has to be asked, and nobody can be; or the policy was edited while one was
 * - `approval_denied`: a person said no
 * - `approval_timeout`: nobody answered in time
 * - `approval_unavailable`: asking failed, or too many questions wait already; our fault
 */
export type DenialCode =
  | 'tool_not_allowed'
  | 'tool_hidden'
  | 'requirement_not_met'
  | 'condition_denied'
  | 'charge_invalid'
  | 'limit_reached'
  | 'budget_spent'
  | 'limiter_unavailable'
  | 'approval_required'
  | 'approval_denied'
  | 'approval_timeout'
  | 'approval_unavailable';

export interface Denial {
  readonly code: DenialCode;
  /** JSON pointer of the rule, into the policy. */
  readonly rule: string;
  /** What happened, and what the caller is to do instead. */
  readonly message: string;
  /** True where the very same call may be allowed later. */
  readonly retryable: boolean;
  /** How long to wait before that, in milliseconds; null where waiting is not what helps or nobody knows. */
  readonly retryAfterMs: number | null;
}

const adviceByCode: Record<DenialCode, string> = {
  tool_not_allowed:
    'Do not look for another way to the same end. Tell the user what you wanted to do: only the owner of the policy can allow it.',
  tool_hidden:
    'Do not look for another way to the same end. Tell the user what you wanted to do: only the owner of the policy can allow it.',
  requirement_not_met:
    'Make a call that meets the requirement if that still does what the user wants; otherwise tell the user.',
  condition_denied:
    'Do not rephrase the same action to slip past the rule. Do it in a way the policy permits, or tell the user that it does not.',
  charge_invalid: 'Give that argument as a number of 0 or more and call again.',
  limit_reached:
    'Splitting or rewording the call does not help. Do more in one call, or tell the user that the limit is reached.',
  budget_spent:
    'Splitting or rewording the call does not help. Go on without running code, or tell the user that the budget is spent.',
  limiter_unavailable:
    'This is a fault of the server, not of the call. Tell the user; calls stay denied until it is repaired.',
  approval_required: 'Tell the user that this call needs a person to approve it.',
  approval_denied:
    'A person said no. Do not ask again for the same thing, and do not look for another way to it: ask the user how to go on.',
  approval_timeout:
    'Do not look for another way to the same end. Tell the user that the call needs approval, and how it can be given; once it is, make exactly the same call again.',
  approval_unavailable:
    'This is a fault of the server, not of the call. Tell the user; calls that need approval stay denied until it is repaired.',
};

/** Denials that say nothing against the same call a little later. */
const retryableCodes: readonly DenialCode[] = ['limiter_unavailable', 'approval_timeout', 'approval_unavailable'];

/**
 * Build a denial.
 * @param what one sentence, without its full stop: what happened
 * @param onDeny the owner's own words for this rule; they come first, and stand instead of `what`
 * @param retryAfterMs milliseconds until the same call may be allowed; null: not by waiting
 */
export function denial(
  code: DenialCode,
  rule: string,
  what: string,
  onDeny: string | null = null,
  retryAfterMs: number | null = null,
): Denial {
  const retryable = retryAfterMs !== null || retryableCodes.includes(code);
  const wait = retryAfterMs === null ? '' : ` The same call can be made again in ${formatWait(retryAfterMs)}.`;
  const said = onDeny === null ? `${what}.` : /[.!?]$/.test(onDeny) ? onDeny : `${onDeny}.`;
  return { code, rule, message: `${said}${wait} ${adviceByCode[code]}`, retryable, retryAfterMs };
}

/** Rounded up, so that who waits that long has waited long enough. */
function formatWait(ms: number): string {
  if (ms < 1000) return `${Math.ceil(ms)} ms`;
  const total = Math.ceil(ms / 1000);
  if (total < 120) return `${total} s`;
  const minutes = Math.ceil(total / 60);
  return minutes < 120 ? `${minutes} minutes` : `${Math.ceil(minutes / 60)} hours`;
}
