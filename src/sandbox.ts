/**
 * The words every room shares: what a job is, what became of it, and what a backend promises. Types only.
 */

/** How strongly a job is confined. `strict` needs namespaces, landlock and seccomp; `none` is rlimits only. */
export type Tier = 'strict' | 'confined' | 'none';

/** The caps one job runs under, fixed by the decision. Every number carries its unit in its name. */
export interface JobLimits {
  /** Wall time from the moment the program starts. */
  readonly timeoutSeconds: number;
  /** CPU time of the whole process tree. */
  readonly cpuSeconds: number;
  /** Memory of the whole process tree, in units of 2^20 bytes. */
  readonly memoryMb: number;
  /** Processes and threads at the same time. */
  readonly processes: number;
  /** Open file descriptors of each process. */
  readonly openFiles: number;
  /** Size of the largest file, in units of 2^20 bytes. */
  readonly fileSizeMb: number;
  /** What stdout and stderr may produce together before the job is ended, in units of 2^20 bytes. */
  readonly outputMb: number;
  /** What is kept of each of stdout and stderr (head and tail), in units of 2^10 bytes. */
  readonly outputKeptKb: number;
  /** How many of the files it leaves come back, and how much of them together, in units of 2^20 bytes. */
  readonly filesOut: number;
  readonly filesOutMb: number;
}

