/** What a shell is told of a run; `cordon run --help` says the same in words. */
import { constants } from 'node:os';
import type { Outcome } from '../../outcome.js';

const TIMEOUT = 124;
/** Our fault, a wrong start, or files that could not be saved. */
export const STATUS_UNAVAILABLE = 125;
const DENIED = 126;
/** 128 + SIGKILL: what a shell says of a program that was killed. */
const KILLED = 137;
/** 128 + SIGPIPE: nobody reads what the program prints. */
export const STATUS_PIPE_CLOSED = 141;

/** The exit status that says how a run ended. */
export function exitStatus({ status, exitCode, signal }: Outcome): number {
  switch (status) {
    case 'ok':
      return 0;
    case 'timeout':
      return TIMEOUT;
    case 'denied':
      return DENIED;
    case 'unavailable':
      return STATUS_UNAVAILABLE;
    case 'cancelled':
      return 128 + constants.signals.SIGINT;
    case 'error':
    case 'killed':
    case 'memory':
    case 'output':
      if (exitCode !== null && exitCode !== 0) return exitCode;
      return signal === null ? KILLED : 128 + signalNumber(signal);
  }
}

function signalNumber(name: string): number {
  const numbers: Readonly<Record<string, number>> = constants.signals;
  return numbers[name] ?? constants.signals.SIGKILL;
}
