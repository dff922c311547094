/** The far side's own unit tests, by the interpreters that are here. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

/** From dist/test/python. */
const SOURCES = fileURLToPath(new URL('../../../test/python', import.meta.url));
const SANDBOX = fileURLToPath(new URL('../../../sandbox', import.meta.url));

const seen = new Map<string, string>();
for (const python of ['/usr/bin/python3', 'python3']) {
  const asked = spawnSync(python, ['-I', '-c', 'import os, sys; print(os.path.realpath(sys.executable))'], {
    encoding: 'utf8',
  });
  if (asked.status === 0 && ![...seen.values()].includes(asked.stdout)) seen.set(python, asked.stdout);
}

test('there is a Python to test with', { skip: seen.size === 0 ? 'needs python3' : false }, () => {
  assert.ok(existsSync(SOURCES) && existsSync(SANDBOX));
});

for (const [python, executable] of seen) {
  const modules = readdirSync(SOURCES).filter((name) => /^test_.*\.py$/.test(name));
  for (const name of modules) {
    test(`${name} by ${python} (${executable.trim()})`, () => {
      const ran = spawnSync(python, ['-B', '-m', 'unittest', '-q', name.replace(/\.py$/, '')], {
        cwd: SOURCES,
        encoding: 'utf8',
        env: { ...process.env, PYTHONPATH: `${SANDBOX}:${SOURCES}` },
      });
      assert.equal(ran.status, 0, ran.stdout + ran.stderr);
      assert.match(ran.stderr, /^Ran [1-9]\d* tests? /m);
    });
  }
}
