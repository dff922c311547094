/**
 * `npm run bench`: one table, everything measured side by side in one run, alternating. `-- --json` prints data instead, `-- --quick` takes few
 * samples and leaves out the long ones (60 idle seconds, 5,000 calls).
 */

import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { connect, descendants, MAIN, OPEN_POLICY, type Session } from '../support/server.js';
import { accountingMs } from './accounting.js';
import { sessionFigures } from './session.js';
import { alternate, machineCpuMs, memoryMb, processesCpuMs, throughput, timed, type Summary } from './measure.js';

const { values: options } = parseArgs({
  options: { json: { type: 'boolean' }, quick: { type: 'boolean' }, python: { type: 'string', default: 'python3' } },
});
const quick = options.quick === true;
const rounds = quick ? 30 : 200;
const heavyRounds = quick ? 5 : 20;
const startRounds = quick ? 3 : 15;
const throughputCalls = quick ? 100 : 600;

/** A sandbox is made in 10 ms, with large packages in 30. */
const SETTLING_MS = 20;
const SILENCE_MS = 20;
const TOOL_SERVER = fileURLToPath(new URL('./tool-server.js', import.meta.url));
const PRINT = 'print(1)';
const PANDAS = 'import numpy, pandas; print(pandas.DataFrame({"a": numpy.arange(3)}).sum().a)';

/** The real interpreter behind `python`, so that a shim's own start is not counted in anyone's favour. */
const python = await output(options.python, ['-c', 'import sys; print(sys.executable)']);
const hasPandas = (await exitStatus(python, ['-c', 'import numpy, pandas'])) === 0;
const hasBwrap = (await exitStatus('bwrap', ['--version'])) === 0;

function run(command: string, argv: readonly string[]): Promise<{ status: number | null; out: Buffer }> {
  return new Promise((resolve) => {
    const child = spawn(command, argv, { stdio: ['ignore', 'pipe', 'ignore'] });
    const pieces: Buffer[] = [];
    child.stdout.on('data', (piece: Buffer) => pieces.push(piece));
    child.on('error', () => {
      resolve({ status: null, out: Buffer.alloc(0) });
    });
    child.on('close', (status) => {
      resolve({ status, out: Buffer.concat(pieces) });
    });
  });
}

async function output(command: string, argv: readonly string[]): Promise<string> {
  return (await run(command, argv)).out.toString().trim();
}

async function exitStatus(command: string, argv: readonly string[]): Promise<number | null> {
  return (await run(command, argv)).status;
}

const bare = (code: string) => () => run(python, ['-c', code]);
const prefix = await output(python, ['-c', 'import sys; print(sys.base_prefix)']);
const bwrap = (code: string) => () =>
  run('bwrap', [
    ...['--unshare-all', '--die-with-parent', '--ro-bind', '/usr', '/usr', '--symlink', 'usr/lib', '/lib'],
    ...['--symlink', 'usr/lib64', '/lib64', '--symlink', 'usr/bin', '/bin', '--proc', '/proc', '--dev', '/dev'],
    ...['--tmpfs', '/tmp', ...(prefix === '/usr' ? [] : ['--ro-bind', prefix, prefix])],
    ...[python, '-I', '-c', code],
  ]);

async function call(client: Client, code: string): Promise<void> {
  const result = await client.callTool({ name: 'code_execute', arguments: { code } });
  if (result.isError === true) throw new Error(`a call of the benchmark failed: ${JSON.stringify(result.content)}`);
}

async function toolServer(kind: 'empty' | 'naive'): Promise<Client> {
  const client = new Client({ name: 'bench', version: '1' });
  await client.connect(new StdioClientTransport({ command: process.execPath, args: [TOOL_SERVER, kind, python] }));
  return client;
}

const policy = (sandbox: object) => ({
  ...OPEN_POLICY,
  sandbox: { python, max_waiting: 128, ...sandbox },
});

