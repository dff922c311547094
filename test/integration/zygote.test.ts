/** What holds when something of ours dies: the zygote, the server. And what is imported ahead of time. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { descendants, LIMITS, openSandbox, processes, PYTHON, runUntil, until } from '../support/sandbox.js';

const { run, missing } = await openSandbox({ warm: 1 });
const skip = missing;

/** Every process of ours that runs zygote.py: launcher, zygote, wardens, programs that did not exec. */
function zygotes(): number[] {
  const ours = new Set(descendants());
  return processes()
    .filter(({ id, command }) => ours.has(id) && command.includes('zygote.py'))
    .map(({ id }) => id);
}

const SLEEPER = 'import subprocess\nprint("up")\nsubprocess.run(["sleep", "3600"])';

test(
  'the zygote killed in the middle: the running job is unavailable and may be tried again, the next call works',
  { skip },
  async () => {
    for (const which of ['launcher', 'innermost'] as const) {
      const { outcome: running } = await runUntil('up', run, SLEEPER);
      const before = zygotes();
      const launcher = processes().find(({ id, parent }) => before.includes(id) && parent === process.pid);
      assert.ok(launcher !== undefined);
      // Under the launcher: the zygote; as root one more process lies between.
      const chain = [launcher.id];
      for (let depth = 0; depth < (process.getuid?.() === 0 ? 2 : 1); depth += 1) {
        const child = processes().find(({ parent }) => parent === chain.at(-1));
        assert.ok(child !== undefined);
        chain.push(child.id);
      }
      const everything = descendants();
      process.kill(which === 'launcher' ? launcher.id : (chain.at(-1) ?? 0), 'SIGKILL');
      const outcome = await running;
      assert.deepEqual([outcome.status, outcome.retryable, outcome.stdout.text], ['unavailable', true, 'up\n']);
      assert.match(outcome.reason, /^our side lost the program: /);
      const next = await run('print("next")');
      assert.deepEqual([next.status, next.stdout.text], ['ok', 'next\n'], next.reason);
      await until(
        () => descendants().every((pid) => !everything.includes(pid)),
        'nothing of the killed zygote is left',
      );
    }
  },
);

test('a warden killed in the middle: its job is unavailable, others go on', { skip }, async () => {
  const { outcome: other } = await runUntil('up', run, 'import time\nprint("up")\ntime.sleep(1)\nprint("done")');
  const { outcome } = await runUntil(
    'mark',
    run,
    'import os\nprint("mark")\nos.execv("/bin/sleep", ["sleep", "34567"])',
  );
  let program: { id: number; parent: number } | undefined;
  await until(() => {
    program = processes().find(({ command }) => command === 'sleep 34567');
    return program !== undefined;
  }, 'the program has become sleep');
  assert.ok(program !== undefined);
  process.kill(program.parent, 'SIGKILL');
  assert.deepEqual([(await outcome).status, (await other).stdout.text], ['unavailable', 'up\ndone\n']);
  assert.equal((await run('print(1)')).status, 'ok');
});

test('the server killed with SIGKILL in the middle of a run leaves no process behind', { skip }, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'kill-'));
  const select = new URL('../../src/backends/select.js', import.meta.url).href;
  const server = `
    const { selectBackend } = await import(${JSON.stringify(select)});
    const backend = await selectBackend({ minimum: 'strict', python: ${JSON.stringify(PYTHON)}, preload: [], warm: 2, diskMb: 8, diskInodes: 100, mounts: [] });
    const code = 'import os, signal, subprocess, sys, time\\nsignal.signal(15, signal.SIG_IGN)\\nif os.fork() == 0: os.setsid(); subprocess.run(["sleep", "3600"])\\nprint("up")\\ntime.sleep(3600)';
    await backend.run({ runId: 'x', code, stdin: '', files: [], limits: ${JSON.stringify({ ...LIMITS, timeoutSeconds: 600, cpuSeconds: 600 })} },
      new AbortController().signal, { onOutput: (stream, bytes) => process.stdout.write(bytes) });`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', server], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, TMPDIR: directory },
  });
  try {
    await once(child.stdout, 'data');
    assert.ok(child.pid !== undefined);
    const started = descendants(child.pid);
    assert.ok(started.length >= 4, `launcher, zygote, warden, program at least, but there are ${started.length}`);
    child.kill('SIGKILL');
    await once(child, 'exit');
    const alive = () => processes().filter(({ id }) => started.includes(id));
    await until(() => alive().length === 0, 'all processes of the killed server are gone');
  } finally {
    child.kill('SIGKILL');
    rmSync(directory, { recursive: true, force: true });
  }
});

test('closing the backend leaves no process and no directory', { skip }, async () => {
  const before = new Set(descendants());
  const own = () => readdirSync(tmpdir()).filter((name) => name.startsWith(`cordon-${process.pid}-`)).length;
  const directories = own();
  const other = await openSandbox({ warm: 2 });
  assert.equal((await other.run('print(1)')).status, 'ok');
  assert.equal(own(), directories + 1);
  await other.backend.close();
  assert.equal(own(), directories);
  await until(() => descendants().every((pid) => before.has(pid)), 'its processes are gone');
});

test('a preloaded module is imported before the program asks, others are not', { skip }, async () => {
  const other = await openSandbox({ preload: ['fractions', 'xml.dom.minidom'] });
  const outcome = await other.run(
    'import sys\nprint("fractions" in sys.modules, "xml.dom.minidom" in sys.modules, "decimal" in sys.modules, "turtle" in sys.modules)',
  );
  assert.match(outcome.stdout.text, /^True True (True|False) False\n$/);
  assert.equal((await other.run('import fractions\nprint(fractions.Fraction(1, 2))')).stdout.text, '1/2\n');
  await other.backend.close();
});

test('a preload that fails is named with its reason on stderr, and programs run all the same', { skip }, async () => {
  const select = new URL('../../src/backends/select.js', import.meta.url).href;
  const script = `
    const { selectBackend } = await import(${JSON.stringify(select)});
    const backend = await selectBackend({ minimum: 'strict', python: ${JSON.stringify(PYTHON)}, preload: ['json', 'no_such_module', 'antigravity.nothing'], warm: 0, diskMb: 8, diskInodes: 100, mounts: [] });
    const outcome = await backend.run({ runId: 'x', code: 'print("runs")', stdin: '', files: [], limits: ${JSON.stringify(LIMITS)} }, new AbortController().signal);
    process.stdout.write(outcome.stdout.text);
    await backend.close();`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  let out = '';
  child.stderr.on('data', (piece: Buffer) => (said += piece.toString()));
  child.stdout.on('data', (piece: Buffer) => (out += piece.toString()));
  const [status] = (await once(child, 'close')) as [number];
  assert.deepEqual([status, out], [0, 'runs\n'], said);
  assert.match(said, /^cordon: sandbox\.preload: no_such_module could not be imported: ModuleNotFoundError: /m);
  assert.match(said, /^cordon: sandbox\.preload: antigravity\.nothing could not be imported: ModuleNotFoundError: /m);
  assert.doesNotMatch(said, /json could not/);
});
