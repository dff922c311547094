/** Nothing that one run leaves is there in the next. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openSandbox, TIER } from '../../support/sandbox.js';
import { attackTests } from '../attack.js';
import { attacks } from '../persistence.js';

const sandbox = await openSandbox({ warm: 1 });
attackTests('persistence', attacks, sandbox);

test(
  'persistence: the numbers that a run is given begin afresh',
  { skip: sandbox.missing || (TIER === 'strict' ? false : `tier ${TIER} does not promise it`) },
  async () => {
    const code = `
import os, socket, tempfile
child = os.fork()
if child == 0: os._exit(0)
os.wait()
with socket.create_server(("127.0.0.1", 0)) as server: port = server.getsockname()[1]
os.mkdir("new"); os.mkfifo("fifo")
print(os.getpid(), child, os.getuid(), os.stat("new").st_ino, sorted(os.listdir("/dev/shm")), sorted(os.listdir("/tmp")), os.listdir("/proc/self/task"))`;
    const [first, second] = [await sandbox.run(code), await sandbox.run(code)];
    assert.equal(first.status, 'ok', first.stderr.text);
    assert.equal(first.stdout.text, second.stdout.text);
  },
);