function serverPid(session: Session): number {
  const { pid } = session.client.transport as StdioClientTransport;
  if (pid === null) throw new Error('the server is not running');
  return pid;
}

interface Row {
  readonly what: string;
  readonly figure: string;
  readonly ratio?: { readonly value: number; readonly of: string; readonly reach?: string };
}
const rows: Row[] = [];
const ms = (value: number) => `${value.toFixed(value < 10 ? 2 : 1)} ms`;
const times = ({ medianMs, p95Ms }: Summary) => `median ${ms(medianMs)}, p95 ${ms(p95Ms)}`;
function row(what: string, figure: string, value?: number, of?: string, reach?: string): void {
  const ratio = value === undefined || of === undefined ? undefined : { value, of, ...(reach && { reach }) };
  rows.push({ what, figure, ...(ratio && { ratio }) });
  if (options.json !== true)
    process.stderr.write(`  ${what}: ${figure}${ratio ? ` (${ratio.value.toFixed(3)})` : ''}\n`);
}

const warm = await connect(policy({ warm: 4 }));
const cold = await connect(policy({ warm: 0 }));
const empty = await toolServer('empty');
const naive = await toolServer('naive');

// Latency, one caller, one call after the other. What Cordon does after an answer (ending the sandbox, making the next) is over before anything begins that
// others are compared with, and what is compared begins on a processor that is awake.
const settled = () => new Promise((resolve) => setTimeout(resolve, SETTLING_MS));
{
  const got = await alternate(rounds, {
    settled,
    bwrap: hasBwrap ? bwrap(PRINT) : () => Promise.resolve(),
    cold: () => call(cold.client, PRINT),
    settledAgain: settled,
    naive: () => call(naive, PRINT),
    bare: bare(PRINT),
    empty: () => call(empty, PRINT),
    warm: () => call(warm.client, PRINT),
  });
  const base = got.bare.medianMs;
  row('python3 -c, unconfined, spawned from Node', times(got.bare), 1, 'itself');
  if (hasBwrap) row('the same in bwrap --unshare-all', times(got.bwrap), got.bwrap.medianMs / base, 'bare');
  else row('the same in bwrap --unshare-all', 'skipped: bwrap is not installed');
  row('naive tool over MCP', times(got.naive), got.naive.medianMs / base, 'bare');
  row('Cordon over MCP, no ready sandbox', times(got.cold), got.cold.medianMs / base, 'bare');
  row('Cordon over MCP, ready sandbox', times(got.warm), got.warm.medianMs / base, 'bare', '<= 0.20');
  row('  its 95th percentile', ms(got.warm.p95Ms), got.warm.p95Ms / base, 'median of bare', '<= 0.5');
  row('empty SDK tool (the floor)', times(got.empty), got.empty.medianMs / base, 'bare');
  row(
    'Cordon over the floor',
    ms(got.warm.medianMs - got.empty.medianMs),
    got.warm.medianMs - got.empty.medianMs,
    'ms',
    '<= 2',
  );
}

// The same after a silence, as between an agent's calls: processors have gone to sleep, and caches are somebody else's.
{
  const got = await alternate(
    rounds,
    { bare: bare(PRINT), empty: () => call(empty, PRINT), warm: () => call(warm.client, PRINT) },
    SILENCE_MS,
  );
  const base = got.bare.medianMs;
  row(`after ${SILENCE_MS} ms of silence: unconfined`, times(got.bare), 1, 'itself');
  row('  Cordon, ready sandbox', times(got.warm), got.warm.medianMs / base, 'the same');
  row('  empty SDK tool', times(got.empty), got.empty.medianMs / base, 'the same');
}

