/**
 * What `npm test` runs after the build: `node dist/test/support/run.js [FOLDER...]` (folders of test/; all when none is named).
 *
 * Runs the compiled tests with Node's runner. As root, what touches the machine is run a second time as an ordinary user, with a home of
 * its own and no right to write outside it. Then looks at whether anything was left behind: a process, a mount, a directory, a
 * cgroup. The last line is `N passed, N failed, N skipped`; the exit status is 0 only if nothing failed and nothing was left.
 */

import { spawn, spawnSync } from 'node:child_process';
import {
  accessSync,
  chmodSync,
  chownSync,
  constants,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const TESTS = fileURLToPath(new URL('..', import.meta.url));
const PACKAGE = resolve(TESTS, '../..');
/** The folders whose tests depend on who runs them. */
const MACHINE_FOLDERS = ['integration', 'attack', 'protocol'];
/** `nobody` on every distribution. */
const USER_ID = 65_534;
/** Of util-linux. */
const SETPRIV = 'setpriv';
const TEST_TIMEOUT_MS = 120_000;

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

const total: Counts = { passed: 0, failed: 0, skipped: 0 };
const folders = process.argv.slice(2);
// Short, for the path of a socket has to fit into 107 bytes.
const scratch = mkdtempSync(join(tmpdir(), 't-'));
chmodSync(scratch, 0o755); // what attacks are after must be kept from them by the sandbox, not by the mode of our own directory
const before = traces();
try {
  const files = testFiles(TESTS, folders);
  if (files.length === 0) throw new Error(`no *.test.js under ${TESTS}${folders.join(', ')}: was it built?`);
  await phase('as this user', process.execPath, [], files, { ...process.env, TMPDIR: place('own') });
  if (process.getuid?.() === 0) await asOrdinaryUser();
} catch (error) {
  console.error(error);
  total.failed += 1;
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exitCode = total.failed === 0 ? 0 : 1;

/** A directory of its own under the scratch directory. */
function place(name: string): string {
  const path = join(scratch, name);
  mkdirSync(path);
  return path;
}

function testFiles(root: string, named: readonly string[]): string[] {
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.test.js') && (named.length === 0 || named.includes(path.split(sep)[0] ?? '')))
    .sort()
    .map((path) => join(root, path));
}

/** Run `files` with Node's runner, add up what came of them, and look for what was left behind. */
async function phase(
  title: string,
  command: string,
  leading: readonly string[],
  files: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<void> {
  console.log(`\n${files.length} test files, ${title}`);
  const tap = join(env.TMPDIR ?? scratch, 'tap');
  const child = spawn(
    command,
    [
      ...leading,
      '--test',
      `--test-concurrency=${Math.min(availableParallelism(), 4)}`,
      `--test-timeout=${TEST_TIMEOUT_MS}`,
      ...['--test-reporter=spec', '--test-reporter-destination=stdout'],
      ...['--test-reporter=tap', `--test-reporter-destination=${tap}`],
      ...files,
    ],
    { stdio: ['ignore', 'inherit', 'inherit'], env, cwd: env.TMPDIR },
  );
  const status = await new Promise<number | null>((done, failed) => {
    child.once('error', failed);
    child.once('exit', done);
  });
  const counts = countsOf(existsSync(tap) ? readFileSync(tap, 'utf8') : '');
  // A file that could not even be loaded is a failure that may have no test to its name.
  if (status !== 0 && counts.failed === 0) counts.failed = 1;
  rmSync(tap, { force: true });
  total.passed += counts.passed;
  total.failed += counts.failed;
  total.skipped += counts.skipped;
  for (const trace of await leftBehind(env.TMPDIR ?? scratch)) {
    console.error(`left behind, ${title}: ${trace}`);
    total.failed += 1;
  }
}

/** The closing lines of the TAP reporter: `# pass 12`. */
function countsOf(tap: string): Counts {
  const of = (word: string) => Number(new RegExp(`^# ${word} (\\d+)$`, 'm').exec(tap)?.[1] ?? 0);
  return { passed: of('pass'), failed: of('fail') + of('cancelled'), skipped: of('skipped') + of('todo') };
}

async function asOrdinaryUser(): Promise<void> {
  const named = MACHINE_FOLDERS.filter((folder) => folders.length === 0 || folders.includes(folder));
  if (named.length === 0) return;
  if (spawnSync(SETPRIV, ['--version']).status !== 0) {
    console.log(`\nskipped: the tests as an ordinary user, which need ${SETPRIV} (util-linux)`);
    total.skipped += 1;
    return;
  }
  const home = place('home');
  const temporary = join(home, 'tmp');
  mkdirSync(temporary);
  for (const path of [home, temporary]) chownSync(path, USER_ID, USER_ID);
  const user = [
    '--reuid',
    `${USER_ID}`,
    '--regid',
    `${USER_ID}`,
    '--clear-groups',
    '--inh-caps=-all',
    '--bounding-set=-all',
  ];
  const readable = spawnSync(SETPRIV, [
    ...user,
    process.execPath,
    '-e',
    `require('fs').accessSync(${JSON.stringify(process.argv[1])})`,
  ]);
  const where = readable.status === 0 ? PACKAGE : copyOfPackage();
  await phase(
    'as an ordinary user',
    SETPRIV,
    [...user, process.execPath],
    testFiles(join(where, relative(PACKAGE, TESTS)), named),
    { PATH: process.env.PATH, LANG: 'C.UTF-8', HOME: home, TMPDIR: temporary, USER: 'nobody' },
  );
}

/** What of the package the tests need, where anyone can read it. */
function copyOfPackage(): string {
  const copy = place('copy');
  for (const name of [
    'dist',
    'sandbox',
    'test/python',
    'test/support/without-namespaces.py',
    'policy.json',
    'package.json',
  ]) {
    if (existsSync(join(PACKAGE, name))) cpSync(join(PACKAGE, name), join(copy, name), { recursive: true });
  }
  const pending = [join(PACKAGE, 'package.json')];
  const done = new Set<string>();
  for (let manifest = pending.pop(); manifest !== undefined; manifest = pending.pop()) {
    const { dependencies } = JSON.parse(readFileSync(manifest, 'utf8')) as { dependencies?: Record<string, string> };
    for (const name of Object.keys(dependencies ?? {})) {
      const path = installed(name, dirname(manifest));
      if (path === null || done.has(path)) continue;
      done.add(path);
      cpSync(path, join(copy, relative(PACKAGE, path)), { recursive: true });
      pending.push(join(path, 'package.json'));
    }
  }
  return copy;
}

/** Where Node would find the package `name` from `directory`. */
function installed(name: string, directory: string): string | null {
  for (let at = directory; at.startsWith(PACKAGE); at = dirname(at)) {
    const path = join(at, 'node_modules', name);
    try {
      accessSync(join(path, 'package.json'), constants.R_OK);
      return path;
    } catch {
      // One directory up, as Node does.
    }
  }
  return null;
}

/** What could be left of a server on this machine, as one line each. */
function traces(): Set<string> {
  const found = new Set<string>();
  if (process.platform !== 'linux') return found;
  for (const id of readdirSync('/proc')) {
    if (!/^\d+$/.test(id)) continue;
    try {
      const command = readFileSync(`/proc/${id}/cmdline`, 'latin1').replaceAll('\0', ' ');
      if (command.includes('zygote.py') && isOrphan(id)) found.add(`process ${id}: ${command}`);
    } catch {
      // It ended while we looked.
    }
  }
  for (const line of readFileSync('/proc/self/mountinfo', 'latin1').split('\n')) {
    if (line.includes('/cordon-')) found.add(`mount ${line}`);
  }
  for (const path of cgroups('/sys/fs/cgroup', 6)) found.add(`cgroup ${path}`);
  return found;
}

/** Whether no server stands over this process of a sandbox: the ones of servers that others run here are not ours to count. */
function isOrphan(id: string): boolean {
  for (let at = id; Number(at) > 1;) {
    const command = readFileSync(`/proc/${at}/cmdline`, 'latin1');
    if (!command.includes('zygote.py') && /(^|\/)node\0/.test(command)) return false;
    at = /^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${at}/status`, 'latin1'))?.[1] ?? '0';
  }
  return true;
}

function cgroups(directory: string, depth: number): string[] {
  if (depth === 0 || !existsSync(directory)) return [];
  return readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap((entry) => {
      const path = join(directory, entry.name);
      return [...(entry.name.startsWith('cordon') ? [path] : []), ...cgroups(path, depth - 1)];
    });
}

/** What is there now, was not at the start, and does not go within two seconds. */
async function leftBehind(temporary: string): Promise<string[]> {
  const look = () => [
    ...[...traces()].filter((trace) => !before.has(trace)),
    ...readdirSync(temporary)
      .filter((name) => name.startsWith('cordon-'))
      .map((name) => `directory ${join(temporary, name)}`),
  ];
  const deadline = performance.now() + 2000;
  while (look().length > 0 && performance.now() < deadline) await sleep(20);
  return look();
}
