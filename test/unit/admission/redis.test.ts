/** Against a real Redis, which the test starts for itself on a Unix socket. */
import assert from 'node:assert/strict';
import { execFile, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { createLimits, leftUnder } from '../../../src/admission/limits.js';
import { createRedisStore } from '../../../src/admission/redis.js';
import type { LimitDemand } from '../../../src/policy/decide.js';
import { openRedis, type Redis } from '../../../src/state/redis.js';
import { promisesOfAStore, promisesOfHolds, type StorePair } from './store-promises.js';

const CALLER = fileURLToPath(new URL('../../support/limited-caller.js', import.meta.url));
/** Of Debian's package of the same name. */
const REDIS_SERVER = 'redis-server';
const missing =
  spawnSync(REDIS_SERVER, ['--version']).error === undefined
    ? false
    : 'needs redis-server (apt-get install redis-server)';

const limited: LimitDemand = {
  rule: '/all_tools/limits/0',
  counter: 'calls',
  window: 'day',
  align: 'calendar',
  scope: 'server',
  charge: 'calls',
  max: 5,
  cost: 1,
  onDeny: null,
  shadow: false,
};
const who = { grant: 'local' };

describe('counters in Redis', { skip: missing }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'cordon-test-'));
  const socket = join(directory, 'redis.sock');
  const url = `unix://${socket}`;
  let server: ChildProcess | null = null;
  let redis: Redis;
  let another: Redis;

  async function startServer(): Promise<void> {
    const flags = ['--port', '0', '--unixsocket', socket, '--dir', directory, '--appendonly', 'yes', '--save', ''];
    const child = spawn(REDIS_SERVER, [...flags, '--appendfsync', 'always'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    server = child;
    for await (const line of createInterface({ input: child.stdout })) {
      if (/ready to accept connections/i.test(line)) break;
    }
    child.stdout.resume();
    await once(createConnection(socket), 'connect');
  }

  async function stopServer(signal: NodeJS.Signals): Promise<void> {
    const child = server;
    server = null;
    if (child === null) return;
    child.kill(signal);
    await once(child, 'exit');
  }

  before(async () => {
    await startServer();
    redis = openRedis(url, url);
    another = openRedis(url, url);
  });

  after(async () => {
    await redis.close();
    await another.close();
    await stopServer('SIGKILL');
    rmSync(directory, { recursive: true, force: true });
  });

  async function pair(): Promise<StorePair> {
    await redis.run("return redis.call('FLUSHALL')", [], []);
    return { one: createRedisStore(redis), other: createRedisStore(another) };
  }

  promisesOfAStore('as counters', pair);
  promisesOfHolds('with holds', pair);

  it('servers never let one call more than max through, and never lose one, with 50 calls at once in each of 3', async () => {
    await pair();
    const run = promisify(execFile);
    const outputs = await Promise.all(
      Array.from({ length: 3 }, () => run(process.execPath, [CALLER, url, 'calls', '50', '103'])),
    );
    const answers = outputs.map(({ stdout }) => JSON.parse(stdout) as { through: number; failed: number });
    const total = (of: 'through' | 'failed') => answers.reduce((sum, answer) => sum + answer[of], 0);
    assert.equal(total('failed'), 0, outputs.map(({ stderr }) => stderr).join(''));
    assert.equal(total('through'), 103);
  });

  it('while Redis is gone calls are denied, aloud, and it goes on where it was when Redis is back', async () => {
    const { one } = await pair();
    const said: (string | null)[] = [];
    const limits = createLimits(one, Date.now, { onStore: (failure) => said.push(failure?.message ?? null) });
    const now = new Date('2026-03-04T12:00:00Z');
    assert.ok((await limits.reserve([limited], who, now)).ok);
    await stopServer('SIGKILL');
    for (let call = 0; call < 2; call += 1) {
      const answer = await limits.reserve([limited], who, now);
      assert.ok(!answer.ok);
      assert.equal(answer.denial.code, 'limiter_unavailable');
    }
    await startServer();
    assert.ok((await limits.reserve([limited], who, now)).ok);
    assert.deepEqual(
      (await leftUnder(one, [limited], who, now)).map(({ left }) => left),
      [3],
    );
    assert.match(said[0] ?? '', /can't be used.*Is Redis running/);
    assert.equal(said.at(-1), null);
  });

  it('a Redis that hangs is one that is gone', async () => {
    const { one } = await pair();
    const limits = createLimits(one);
    const now = new Date('2026-03-04T12:00:00Z');
    assert.ok((await limits.reserve([limited], who, now)).ok);
    server?.kill('SIGSTOP');
    try {
      const answer = await limits.reserve([limited], who, now);
      assert.ok(!answer.ok);
      assert.equal(answer.denial.code, 'limiter_unavailable');
    } finally {
      server?.kill('SIGCONT');
    }
    assert.ok((await limits.reserve([limited], who, now)).ok);
  });

  it('a server that is killed while it settles leaves nothing free and nothing lost', async () => {
    const { one } = await pair();
    const victim = spawn(process.execPath, [CALLER, url, 'spend', '10000'], { stdio: ['ignore', 'pipe', 'inherit'] });
    let settled = 0;
    const reader = createInterface({ input: victim.stdout }).on('line', () => {
      settled += 1;
      if (settled === 7) victim.kill('SIGKILL');
    });
    await Promise.all([once(victim, 'exit'), once(reader, 'close')]);
    const cpu: LimitDemand = { ...limited, counter: 'cpu', charge: 'cpu_seconds', max: 10_000, cost: null };
    const [state] = await leftUnder(one, [cpu], who, new Date(Date.now() + 61_000));
    const more = Math.round((10_000 - (state?.left ?? 0) - 0.25 * settled) * 1000) / 1000;
    assert.ok([0, 0.25, 1, 1.25].includes(more), `${settled} settled, ${more} s more charged`);
  });
});
