/**
 * A session sandbox without a sandbox: states are texts. A program is one word: `+abc` adds to the text, `raise` adds its traceback's
 * effect and fails, a status (`timeout`, `memory`, `killed`) is undone, `die` loses the sandbox, `wait` runs until it is told to end or is cancelled. stdout
 * is the text that the step began with. Strict where the real one is: a state that was dropped or never made is an error.
 */
import type { Backend, Job, JobOutcome, SessionLimits, SessionSandbox, StepOutcome } from '../../src/sandbox.js';

interface FakeSandbox extends SessionSandbox {
  readonly limits: SessionLimits;
  /** The texts of the states that are there. */
  readonly states: ReadonlyMap<number, string>;
  readonly closed: boolean;
  /** What `memoryBytes` says from now on. */
  setMemoryBytes(bytes: number): void;
  /** What `diskBytes` says from now on. */
  setDiskBytes(bytes: number): void;
  /** End the step that waits. */
  finish(): void;
  /** Resolves when a step waits that is to be told to end. */
  waiting(): Promise<void>;
  /** Lose it. */
  lose(why: string): void;
}

export interface FakeSessions {
  readonly openSession: Backend['openSession'];
  readonly opened: readonly FakeSandbox[];
  /** Refuse the next one with this sentence. */
  refuse(why: string | null): void;
}

export function fakeSessions(): FakeSessions {
  const opened: FakeSandbox[] = [];
  let refusal: string | null = null;
  return {
    opened,
    refuse: (why) => void (refusal = why),
    openSession(limits) {
      if (refusal !== null) return Promise.reject(new Error(refusal));
      const made = fakeSandbox(limits);
      opened.push(made);
      return Promise.resolve(made);
    },
  };
}

function fakeSandbox(limits: SessionLimits): FakeSandbox {
  const states = new Map([[0, '']]);
  let next = 1;
  let closed = false;
  let running = false;
  let memoryBytes = 1;
  let diskBytes = 1;
  let finish: () => void = () => undefined;
  let heard: () => void = () => undefined;
  let waits = new Promise<void>((resolve) => (heard = resolve));
  let end: (why: string) => void = () => undefined;
  const ended = new Promise<string>((resolve) => (end = resolve));

  async function become(job: Job, signal: AbortSignal): Promise<[JobOutcome['status'], string | null]> {
    if (signal.aborted) return ['cancelled', null];
    const { code } = job;
    if (code.startsWith('+')) return ['ok', code.slice(1)];
    switch (code) {
      case 'raise':
        return ['error', '!'];
      case 'timeout':
      case 'memory':
      case 'killed':
        return [code, null];
      case 'die':
        end('it was killed from outside');
        return ['unavailable', null];
      case 'wait': {
        const status = await new Promise<'ok' | 'cancelled'>((resolve) => {
          finish = () => {
            resolve('ok');
          };
          signal.addEventListener('abort', () => {
            resolve('cancelled');
          });
          heard();
        });
        waits = new Promise<void>((resolve) => (heard = resolve));
        return [status, status === 'ok' ? 'w' : null];
      }
      default:
        throw new Error(`no such program: ${code}`);
    }
  }

  return {
    limits,
    states,
    get closed() {
      return closed;
    },
    get memoryBytes() {
      return memoryBytes;
    },
    get diskBytes() {
      return diskBytes;
    },
    ended,
    setDiskBytes: (bytes) => void (diskBytes = bytes),
    setMemoryBytes: (bytes) => void (memoryBytes = bytes),
    finish: () => {
      finish();
    },
    waiting: () => waits,
    lose: (why) => {
      closed = true;
      end(why);
    },
    async step(job, state, signal): Promise<StepOutcome> {
      const before = states.get(state);
      if (before === undefined || closed || running) throw new Error(`no step from state ${state}`);
      running = true;
      const [status, added] = await become(job, signal);
      running = false;
      let made: number | null = null;
      if (added !== null) {
        made = next;
        next += 1;
        states.set(made, before + added);
      }
      return { ...outcomeOf(status, before), state: made };
    },
    drop(numbers) {
      if (running) throw new Error('dropped while a step was running');
      for (const state of numbers) if (!states.delete(state)) throw new Error(`there is no state ${state} to drop`);
    },
    close() {
      closed = true;
      end('it was closed');
    },
  };
}

function outcomeOf(status: JobOutcome['status'], text: string): JobOutcome {
  return {
    status,
    reason: `the program ended: ${status}`,
    stdout: { text, totalBytes: text.length, omittedBytes: 0 },
    stderr: { text: '', totalBytes: 0, omittedBytes: 0 },
    result: null,
    error: null,
    filesLeftOut: { count: 0, examples: [] },
    exitCode: null,
    signal: null,
    usage: { durationMs: 3, cpuMs: 2, peakMemoryBytes: 1 },
    retryable: false,
  };
}
