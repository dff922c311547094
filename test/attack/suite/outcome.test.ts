/** What is said of a run is the warden's word; what a warden says that is no protocol is never guessed at. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createConnection, createServer, type Socket } from 'node:net';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openSandbox as connectSandbox } from '../../../src/backends/connection.js';
import { runJob } from '../../../src/backends/job.js';
import type { JobOutcome } from '../../../src/sandbox.js';
import { LIMITS, openSandbox } from '../../support/sandbox.js';
import { forgeries, FORGERY_OPTIONS, untrue } from '../outcome.js';

const { run, missing } = await openSandbox({ warm: 1 });
const skip = missing;

for (const forgery of forgeries) {
  test(`outcome: ${forgery.name} changes nothing`, { skip }, async () => {
    assert.equal(untrue(forgery, await run(forgery.code, FORGERY_OPTIONS)), null);
    assert.equal((await run('print("next")')).stdout.text, 'next\n');
  });
}

test('outcome, control: the program’s own word is shown as that', { skip }, async () => {
  const outcome = await run('import os\nos.write(4, b\'{"result": "said", "error": null}\')\nos._exit(0)');
  assert.deepEqual([outcome.status, outcome.result], ['ok', 'said']);
});

/** Send `bytes` as if they came from a warden, and see what becomes of a job. */
async function asWarden(bytes: Buffer): Promise<JobOutcome> {
  const directory = mkdtempSync(join(tmpdir(), 'wire-'));
  const server = createServer((socket: Socket) => {
    socket.on('error', () => undefined);
    socket.write(frame('R', '{"pid": 1}'));
    socket.once('data', () => socket.write(bytes));
  });
  try {
    server.listen(join(directory, 's'));
    await once(server, 'listening');
    const connect = async () => {
      const socket = createConnection(join(directory, 's'));
      await once(socket, 'connect');
      return socket;
    };
    const zygote = {
      connect,
      kill: () => undefined,
      preloadFailed: {},
      pid: 0,
      ended: new Promise<string>(() => undefined),
      close: () => Promise.resolve(),
    };
    const sandbox = await connectSandbox(zygote);
    return await runJob(
      sandbox,
      { runId: 'x', code: '', stdin: '', files: [], limits: { ...LIMITS, timeoutSeconds: 1 } },
      new AbortController().signal,
    );
  } finally {
    server.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

function frame(kind: string, payload: string): Buffer {
  const header = Buffer.alloc(5);
  header.writeUInt32BE(Buffer.byteLength(payload));
  header.write(kind, 4);
  return Buffer.concat([header, Buffer.from(payload)]);
}

const END = {
  cause: 'exit',
  exit_code: 0,
  signal: null,
  duration_us: 1,
  cpu_us: 1,
  peak_memory_bytes: 1,
  files_left_out: { count: 0, examples: [] },
};

test('outcome, control: an end that a warden sends is believed', async () => {
  const outcome = await asWarden(Buffer.concat([frame('O', 'fake'), frame('D', JSON.stringify(END))]));
  assert.deepEqual([outcome.status, outcome.stdout.text, outcome.usage.durationMs], ['ok', 'fake', 0.001]);
});

for (const [name, bytes] of [
  ['rubbish', Buffer.from('rubbish that is no frame')],
  ['a frame that is too long', Buffer.from([0xff, 0xff, 0xff, 0xff, 0x4f])],
  [
    'a word that is too long',
    (() => {
      const header = Buffer.alloc(5);
      header.writeUInt32BE((256 << 10) + 1);
      header.write('P', 4);
      return header;
    })(),
  ],
  ['an end with another key', frame('D', JSON.stringify({ ...END, more: 1 }))],
  ['an end with a key missing', frame('D', JSON.stringify({ ...END, cause: undefined }))],
  ['an end with a negative time', frame('D', JSON.stringify({ ...END, cpu_us: -1 }))],
  ['an end with a fraction', frame('D', JSON.stringify({ ...END, exit_code: 0.5 }))],
  ['an end of another cause', frame('D', JSON.stringify({ ...END, cause: 'happiness' }))],
  ['an end that is no JSON', frame('D', 'null{')],
  ['ready a second time', frame('R', '{"pid": 1}')],
  ['a failure to be made, too late', frame('F', '{"layer": "x", "message": "y"}')],
] as const) {
  test(`outcome: ${name} from a warden makes the sandbox unavailable, never a guess`, async () => {
    const outcome = await asWarden(bytes);
    assert.deepEqual([outcome.status, outcome.exitCode], ['unavailable', null]);
    assert.match(outcome.reason, /^our side lost the program: the sandbox broke the protocol: /);
  });
}
