/**
 * One call, straight down: the only way from a request to a program, for MCP and for the command line.
 *
 * No step reaches back to an earlier one, a denial spawns nothing, and whatever goes wrong on our side is an outcome of
 * status `unavailable` with an audit line, never an exception.
 */
import { createHash, randomUUID } from 'node:crypto';
import type { Limits, LimitState, Measured } from './admission/limits.js';
import type { Slots } from './admission/slots.js';
import type { Approval, Approvals, Form } from './approval/approvals.js';
import { checkArguments, TOOL, type CodeArguments } from './arguments.js';
import { AuditError, type Audit, type AuditRecord } from './audit.js';
import type { FileStore, Kept } from './files/store.js';
import { cancelledWaiting, denied, unavailable, type Ending, type Outcome, type Refusal } from './outcome.js';
import { decide, isHidden, type Decision } from './policy/decide.js';
import { denial, type Denial, type DenialCode } from './policy/denial.js';
import type { LoadedPolicy } from './policy/load.js';
import { jobLimits, type SandboxSettings } from './policy/schema.js';
import type { Backend, FilesLeftOut, InputFile, JobOutcome, OnOutput, Tier } from './sandbox.js';

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
    limits: [],
    filesIn: null,
    kept: null,
  };
  let ending: Ending;
  try {
    await rooms.audit.ready();
    ending = await straightDown(rooms, request, trace);
  } catch (error) {
    ending = ourFault(trace, error);
  }
  // 10. The audit line. What is not on record is not handed out.
  try {
    await rooms.audit.write(auditRecord(request, trace, ending));
  } catch (error) {
    ending = ourFault(trace, error);
    rooms.files.drop(trace.runId);
    trace.kept = null;
  }
  const { runId, tier, limits, kept } = trace;
  return { ...ending, runId, tier, limits, files: kept?.files ?? [], session: null };
}

async function straightDown(rooms: Rooms, request: CallRequest, trace: Trace): Promise<Ending> {
  const { policy } = trace.loaded;
  const { tool, args, grant, client, signal } = request;

  // 1. Arguments. A tool that is hidden or does not exist has none to check: the policy answers those calls.
  const checked = tool === TOOL && !isHidden(policy, tool) ? checkArguments(args) : null;
  if (checked?.ok === false) return refused(trace, invalidArguments(checked.problems));

  // 2. Decision. Nobody below reads the policy again.
  const decision = decide(policy, { tool, args, grant, client, now: new Date() });
  note(trace, decision);
  if (decision.verdict === 'deny') return denied(decision.denial);
  if (checked === null) return refused(trace, unknownTool(tool));
  const excess = tooLarge(checked.value, decision.sandbox);
  if (excess !== null) return refused(trace, excess);

  const { code, stdin, files, timeoutSeconds } = checked.value;
  trace.filesIn = summary(files);
  const limits = jobLimits(decision.sandbox, timeoutSeconds);

  // 3. Admission: every limit, or none. Before a person is asked, so that nobody says yes to what a limit then denies.
  const atMost = { ...limits, wallSeconds: limits.timeoutSeconds, outputBytes: limits.outputMb * 2 ** 20 };
  const reserved = await rooms.limits.reserve(decision.limits, { grant: grant.name }, new Date(), atMost);
  if (!reserved.ok) return refused(trace, reserved.denial);
  const { reservation } = reserved;
  trace.shadowed = [...trace.shadowed, ...reservation.shadowed];
  let measured: Measured | null = null;
  try {
    // 4. Approval. The call holds no slot while it waits for a person: others run meanwhile.
    if (decision.verdict === 'ask') {
      const ending = await askPerson(rooms, request, trace, decision, checked.value);
      if (ending !== null) return ending;
    }
    request.onProgress?.('waiting');
    const slot = await rooms.slots.acquire(grant.name, signal);
    if (!slot.ok) return slot.why === 'full' ? unavailable(QUEUE_FULL, true) : cancelledWaiting();
    try {
      if (signal.aborted) return cancelledWaiting();
      request.onProgress?.('running');
      // 5 to 8. The backend runs the program, reads what it says as hostile input, and leaves nothing of it behind.
      const backend = rooms.backend();
      trace.tier = backend.guarantees.tier;
      const job = { runId: trace.runId, code, stdin, files, limits };
      const { filesKeptSeconds: keptSeconds, filesKeptMb: keptMb } = decision.sandbox;
      const receiving = rooms.files.receive({ runId: trace.runId, grant: grant.name, keptSeconds, keptMb });
      const { onOutput } = request;
      const outcome = await backend.run(job, signal, { onFile: receiving.onFile, ...(onOutput && { onOutput }) });
      trace.kept = receiving.finish();
      if (ran(outcome)) measured = measure(outcome);
      return { ...outcome, filesLeftOut: sum(outcome.filesLeftOut, trace.kept.leftOut), policy: null };
    } finally {
      slot.release();
    }
  } finally {
    // 9. A program that ran is charged for what it cost; a call that never ran gets its reservation back.
    await (measured === null ? reservation.refund() : reservation.settle(measured));
    trace.limits = await reservation.left();
  }
}

