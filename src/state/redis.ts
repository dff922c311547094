/**
 * A Redis by its URL: scripts go there, answers come back, or it fails within a time.
 *
 * The client is loaded and connected on first use. It does not reconnect by itself: a connection that broke is made anew
 * for the next script, so a Redis that is away costs nothing until somebody wants it, and one that is back is found at once.
 */
import type { RedisClientType } from '@redis/client';
import { StateError } from './database.js';

export interface Redis {
  /**
   * Run a Lua script: atomic, as all scripts of Redis are.
   * @throws StateError where there is no answer in time, or an error; whether the script ran cannot be told then
   */
  run(script: string, keys: readonly string[], args: readonly string[]): Promise<unknown>;
  close(): Promise<void>;
}

const CONNECT_TIMEOUT_MS = 3_000;
const ANSWER_TIMEOUT_MS = 3_000;

/**
 * @param url `redis://`, `rediss://` or `unix://`, as @redis/client takes it
 * @param shown what errors call it
 */
export function openRedis(url: string, shown: string): Redis {
  let connected: Promise<RedisClientType> | null = null;

  async function connect(): Promise<RedisClientType> {
    const { createClient } = await import('@redis/client');
    const client = createClient({
      url,
      name: 'cordon',
      disableOfflineQueue: true,
      maintNotifications: 'disabled',
      socket: { connectTimeout: CONNECT_TIMEOUT_MS, reconnectStrategy: false },
    }) as RedisClientType;
    // A connection that breaks rejects what waits for an answer; without a listener it would end the process.
    client.on('error', () => undefined);
    await within(CONNECT_TIMEOUT_MS, client.connect(), () => {
      client.destroy();
    });
    return client;
  }

  return {
    async run(script, keys, args) {
      connected ??= connect();
      const mine = connected;
      try {
        const client = await mine;
        const answer = client.eval(script, { keys: [...keys], arguments: [...args] });
        return await within(ANSWER_TIMEOUT_MS, answer, () => {
          client.destroy();
        });
      } catch (cause) {
        if (connected === mine) connected = null;
        await mine.then(destroyQuietly, () => undefined);
        throw new StateError(
          `the state ${shown} can't be used: ${reasonOf(cause)}. Is Redis running there, and does it take our writes?`,
          { cause },
        );
      }
    },
    async close() {
      const last = connected;
      connected = null;
      await last?.then(destroyQuietly, () => undefined);
    },
  };
}

function destroyQuietly(client: RedisClientType): void {
  if (client.isOpen) client.destroy();
}

/** What a promise comes to, unless it takes too long. */
async function within<T>(ms: number, promise: Promise<T>, giveUp: () => void): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`no answer in ${ms / 1000} s`));
      giveUp();
    }, ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Where several addresses were tried, each has its reason, and the whole has none. */
function reasonOf(cause: unknown): string {
  if (cause instanceof AggregateError) return cause.errors.map(reasonOf).join('; ');
  return cause instanceof Error ? cause.message : String(cause);
}
