/**
 * One call, straight down: the only way from a request to a program, for MCP and for the command line.
 *
 * No step reaches back to an earlier one, a denial spawns nothing, and whatever goes wrong on our side is an outcome of
 * status `unavailable` with an audit line, never an exception.
 */
import { randomUUID } from 'node:crypto';
import type { Limits, LimitState } from './admission/limits.js';
import type { Slots } from './admission/slots.js';
import type { Approval, Approvals, Form } from './approval/approvals.js';
import type { ExactCall } from './approval/call-hash.js';
import { AuditError, type Audit, type AuditRecord } from './audit.js';
import type { FileStore, Kept } from './files/store.js';
import { cancelledWaiting, denied, unavailable, type Ending, type Outcome, type Refusal } from './outcome.js';
import { decide, isHidden, type Decision } from './policy/decide.js';
import { denial, type Denial, type DenialCode } from './policy/denial.js';
import type { LoadedPolicy } from './policy/load.js';
import type { Backend, InputFile, OnOutput, Tier } from './sandbox.js';
import { sha256 } from './sha256.js';
import { digestOf } from './sessions/handle.js';
import type { Sessions } from './sessions/sessions.js';
import { nothingDone, refusal, type Performed } from './tools/tool.js';
import { TOOL_NAMES, toolNamed } from './tools/tools.js';

/** Where a call is while it is under way. */
export type Stage = 'asking' | 'waiting' | 'running';

export interface CallRequest {
  readonly tool: string;
  /** As they came: checked here. */
  readonly args: Readonly<Record<string, unknown>>;
  /** The identity the call is made under. */
  readonly grant: { readonly name: string };
  /** What the client says of itself. */
  readonly client: { readonly name: string; readonly version: string };
  /** One connection of that client: as long as it lasts, an approval "for the session" holds. */
  readonly session: string;
  /** Aborting it kills the program. */
  readonly signal: AbortSignal;
  /** How the caller's user can be asked; null where that is not possible. */
  readonly form: Form | null;
  readonly onOutput?: OnOutput;
  /** @param howTo while `asking`: how a person can answer */
  readonly onProgress?: (stage: Stage, howTo?: string) => void;
}

/** What a call goes through. */
export interface Rooms {
  /** The policy that holds now. */
  policy(): Promise<LoadedPolicy>;
  backend(): Backend;
  readonly limits: Limits;
  readonly slots: Slots;
  readonly sessions: Sessions;
  readonly approvals: Approvals;
  readonly files: FileStore;
  readonly audit: Audit;
}

/** What is known of a call so far; all of it reaches the audit log, whatever becomes of the call. */
interface Trace {
  readonly runId: string;
  readonly loaded: LoadedPolicy;
  decision: AuditRecord['decision'];
  approval: AuditRecord['approval'];
  /** What rules that are not enforced would have said. */
  shadowed: readonly Denial[];
  tier: Tier | null;
  session: AuditRecord['session'];
  limits: readonly LimitState[];
  /** What was brought, once it is decoded. */
  filesIn: AuditRecord['filesIn'];
  /** What was left, once the program has ended. */
  kept: Kept | null;
}

/** Make one call. Never rejects. */
export async function call(rooms: Rooms, request: CallRequest): Promise<Outcome> {
  const trace: Trace = {
    runId: randomUUID(),
    loaded: await rooms.policy(),
    decision: UNDECIDED,
    approval: null,
    shadowed: [],
    tier: null,
    session: null,
    limits: [],
    filesIn: null,
    kept: null,
  };
  let performed: Performed;
  try {
    await rooms.audit.ready();
    performed = await straightDown(rooms, request, trace);
  } catch (error) {
    performed = nothingDone(ourFault(trace, error));
  }
  // 10. The audit line. What is not on record is not handed out.
  try {
    await rooms.audit.write(auditRecord(request, trace, performed.ending));
  } catch (error) {
    performed = nothingDone(ourFault(trace, error));
    rooms.files.drop(trace.runId);
    trace.kept = null;
  }
  const { runId, tier, limits, kept } = trace;
  const { ending, session, sessions } = performed;
  return { ...ending, runId, tier, limits, files: kept?.files ?? [], session, sessions };
}

