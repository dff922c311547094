/** `cordon run` with files in and out, and what it says of them, as a person or a script sees it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { createPlace, MAIN, whyNoSandbox, type Place } from '../support/server.js';

const skip = whyNoSandbox();
let place: Place;
beforeEach(() => {
  place = createPlace();
});
afterEach(() => {
  place.remove();
});

function run(...argv: string[]): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, 'run', ...argv, ...place.flags], {
    cwd: place.directory,
    encoding: 'utf8',
    input: '',
  });
  return { status, stdout, stderr };
}
const here = (...parts: string[]) => join(place.directory, ...parts);

test(
  'a file goes in under the name that was said, and what the program leaves is written and named by its path',
  { skip },
  () => {
    writeFileSync(here('sales.csv'), 'a,b\n1,2\n');
    const code = `
import os
os.mkdir('out')
open('out/upper.csv', 'w').write(open('in/data.csv').read().upper())`;
    const { status, stdout, stderr } = run('-c', code, '--file', 'sales.csv=in/data.csv', '--out', 'results');
    assert.equal(status, 0, stderr);
    assert.equal(stdout, '');
    assert.equal(readFileSync(here('results', 'out', 'upper.csv'), 'utf8'), 'A,B\n1,2\n');
    assert.match(stderr, /^cordon: file: results\/out\/upper\.csv \(text\/csv, 8 bytes\)$/m);
    assert.equal(readFileSync(here('sales.csv'), 'utf8'), 'a,b\n1,2\n');
  },
);

test('the last value is shown as ours, and stdout stays the program’s alone', { skip }, () => {
  const { stdout, stderr } = run('-c', 'print("mine")\n6 * 7');
  assert.equal(stdout, 'mine\n');
  assert.match(stderr, /^cordon: value of the last expression: 42\ncordon: ok in /);
});

test('without --out the files are named, and how to get them', { skip }, () => {
  const { stderr } = run('-c', 'for n in "ab": open(n, "w").close()');
  assert.match(stderr, /^cordon: the program left 2 files: a \(0 bytes\), b \(0 bytes\); --out DIR saves them$/m);
});

test(
  'nothing is overwritten and no link is followed: what could not be saved is said, and in the status',
  { skip },
  () => {
    mkdirSync(here('results'));
    writeFileSync(here('results', 'a'), 'mine');
    symlinkSync(here('elsewhere'), here('results', 'b'));
    symlinkSync(place.directory, here('results', 'd'));
    const code = `
import os
os.mkdir('d')
for name in ('a', 'b', 'c', 'd/policy.json', 'd/new'): open(name, 'w').write('theirs')`;
    const { status, stderr } = run('-c', code, '--out', 'results');
    assert.equal(status, 125);
    assert.match(stderr, /^cordon: not saved: a: results\/a is there already; not overwritten$/m);
    assert.match(stderr, /^cordon: not saved: b: /m);
    assert.match(stderr, /^cordon: not saved: d\/new: results\/d is there already and is no directory; not followed$/m);
    assert.match(stderr, /^cordon: file: results\/c /m);
    assert.equal(readFileSync(here('results', 'a'), 'utf8'), 'mine');
    assert.ok(!existsSync(here('elsewhere')) && !existsSync(here('new')));
    assert.doesNotMatch(readFileSync(here('policy.json'), 'utf8'), /theirs/);
  },
);

test('--json is one line with everything in it, and says where the files are', { skip }, () => {
  const { status, stdout, stderr } = run(
    '-c',
    'print("x"); open("f", "w").write("y"); 1 / 0',
    '--json',
    '--out',
    'results',
  );
  assert.equal(status, 1);
  assert.equal(stderr, '');
  const outcome = JSON.parse(stdout) as Record<string, unknown>;
  assert.equal(outcome.status, 'error');
  assert.equal(outcome.stdout, 'x\n');
  assert.match(String(outcome.stderr), /ZeroDivisionError/);
  assert.deepEqual(outcome.saved, [{ name: 'f', path: 'results/f', problem: null }]);
});

for (const [argv, said] of [
  [['--file', 'nowhere.csv'], /can't read nowhere\.csv: ENOENT/],
  [['--file', '.=x'], /can't read \.: EISDIR/],
  [['--out', 'policy.json/x'], /--out: can't make policy\.json\/x/],
] as const) {
  test(`${argv.join(' ')} stops the run before it begins`, { skip }, () => {
    const { status, stdout, stderr } = run('-c', 'print(1)', ...argv);
    assert.equal(status, 125);
    assert.equal(stdout, '');
    assert.match(stderr, said);
    assert.ok(!existsSync(here('audit.jsonl')) || place.audit().length === 0);
  });
}

test('files that are too large together are not read whole', { skip }, () => {
  place.write({ version: '1', default: 'allow', sandbox: { files_in_mb: 1 } });
  writeFileSync(here('a'), Buffer.alloc(900_000));
  writeFileSync(here('b'), Buffer.alloc(900_000));
  const { status, stderr } = run('-c', '1', '--file', 'a', '--file', 'b');
  assert.equal(status, 125);
  assert.match(stderr, /b, with the files before it, is longer than 1048576 bytes/);
});
