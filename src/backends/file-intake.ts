/** The files that a warden sends when its program is dead (frames N and B): counted, measured and named as the protocol has it. */

import * as z from 'zod';
import { nameProblem } from '../files/name.js';
import type { FileSink, JobLimits, JobSinks } from '../sandbox.js';

const fileFrame = z.strictObject({ name: z.string(), bytes: z.int().nonnegative() });

export interface FileIntake {
  /** Frame N: a file follows. Throws on what the protocol does not have. */
  begin(payload: Buffer): void;
  /** Frame B: a piece of it. */
  add(piece: Buffer): void;
  /** All files have come. */
  finish(): void;
  /** Whatever was under way is not whole, and never will be. Idempotent; nothing after `finish`. */
  stop(): void;
}

/** Files of one job go to `onFile`, and to nobody where there is none: then none may come. */
export function createFileIntake(limits: JobLimits, onFile: JobSinks['onFile']): FileIntake {
  let current: { sink: FileSink; leftBytes: number } | null = null;
  let filesLeft = onFile === undefined ? 0 : limits.filesOut;
  let bytesLeft = limits.filesOutMb * 2 ** 20;

  const end = () => {
    const ended = current;
    current = null;
    ended?.sink.end(ended.leftBytes === 0);
  };
  return {
    begin(payload) {
      end();
      const { name, bytes } = fileFrame.parse(JSON.parse(payload.toString('utf8')));
      const problem = nameProblem(name);
      if (problem !== null) throw new Error(`the name of a file that was left ${problem}`);
      if (onFile === undefined || filesLeft === 0) throw new Error('more files than were asked for');
      if (bytes > bytesLeft) throw new Error(`a file of ${bytes} bytes, expected at most ${bytesLeft}`);
      filesLeft -= 1;
      bytesLeft -= bytes;
      current = { sink: onFile({ name, bytes }), leftBytes: bytes };
    },
    add(piece) {
      if (current === null || piece.length > current.leftBytes) throw new Error('more of a file than it has');
      current.leftBytes -= piece.length;
      current.sink.write(piece);
    },
    finish: end,
    stop() {
      const ended = current;
      current = null;
      ended?.sink.end(false);
    },
  };
}