async function straightDown(rooms: Rooms, request: CallRequest, trace: Trace): Promise<Performed> {
  const { policy } = trace.loaded;
  const { args, grant, client, signal } = request;

  // 1. Arguments. A tool that is hidden or does not exist has none to check: the policy answers those calls.
  const checked = isHidden(policy, request.tool) ? undefined : toolNamed(request.tool)?.check(args);
  if (checked?.ok === false) return refused(trace, invalidArguments(checked.problems));
  const action = checked?.action;
  if (typeof action?.session === 'string') trace.session = { digest: digestOf(action.session), ...NOT_MOVED };

  // 2. Decision. Nobody below reads the policy again.
  const decision = decide(policy, { tool: request.tool, args, grant, client, now: new Date() });
  note(trace, decision);
  if (decision.verdict === 'deny') return nothingDone(denied(decision.denial));
  if (action === undefined) return refused(trace, unknownTool(request.tool));
  const settings = decision.sandbox;
  const no = action.excess(settings) ?? action.objection(rooms.sessions, grant.name, rooms.backend().guarantees);
  if (no !== null) return refused(trace, no);

  trace.filesIn = summary(action.files);

  // 3. Admission: every limit, or none. Before a person is asked, so that nobody says yes to what a limit then denies.
  const atMost = action.atMost(settings);
  const reserved = await rooms.limits.reserve(decision.limits, { grant: grant.name }, new Date(), atMost);
  if (!reserved.ok) return refused(trace, reserved.denial);
  const { reservation } = reserved;
  trace.shadowed = [...trace.shadowed, ...reservation.shadowed];
  let performed: Performed | null = null;
  try {
    // 4. Approval. The call holds no slot while it waits for a person: others run meanwhile.
    let approved: ExactCall | null = null;
    if (decision.verdict === 'ask') {
      approved = action.exact(rooms.sessions, grant.name);
      const ending = await askPerson(rooms, request, trace, decision, approved);
      if (ending !== null) return nothingDone(ending);
    }
    // 5 to 8. The tool does what it is there for.
    performed = await action.perform({
      runId: trace.runId,
      grant: grant.name,
      settings,
      approved,
      signal,
      onOutput: request.onOutput,
      slots: rooms.slots,
      sessions: rooms.sessions,
      files: rooms.files,
      backend: () => rooms.backend(),
      onStage: (stage) => request.onProgress?.(stage),
    });
    trace.tier = performed.tier;
    trace.kept = performed.kept;
    trace.session = performed.onRecord ?? trace.session;
    if (performed.ending.policy !== null) onRecordAsRefused(trace, performed.ending.policy);
    return performed;
  } finally {
    // 9. What was done is charged for what it cost; a call that did nothing gets its reservation back.
    const measured = performed?.measured ?? null;
    await (measured === null ? reservation.refund() : reservation.settle(measured));
    trace.limits = await reservation.left();
  }
}

/** A session that was asked for, and of which no more is known. */
const NOT_MOVED = { step: null, undone: null, forkedTo: null } as const;

const UNDECIDED: AuditRecord['decision'] = { verdict: 'refused', rule: null, code: null };

/** Ask a person. @returns what the call ends with, or null where it may go on */
async function askPerson(
  rooms: Rooms,
  request: CallRequest,
  trace: Trace,
  decision: Extract<Decision, { verdict: 'ask' }>,
  exact: ExactCall,
): Promise<Ending | null> {
  const { rule, message, remember, onDeny } = decision;
  const approval = await rooms.approvals.ask({
    question: {
      call: exact,
      grant: request.grant.name,
      client: request.client.name,
      session: request.session,
      policyHash: trace.loaded.hash,
      rule,
      message,
      timeoutSeconds: decision.timeoutSeconds,
      remember,
    },
    form: request.form,
    signal: request.signal,
    onWaiting: (howTo) => request.onProgress?.('asking', howTo),
  });
  trace.approval = onRecord(approval);
  const no = (denialCode: DenialCode, what: string, howTo = ''): Ending => {
    const said = denial(denialCode, rule, what, onDeny);
    return refused(trace, { ...said, message: `${said.message}${howTo}` }).ending;
  };
  switch (approval.kind) {
    case 'allowed':
      trace.decision = { verdict: 'allow', rule, code: null };
      // The person was asked under a policy that no longer holds: it may deny by now what they were asked.
      if ((await rooms.policy()).hash === trace.loaded.hash) return null;
      return no('approval_required', 'The policy was edited while this call waited for a person, so the yes is void');
    case 'denied': {
      const reason = approval.reason === null ? '' : ` (${approval.reason})`;
      return no('approval_denied', `The policy wants a person to approve this call, and the answer was no${reason}`);
    }
    case 'timeout': {
      const what = `The policy wants a person to approve this call, and nobody answered in ${decision.timeoutSeconds} s`;
      const howTo = approval.howTo === null ? '' : ` To approve request ${approval.id}: ${approval.howTo}`;
      return no('approval_timeout', what, howTo);
    }
    case 'cancelled':
      return cancelledWaiting();
    case 'nobody':
      return no(
        'approval_required',
        `The policy wants a person to approve this call, and nobody can be asked: ${approval.why}`,
      );
    case 'unavailable':
      return no(
        'approval_unavailable',
        `The policy wants a person to approve this call, and asking failed: ${approval.why}`,
      );
  }
}

