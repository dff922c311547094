/** One connection to the zygote, which is one sandbox: from being made to being handed a job. */

import type { Socket } from 'node:net';
import * as z from 'zod';
import { frameReader, type ReceivedKind } from '../frames.js';
import { ZygoteGone, type Zygote } from './zygote.js';

/** A sandbox that waits for its job, or for the next step of its session. */
export interface ReadySandbox {
  readonly socket: Socket;
  /** Take over the frames that come from now on, and the end of the connection. Whatever came before is told at once. */
  listen(onFrame: (kind: ReceivedKind, payload: Buffer) => void, onEnd: (why: string) => void): void;
  /** Called when it is gone before anyone listened. */
  onGone(callback: () => void): void;
  /** Make sure that nothing of it is left, though it may no longer listen. */
  destroy(): void;
}

const readyFrame = z.strictObject({ pid: z.int().positive() });
/** The payload of frame F. */
export const failedFrame = z.strictObject({ layer: z.string(), message: z.string() });

/** How long a sandbox may take to be made, milliseconds; it takes a few, and on an overloaded machine a few hundred. */
const MAKING_TIMEOUT_MS = 30_000;

/** Connect and wait until the sandbox is ready. Rejects with the layer that failed. */
export async function openSandbox(zygote: Zygote): Promise<ReadySandbox> {
  const socket = await zygote.connect();
  return new Promise((resolve, reject) => {
    let pid: number | null = null;
    let frame: ((kind: ReceivedKind, payload: Buffer) => void) | null = null;
    let end: ((why: string) => void) | null = null;
    let gone: (() => void) | null = null;
    let ended: string | null = null;

    const destroy = () => {
      socket.destroy();
      if (pid !== null) zygote.kill(pid);
    };
    const finish = (why: string, error: Error = new Error(why)) => {
      if (ended !== null) return;
      ended = why;
      clearTimeout(timer);
      socket.destroy();
      if (pid === null) reject(error);
      else if (end !== null) end(why);
      else gone?.();
    };
    const timer = setTimeout(() => {
      finish(`the sandbox was not ready within ${MAKING_TIMEOUT_MS / 1000} s`);
    }, MAKING_TIMEOUT_MS);

    const first = (kind: ReceivedKind, payload: Buffer) => {
      if (kind === 'F') {
        const failed = failedFrame.parse(JSON.parse(payload.toString('utf8')));
        finish(`${failed.layer}: ${failed.message}`);
        return;
      }
      if (kind !== 'R') throw new Error(`a frame ${kind} before the sandbox was ready`);
      pid = readyFrame.parse(JSON.parse(payload.toString('utf8'))).pid;
      clearTimeout(timer);
      resolve({
        socket,
        destroy,
        listen(onFrame, onEnd) {
          frame = onFrame;
          end = onEnd;
          if (ended !== null) onEnd(ended);
        },
        onGone(callback) {
          gone = callback;
          if (ended !== null) callback();
        },
      });
    };
    const read = frameReader((kind, payload) => {
      if (pid === null) first(kind, payload);
      else if (frame === null) throw new Error(`a frame ${kind} before there was a job`);
      else frame(kind, payload);
    });
    socket.on('data', (piece: Buffer) => {
      try {
        read(piece);
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error);
        destroy();
        finish(`the sandbox broke the protocol: ${why}`);
      }
    });
    socket.on('error', (error) => {
      const why = `the connection to the sandbox failed: ${error.message}`;
      finish(why, new ZygoteGone(why, false));
    });
    socket.on('close', () => {
      const why = 'the sandbox vanished';
      finish(why, new ZygoteGone(why, false));
    });
  });
}
