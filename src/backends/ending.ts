/**
 * From what a warden reports (trusted) and what a program says of itself (its own word) to a status and one sentence.
 */

import { constants } from 'node:os';
import * as z from 'zod';
import type { JobLimits, JobStatus, ProgramError } from '../sandbox.js';

/** One short line, which the warden made harmless. */
const shownText = z
  .string()
  .max(500)
  .regex(/^[^\p{Cc}\p{Zl}\p{Zp}]*$/u);

/** The payload of frame D (sandbox/PROTOCOL.md). */
export const wardenReport = z.strictObject({
  cause: z.enum(['exit', 'wall', 'cpu', 'memory', 'output', 'cancel', 'input', 'disk_full', 'processes']),
  exit_code: z.int().min(0).max(255).nullable(),
  signal: z.int().min(1).max(64).nullable(),
  duration_us: z.int().nonnegative(),
  cpu_us: z.int().nonnegative(),
  peak_memory_bytes: z.int().nonnegative(),
  files_left_out: z.strictObject({
    count: z.int().nonnegative(),
    examples: z.array(z.strictObject({ name: shownText, why: shownText })).max(10),
  }),
  /** With the cause `input`: what could not be put there. */
  why: shownText.optional(),
});
export type WardenReport = z.infer<typeof wardenReport>;

/** The payload of frame D in a session. */
export const stepReport = wardenReport.extend({
  cause: z.enum([...wardenReport.shape.cause.options, 'disk', 'lost', 'states']),
  state: z.int().positive().nullable(),
  memory_bytes: z.int().nonnegative(),
  disk_bytes: z.int().nonnegative(),
});
export type StepReport = z.infer<typeof stepReport>;

const MAX_WORD_CHARS = 16_384;
const shortText = z.string().transform((text) => text.slice(0, MAX_WORD_CHARS).replaceAll('\0', '\uFFFD'));

const programWord = z.object({
  result: shortText.nullable().catch(null),
  error: z
    .object({ type: shortText, message: shortText, line: z.int().positive().nullable().catch(null) })
    .nullable()
    .catch(null),
});

/** What the program says of itself; nothing, where it says nothing that makes sense. */
export function readWord(payload: Buffer | null): { result: string | null; error: ProgramError | null } {
  if (payload !== null) {
    try {
      return programWord.parse(JSON.parse(payload.toString('utf8')));
    } catch {
      // Hostile, cut off or garbled: as good as silence.
    }
  }
  return { result: null, error: null };
}

/** `SIGSEGV` for 11. */
export function signalName(signal: number): string {
  for (const [name, number] of Object.entries(constants.signals)) if (number === signal) return name;
  return `signal ${signal}`;
}

const SIGNAL_WORDS: Readonly<Record<string, string>> = {
  SIGSEGV: 'a segmentation fault: the interpreter or an extension touched memory that is not there',
  SIGBUS: 'a bus error: a mapped file got shorter, or the disk is full',
  SIGABRT: 'the interpreter or an extension aborted itself',
  SIGFPE: 'an arithmetic fault in native code',
  SIGILL: 'an instruction that this processor does not have',
  SIGKILL: 'killed by itself, or by the kernel because memory ran out',
  SIGTERM: 'it was terminated from inside the sandbox',
  SIGINT: 'it interrupted itself',
  SIGXFSZ: 'a file grew over the file size limit',
};

/** How a job ended: its status and a sentence saying exactly what happened. */
export function ending(
  report: WardenReport | StepReport,
  error: ProgramError | null,
  limits: JobLimits,
): { status: JobStatus; reason: string } {
  if ('state' in report && report.state === null && report.cause === 'exit' && report.signal === null) {
    const how = report.exit_code === null ? 'it left no status' : `with status ${report.exit_code}`;
    return { status: 'error', reason: `the interpreter itself ended, as by os._exit (${how})` };
  }
  switch (report.cause) {
    case 'wall':
      return { status: 'timeout', reason: `stopped at the time limit of ${limits.timeoutSeconds} s` };
    case 'cpu':
      return { status: 'timeout', reason: `stopped at the CPU time limit of ${limits.cpuSeconds} s` };
    case 'memory':
      return { status: 'memory', reason: `stopped at the memory limit of ${limits.memoryMb} MB` };
    case 'output':
      return { status: 'output', reason: `stopped after printing ${limits.outputMb} MB, the output limit` };
    case 'cancel':
      return { status: 'cancelled', reason: 'cancelled by the caller' };
    case 'input':
      return { status: 'error', reason: `${report.why ?? 'the files could not be put there'}; nothing was run` };
    case 'disk':
      return {
        status: 'error',
        reason: "the program ended, but its files and those of the states before it don't fit into the session's disk",
      };
    case 'lost':
      return {
        status: 'error',
        reason: 'the state that the step was to begin in is gone: a program of the session killed or broke it',
      };
    case 'states':
      return { status: 'error', reason: 'nothing was run: the session keeps as many states as it can' };
    case 'disk_full':
      return {
        status: 'killed',
        reason: 'stopped at the limit of what may be on the disk (sandbox.disk_mb, sandbox.disk_inodes)',
      };
    case 'processes':
      return { status: 'killed', reason: `stopped at twice the limit of ${limits.processes} processes and threads` };
    case 'exit':
      return exited(report, error, limits);
  }
}

function exited(
  report: Pick<WardenReport, 'signal' | 'exit_code'>,
  error: ProgramError | null,
  limits: JobLimits,
): { status: JobStatus; reason: string } {
  if (report.signal !== null) {
    const name = signalName(report.signal);
    const words = SIGNAL_WORDS[name];
    return { status: 'killed', reason: `the program was killed by ${name}${words === undefined ? '' : ` (${words})`}` };
  }
  if (report.exit_code === 0) return { status: 'ok', reason: 'the program ended normally' };
  if (error?.type === 'MemoryError') {
    // The one place where the program's word chooses a name: both are failures of the program (PROTOCOL.md, 4).
    return { status: 'memory', reason: `the program ran into the memory limit of ${limits.memoryMb} MB (MemoryError)` };
  }
  const raised = error === null ? '' : `: uncaught ${error.type}${error.line === null ? '' : ` on line ${error.line}`}`;
  return { status: 'error', reason: `the program exited with status ${report.exit_code ?? '?'}${raised}` };
}
