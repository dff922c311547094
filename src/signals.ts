/** The signals that ask a process to stop. */
import { constants } from 'node:os';

const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
type StopSignal = (typeof STOP_SIGNALS)[number];

/**
 * Stop in our own way at the first signal; who sends a second one means it, and gets the system's way.
 *
 * The listeners stay in place after the first: the library that execa cleans up with kills the process by the same
 * signal where it finds itself to be the only one left listening, before anything of ours is put in order.
 * @param stop is told the signal and the exit status that a shell expects of it
 */
export function onStopSignal(stop: (signal: StopSignal, status: number) => void): void {
  let asked = false;
  const listener = (signal: NodeJS.Signals): void => {
    const known = STOP_SIGNALS.find((name) => name === signal);
    if (known === undefined) return;
    if (asked) {
      for (const name of STOP_SIGNALS) process.removeAllListeners(name);
      process.kill(process.pid, known);
      return;
    }
    asked = true;
    stop(known, 128 + constants.signals[known]);
  };
  for (const name of STOP_SIGNALS) process.on(name, listener);
}
