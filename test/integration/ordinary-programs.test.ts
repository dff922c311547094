import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { openSandbox, PYTHON } from '../support/sandbox.js';
import { PROGRAMS } from './programs.js';

const { run, missing } = await openSandbox({ warm: 2 });

const needed = [...new Set(PROGRAMS.flatMap(({ needs }) => needs ?? []))];
const probe = `import importlib.util, json; print(json.dumps([n for n in ${JSON.stringify(needed)} if not importlib.util.find_spec(n)]))`;
const absent = JSON.parse(spawnSync(PYTHON, ['-I', '-c', probe], { encoding: 'utf8' }).stdout) as string[];

for (const { name, code, needs, stdin } of PROGRAMS) {
  const skip = missing || (needs !== undefined && absent.includes(needs) ? `needs the package ${needs}` : false);
  test(`works: ${name}`, { skip }, async () => {
    const outcome = await run(code, { stdin: stdin ?? '', limits: { memoryMb: 512, timeoutSeconds: 30 } });
    assert.equal(outcome.status, 'ok', `${outcome.reason}\n${outcome.stdout.text}\n${outcome.stderr.text}`);
    assert.match(outcome.stdout.text, /(^|\n)ok\n$/, outcome.stderr.text);
  });
}
