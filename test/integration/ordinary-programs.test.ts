import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { openSandbox, PYTHON, TIER } from '../support/sandbox.js';
import { NOT_IN_CONFINED, NOT_IN_CONFINED_AS_USER } from './not-in-confined.js';
import { PROGRAMS } from './programs.js';

const { run, missing } = await openSandbox({ warm: 2 });

const needed = [...new Set(PROGRAMS.flatMap(({ needs }) => needs ?? []))];
const probe = `import importlib.util, json; print(json.dumps([n for n in ${JSON.stringify(needed)} if not importlib.util.find_spec(n)]))`;
const absent = JSON.parse(spawnSync(PYTHON, ['-I', '-c', probe], { encoding: 'utf8' }).stdout) as string[];

/** What a program lacks in the tier under test; undefined: nothing. */
function lacks(name: string): string | undefined {
  if (TIER !== 'confined') return undefined;
  return NOT_IN_CONFINED[name] ?? (process.getuid?.() === 0 ? undefined : NOT_IN_CONFINED_AS_USER[name]);
}

test('the list of what confined lacks names programs that there are', () => {
  const names = new Set(PROGRAMS.map(({ name }) => name));
  const listed = Object.keys({ ...NOT_IN_CONFINED, ...NOT_IN_CONFINED_AS_USER });
  assert.deepEqual(
    listed.filter((name) => !names.has(name)),
    [],
  );
});

for (const { name, code, needs, stdin } of PROGRAMS) {
  const skip = missing || (needs !== undefined && absent.includes(needs) ? `needs the package ${needs}` : false);
  const lacking = lacks(name);
  test(lacking === undefined ? `works: ${name}` : `fails for want of ${lacking}: ${name}`, { skip }, async () => {
    const outcome = await run(code, { stdin: stdin ?? '', limits: { memoryMb: 512, timeoutSeconds: 30 } });
    const said = `${outcome.reason}\n${outcome.stdout.text}\n${outcome.stderr.text}`;
    if (lacking !== undefined) {
      assert.equal(outcome.status, 'error', said);
      return;
    }
    assert.equal(outcome.status, 'ok', said);
    assert.match(outcome.stdout.text, /(^|\n)ok\n$/, outcome.stderr.text);
  });
}