const UNDECIDED: AuditRecord['decision'] = { verdict: 'refused', rule: null, code: null };

const QUEUE_FULL = 'too many calls are running and waiting already; nothing was run';

/** Ask a person. @returns what the call ends with, or null where it may go on */
async function askPerson(
  rooms: Rooms,
  request: CallRequest,
  trace: Trace,
  decision: Extract<Decision, { verdict: 'ask' }>,
  { code, stdin, files, timeoutSeconds }: CodeArguments,
): Promise<Ending | null> {
  const { rule, message, remember, onDeny } = decision;
  const approval = await rooms.approvals.ask({
    question: {
      call: {
        tool: request.tool,
        code,
        stdin,
        files: files.map(({ name, bytes }) => ({ name, bytes: bytes.length, sha256: sha256(bytes) })),
        timeoutSeconds: timeoutSeconds ?? null,
      },
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
    return refused(trace, { ...said, message: `${said.message}${howTo}` });
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

function refused(trace: Trace, refusal: Refusal): Ending {
  trace.decision = { verdict: 'deny', rule: refusal.rule === '' ? null : refusal.rule, code: refusal.code };
  return denied(refusal);
}

function refusal(code: Refusal['code'], rule: string, message: string): Refusal {
  return { code, rule, message, retryable: false, retryAfterMs: null };
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
  return refusal('unknown_tool', '', `there is no tool ${name} here; the only one is ${TOOL}`);
}

/** What a file takes of a sandbox's disk at least: a page of its tmpfs. */
const PAGE_BYTES = 4096;

function tooLarge({ code, stdin, files }: CodeArguments, settings: SandboxSettings): Refusal | null {
  const { codeKb, stdinMb, filesIn, filesInMb, diskMb } = settings;
  const codeBytes = Buffer.byteLength(code);
  if (codeBytes > codeKb * 2 ** 10) {
    const what = `code is ${codeBytes} bytes long, and at most ${codeKb * 2 ** 10} are taken (${codeKb} KB)`;
    return refusal('code_too_large', '/sandbox/code_kb', `${what}: pass data in stdin, or do less in one call`);
  }
  const stdinBytes = Buffer.byteLength(stdin);
  if (stdinBytes > stdinMb * 2 ** 20) {
    const what = `stdin is ${stdinBytes} bytes long, and at most ${stdinMb * 2 ** 20} are taken (${stdinMb} MB)`;
    return refusal('stdin_too_large', '/sandbox/stdin_mb', `${what}: pass less at a time`);
  }
  if (files.length > filesIn) {
    const what = `${files.length} files came, and at most ${filesIn} are taken`;
    return refusal('too_many_files', '/sandbox/files_in', `${what}: pass fewer, or one archive`);
  }
  const filesBytes = files.reduce((sum, { bytes }) => sum + bytes.length, 0);
  if (filesBytes > filesInMb * 2 ** 20) {
    const what = `the files are ${filesBytes} bytes long together, and at most ${filesInMb * 2 ** 20} are taken (${filesInMb} MB)`;
    return refusal('files_too_large', '/sandbox/files_in_mb', `${what}: pass less at a time`);
  }
  const diskBytes = files.reduce((sum, { bytes }) => sum + Math.ceil(bytes.length / PAGE_BYTES) * PAGE_BYTES, 0);
  if (diskBytes > diskMb * 2 ** 20) {
    const what = `the files take ${diskBytes} bytes of disk, and a program has ${diskMb * 2 ** 20} (${diskMb} MB)`;
    return refusal('files_too_large', '/sandbox/disk_mb', `${what}: pass less at a time`);
  }
  return null;
}

function sha256(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** The files of a call in one line of the audit log: how many, how much, and a hash of names and contents. */
function summary(files: readonly InputFile[]): AuditRecord['filesIn'] {
  if (files.length === 0) return null;
  const all = createHash('sha256');
  for (const { name, bytes } of files) all.update(`${name}\0${sha256(bytes)}\n`);
  const bytes = files.reduce((total, file) => total + file.bytes.length, 0);
  return { count: files.length, bytes, sha256: all.digest('hex') };
}

/** What the sandbox did not bring out, and what was not kept of the rest. */
function sum(one: FilesLeftOut, other: FilesLeftOut): FilesLeftOut {
  const examples = [...one.examples, ...other.examples].slice(0, LEFT_OUT_EXAMPLES_MAX);
  return { count: one.count + other.count, examples };
}

const LEFT_OUT_EXAMPLES_MAX = 10;

/** Whether a program ran: then it is charged, even if our side lost its outcome. */
function ran({ status, usage }: JobOutcome): boolean {
  return status !== 'unavailable' || usage.durationMs > 0;
}

function measure({ usage, stdout, stderr }: JobOutcome): Measured {
  return {
    cpuSeconds: usage.cpuMs / 1000,
    wallSeconds: usage.durationMs / 1000,
    outputBytes: stdout.totalBytes + stderr.totalBytes,
  };
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
