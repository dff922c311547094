/** One job in a ready sandbox: send it, capture what comes, and make an outcome of how it ends. Never rejects. */

import { frameHeader, type ReceivedKind } from '../frames.js';
import type { Job, JobOutcome, JobSinks } from '../sandbox.js';
import { createCapture } from './capture.js';
import { createFileIntake } from './file-intake.js';
import { failedFrame, type ReadySandbox } from './connection.js';
import { ending, readWord, signalName, stepReport, wardenReport, type StepReport } from './ending.js';

/** The warden keeps the time limit; if it is this much late, something of ours is wrong. Milliseconds. */
const WARDEN_GRACE_MS = 10_000;
/**
 * How long an answer may take to reach the client, from the outcome on. Until then the processors are left to it: what a sandbox takes to end, and the
 * next one to be made, comes after. Milliseconds.
 */
export const ANSWER_MS = 3;
/** How long a cancelled sandbox may take to report before it is destroyed without a report. Milliseconds. */
const CANCEL_GRACE_MS = 2_000;

const NOTHING = { text: '', totalBytes: 0, omittedBytes: 0 };

/** The outcome of a job that our side could not run, or lost. */
export function unavailable(reason: string, retryable: boolean): JobOutcome {
  return {
    status: 'unavailable',
    reason,
    stdout: NOTHING,
    stderr: NOTHING,
    result: null,
    error: null,
    filesLeftOut: { count: 0, examples: [] },
    exitCode: null,
    signal: null,
    usage: { durationMs: 0, cpuMs: 0, peakMemoryBytes: 0 },
    retryable,
  };
}

/** What makes a job a step of a session. */
export interface StepOf {
  /** The state it begins in. */
  readonly from: number;
  /** Told before the outcome, where there is a report. */
  readonly onReport: (report: StepReport) => void;
  /** The session had to be given up. */
  readonly onGivenUp: (why: string) => void;
}

/**
 * Run `job`; aborting `signal` kills it and yields what it printed until then. Without `step` it is the only one of this sandbox, which ends
 * with it.
 */
export function runJob(
  sandbox: ReadySandbox,
  job: Job,
  signal: AbortSignal,
  sinks: JobSinks = {},
  step?: StepOf,
): Promise<JobOutcome> {
  const { socket } = sandbox;
  const { limits } = job;
  const startedAt = performance.now();
  const captures = {
    stdout: createCapture(limits.outputKeptKb * 1024),
    stderr: createCapture(limits.outputKeptKb * 1024),
  };
  let word: Buffer | null = null;
  const files = createFileIntake(limits, sinks.onFile);

  return new Promise((resolve) => {
    let settled = false;
    let late: NodeJS.Timeout | undefined;
    const settle = (outcome: Omit<JobOutcome, 'stdout' | 'stderr'>) => {
      if (settled) return;
      settled = true;
      clearTimeout(watchdog);
      clearTimeout(late);
      files.stop();
      signal.removeEventListener('abort', cancel);
      resolve({ ...outcome, stdout: captures.stdout.finish(), stderr: captures.stderr.finish() });
    };
    const lost = (reason: string) => {
      const durationMs = performance.now() - startedAt;
      const cancelled = signal.aborted;
      settle({
        ...unavailable(cancelled ? 'cancelled by the caller' : `our side lost the program: ${reason}`, !cancelled),
        status: cancelled ? 'cancelled' : 'unavailable',
        usage: { durationMs, cpuMs: 0, peakMemoryBytes: 0 },
      });
    };
    const watchdog = setTimeout(
      () => {
        sandbox.destroy();
        lost('the sandbox did not report in time');
      },
      limits.timeoutSeconds * 1000 + WARDEN_GRACE_MS,
    );
    const cancel = () => {
      if (!socket.destroyed) socket.write(frameHeader('X', 0));
      late = setTimeout(() => {
        sandbox.destroy();
        lost('the sandbox did not report in time');
      }, CANCEL_GRACE_MS);
    };

    const end = (payload: Buffer) => {
      const parsed: unknown = JSON.parse(payload.toString('utf8'));
      const report = step ? stepReport.parse(parsed) : wardenReport.parse(parsed);
      files.finish();
      if (step && 'state' in report) step.onReport(report);
      const said = readWord(word);
      settle({
        ...ending(report, said.error, limits),
        result: report.cause === 'exit' && report.exit_code === 0 ? said.result : null,
        error: said.error,
        filesLeftOut: report.files_left_out,
        exitCode: report.exit_code,
        signal: report.signal === null ? null : signalName(report.signal),
        usage: {
          durationMs: report.duration_us / 1000,
          cpuMs: report.cpu_us / 1000,
          peakMemoryBytes: report.peak_memory_bytes,
        },
        retryable: false,
      });
      // The warden ends with it.
      if (!step) setTimeout(() => socket.end(), ANSWER_MS);
    };

    const onFrame = (kind: ReceivedKind, payload: Buffer) => {
      if (settled) throw new Error(`a frame ${kind} after the end`);
      switch (kind) {
        case 'O':
        case 'E': {
          const stream = kind === 'O' ? 'stdout' : 'stderr';
          captures[stream].add(payload);
          sinks.onOutput?.(stream, payload);
          return;
        }
        case 'P':
          word = Buffer.from(payload);
          return;
        case 'N':
        case 'B':
          // What it leaves comes after its end, and is not to be late as long as it comes.
          watchdog.refresh();
          late?.refresh();
          if (kind === 'N') files.begin(payload);
          else files.add(payload);
          return;
        case 'D':
          end(payload);
          return;
        case 'F': {
          if (!step) throw new Error('a frame F while a job runs');
          const { message } = failedFrame.parse(JSON.parse(payload.toString('utf8')));
          step.onGivenUp(message);
          lost(message);
          return;
        }
        case 'R':
          throw new Error(`a frame ${kind} while a job runs`);
      }
    };

    sandbox.listen(onFrame, lost);
    const code = Buffer.from(job.code, 'utf8');
    const stdin = Buffer.from(job.stdin, 'utf8');
    const settings = Buffer.from(
      JSON.stringify({
        timeout_seconds: limits.timeoutSeconds,
        cpu_seconds: limits.cpuSeconds,
        memory_mb: limits.memoryMb,
        processes: limits.processes,
        open_files: limits.openFiles,
        file_size_mb: limits.fileSizeMb,
        output_mb: limits.outputMb,
        files_out: sinks.onFile === undefined ? 0 : limits.filesOut,
        files_out_mb: limits.filesOutMb,
        ...(step && { from: step.from }),
      }),
    );
    // In one write: what wakes the warden is then all it waits for.
    const parts: Uint8Array[] = job.files.flatMap(({ name, bytes }) => {
      const written = Buffer.from(name, 'utf8');
      const nameBytes = Buffer.alloc(2);
      nameBytes.writeUInt16BE(written.length);
      return [frameHeader('A', 2 + written.length + bytes.length), nameBytes, written, bytes];
    });
    parts.push(frameHeader('C', code.length), code, frameHeader('I', stdin.length), stdin);
    socket.write(Buffer.concat([...parts, frameHeader('J', settings.length), settings]));
    if (signal.aborted) cancel();
    else signal.addEventListener('abort', cancel, { once: true });
  });
}
