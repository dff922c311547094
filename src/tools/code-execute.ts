/**
 * `code_execute`: a program in a sandbox of its own, or as a step of a session.
 *
 * A step first waits for its turn at the session, then for a slot: while it waits for the steps before it, it takes no slot from anybody.
 */
import type { Measured } from '../admission/limits.js';
import { checkArguments, NEW_SESSION, TOOL, type CodeArguments } from '../arguments.js';
import { cancelledWaiting, denied, unavailable, type Refusal } from '../outcome.js';
import { jobLimits, type SandboxSettings } from '../policy/schema.js';
import type { Backend, FilesLeftOut, Job, JobOutcome, JobSinks } from '../sandbox.js';
import { digestOf } from '../sessions/handle.js';
import { NoSession, type SessionState, type Stepped } from '../sessions/sessions.js';
import { sha256 } from '../sha256.js';
import { inTurn, notInTier, QUEUE_FULL, refusedBySessions } from './in-turn.js';
import { nothingDone, placeIn, refusal, type Action, type Performed, type Performing, type Tool } from './tool.js';

export const codeExecute: Tool = {
  name: TOOL,
  check(args) {
    const checked = checkArguments(args);
    return checked.ok ? { ok: true, action: actionOf(checked.value) } : checked;
  },
};

function actionOf(value: CodeArguments): Action {
  const { code, stdin, files, timeoutSeconds, session } = value;
  const handle = session === undefined || session === NEW_SESSION ? null : session;
  return {
    files,
    session: handle,
    excess: (settings) => tooLarge(value, settings) ?? (session === undefined ? null : withoutSessions(settings)),
    objection(sessions, grant, guarantees) {
      if (session === undefined) return null;
      const none = notInTier(guarantees);
      if (none !== null) return none;
      if (handle === null) return refusedOrNot(sessions.full(grant));
      const found = sessions.stand(grant, handle);
      return found.ok ? null : refusedBySessions(found.refusal);
    },
    exact: (sessions, grant) => ({
      tool: TOOL,
      code,
      stdin,
      files: files.map(({ name, bytes }) => ({ name, bytes: bytes.length, sha256: sha256(bytes) })),
      timeoutSeconds: timeoutSeconds ?? null,
      session: session === NEW_SESSION ? NEW_SESSION : placeIn(sessions, grant, handle),
    }),
    atMost(settings) {
      const { cpuSeconds, timeoutSeconds: wallSeconds, outputMb } = jobLimits(settings, timeoutSeconds);
      return { cpuSeconds, wallSeconds, outputBytes: outputMb * 2 ** 20 };
    },
    perform(performing) {
      performing.onStage('waiting');
      if (session === undefined) return alone(value, performing);
      if (handle === null) return asFirstStep(value, performing);
      return inTurn(performing, handle, (turn) =>
        inSlot(value, performing, (_backend, job, sinks) => turn.step(job, performing.signal, sinks)),
      );
    },
  };
}

/** In a sandbox made for this one call. */
function alone(value: CodeArguments, performing: Performing): Promise<Performed> {
  return inSlot(value, performing, async (backend, job, sinks) => ({
    outcome: await backend.run(job, performing.signal, sinks),
    session: null,
    undone: false,
  }));
}

async function asFirstStep(value: CodeArguments, performing: Performing): Promise<Performed> {
  const { sessions, grant, signal } = performing;
  const opened = sessions.open(grant);
  if (!opened.ok) return nothingDone(denied(refusedBySessions(opened.refusal)));
  const { opening } = opened;
  try {
    return await inSlot(value, performing, (backend, job, sinks) => opening.step(backend, job, signal, sinks));
  } finally {
    opening.leave();
  }
}

/** Run the program once there is a slot. */
async function inSlot(
  { code, stdin, files, timeoutSeconds }: CodeArguments,
  performing: Performing,
  run: (backend: Backend, job: Job, sinks: JobSinks) => Promise<Stepped>,
): Promise<Performed> {
  const { runId, grant, settings, signal, onOutput } = performing;
  const slot = await performing.slots.acquire(grant, signal);
  if (!slot.ok) return nothingDone(slot.why === 'full' ? unavailable(QUEUE_FULL, true) : cancelledWaiting());
  try {
    if (signal.aborted) return nothingDone(cancelledWaiting());
    performing.onStage('running');
    // The backend runs the program, reads what it says as hostile input, and leaves nothing of it behind but a session's state.
    const job = { runId, code, stdin, files, limits: jobLimits(settings, timeoutSeconds) };
    const { filesKeptSeconds: keptSeconds, filesKeptMb: keptMb } = settings;
    const receiving = performing.files.receive({ runId, grant, keptSeconds, keptMb });
    const backend = performing.backend();
    const { outcome, session, undone } = await run(backend, job, {
      onFile: receiving.onFile,
      ...(onOutput && { onOutput }),
    });
    const kept = receiving.finish();
    return {
      ending: { ...outcome, filesLeftOut: sum(outcome.filesLeftOut, kept.leftOut), policy: null },
      measured: ran(outcome) ? measure(outcome) : null,
      tier: backend.guarantees.tier,
      kept,
      session:
        session === null ? null : { id: session.id, step: session.step, undone, earliestStep: session.earliestStep },
      sessions: [],
      onRecord: session === null ? null : recorded(session, undone),
    };
  } catch (error) {
    if (error instanceof NoSession) return nothingDone(unavailable(error.message, false));
    throw error;
  } finally {
    slot.release();
  }
}

function recorded({ id, step }: SessionState, undone: boolean): Performed['onRecord'] {
  return { digest: digestOf(id), step, undone, forkedTo: null };
}

function refusedOrNot(no: Parameters<typeof refusedBySessions>[0] | null): Refusal | null {
  return no === null ? null : refusedBySessions(no);
}

function withoutSessions({ sessions }: SandboxSettings): Refusal | null {
  if (sessions.max > 0) return null;
  const message =
    'The policy allows no sessions. Leave "session" out, and put all that the program needs into one call';
  return refusal('no_sessions', '/sandbox/sessions/max', message);
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
