/** Asking whoever sits at the terminal. */
import { openSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { ReadStream } from 'node:tty';
import { userName, type Form } from '../approval/approvals.js';
import { describeRequest } from '../approval/words.js';

/**
 * The terminal that this process was started from; null where stderr is none or there is none to read from. Standard
 * input is left alone: it may be the program's.
 */
export function terminalForm(): Form | null {
  if (!process.stderr.isTTY) return null;
  let descriptor: number;
  try {
    descriptor = openSync('/dev/tty', 'r');
  } catch {
    return null;
  }
  return {
    via: 'terminal',
    by: userName(),
    show: (request, signal) =>
      new Promise((resolve) => {
        const input = new ReadStream(descriptor);
        const lines = createInterface({ input, terminal: false });
        const end = (answer: Parameters<typeof resolve>[0]): void => {
          lines.close();
          input.destroy();
          resolve(answer);
        };
        process.stderr.write(`${describeRequest(request, false)}\nLet it run? [y/N] `);
        lines.once('line', (line) => {
          end(/^y(es)?$/i.test(line.trim()) ? { kind: 'yes' } : { kind: 'no', reason: 'answered no' });
        });
        lines.once('close', () => {
          end({ kind: 'none', why: 'the terminal was closed' });
        });
        input.once('error', (error) => {
          end({ kind: 'none', why: error.message });
        });
        signal.addEventListener('abort', () => {
          process.stderr.write('\n');
          end({ kind: 'none', why: 'it was answered elsewhere, or nobody answered in time' });
        });
      }),
  };
}