function onRecord(approval: Approval): AuditRecord['approval'] {
  if (approval.kind === 'nobody' || approval.kind === 'unavailable') return null;
  const answered = approval.kind === 'allowed' || approval.kind === 'denied';
  return { id: approval.id, via: answered ? approval.via : null, by: answered ? approval.by : null };
}

function note(trace: Trace, decision: Decision): void {
  const code = decision.verdict === 'ask' ? 'approval_required' : null;
  trace.decision =
    decision.verdict === 'deny'
      ? { verdict: 'deny', rule: decision.denial.rule, code: decision.denial.code }
      : { verdict: decision.verdict, rule: decision.rule, code };
  if (decision.verdict !== 'deny') trace.shadowed = decision.shadowed ?? [];
}

function refused(trace: Trace, no: Refusal): Performed {
  onRecordAsRefused(trace, no);
  return nothingDone(denied(no));
}

function onRecordAsRefused(trace: Trace, { rule, code }: Refusal): void {
  trace.decision = { verdict: 'deny', rule: rule === '' ? null : rule, code };
}

function invalidArguments(problems: readonly string[]): Refusal {
  return refusal(
    'invalid_arguments',
    '',
    `${problems.join('; ')}. Nothing was run: correct the arguments and call again.`,
  );
}

function unknownTool(tool: string): Refusal {
  const name = JSON.stringify(tool.slice(0, 100));
  return refusal('unknown_tool', '', `there is no tool ${name} here; there are ${TOOL_NAMES.join(', ')}`);
}

/** The files of a call in one line of the audit log: how many, how much, and a hash of names and contents. */
function summary(files: readonly InputFile[]): AuditRecord['filesIn'] {
  if (files.length === 0) return null;
  const lines = files.map(({ name, bytes }) => `${name}\0${sha256(bytes)}\n`);
  const bytes = files.reduce((total, file) => total + file.bytes.length, 0);
  return { count: files.length, bytes, sha256: sha256(lines.join('')) };
}

function auditRecord(request: CallRequest, trace: Trace, ending: Ending): AuditRecord {
  const { code } = request.args;
  const outputBytes = ending.stdout.totalBytes + ending.stderr.totalBytes;
  return {
    kind: 'call',
    time: new Date().toISOString(),
    runId: trace.runId,
    grant: request.grant.name,
    client: { name: request.client.name, version: request.client.version },
    tool: request.tool,
    decision: trace.decision,
    approval: trace.approval,
    shadowed: trace.shadowed.map(({ rule, code }) => ({ rule, code })),
    policyHash: trace.loaded.hash,
    codeSha256: typeof code === 'string' ? sha256(code) : null,
    codeBytes: typeof code === 'string' ? Buffer.byteLength(code) : null,
    filesIn: trace.filesIn,
    filesOut: filesOut(trace.kept),
    status: ending.status,
    exitCode: ending.exitCode,
    signal: ending.signal,
    usage: ending.usage === null ? null : { ...ending.usage, outputBytes },
    tier: trace.tier,
    session: trace.session,
  };
}

function filesOut(kept: Kept | null): AuditRecord['filesOut'] {
  if (kept?.sha256 == null) return null;
  return {
    count: kept.files.length,
    bytes: kept.files.reduce((total, file) => total + file.bytes, 0),
    sha256: kept.sha256,
  };
}

/** Whoever runs the server is told in full what the caller is told in a sentence. */
function ourFault({ runId }: Trace, error: unknown): Ending {
  const known = error instanceof AuditError;
  const [sentence, detail] =
    error instanceof Error
      ? [error.message, known ? error.message : (error.stack ?? error.message)]
      : [String(error), ''];
  process.stderr.write(`cordon: run ${runId}: ${detail}\n`);
  return unavailable(known ? sentence : `a fault of the server: ${sentence}`, false);
}
