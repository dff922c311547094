/** A cgroup of its own for each program, where the kernel and whoever runs this machine give us one. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { descendants, openSandbox, PYTHON, runUntil, until } from '../support/sandbox.js';

const sandbox = await openSandbox({ warm: 0, diskMb: 1024 });
const { run } = sandbox;
const layer =
  sandbox.missing === false ? sandbox.backend.guarantees.layers.find((one) => one.layer === 'cgroup') : undefined;
/** Where the cgroups of all servers of this place are. */
const base = / in (\/.*)$/.exec(layer?.detail ?? '')?.[1] ?? '';
const missing =
  layer?.available === true
    ? false
    : sandbox.missing || `needs a cgroup: ${layer?.detail ?? 'the probe has no such layer'}`;

/** The cgroups of one of our zygotes, by the process that started it. */
const ofLauncher = (pid: number) => readdirSync(base).filter((name) => name.startsWith(`cordon-${pid}-`));

function launcher(): number {
  const found = descendants()
    .flatMap((pid) => ofLauncher(pid).map(() => pid))
    .at(0);
  assert.ok(found !== undefined, `no zygote of ours has its cgroups in ${base}: ${readdirSync(base).join(' ')}`);
  return found;
}

const sandboxes = () =>
  ofLauncher(launcher()).flatMap((name) => readdirSync(join(base, name)).filter((one) => one.startsWith('sandbox-')));

test('a program sees itself at the root of all cgroups', { skip: missing }, async () => {
  const { stdout } = await run('print(open("/proc/self/cgroup").read())');
  assert.match(stdout.text, /^0::\/$/m);
  assert.doesNotMatch(stdout.text, /cordon|scope|service|slice/);
});

test(
  'memory over the limit is refused by the kernel, whoever of the program takes it',
  { skip: missing },
  async (t) => {
    for (const [kind, code] of Object.entries(TAKE_600_MB)) {
      await t.test(kind, async () => {
        const { status, reason, usage } = await run(code, {
          limits: { memoryMb: 128, fileSizeMb: 1024, timeoutSeconds: 120 },
        });
        assert.equal(status, 'memory', reason);
        assert.ok(usage.peakMemoryBytes <= 128 * 2 ** 20, `${usage.peakMemoryBytes} bytes`);
        assert.ok(usage.peakMemoryBytes > 96 * 2 ** 20, `${usage.peakMemoryBytes} bytes`);
      });
    }
  },
);

const TAKE_600_MB: Readonly<Record<string, string>> = {
  'one process': 'kept = []\nfor n in range(600): kept.append(b"x" * (1 << 20))',
  'many processes': `
import os, time
for n in range(30):
    if os.fork() == 0:
        kept = b"x" * (20 << 20)
        time.sleep(100)
time.sleep(100)`,
  'a shared mapping': 'import mmap\nm = mmap.mmap(-1, 600 << 20)\nfor n in range(600): m.write(b"x" * (1 << 20))',
  'a file': 'with open("f", "wb") as f:\n  for n in range(600): f.write(b"x" * (1 << 20))',
  'page tables alone': `
import mmap
m = mmap.mmap(-1, 600 << 29, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ)
m.madvise(mmap.MADV_NOHUGEPAGE)
for place in range(0, len(m), 2 << 20): m[place]`,
};

test('the peak of memory is exact, however short it was', { skip: missing }, async () => {
  const { status, usage } = await run('kept = b"x" * (100 << 20); del kept');
  assert.equal(status, 'ok');
  assert.ok(usage.peakMemoryBytes > 100 * 2 ** 20, `${usage.peakMemoryBytes} bytes`);
  assert.ok(usage.peakMemoryBytes < 140 * 2 ** 20, `${usage.peakMemoryBytes} bytes`);
});

test('processes over the limit are refused to the tree as a whole', { skip: missing }, async () => {
  const { stdout } = await run(
    `
import os, time
started = 0
try:
    for n in range(40):
        if os.fork() == 0:
            time.sleep(60)
        started += 1
except OSError as error:
    print(started, error.errno)`,
    { limits: { processes: 12 } },
  );
  assert.equal(stdout.text, '11 11\n');
});

test('the time of processes that nobody waits for is counted', { skip: missing }, async () => {
  const { status, usage } = await run(`
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
reader, writer = os.pipe()
for n in range(5):
    if os.fork() == 0:
        while time.process_time() < 0.1: pass
        os._exit(0)
os.close(writer)
os.read(reader, 1)`);
  assert.equal(status, 'ok');
  assert.ok(usage.cpuMs >= 450, `${usage.cpuMs} ms`);
});

test(
  'nothing is left of the cgroup of a run, however it ended and whatever it started',
  { skip: missing },
  async () => {
    const daemon = 'import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(1000)\n';
    for (const code of [
      'print(1)',
      '1 / 0',
      'import os; os.kill(os.getpid(), 9)',
      daemon,
      `${daemon}while True: os.fork()`,
    ]) {
      await run(code, { limits: { timeoutSeconds: 2 } });
      await until(() => sandboxes().length === 0, `the end of ${sandboxes().join(' ')} after ${JSON.stringify(code)}`);
    }
  },
);

test('what is left of a warden that was killed is removed with the next run', { skip: missing }, async () => {
  const { outcome } = await runUntil('on', run, 'import time; print("on"); time.sleep(1000)');
  const [name] = sandboxes();
  assert.ok(name !== undefined);
  process.kill(wardenOf(name), 'SIGKILL');
  assert.equal((await outcome).status, 'unavailable');
  assert.equal((await run('print(1)')).status, 'ok');
  await until(() => sandboxes().length === 0, `the end of ${name}`);
});

/** Above the program, which is the only process of its cgroup. */
function wardenOf(name: string): number {
  const [group] = ofLauncher(launcher());
  const program = readFileSync(join(base, group ?? '', name, 'cgroup.procs'), 'utf8').trim();
  return Number(/^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${program}/status`, 'utf8'))?.[1]);
}

test('what is left of a launcher that was killed is removed when the next begins', { skip: missing }, async () => {
  await run('print(1)');
  const killed = launcher();
  process.kill(killed, 'SIGKILL');
  await until(() => !descendants().includes(killed), 'the end of the launcher');
  assert.equal((await run('print(1)')).status, 'ok');
  assert.notEqual(launcher(), killed);
  assert.deepEqual(ofLauncher(killed), []);
});

test('a server that is killed leaves no cgroup', { skip: missing }, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'cordon-cgroup-'));
  try {
    const policy = join(directory, 'policy.json');
    const sandbox = { python: PYTHON, preload: [] };
    writeFileSync(policy, JSON.stringify({ version: '1', default: 'deny', tools: { code_execute: {} }, sandbox }));
    const main = fileURLToPath(new URL('../../bin/main.js', import.meta.url));
    const flags = ['--policy', policy, '--audit', 'off', '--state', 'memory'];
    const code = 'import time; print("on", flush=True); time.sleep(1000)';
    const server = spawn(process.execPath, [main, 'run', ...flags, '-c', code], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await new Promise((resolve) => server.stdout.once('data', resolve));
    const launchers = descendants(server.pid).filter((pid) => ofLauncher(pid).length > 0);
    assert.equal(launchers.length, 1);
    server.kill('SIGKILL');
    await until(() => launchers.every((pid) => ofLauncher(pid).length === 0), `the end of ${launchers.join(' ')}`);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

test('a backend that is closed leaves no cgroup', { skip: missing }, async () => {
  await run('print(1)');
  const closed = launcher();
  await sandbox.backend.close();
  assert.deepEqual(ofLauncher(closed), []);
});