// Libraries.
if (hasPandas) {
  const preloaded = await connect(policy({ warm: 2, preload: ['numpy', 'pandas'] }));
  await call(preloaded.client, PANDAS);
  const got = await alternate(heavyRounds, {
    settled: () => new Promise((resolve) => setTimeout(resolve, 3 * SETTLING_MS)),
    awake: bare(PRINT),
    bare: bare(PANDAS),
    cordon: () => call(preloaded.client, PANDAS),
  });
  row('import numpy, pandas and use them: unconfined', times(got.bare), 1, 'itself');
  row(
    'the same in Cordon, preloaded',
    times(got.cordon),
    got.cordon.medianMs / got.bare.medianMs,
    'unconfined',
    '<= 0.03',
  );
  await preloaded.close();
} else row('import numpy, pandas and use them', `skipped: ${python} has no pandas`);

// Throughput, and what a call costs in CPU time.
{
  const bwrapRate = hasBwrap ? await throughput(8, throughputCalls / 2, bwrap(PRINT)) : null;
  if (bwrapRate) row('bwrap, 8 at a time', `${bwrapRate.perSecond.toFixed(0)} a second, ${times(bwrapRate.each)}`);
  let alone = NaN;
  for (const callers of [1, 2, 4, 8, 16, 64]) {
    const before = machineCpuMs();
    const got = await throughput(callers, throughputCalls, () => call(warm.client, PRINT));
    const cpu = (machineCpuMs() - before) / throughputCalls;
    if (callers === 1) alone = cpu;
    const figure = `${got.perSecond.toFixed(0)} a second, ${times(got.each)}, CPU of the machine ${ms(cpu)} a call`;
    if (callers === 8 && bwrapRate)
      row(`Cordon, ${callers} callers`, figure, got.perSecond / bwrapRate.perSecond, 'bwrap', '>= 4');
    else if (callers === 64) row(`Cordon, ${callers} callers`, figure, cpu / alone, 'CPU a call of 1 caller', '<= 1.2');
    else row(`Cordon, ${callers} callers`, figure);
  }
}

// Sessions.
{
  const got = await sessionFigures(python, quick ? 10 : 100, 60);
  row('a single call, at the backend', times(got.single), 1, 'itself');
  row(
    'a step of a session, small state',
    times(got.small),
    got.small.medianMs / got.single.medianMs,
    'single call',
    '<= 1.5',
  );
  row('  the first step, with its session', times(got.first), got.first.medianMs / got.single.medianMs, 'single call');
  const over = got.large.medianMs - got.single.medianMs;
  row('  a 500 MB array in the state: over a single call', ms(over), over, 'ms', '<= 30');
  row('  memory that one more step on it takes', `${got.largeGrowthMb.toFixed(1)} MB`);
}

// Policy.
{
  const took = await accountingMs(quick ? 200 : 1000);
  row('decision and accounting, 50 rules, 50 limits, embedded store', ms(took), took, 'ms', '< 0.5');
}

// Start.
{
  /** From the spawning of the server to its answer. */
  const start = async (argv: readonly string[], code?: string): Promise<number> => {
    const begin = performance.now();
    const client = new Client({ name: 'bench', version: '1' });
    await client.connect(new StdioClientTransport({ command: process.execPath, args: [...argv], stderr: 'ignore' }));
    if (code === undefined) await client.listTools();
    else await call(client, code);
    const answered = performance.now();
    await client.close();
    return answered - begin;
  };
  const directory = mkdtempSync(join(tmpdir(), 'cordon-bench-'));
  const cordon = [
    MAIN,
    'serve',
    '--policy',
    join(warm.place.directory, 'policy.json'),
    '--audit',
    join(directory, 'audit'),
  ];
  const closing = await alternate(startRounds, {
    emptyList: () => start([TOOL_SERVER, 'empty']),
    cordonList: () => start(cordon),
    emptyCall: () => start([TOOL_SERVER, 'empty'], PRINT),
    bare: bare(PRINT),
    cordonCall: () => start(cordon, PRINT),
  });
  rmSync(directory, { recursive: true });
  row('start to first list: empty SDK server', times(closing.emptyList), 1, 'itself');
  row(
    'the same: Cordon',
    times(closing.cordonList),
    closing.cordonList.medianMs / closing.emptyList.medianMs,
    'empty',
    '<= 1.15',
  );
  const floor = closing.emptyCall.medianMs + closing.bare.medianMs;
  row('start to first result: empty SDK server, plus one python3', ms(floor), 1, 'itself');
  row(
    'the same: Cordon',
    times(closing.cordonCall),
    closing.cordonCall.medianMs / floor,
    'empty and python3',
    '<= 1.3',
  );
}