/** A file that is put into the working directory before the program starts. */
export interface InputFile {
  /** Relative, with `/` between directories; checked by whoever took it from a caller. */
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** A directory of the host that programs see, as the policy opens it. */
export interface Mount {
  /** Absolute, without links. */
  readonly host: string;
  /** Where programs find it. */
  readonly inside: string;
  /** Whether they may write to it. */
  readonly mode: 'ro' | 'rw';
}

/** One allowed call on its way into a sandbox. */
export interface Job {
  readonly runId: string;
  readonly code: string;
  readonly stdin: string;
  readonly files: readonly InputFile[];
  readonly limits: JobLimits;
}

/** What a job can end as; the other statuses of an outcome are decided before there is a job. */
export type JobStatus = 'ok' | 'error' | 'timeout' | 'memory' | 'output' | 'killed' | 'cancelled' | 'unavailable';

/** Every status an outcome can have. `denied` is the policy's, `unavailable` is our fault, never the program's. */
export type Status = JobStatus | 'denied';

/** One captured stream: valid UTF-8 (bad bytes replaced by U+FFFD), no NUL; the middle left out when over the cap. */
export interface Captured {
  readonly text: string;
  readonly totalBytes: number;
  readonly omittedBytes: number;
}

/** An uncaught exception as the program tells it: its own word, never the basis of a decision. */
export interface ProgramError {
  readonly type: string;
  readonly message: string;
  /** The line of the caller's code it was raised from, where there is one. */
  readonly line: number | null;
}

/** What was measured of a job, by the trusted side. */
export interface Usage {
  readonly durationMs: number;
  readonly cpuMs: number;
  readonly peakMemoryBytes: number;
}

/** What a backend says of a job that it was given. */
export interface JobOutcome {
  readonly status: JobStatus;
  /** One sentence that says exactly what happened: "the program was killed by SIGSEGV (segmentation fault)". */
  readonly reason: string;
  readonly stdout: Captured;
  readonly stderr: Captured;
  /** repr of the program's last expression; the program's own word. */
  readonly result: string | null;
  readonly error: ProgramError | null;
  /** Files that the program left and that did not come back. */
  readonly filesLeftOut: FilesLeftOut;
  readonly exitCode: number | null;
  /** The signal's name (`SIGSEGV`) when one ended the program. */
  readonly signal: string | null;
  readonly usage: Usage;
  /** True where the same call may succeed a little later (only ever with `unavailable`). */
  readonly retryable: boolean;
}

/** Called while a job runs, with bytes as they come (hostile, not decoded, not cut). */
export type OnOutput = (stream: 'stdout' | 'stderr', bytes: Uint8Array) => void;

/** A file that a program left in its working directory. Its name is checked by the trusted side, its content is hostile. */
export interface LeftFile {
  /** Relative to the working directory, valid UTF-8, no `..`, no empty parts, no control characters. */
  readonly name: string;
  readonly bytes: number;
}

/** Takes the content of one file, in pieces, in order. */
export interface FileSink {
  write(piece: Uint8Array): void;
  /** `whole`: every byte has come; otherwise the sandbox was lost on the way. */
  end(whole: boolean): void;
}

/** What of the files was not brought out: how many, and for a few of them why. */
export interface FilesLeftOut {
  readonly count: number;
  readonly examples: readonly { readonly name: string; readonly why: string }[];
}

/** Who hears of a job while it runs, and of what it left when it has ended. */
export interface JobSinks {
  readonly onOutput?: OnOutput;
  readonly onFile?: (file: LeftFile) => FileSink;
}

/** What a step of a session became. */
export interface StepOutcome extends JobOutcome {
  /** The state that the step made; null where it was undone, and the state it began from is the last one still. */
  readonly state: number | null;
}

/**
 * A sandbox that several jobs use, one after the other: a tree of states, of which each step begins in one and, if it went well, makes another. A state is
 * all there is: variables, imports, functions and files. State 0 is the empty one.
 */
export interface SessionSandbox {
  /** Run one step from `state`. Never rejects; a second step waits for the first. */
  step(job: Job, state: number, signal: AbortSignal, sinks?: JobSinks): Promise<StepOutcome>;
  /** Let go of states that nobody will go back to. */
  drop(states: readonly number[]): void;
  /** Memory of the whole sandbox when the last step had ended, bytes. */
  readonly memoryBytes: number;
  /**
   * What the files of all its states take of `SessionLimits.diskMb`, bytes; what they have in common counts once. The files of the last step are in it when the
   * next one has ended, for its answer does not wait for their snapshot.
   */
  readonly diskBytes: number;
  /** Resolves with a sentence when it is gone, for whatever reason. */
  readonly ended: Promise<string>;
  /** End it, with all its states. Idempotent. */
  close(): void;
}

/** What a session may use beyond what each of its steps may. */
export interface SessionLimits {
  /** Memory of all its states together, in units of 2^20 bytes. */
  readonly memoryMb: number;
  /** Disk for its files and the files of the states it can go back to, in units of 2^20 bytes. */
  readonly diskMb: number;
}

/** What the interpreter of a backend is, for the tool's description. */
export interface Interpreter {
  /** `3.11.2` */
  readonly version: string;
  /** The real binary, with shims resolved. */
  readonly executable: string;
  /** Distributions that are installed for it, by name, sorted. */
  readonly packages: readonly string[];
}

/** One kernel mechanism, as probed on this machine. */
export interface LayerReport {
  readonly layer: string;
  readonly available: boolean;
  /** What was found: an ABI number, or why it is not to be had. */
  readonly detail: string;
  /** What would bring it, where something would. */
  readonly fix: string | null;
}

/** What a backend enforces on this machine, found out by trying. */
export interface Guarantees {
  readonly tier: Tier;
  /** Whether there can be sessions. */
  readonly sessions: boolean;
  readonly interpreter: Interpreter;
  readonly layers: readonly LayerReport[];
}

/** A way to confine. Each job gets a sandbox of its own, made for it and gone with it. */
export interface Backend {
  readonly guarantees: Guarantees;
  /** How many jobs were ever handed to a sandbox: a denial must not move it. */
  readonly jobsStarted: number;
  /** Begin to make ready sandboxes. Calling it is optional and never throws: the first run does it otherwise. */
  warm(): void;
  /**
   * Run one job to its end. Never rejects: what goes wrong on our side is an outcome of status `unavailable`.
   * Aborting `signal` kills the job, whose outcome is then `cancelled` with what was captured until then.
   */
  run(job: Job, signal: AbortSignal, sinks?: JobSinks): Promise<JobOutcome>;
  /**
   * A sandbox that keeps its state from step to step. The first one takes a ready sandbox, so that its first step costs what a run does. Rejects
   * with a sentence where there can be none; the first step of it counts as a job started, as do all others.
   */
  openSession(limits: SessionLimits): Promise<SessionSandbox>;
  /** Memory that is resident for the backend's own standing processes at this moment, bytes; for people to look at. */
  footprintBytes(): Promise<number>;
  /** Kill all that runs, remove all that was made. Idempotent. */
  close(): Promise<void>;
}
