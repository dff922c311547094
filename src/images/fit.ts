/** Decoding in a thread that can be ended: one at a time for the whole server, so that its memory has a bound however many calls end at once. */
import { Worker } from 'node:worker_threads';
import { imageDecoderUrl } from '../package.js';
import type { Fitted, Fitting } from './decoder.js';

/** What decoding and scaling one image may take; a second or two for the largest that is taken, on a machine with nothing else to do. */
const TIMEOUT_MS = 30_000;
/** JavaScript's own memory in the thread, units of 2^20 bytes; the decoder's is capped apart from it (decoder.ts). */
const HEAP_MAX_MB = 64;

/** Fits images, one after the other. */
export interface Fitter {
  /** @throws Error saying why this one can't be decoded */
  fit(asked: Fitting): Promise<Fitted>;
}

let queue: Promise<unknown> = Promise.resolve();

/** Lend a fitter for the time `use` takes; waits for its turn. No thread is started before the first image, and none is left afterwards. */
export function withFitter<T>(use: (fitter: Fitter) => Promise<T>): Promise<T> {
  const turn = queue.then(async () => {
    let worker: Worker | null = null;
    const end = async (): Promise<void> => {
      const ended = worker;
      worker = null;
      await ended?.terminate();
    };
    try {
      return await use({
        async fit(asked) {
          worker ??= start();
          try {
            return await ask(worker, asked);
          } catch (error) {
            await end(); // the next one gets a thread that nothing went wrong in
            throw error;
          }
        },
      });
    } finally {
      await end();
    }
  });
  queue = turn.catch(() => undefined);
  return turn;
}

function start(): Worker {
  return new Worker(imageDecoderUrl, {
    env: {},
    argv: [],
    execArgv: [],
    stdin: false,
    stdout: true, // ours belongs to MCP
    stderr: true, // what a panic prints is of no use to anybody
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MAX_MB },
  });
}

function ask(worker: Worker, asked: Fitting): Promise<Fitted> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      settle(() => {
        reject(new Error(`decoding it took longer than ${TIMEOUT_MS / 1000} s`));
      });
    }, TIMEOUT_MS);
    const onMessage = (fitted: Fitted): void => {
      settle(() => {
        resolve(fitted);
      });
    };
    const onError = (error: Error): void => {
      settle(() => {
        // A trap is the decoder's way to say that the bytes are no image it knows.
        reject(error.name === 'RuntimeError' ? new Error(DAMAGED) : error);
      });
    };
    const onExit = (): void => {
      onError(new Error('the decoder ended before it answered'));
    };
    const settle = (done: () => void): void => {
      clearTimeout(timer);
      worker.off('message', onMessage).off('error', onError).off('exit', onExit);
      // What comes later belongs to nobody, but an error without a listener would end the server.
      worker.on('error', () => undefined);
      done();
    };
    worker.on('message', onMessage).on('error', onError).on('exit', onExit);
    worker.postMessage(asked);
  });
}

const DAMAGED = 'it is damaged, or of a kind that is not known here';
