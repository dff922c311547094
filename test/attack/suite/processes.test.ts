/** Goal: to reach other processes: to see, signal, trace, slow down or outlive them. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, test } from 'node:test';
import { once } from 'node:events';
import { amongProcesses } from '../../support/own-processes.js';
import { openSandbox, processes, until } from '../../support/sandbox.js';
import { attackTests } from '../attack.js';
import { attacks } from '../processes.js';

const sandbox = await openSandbox({ warm: 1 });
attackTests('processes', attacks, sandbox);

// What the host sees: nothing of a run is alive after its answer, and other processes of the same user are untouched.
const bystander = spawn('sleep', ['3600']);
after(() => bystander.kill('SIGKILL'));

const RAMPAGES = [
  [
    'kill(-1) with every signal',
    'import os, signal\nfor s in (15, 1, 2, 10, 12, 19, 9):\n    try: os.kill(-1, s)\n    except OSError: pass',
  ],
  [
    'kill of every number there is',
    'import os\nfor pid in range(1, 1 << 16):\n    if pid == os.getpid(): continue\n    try: os.kill(pid, 9)\n    except OSError: pass',
  ],
  [
    'killpg of every number there is',
    'import os\nfor pid in range(1, 1 << 16):\n    if pid == os.getpgid(0): continue\n    try: os.killpg(pid, 9)\n    except OSError: pass',
  ],
] as const;

for (const [name, code] of RAMPAGES) {
  test(`processes, control: ${name} hits others where nothing is between`, { skip: sandbox.missing }, async (t) => {
    const { missing, killed } = await amongProcesses(code);
    if (missing !== null) t.skip(`needs a process namespace around it: ${missing}`);
    else assert.ok(killed);
  });

  test(`processes: ${name} spares everything outside`, { skip: sandbox.missing }, async () => {
    const outcome = await sandbox.run(code);
    assert.ok(['ok', 'killed'].includes(outcome.status), outcome.reason);
    assert.equal(bystander.exitCode ?? bystander.signalCode, null);
    assert.equal((await sandbox.run('print(1)')).status, 'ok');
  });
}

test('processes: nothing that a program starts outlives it', { skip: sandbox.missing }, async () => {
  const marker = `${4_000_000 + process.pid}`;
  const outcome = await sandbox.run(`
import os, subprocess
reader, writer = os.pipe()
os.dup2(writer, 200, inheritable=False); os.close(writer)
for n in range(5):
    if os.fork() == 0:
        os.setsid()
        for fd in range(0, 100):
            try: os.close(fd)
            except OSError: pass
        if os.fork() == 0: os.execv("/bin/sleep", ["sleep", "${marker}"])
        os._exit(0)
os.close(200)
os.read(reader, 1)  # ends when each of them has become a sleep
print("five")`);
  assert.equal(outcome.stdout.text, 'five\n', outcome.stderr.text + outcome.reason);
  await until(
    () => !processes().some(({ command }) => command === `sleep ${marker}`),
    'no process of the program is left',
  );
});

test(
  'processes, control: what is started without a sandbox outlives its parent',
  { skip: sandbox.missing },
  async () => {
    const marker = `${5_000_000 + process.pid}`;
    const parent = spawn('sh', ['-c', `setsid sleep ${marker} & exit 0`], { stdio: 'ignore' });
    await once(parent, 'exit');
    let left: { id: number } | undefined;
    await until(
      () => (left = processes().find(({ command }) => command === `sleep ${marker}`)) !== undefined,
      'it is alive',
    );
    process.kill(left?.id ?? 0, 'SIGKILL');
  },
);
