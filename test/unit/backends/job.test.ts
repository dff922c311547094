/** A job against a warden of our own making: what Node sends, and what it makes of what comes. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createConnection, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mock, test } from 'node:test';
import { openSandbox, type ReadySandbox } from '../../../src/backends/connection.js';
import { runJob, unavailable } from '../../../src/backends/job.js';
import type { Job, JobOutcome } from '../../../src/sandbox.js';
import { LIMITS } from '../../support/sandbox.js';

const JOB: Job = { runId: 'x', code: 'print("é")', stdin: 'in', files: [], limits: { ...LIMITS, timeoutSeconds: 3 } };
const END = {
  cause: 'exit',
  exit_code: 0,
  signal: null,
  duration_us: 1500,
  cpu_us: 500,
  peak_memory_bytes: 42,
  files_left_out: { count: 0, examples: [] },
};

function frame(kind: string, payload: string | Uint8Array): Buffer {
  const body = Buffer.from(payload);
  const header = Buffer.alloc(5);
  header.writeUInt32BE(body.length);
  header.write(kind, 4);
  return Buffer.concat([header, body]);
}

/** The frames in what Node sent. */
function framesOf(bytes: Buffer): [kind: string, payload: string][] {
  const found: [string, string][] = [];
  for (let at = 0; at + 5 <= bytes.length;) {
    const size = bytes.readUInt32BE(at);
    found.push([String.fromCharCode(bytes.readUInt8(at + 4)), bytes.subarray(at + 5, at + 5 + size).toString()]);
    at += 5 + size;
  }
  return found;
}

interface Wire {
  /** The warden's end. */
  readonly warden: Socket;
  /** What Node has sent until now. */
  readonly sent: () => [kind: string, payload: string][];
  /** Process ids that were to be killed. */
  readonly killed: number[];
  /** The sandbox as Node opens it; `greeting` is what the warden says first. */
  readonly sandbox: Promise<ReadySandbox>;
}

