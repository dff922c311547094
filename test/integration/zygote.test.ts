/** The zygote's end, and what it imports ahead of time. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { descendants, LIMITS, openSandbox, PYTHON, TIER, until } from '../support/sandbox.js';

const { missing: skip } = await openSandbox({ warm: 1 });

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
    const backend = await selectBackend({ minimum: ${JSON.stringify(TIER)}, weaken: ${JSON.stringify({ tier: TIER })}, python: ${JSON.stringify(PYTHON)}, preload: ['json', 'no_such_module', 'antigravity.nothing'], warm: 0, diskMb: 8, diskInodes: 100, mounts: [] });
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
