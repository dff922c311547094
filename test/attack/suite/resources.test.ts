/** Goal: to take more than a job's share, by every kind of it; or to lift a limit. */

import assert from 'node:assert/strict';
import { freemem } from 'node:os';
import { test } from 'node:test';
import { openSandbox } from '../../support/sandbox.js';
import { attackTests } from '../attack.js';
import { attacks } from '../resources.js';

const sandbox = await openSandbox({ warm: 1 });
attackTests('resources', attacks, sandbox);

// Memory of the kernel's that belongs to no process's map: seen from the host.
const FILL: readonly (readonly [name: string, code: string])[] = [
  [
    'the buffers of Unix sockets',
    `a, b = socket.socketpair(); keep += [a, b]
            for s in (a, b):
                s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 30); s.setblocking(False)
                try:
                    while True: s.send(bytes(1 << 15))
                except BlockingIOError: pass`,
  ],
  [
    'the buffers of TCP connections',
    `l = socket.create_server(("127.0.0.1", 0)); a = socket.create_connection(l.getsockname()); b = l.accept()[0]; keep += [a, b]; l.close()
            for s in (a, b):
                s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 30); s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 30); s.setblocking(False)
                try:
                    while True: s.send(bytes(1 << 16))
                except BlockingIOError: pass`,
  ],
  [
    'the buffers of pipes',
    `r, w = os.pipe(); keep += [r, w]; os.set_blocking(w, False)
            try: fcntl.fcntl(w, 1031, 1 << 20)
            except OSError: pass
            try:
                while True: os.write(w, bytes(1 << 16))
            except BlockingIOError: pass`,
  ],
];

for (const [name, fill] of FILL) {
  test(`resources: memory: ${name} count as well`, { skip: sandbox.missing }, async () => {
    const before = freemem();
    let lowest = before;
    const timer = setInterval(() => {
      lowest = Math.min(lowest, freemem());
    }, 20);
    const outcome = await sandbox.run(
      `
import fcntl, os, socket, time
for _ in range(40):
    if os.fork() == 0:
        keep = []
        try:
          while True:
            ${fill}
        except OSError: pass
        time.sleep(60)
time.sleep(60)`,
      { limits: { memoryMb: 128, timeoutSeconds: 6 } },
    );
    clearInterval(timer);
    const takenMb = Math.round((before - lowest) / 2 ** 20);
    assert.ok(['memory', 'timeout'].includes(outcome.status), outcome.reason);
    assert.ok(takenMb < 128 + 512, `${takenMb} MB were taken with a limit of 128 MB: ${outcome.reason}`);
  });
}