async function withWire<T>(greeting: Buffer, use: (wire: Wire) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), 'job-'));
  const server = createServer();
  server.listen(join(directory, 's'));
  await once(server, 'listening');
  const killed: number[] = [];
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const sandbox = openSandbox({
    async connect() {
      const socket = createConnection(join(directory, 's'));
      await once(socket, 'connect');
      return socket;
    },
    kill: (pid) => killed.push(pid),
    preloadFailed: {},
    pid: 0,
    ended: new Promise(() => undefined),
    close: () => Promise.resolve(),
  });
  sandbox.catch(() => undefined);
  const [warden] = await accepted;
  warden.on('error', () => undefined);
  let received: Buffer = Buffer.alloc(0);
  warden.on('data', (piece: Buffer) => (received = Buffer.concat([received, piece])));
  warden.write(greeting);
  try {
    return await use({ warden, sent: () => framesOf(received), killed, sandbox });
  } finally {
    warden.destroy();
    server.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

const READY = frame('R', '{"pid": 77}');
const run = (sandbox: ReadySandbox, signal = new AbortController().signal): Promise<JobOutcome> =>
  runJob(sandbox, JOB, signal);

test('a sandbox is open once its warden said ready', async () => {
  await withWire(READY, async ({ sandbox }) => {
    assert.ok((await sandbox).socket.writable);
  });
});

for (const [name, greeting, words] of [
  ['a layer that failed', frame('F', '{"layer": "seccomp", "message": "no filter"}'), 'seccomp: no filter'],
  ['output first', frame('O', 'x'), 'the sandbox broke the protocol: a frame O before the sandbox was ready'],
  ['a pid that is none', frame('R', '{"pid": -1}'), 'the sandbox broke the protocol: '],
  ['rubbish', Buffer.from('rubbish'), 'the sandbox broke the protocol: a frame of type 0x69'],
] as const) {
  test(`a sandbox that begins with ${name} is not opened: ${words}`, async () => {
    await withWire(greeting, async ({ sandbox }) => {
      await assert.rejects(sandbox, (error: Error) => error.message.startsWith(words));
    });
  });
}

test('a warden that vanishes before it is ready is an error', async () => {
  await withWire(Buffer.alloc(0), async ({ warden, sandbox }) => {
    warden.destroy();
    await assert.rejects(sandbox, /the sandbox vanished/);
  });
});

test('code, input and limits are sent, the limits last', async () => {
  await withWire(READY, async ({ warden, sent, sandbox }) => {
    const outcome = run(await sandbox);
    while (sent().length < 3) await once(warden, 'data');
    const [code, input, limits] = sent();
    assert.deepEqual([code, input, limits?.[0]], [['C', JOB.code], ['I', 'in'], 'J']);
    assert.deepEqual(JSON.parse(limits?.[1] ?? ''), {
      timeout_seconds: 3,
      cpu_seconds: LIMITS.cpuSeconds,
      memory_mb: LIMITS.memoryMb,
      processes: LIMITS.processes,
      open_files: LIMITS.openFiles,
      file_size_mb: LIMITS.fileSizeMb,
      output_mb: LIMITS.outputMb,
      files_out: 0,
      files_out_mb: LIMITS.filesOutMb,
    });
    warden.write(frame('D', JSON.stringify(END)));
    await outcome;
  });
});

test('what a warden reports becomes the outcome', async () => {
  await withWire(READY, async ({ warden, sandbox }) => {
    const pieces: string[] = [];
    const outcome = runJob(await sandbox, JOB, new AbortController().signal, {
      onOutput: (stream, bytes) => {
        pieces.push(`${stream}:${Buffer.from(bytes).toString()}`);
      },
    });
    const word = JSON.stringify({ result: '5', error: null });
    warden.write(
      Buffer.concat([
        frame('O', 'out'),
        frame('E', 'err'),
        frame('O', '2'),
        frame('P', word),
        frame('D', JSON.stringify(END)),
      ]),
    );
    assert.deepEqual(await outcome, {
      status: 'ok',
      reason: 'the program ended normally',
      stdout: { text: 'out2', totalBytes: 4, omittedBytes: 0 },
      stderr: { text: 'err', totalBytes: 3, omittedBytes: 0 },
      result: '5',
      error: null,
      filesLeftOut: { count: 0, examples: [] },
      exitCode: 0,
      signal: null,
      usage: { durationMs: 1.5, cpuMs: 0.5, peakMemoryBytes: 42 },
      retryable: false,
    });
    assert.deepEqual(pieces, ['stdout:out', 'stderr:err', 'stdout:2']);
  });
});

test('an abort sends X, and what the warden then reports is the outcome', async () => {
  await withWire(READY, async ({ warden, sent, sandbox }) => {
    const abort = new AbortController();
    const outcome = run(await sandbox, abort.signal);
    while (sent().length < 3) await once(warden, 'data');
    abort.abort();
    while (sent().length < 4) await once(warden, 'data');
    assert.deepEqual(sent()[3], ['X', '']);
    warden.write(
      Buffer.concat([
        frame('O', 'until then'),
        frame('D', JSON.stringify({ ...END, cause: 'cancel', exit_code: null, signal: 9 })),
      ]),
    );
    const { status, stdout, signal } = await outcome;
    assert.deepEqual([status, stdout.text, signal], ['cancelled', 'until then', 'SIGKILL']);
  });
});

test('a warden that does not answer an abort is destroyed, and the outcome is cancelled all the same', async () => {
  await withWire(READY, async ({ warden, sent, killed, sandbox }) => {
    const abort = new AbortController();
    const opened = await sandbox;
    mock.timers.enable({ apis: ['setTimeout'] });
    try {
      const outcome = run(opened, abort.signal);
      while (sent().length < 3) await once(warden, 'data');
      abort.abort();
      mock.timers.tick(2_000);
      const { status, reason, retryable } = await outcome;
      assert.deepEqual([status, reason, retryable, killed], ['cancelled', 'cancelled by the caller', false, [77]]);
    } finally {
      mock.timers.reset();
    }
  });
});

test('a warden that never reports is destroyed ten seconds after the time limit', async () => {
  await withWire(READY, async ({ killed, sandbox }) => {
    const opened = await sandbox;
    mock.timers.enable({ apis: ['setTimeout'] });
    try {
      const outcome = run(opened);
      mock.timers.tick(12_999);
      assert.deepEqual(killed, []);
      mock.timers.tick(1);
      const { status, reason, retryable } = await outcome;
      assert.deepEqual(
        [status, reason, retryable, killed],
        ['unavailable', 'our side lost the program: the sandbox did not report in time', true, [77]],
      );
    } finally {
      mock.timers.reset();
    }
  });
});

test('a warden that vanishes in the middle: what came until then is kept', async () => {
  await withWire(READY, async ({ warden, sandbox }) => {
    const outcome = run(await sandbox);
    warden.end(frame('O', 'until then'));
    const { status, reason, stdout } = await outcome;
    assert.deepEqual(
      [status, reason, stdout.text],
      ['unavailable', 'our side lost the program: the sandbox vanished', 'until then'],
    );
  });
});

test('frames after the end change nothing', async () => {
  await withWire(READY, async ({ warden, sandbox }) => {
    const outcome = run(await sandbox);
    const end = frame('D', JSON.stringify(END));
    warden.write(Buffer.concat([end, frame('O', 'late'), frame('D', JSON.stringify({ ...END, exit_code: 9 }))]));
    const { status, exitCode, stdout } = await outcome;
    assert.deepEqual([status, exitCode, stdout.text], ['ok', 0, '']);
  });
});

test('a sandbox that went away before its job is unavailable at once', async () => {
  await withWire(READY, async ({ warden, sandbox }) => {
    const opened = await sandbox;
    warden.destroy();
    await new Promise<void>((resolve) => {
      opened.onGone(resolve);
    });
    const { status, retryable } = await run(opened);
    assert.deepEqual([status, retryable], ['unavailable', true]);
  });
});

test('unavailable is our fault, with nothing of a program in it', () => {
  assert.deepEqual(unavailable('why', true), {
    status: 'unavailable',
    reason: 'why',
    stdout: { text: '', totalBytes: 0, omittedBytes: 0 },
    stderr: { text: '', totalBytes: 0, omittedBytes: 0 },
    result: null,
    error: null,
    filesLeftOut: { count: 0, examples: [] },
    exitCode: null,
    signal: null,
    usage: { durationMs: 0, cpuMs: 0, peakMemoryBytes: 0 },
    retryable: true,
  });
});