// Output.
{
  const megabyte = 'print("x" * 999_999)';
  const got = await alternate(heavyRounds, { bare: bare(megabyte), cordon: () => call(warm.client, megabyte) }, 20);
  row('1 MB of output: unconfined', times(got.bare), 1, 'itself');
  row('the same: Cordon', times(got.cordon), got.cordon.medianMs / got.bare.medianMs, 'unconfined');
}

// Memory and idleness.
{
  const pid = serverPid(warm);
  const all = () => [pid, ...descendants(pid)];
  const sum = (pids: readonly number[]) => pids.reduce((total, one) => total + memoryMb(one).pss, 0);
  /** Median over some calls: the collector lets it rise and fall by a quarter, and one look would tell of nothing else. */
  const residentOver = async (calls: number): Promise<number> => {
    const looks: number[] = [];
    for (let n = 0; n < calls; n += 1) {
      await call(warm.client, PRINT);
      if (n % 20 === 0) looks.push(memoryMb(pid).resident);
    }
    return looks.sort((one, other) => one - other)[looks.length >> 1] ?? NaN;
  };
  for (let n = 0; n < 100; n += 1) await call(warm.client, PRINT);
  const after100 = await residentOver(900);
  await settled(); // none of the processes that are looked at next is on its way out
  row('memory of the server (Node), from 100 to 1,000 calls', `${after100.toFixed(0)} MB resident`);
  row('memory of all its processes (PSS), 4 ready sandboxes', `${sum(all()).toFixed(0)} MB, ${all().length} processes`);
  const python3 = descendants(pid).map(memoryMb);
  const own = python3.map((one) => one.own).sort((a, b) => a - b);
  row('a process of a ready sandbox', `${(own[own.length >> 1] ?? NaN).toFixed(1)} MB of its own (two of them)`);
  if (!quick) {
    for (let n = 0; n < 4000; n += 1) await call(warm.client, PRINT);
    const after5000 = await residentOver(900);
    row(
      'memory of the server after 5,000 calls, over 900 more',
      `${after5000.toFixed(0)} MB resident`,
      after5000 / after100,
      'after 100',
      '<= 1.05',
    );
    // What the last call left to do, the sandbox in its place among it, is the call's.
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const before = processesCpuMs(all());
    const idle = await timed(() => new Promise((resolve) => setTimeout(resolve, 60_000)));
    const used = processesCpuMs(all()) - before;
    row('CPU time in 60 idle seconds, all processes', ms(used), used, `ms in ${(idle / 1000).toFixed(0)} s`, '< 50');
  }
}

await Promise.all([warm.close(), cold.close(), empty.close(), naive.close()]);

const machine = {
  date: new Date().toISOString().slice(0, 10),
  cpu: `${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}`,
  kernel: release(),
  node: process.version,
  python: await output(python, ['--version']),
  os: /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'Linux',
};
if (options.json === true) process.stdout.write(`${JSON.stringify({ machine, rows }, null, 2)}\n`);
else {
  const widths = [
    Math.max(...rows.map(({ what }) => what.length)),
    Math.max(...rows.map(({ figure }) => figure.length)),
  ] as const;
  const lines = rows.map(({ what, figure, ratio }) => {
    const compared = ratio
      ? `${ratio.value.toFixed(3)} of ${ratio.of}${ratio.reach ? `  (to reach: ${ratio.reach})` : ''}`
      : '';
    return `${what.padEnd(widths[0])}  ${figure.padEnd(widths[1])}  ${compared}`.trimEnd();
  });
  process.stdout.write(`\n${Object.values(machine).join(', ')}\n\n${lines.join('\n')}\n`);
}
