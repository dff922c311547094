/**
 * `npm run cpython-tests [-- test_json test_re …]`: parts of CPython's own test suite (Debian: libpython3.11-testsuite), each module once in
 * a sandbox and once without, as an ordinary user. Prints the counts side by side and every test whose result differs, with the reason
 * where it is known (cpython-differences.ts). Without the tests of UDP-Lite, which break the module off where the protocol is refused. The exit status is 0 only if each difference has one.
 */

import { spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmodSync, chownSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { selectBackend } from '../../src/backends/select.js';
import type { Backend } from '../../src/sandbox.js';
import { reasonFor } from './cpython-differences.js';
import { PYTHON } from './sandbox.js';

const MODULES = [
  ...['test_json', 'test_re', 'test_sqlite3', 'test_threading', 'test_subprocess', 'test_multiprocessing_fork'],
  ...[
    'test_asyncio',
    'test_tempfile',
    'test_os',
    'test_posix',
    'test_socket',
    'test_zipfile',
    'test_ctypes',
    'test_pickle',
  ],
  ...[
    'test_signal',
    'test_mmap',
    'test_shutil',
    'test_pathlib',
    'test_inspect',
    'test_logging',
    'test_io',
    'test_fileio',
  ],
  ...['test_select', 'test_selectors', 'test_time', 'test_datetime', 'test_zoneinfo', 'test_locale'],
  ...['test_random', 'test_decimal', 'test_struct', 'test_csv', 'test_glob', 'test_tarfile', 'test_gzip', 'test_uuid'],
  ...[
    'test_concurrent_futures',
    'test_faulthandler',
    'test_atexit',
    'test_traceback',
    'test_exceptions',
    'test_builtin',
  ],
  ...['test_gc', 'test_import', 'test_importlib', 'test_site', 'test_sys', 'test_venv', 'test_pty', 'test_resource'],
];
/** `nobody`, for the run without a sandbox. */
const USER_ID = 65_534;
const TIMEOUT_SECONDS = 900;
const MARK = 'CPYTHON-TESTS ';

/** How each test of a module ended: `completed`, `skipped`, `failure`, `error`. */
type Results = Readonly<Record<string, string>>;

/** Runs one module of the suite in a process of its own, and prints how each test ended as one line. */
const driver = (module: string): string => `
import json, os, subprocess, sys, xml.etree.ElementTree as tree
environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} # some tests are skipped with it
ran = subprocess.run([sys.executable, "-m", "test", "--junit-xml", "result.xml", "--timeout", "600", "-i", "*UDPLITE*", ${JSON.stringify(module)}],
                     env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
results = {}
try:
    for case in tree.parse("result.xml").iter("testcase"):
        kinds = {child.tag for child in case} & {"error", "failure", "skipped"}
        results[case.get("name")] = min(kinds) if kinds else case.get("result")
except Exception as error:
    results["the module as a whole"] = f"{type(error).__name__}: {error}"
if os.environ.get("SHOW"): sys.stderr.buffer.write(ran.stdout[-30000:])
print(${JSON.stringify(MARK)} + json.dumps(results))`;

function resultsOf(stdout: string, elsewhere: string): Results {
  const line = stdout.split('\n').findLast((one) => one.startsWith(MARK));
  return line === undefined
    ? { 'the module as a whole': `no result: ${elsewhere}` }
    : (JSON.parse(line.slice(MARK.length)) as Results);
}

async function inside(backend: Backend, module: string): Promise<Results> {
  const outcome = await backend.run(
    {
      runId: randomUUID(),
      code: `${process.env.SHOW === undefined ? '' : 'import os; os.environ["SHOW"] = "1"'}${driver(module)}`,
      stdin: '',
      files: [],
      limits: {
        timeoutSeconds: TIMEOUT_SECONDS,
        cpuSeconds: TIMEOUT_SECONDS,
        memoryMb: 3072,
        processes: 512,
        openFiles: 1024,
        fileSizeMb: 1024,
        outputMb: 64,
        outputKeptKb: 8192,
        filesOut: 0,
        filesOutMb: 0,
      },
    },
    new AbortController().signal,
  );
  if (process.env.SHOW !== undefined) process.stderr.write(outcome.stderr.text);
  return resultsOf(outcome.stdout.text, outcome.reason);
}

async function outside(module: string): Promise<Results> {
  const directory = mkdtempSync(join(tmpdir(), 'cpython-'));
  try {
    const asRoot = process.getuid?.() === 0;
    if (asRoot) chownSync(directory, USER_ID, USER_ID);
    chmodSync(directory, 0o755);
    const program = [PYTHON, '-c', driver(module)];
    const user = [
      'setpriv',
      `--reuid=${USER_ID}`,
      `--regid=${USER_ID}`,
      '--clear-groups',
      '--bounding-set=-all',
      '--inh-caps=-all',
    ];
    const [command = PYTHON, ...args] = asRoot ? [...user, ...program] : program;
    const child = spawn(command, args, {
      cwd: directory,
      env: { PATH: '/usr/local/bin:/usr/bin:/bin', HOME: directory, TMPDIR: directory, LANG: 'C.UTF-8' },
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: TIMEOUT_SECONDS * 1000,
      killSignal: 'SIGKILL',
    });
    let stdout = '';
    child.stdout.setEncoding('utf8').on('data', (piece: string) => (stdout += piece));
    const status = await new Promise<string>((resolve) => {
      child.once('close', (code, signal) => {
        resolve(String(signal ?? code));
      });
    });
    return resultsOf(stdout, `it ended with ${status}`);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const count = (results: Results, how: (result: string) => boolean): number => Object.values(results).filter(how).length;
const isFailure = (result: string): boolean => result !== 'completed' && result !== 'skipped';

const named = process.argv.slice(2);
const modules = named.length === 0 ? MODULES : named;
if (spawnSync(PYTHON, ['-c', 'import test.libregrtest, test.test_json']).status !== 0) {
  console.error(`skipped: ${PYTHON} has no test suite (Debian: apt-get install libpython3.11-testsuite)`);
  process.exit(named.length === 0 ? 0 : 1);
}
const backend = await selectBackend({
  minimum: 'strict',
  python: PYTHON,
  preload: [],
  mounts: [],
  warm: 0,
  diskMb: 512,
  diskInodes: 65_536,
});
const columns = ['passed', 'skipped', 'failed'] as const;
const line = (name: string, cells: readonly (string | number)[]) => {
  console.log(`${name.padEnd(28)}${cells.map((cell) => String(cell).padStart(9)).join('')}`);
};
const totals = [0, 0, 0, 0, 0, 0];
const differences: { test: string; inside: string; outside: string; reason: string | null }[] = [];
try {
  line('', ['sandbox', '', '', 'outside', '', '']);
  line('module', [...columns, ...columns]);
  for (const module of modules) {
    const within = await inside(backend, module);
    const without = await outside(module);
    const cells = [within, without].flatMap((results) => [
      count(results, (result) => result === 'completed'),
      count(results, (result) => result === 'skipped'),
      count(results, isFailure),
    ]);
    cells.forEach((cell, index) => (totals[index] = (totals[index] ?? 0) + cell));
    line(cells.every((cell) => cell === 0) ? `${module} (not packaged)` : module, cells);
    for (const test of new Set([...Object.keys(within), ...Object.keys(without)])) {
      const [one = 'not run', other = 'not run'] = [within[test], without[test]];
      if (one !== other) differences.push({ test, inside: one, outside: other, reason: reasonFor(test, one, other) });
    }
  }
  line('all', totals);
} finally {
  await backend.close();
}
const unexplained = differences.filter(({ reason }) => reason === null);
for (const { test, inside: one, outside: other, reason } of differences) {
  console.log(`\n${test}\n  ${one} in the sandbox, ${other} without: ${reason ?? 'NOT EXPLAINED'}`);
}
console.log(`\n${differences.length} tests differ, ${unexplained.length} of them unexplained`);
process.exitCode = unexplained.length === 0 ? 0 : 1;
