/**
 * What holds, in every tier, when something of ours is killed while programs run: nothing of them lives on, nothing stays on the disk, the answers say whose fault it
 * was, and the next call works.
 */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { descendants, LIMITS, openSandbox, processes, PYTHON, runUntil, TIER, until } from '../support/sandbox.js';

const system = tmpdir();
const place = mkdtempSync(join(system, 'l-'));
chmodSync(place, 0o755); // the ids of runs pass through
process.env.TMPDIR = place;
after(() => {
  process.env.TMPDIR = system;
  rmSync(place, { recursive: true, force: true });
});

const { run, missing: skip } = await openSandbox({ warm: 1 });

/**
 * A program that does all it can to stay: a daemon in a session of its own that has become another program, a grandchild whose parent is gone and that ignores
 * what can be ignored, and files in every place.
 */
const CLINGING = `
import os, signal, sys, tempfile, time
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
ready, tell = os.pipe()
os.makedirs("a/b/c"); open("a/b/c/file", "w").write("x")
open(os.path.join(tempfile.gettempdir(), "file"), "w").write("x")
os.mkdir("closed"); os.chmod("closed", 0)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(tell, b".")
        os.execv("/bin/sleep", ["sleep", "3600.25"])
    if os.fork() == 0:
        os.write(tell, b".")
        time.sleep(3600)
    os._exit(0)
os.wait()
left = 2
while left: left -= len(os.read(ready, left))
print("up", flush=True)
time.sleep(3600)`;

/** Ours over the clinging program below \`server\`, by what they do. */
function guards(server: number): Record<'launcher' | 'zygote' | 'warden', number> {
  const all = processes();
  const below = new Set(descendants(server));
  // The daemon's parent has ended, and so it is its warden's child.
  const daemon = all.find(({ id, command }) => below.has(id) && command === 'sleep 3600.25');
  assert.ok(daemon !== undefined, 'the daemon runs');
  const parentOf = (pid: number) => all.find(({ id }) => id === pid)?.parent ?? 0;
  const warden = daemon.parent;
  const zygote = parentOf(warden);
  let launcher = zygote;
  while (parentOf(launcher) !== server) launcher = parentOf(launcher);
  assert.equal(new Set([warden, zygote, launcher]).size, 3);
  return { launcher, zygote, warden };
}

/** Kill several at once: stopped first, none has the time to do anything about the others' end. */
function killAtOnce(pids: readonly number[]): void {
  for (const signal of ['SIGSTOP', 'SIGKILL'] as const) for (const pid of pids) process.kill(pid, signal);
}

const workspaces = () => readdirSync(place).filter((name) => name.startsWith('cordon-'));

/** The runs that have places on the disk, by the processes that made them; none where they have a file system of their own. */
const places = () =>
  workspaces()
    .filter((name) => existsSync(join(place, name, 'root')))
    .flatMap((name) => readdirSync(join(place, name, 'root')))
    .map((name) => Number(name.split('-')[0]));

const CASES = [
  ['warden'],
  ['zygote'],
  ['launcher'],
  ['warden', 'zygote'],
  ['warden', 'launcher'],
  ['zygote', 'launcher'],
  ['warden', 'zygote', 'launcher'],
] as const;

for (const killed of CASES) {
  test(
    `${killed.join(', ')} killed while a program runs: it is unavailable, and nothing of it is left`,
    { skip },
    async () => {
      const { outcome: running } = await runUntil('up', run, CLINGING);
      const ours = guards(process.pid);
      const program = descendants(ours.warden);
      assert.ok(program.length >= 3, `the program, its daemon and its grandchild: ${program.join(' ')}`);
      // Of the server's processes all end with launcher or zygote, and a warden takes its own program only.
      const doomed = killed.length === 1 && killed[0] === 'warden' ? [ours.warden, ...program] : descendants();
      killAtOnce(killed.map((role) => ours[role]));
      const outcome = await running;
      assert.deepEqual([outcome.status, outcome.retryable, outcome.stdout.text], ['unavailable', true, 'up\n']);
      assert.match(outcome.reason, /^our side lost the program: /);

      const next = await run('print("next")');
      assert.deepEqual([next.status, next.stdout.text], ['ok', 'next\n'], next.reason);
      const alive = () => processes().filter(({ id }) => doomed.includes(id));
      await until(() => alive().length === 0, 'everything of it is gone');
      await until(() => workspaces().length === 1, 'the new zygote’s directory is the only one');
      await until(() => places().every((maker) => descendants().includes(maker)), 'no run that has ended has places');
    },
  );
}

