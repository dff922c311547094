/** How the server starts and stops, seen from outside: exit status, what is on stdout, and which processes are left. */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import {
  createPlace,
  descendants,
  isAlive,
  startRaw,
  until,
  tierHere,
  whyNoSandbox,
  type Place,
  type RawServer,
} from '../support/server.js';

const skip = whyNoSandbox();
let place: Place;
beforeEach(() => {
  place = createPlace();
});
afterEach(() => {
  // What a failed test has left; a server that is killed takes all it runs with it.
  for (const server of servers.splice(0)) server.process.kill('SIGKILL');
  place.remove();
});

const servers: RawServer[] = [];
function start(...args: Parameters<typeof startRaw>): RawServer {
  const server = startRaw(...args);
  servers.push(server);
  return server;
}

/** A server with a program under way that would run for long, and every process of it. */
async function serverWithRun(): Promise<{ server: RawServer; processes: number[] }> {
  const server = start(['serve', ...place.flags], place.directory);
  await server.initialize();
  const code =
    'import os, signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nos.fork()\nprint("here", flush=True)\nwhile True: pass';
  const params = { name: 'code_execute', arguments: { code }, _meta: { progressToken: 'run' } };
  server.send({ id: 'run', method: 'tools/call', params });
  // Both of the program's processes are there once both have printed.
  await server.message(() => (server.lines.join('').match(/here/g)?.length ?? 0) === 2);
  const { pid } = server.process;
  assert.ok(pid !== undefined);
  const processes = descendants(pid);
  assert.ok(processes.length > 0);
  return { server, processes };
}

async function gone(processes: readonly number[]): Promise<void> {
  await until('no process of it is left', () => !processes.some(isAlive));
}

test('the end of stdin stops the server and all that runs, with status 0', { skip }, async () => {
  const { server, processes } = await serverWithRun();
  server.process.stdin.end();
  assert.equal(await server.exited, 0);
  await gone(processes);
  assert.deepEqual(
    place.audit().map(({ status }) => status),
    ['cancelled'],
  );
});

for (const [signal, status] of [
  ['SIGTERM', 143],
  ['SIGINT', 130],
  ['SIGHUP', 129],
] as const) {
  test(`${signal} stops the server and all that runs`, { skip }, async () => {
    const { server, processes } = await serverWithRun();
    server.process.kill(signal);
    assert.equal(await server.exited, status);
    await gone(processes);
    assert.deepEqual(
      place.audit().map((line) => line.status),
      ['cancelled'],
    );
  });
}

test('a client that closes stdout stops the server and all that runs', { skip }, async () => {
  const { server, processes } = await serverWithRun();
  server.process.stdout.destroy();
  server.send({ id: 'ping', method: 'ping' });
  assert.equal(await server.exited, 0);
  await gone(processes);
});

test('a message without end is not waited for: the server says so, and stops', { skip }, async () => {
  const server = start(['serve', ...place.flags], place.directory);
  await server.initialize();
  const piece = 'x'.repeat(2 ** 20);
  const feed = (): void => {
    while (server.process.stdin.writable && server.process.stdin.write(piece));
  };
  server.process.stdin.on('drain', feed);
  feed();
  assert.equal(await server.exited, 1);
  assert.match(server.stderr(), /exceeded maximum size/);
});

test('a server that is killed outright leaves no process behind', { skip }, async () => {
  const { server, processes } = await serverWithRun();
  server.process.kill('SIGKILL');
  assert.equal(await server.exited, 'SIGKILL');
  await gone(processes);
});

test('nothing is started before the client has said initialized; then sandboxes are made ready', { skip }, async () => {
  const server = start(['serve', ...place.flags], place.directory);
  const { pid } = server.process;
  assert.ok(pid !== undefined);
  const params = { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'looker', version: '1' } };
  server.send({ id: 1, method: 'initialize', params });
  await server.message(({ id }) => id === 1);
  server.send({ id: 2, method: 'tools/list' });
  await server.message(({ id }) => id === 2);
  assert.deepEqual(descendants(pid), []);
  server.send({ method: 'notifications/initialized' });
  await until('a sandbox is made ready', () => descendants(pid).length > 0);
  server.process.stdin.end();
  assert.equal(await server.exited, 0);
});

test(
  'stdout carries nothing but JSON-RPC, one message a line, whatever programs print and clients send',
  { skip },
  async () => {
    const server = start([...place.flags], place.directory);
    await server.initialize();
    server.process.stdin.write('this is no JSON\n{"jsonrpc":"2.0"}\n[]\n\n');
    const code = 'import sys, os\nprint("x\\n{}\\n")\nos.write(1, b"\\xff\\x00\\n")\nos.write(2, b"raw\\n")\n1/0';
    server.send({ id: 'a', method: 'tools/call', params: { name: 'code_execute', arguments: { code } } });
    server.send({ id: 'b', method: 'no/such/method' });
    server.send({ id: 'c', method: 'tools/call', params: { name: 'code_execute', arguments: 'no object' } });
    for (const wanted of ['a', 'b', 'c']) await server.message(({ id }) => id === wanted);
    server.process.stdin.end();
    assert.equal(await server.exited, 0);
    for (const line of server.lines) assert.equal((JSON.parse(line) as { jsonrpc: string }).jsonrpc, '2.0');
  },
);

test(
  'at the start stderr says which policy holds and why, its default, limits, tier and Python',
  { skip },
  async () => {
    const server = start([...place.flags], place.directory);
    await server.initialize();
    server.process.stdin.end();
    await server.exited;
    const said = server.stderr();
    assert.match(said, /policy: .*policy\.json \(named by --policy\)/);
    assert.match(said, /default: deny/);
    assert.match(said, /each run: 30 s/);
    assert.match(said, new RegExp(`tier ${tierHere()}, Python 3\\.\\d+\\.\\d+`));
    assert.match(said, /audit log: .*audit\.jsonl/);
  },
);

test('a policy with errors stops the start: all of them at once, nothing on stdout, status 2', async () => {
  const bad = createPlace({
    version: '2',
    default: 'maybe',
    tools: { code_execute: { limit: [], require: 7 } },
    sandbox: { memory: 1 },
  });
  try {
    const server = start([...bad.flags], bad.directory);
    assert.equal(await server.exited, 2);
    for (const pointer of [
      '/version',
      '/default',
      '/tools/code_execute/limit',
      '/tools/code_execute/require',
      '/sandbox/memory',
    ]) {
      assert.ok(server.stderr().includes(pointer), `${pointer} in ${server.stderr()}`);
    }
    assert.deepEqual(server.lines, []);
  } finally {
    bad.remove();
  }
});

test('a policy that was named and is not there stops the start', async () => {
  const server = start(['--policy', 'nowhere.json', '--audit', 'off'], place.directory);
  assert.equal(await server.exited, 2);
  assert.match(server.stderr(), /nowhere\.json/);
});

test('an audit log that can not be written stops the start', async () => {
  mkdirSync(join(place.directory, 'log'));
  const server = start(['--policy', 'policy.json', '--audit', 'log'], place.directory);
  assert.equal(await server.exited, 1);
  assert.match(server.stderr(), /audit log .*log can't be written/);
  assert.deepEqual(server.lines, []);
});

test('an interpreter that is not there stops the start, with what would help', async () => {
  const other = createPlace({ version: '1', default: 'deny', sandbox: { python: '/no/such/python' } });
  try {
    const server = start([...other.flags], other.directory);
    assert.equal(await server.exited, 1);
    assert.match(server.stderr(), /\/no\/such\/python/);
  } finally {
    other.remove();
  }
});
