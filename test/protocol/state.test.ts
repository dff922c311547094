/** Counters that outlive a server, are shared by several, and fail closed, with real servers. */
import assert from 'node:assert/strict';
import { copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import {
  createPlace,
  EXAMPLE_POLICY,
  execute,
  MAIN,
  OPEN_POLICY,
  whyNoSandbox,
  type Place,
} from '../support/server.js';

const skip = whyNoSandbox();

const policy = {
  ...EXAMPLE_POLICY,
  tools: { code_execute: { limits: [{ counter: 'calls', window: 'day', max: 5, scope: 'grant' }] } },
};

async function server(place: Place, ...more: string[]) {
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [MAIN, 'serve', ...place.flags, ...more],
    cwd: place.directory,
    stderr: 'pipe',
  });
  let said = '';
  transport.stderr?.on('data', (bytes: Buffer) => (said += bytes.toString()));
  const client = new Client({ name: 'cordon-test', version: '1' });
  await client.connect(transport);
  return {
    client,
    stderr: () => said,
    call: async () => (await execute(client, { code: '1' })).structured as { status: string; policy: { code: string } },
    close: () => client.close(),
  };
}

test('a limit is one for all servers of a user, and goes on where it was after a restart', { skip }, async () => {
  const place = createPlace(policy);
  try {
    const [one, other] = await Promise.all([server(place), server(place)]);
    const answers = await Promise.all([one, other, one, other].map(({ call }) => call()));
    assert.deepEqual(
      answers.map(({ status }) => status),
      ['ok', 'ok', 'ok', 'ok'],
    );
    await one.close();
    await other.close();
    const next = await server(place);
    assert.equal((await next.call()).status, 'ok');
    assert.equal((await next.call()).policy.code, 'limit_reached');
    await next.close();
  } finally {
    place.remove();
  }
});

test('where the state is damaged calls are denied, aloud, and it goes on when it is mended', { skip }, async () => {
  const place = createPlace(policy);
  const path = join(place.directory, 'state.db');
  try {
    const first = await server(place);
    await first.call();
    await first.close();
    copyFileSync(path, `${path}.sound`);
    for (const extra of ['-wal', '-shm']) rmSync(`${path}${extra}`, { force: true });
    writeFileSync(path, 'not a database');

    const session = await server(place);
    assert.equal((await session.call()).policy.code, 'limiter_unavailable');
    assert.match(session.stderr(), /the state \S+state\.db is damaged.*Limited calls are denied/);
    assert.equal(readFileSync(path, 'utf8'), 'not a database');
    copyFileSync(`${path}.sound`, path);
    assert.equal((await session.call()).status, 'ok');
    assert.match(session.stderr(), /is in use again/);
    for (let call = 0; call < 3; call += 1) assert.equal((await session.call()).status, 'ok');
    assert.equal((await session.call()).policy.code, 'limit_reached');
    await session.close();
  } finally {
    place.remove();
  }
});

test('counters in memory are gone with the server, and nothing is written', { skip }, async () => {
  const place = createPlace(policy);
  try {
    for (let start = 0; start < 2; start += 1) {
      const session = await server(place, '--state', 'memory');
      for (let call = 0; call < 5; call += 1) assert.equal((await session.call()).status, 'ok');
      assert.equal((await session.call()).policy.code, 'limit_reached');
      await session.close();
    }
    assert.throws(() => readFileSync(join(place.directory, 'state.db')), /ENOENT/);
  } finally {
    place.remove();
  }
});

test('a policy without limits does not need the state', { skip }, async () => {
  const place = createPlace(OPEN_POLICY);
  try {
    const session = await server(place, '--state', '/proc/nowhere/state.db');
    assert.equal((await session.call()).status, 'ok');
    await session.close();
  } finally {
    place.remove();
  }
});