test('after each run its places are gone, however it ended', { skip }, async () => {
  for (const code of [
    'print(1)',
    'raise SystemExit(3)',
    'import os\nos.kill(os.getpid(), 9)',
    CLINGING.replace('print("up"', 'raise SystemExit  #'),
  ]) {
    const { status } = await run(code);
    assert.notEqual(status, 'unavailable');
    await until(() => places().every((maker) => descendants().includes(maker)), 'they are gone');
  }
});

/** A server of its own, in a process that can be killed; runs the clinging program, and says what it prints. */
function startServer() {
  const select = new URL('../../src/backends/select.js', import.meta.url).href;
  const settings = {
    minimum: TIER,
    weaken: { tier: TIER },
    python: PYTHON,
    preload: [],
    warm: 2,
    diskMb: 8,
    diskInodes: 100,
    mounts: [],
  };
  const job = {
    runId: 'x',
    code: CLINGING,
    stdin: '',
    files: [],
    limits: { ...LIMITS, timeoutSeconds: 600, cpuSeconds: 600 },
  };
  const script = `
    const { selectBackend } = await import(${JSON.stringify(select)});
    const backend = await selectBackend(${JSON.stringify(settings)});
    await backend.run(${JSON.stringify(job)}, new AbortController().signal, { onOutput: (stream, bytes) => process.stdout.write(bytes) });`;
  const elsewhere = mkdtempSync(join(place, 's-'));
  chmodSync(elsewhere, 0o755);
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, TMPDIR: elsewhere },
  });
  assert.ok(child.pid !== undefined);
  return { pid: child.pid, stdout: child.stdout, exited: once(child, 'exit'), elsewhere };
}

test('the server killed while a program runs leaves no process and no directory', { skip }, async () => {
  const server = startServer();
  await once(server.stdout, 'data');
  const started = descendants(server.pid);
  assert.ok(started.length >= 6, `launcher, zygote, warden, program, daemon, grandchild at least: ${started.length}`);
  process.kill(server.pid, 'SIGKILL');
  await server.exited;
  await until(() => processes().every(({ id }) => !started.includes(id)), 'all its processes are gone');
  await until(() => readdirSync(server.elsewhere).length === 0, 'its directory is gone');
});

test(
  'server, launcher, zygote and warden killed at once: the next start ends and removes what is left',
  { skip },
  async () => {
    const server = startServer();
    await once(server.stdout, 'data');
    const started = descendants(server.pid);
    killAtOnce([server.pid, ...Object.values(guards(server.pid))]);
    await server.exited;
    assert.equal(readdirSync(server.elsewhere).length, 1, 'nobody was left to remove it');
    process.env.TMPDIR = server.elsewhere;
    const next = await openSandbox({ warm: 0 });
    process.env.TMPDIR = server.elsewhere;
    assert.equal((await next.run('print(1)')).status, 'ok');
    await until(() => readdirSync(server.elsewhere).length === 1, 'only the directory of the new zygote is there');
    await until(() => processes().every(({ id }) => !started.includes(id)), 'nothing of the killed server lives on');
    await next.backend.close();
    process.env.TMPDIR = place;
    assert.deepEqual(readdirSync(server.elsewhere), []);
  },
);

const ownDisk = TIER === 'strict' ? 'in strict a file system with a size keeps the limit' : false;

for (const [what, fill] of Object.entries({
  bytes: 'n = 0\nwhile True:\n    open(f"f{n}", "wb").write(b"x" * (1 << 20)); n += 1; time.sleep(0.001)',
  'files that have no name':
    'kept = []\nwhile True:\n    f = open("f", "wb+"); f.write(b"x" * (1 << 20)); os.unlink("f"); kept.append(f); time.sleep(0.001)',
  inodes: 'n = 0\nwhile True:\n    os.mkdir(f"d{n}"); n += 1',
})) {
  test(
    `a program that fills the disk by ${what} is stopped, with what it used told, and its files removed`,
    { skip: skip || ownDisk },
    async () => {
      const code = `import os, time\nprint("filling", flush=True)\n${fill}`;
      const { status, reason, usage, stdout } = await run(code, { limits: { openFiles: 1024 } });
      assert.equal(status, 'killed', reason);
      assert.match(reason, /^stopped at the limit of what may be on the disk/);
      assert.equal(stdout.text, 'filling\n');
      assert.ok(usage.durationMs > 0 && usage.cpuMs > 0 && usage.peakMemoryBytes > 0, JSON.stringify(usage));
      await until(() => places().every((maker) => descendants().includes(maker)), 'its places are gone');
    },
  );
}
