/** The command itself: flags, `run` and `doctor`. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { createPlace, EXAMPLE_POLICY, MAIN, whyNoSandbox, whyNotStrict, type Place } from '../support/server.js';

const skip = whyNoSandbox();
let place: Place;
beforeEach(() => {
  place = createPlace();
});
afterEach(() => {
  place.remove();
});

function cordon(argv: readonly string[], input = '') {
  return spawnSync(process.execPath, [MAIN, ...argv], { cwd: place.directory, input, encoding: 'utf8' });
}

test('--version and --help answer on stdout with status 0', () => {
  assert.match(cordon(['--version']).stdout, /^cordon \d+\.\d+\.\d+\n$/);
  for (const argv of [['--help'], ['serve', '--help'], ['run', '--help'], ['doctor', '--help']]) {
    const { stdout, status } = cordon(argv);
    assert.equal(status, 0);
    assert.match(stdout, /Usage: cordon/);
  }
});

const wrong: [readonly string[], RegExp][] = [
  [['frobnicate'], /unknown command "frobnicate"/],
  [['constructor'], /unknown command/],
  [['--frobnicate'], /Unknown option '--frobnicate'/],
  [['serve', 'extra'], /Unexpected argument 'extra'/],
  [['--policy'], /--policy/],
  [['run'], /expected FILE, - or -c CODE/],
  [['run', 'a', 'b'], /expected one FILE/],
  [['run', 'a', '-c', '1'], /got both/],
  [['run', '-c', '1', '--timeout', '-3'], /--timeout/],
  [['run', '-c', '1', '--timeout=soon'], /--timeout: expected a number of seconds/],
];
for (const [argv, words] of wrong) {
  test(`a wrong command line is answered with the usage and status 2: cordon ${argv.join(' ')}`, () => {
    const { status, stdout, stderr } = cordon(argv);
    assert.equal(status, 2, stderr);
    assert.equal(stdout, '');
    assert.match(stderr, words);
    assert.match(stderr, /Usage: cordon/);
  });
}

test('run prints what the program prints, where it prints it, and ends as it ends', { skip }, () => {
  writeFileSync(
    join(place.directory, 'p.py'),
    'import sys\nprint("out")\nprint("err", file=sys.stderr)\nsys.exit(7)\n"value"\n',
  );
  const { status, stdout, stderr } = cordon(['run', 'p.py', ...place.flags]);
  assert.equal(status, 7);
  assert.equal(stdout, 'out\n');
  assert.match(stderr, /^err\n/);
  assert.match(stderr, /cordon: error in \d+ ms/);
  const [line] = place.audit();
  assert.equal(line?.grant, 'local');
  assert.equal((line.client as { name: string }).name, 'cordon-cli');
});

test('run -c passes stdin through; run - takes the program from it; --stdin names a file', { skip }, () => {
  const echo = 'import sys; print(sys.stdin.read().upper())';
  assert.equal(cordon(['run', '-c', echo, ...place.flags], 'ü\n').stdout, 'Ü\n\n');
  assert.equal(cordon(['run', '-', ...place.flags], '\uFEFFprint("from stdin")').stdout, 'from stdin\n');
  writeFileSync(join(place.directory, 'in'), 'file');
  assert.equal(cordon(['run', '-', '--stdin', 'in', ...place.flags], echo).stdout, 'FILE\n');
});

test('run says with its status what happened: signal, time, denial, our fault', { skip }, () => {
  assert.equal(cordon(['run', '-c', 'import os; os.kill(os.getpid(), 11)', ...place.flags]).status, 139);
  const late = cordon(['run', '-c', 'while True: pass', '--timeout', '0.2', ...place.flags]);
  assert.equal(late.status, 124);
  assert.match(late.stderr, /time limit of 0\.2 s/);
  const closed = createPlace({ ...EXAMPLE_POLICY, hide: ['*'] });
  const denied = cordon(['run', '-c', '1', ...closed.flags]);
  closed.remove();
  assert.equal(denied.status, 126);
  assert.match(denied.stderr, /hides the tool.*\(tool_hidden, \/hide\/0\)/);
  const missing = cordon(['run', 'nowhere.py', ...place.flags]);
  assert.equal(missing.status, 125);
  assert.match(missing.stderr, /can't read nowhere\.py/);
});

test('run shows output while the program runs, and an interrupt ends it', { skip }, async () => {
  const code = 'import time\nprint("first", flush=True)\ntime.sleep(600)';
  const child = spawn(process.execPath, [MAIN, 'run', '-c', code, ...place.flags], {
    cwd: place.directory,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [first] = (await once(child.stdout, 'data')) as [Buffer];
  assert.equal(first.toString(), 'first\n');
  child.kill('SIGINT');
  const [status] = (await once(child, 'exit')) as [number];
  assert.equal(status, 130);
  assert.deepEqual(
    place.audit().map((line) => line.status),
    ['cancelled'],
  );
});

test('run ends when nobody reads what the program prints', { skip }, () => {
  const script = `"$0" "$1" run -c 'while True: print("y")' --policy policy.json --audit off 2>/dev/null | head -n 1; echo "\${PIPESTATUS[0]}"`;
  const ran = spawnSync('bash', ['-c', script, process.execPath, MAIN], { cwd: place.directory, encoding: 'utf8' });
  assert.match(ran.stdout, /^y\n(141|137)\n$/);
});

test(
  'doctor tells every layer and the tier, and its status says whether it is enough',
  { skip: whyNotStrict() },
  () => {
    const { status, stdout } = cordon(['doctor', '--policy', 'policy.json']);
    assert.equal(status, 0);
    assert.match(stdout, /^yes {2}seccomp/m);
    assert.match(stdout, /^yes: isolation "strict" is to be had here$/m);
  },
);

test('doctor says no with a reason where there is no Python', () => {
  writeFileSync(
    join(place.directory, 'policy.json'),
    JSON.stringify({ version: '1', default: 'deny', sandbox: { python: '/no/python' } }),
  );
  const { status, stdout } = cordon(['doctor']);
  assert.equal(status, 1);
  assert.match(stdout, /^no: isolation "confined" can't be had here: .*\/no\/python/m);
});
