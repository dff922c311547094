/** A policy that is edited while the server runs, with a real client and real sandboxes. */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, realpathSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ToolListChangedNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import { connect, execute, whyNoSandbox, whyNotStrict, type Session } from '../support/server.js';

const skip = whyNoSandbox();

const policyOf = (max: number, more: object = {}) => ({
  version: '1',
  default: 'deny',
  tools: { code_execute: { limits: [{ counter: 'calls', window: 'day', max, scope: 'grant' }] } },
  ...more,
});

async function withSession(policy: unknown, work: (session: Session) => Promise<void>): Promise<void> {
  const session = await connect(policy);
  try {
    await work(session);
  } finally {
    await session.close();
  }
}

function edit({ place }: Session, policy: unknown): void {
  const path = join(place.directory, 'policy.json');
  writeFileSync(`${path}.new`, typeof policy === 'string' ? policy : JSON.stringify(policy));
  renameSync(`${path}.new`, path);
}

async function statusOf({ client }: Session, code = 'print(1)'): Promise<unknown> {
  const { structured } = await execute(client, { code });
  return structured.status;
}

test('an edited policy holds from the next call on, with the counters as they were', { skip }, () =>
  withSession(policyOf(2), async (session) => {
    assert.equal(await statusOf(session), 'ok');
    edit(session, policyOf(1));
    assert.equal(await statusOf(session), 'denied');
    edit(session, policyOf(3));
    assert.equal(await statusOf(session), 'ok');
    assert.equal(await statusOf(session), 'ok');
    assert.equal(await statusOf(session), 'denied');
    const hashes = session.place.audit().map(({ policyHash }) => policyHash);
    assert.equal(new Set(hashes).size, 3);
    assert.equal(hashes[2], hashes[4]);
  }),
);

test(
  'an edit that is not valid is refused on stderr and in the audit log, and the policy before it stays',
  { skip },
  () =>
    withSession(policyOf(5), async (session) => {
      assert.equal(await statusOf(session), 'ok');
      edit(session, JSON.stringify(policyOf(1)).replace('"max"', '"maximum"'));
      assert.equal(await statusOf(session), 'ok');
      assert.equal(await statusOf(session), 'ok');
      edit(session, policyOf(1));
      assert.equal(await statusOf(session), 'denied');
      assert.match(session.stderr(), /an edit of the policy is refused.*\n[^]*maximum/);
      const refusals = session.place.audit().filter(({ kind }) => kind === 'policy_refused');
      assert.equal(refusals.length, 1);
      assert.match(JSON.stringify(refusals[0]), /maximum/);
      assert.match(String(refusals[0]?.policyHash), /^[0-9a-f]{64}$/);
    }),
);

test('a client hears that the list of tools is no longer what it was', { skip }, () =>
  withSession(policyOf(9), async (session) => {
    const { client } = session;
    assert.equal(client.getServerCapabilities()?.tools?.listChanged, true);
    let heard = 0;
    client.setNotificationHandler(ToolListChangedNotificationSchema, () => {
      heard += 1;
    });
    assert.equal(await statusOf(session), 'ok');
    assert.equal(heard, 0);
    edit(session, policyOf(9, { sandbox: { timeout_seconds: 7 } }));
    assert.equal(await statusOf(session), 'ok');
    assert.equal(heard, 1);
    assert.match((await client.listTools()).tools[0]?.description ?? '', /Limits: 7 s of time/);
    edit(session, policyOf(9, { hide: ['code_execute'] }));
    assert.equal(await statusOf(session), 'denied');
    assert.equal(heard, 2);
    assert.deepEqual((await client.listTools()).tools, []);
  }),
);

test(
  'an edited sandbox section makes other sandboxes, and a program that runs ends in its own',
  { skip: whyNotStrict() },
  () =>
    withSession(policyOf(99, { sandbox: { disk_mb: 8 } }), async (session) => {
      const { client } = session;
      const size = 'import os; s = os.statvfs("."); print(s.f_blocks * s.f_frsize // 2**20)';
      const sizeNow = async () => (await execute(client, { code: size })).structured.stdout;
      assert.equal(await sizeNow(), '8\n');

      let ended: ReturnType<typeof client.callTool> | undefined;
      await new Promise<void>((resolve) => {
        const call = { name: 'code_execute', arguments: { code: `import time\ntime.sleep(1)\n${size}` } };
        const onprogress = ({ message = '' }) => {
          if (message.startsWith('running')) resolve();
        };
        ended = client.callTool(call, undefined, { onprogress });
      });
      edit(session, policyOf(99, { sandbox: { disk_mb: 16 } }));
      assert.equal(await sizeNow(), '16\n');
      assert.equal(((await ended)?.structuredContent as { stdout: string }).stdout, '8\n');

      edit(session, policyOf(99, { sandbox: { disk_mb: 16, python: '/nowhere/python3' } }));
      assert.equal(await sizeNow(), '16\n');
      assert.match(session.stderr(), /an edit of the policy is refused.*\/nowhere\/python3/s);
    }),
);

test(
  'a directory that an edit opens is there in the next call, and one that can not be opened refuses the edit',
  { skip: whyNotStrict() },
  () =>
    withSession(policyOf(99), async (session) => {
      const look = 'import os; print(os.path.isdir("/mnt/sales") and open("/mnt/sales/a.csv").read())';
      const seen = async () => (await execute(session.client, { code: look })).structured.stdout;
      const host = join(realpathSync(session.place.directory), 'sales');
      mkdirSync(host);
      writeFileSync(join(host, 'a.csv'), 'a,b');
      chmodSync(session.place.directory, 0o755);
      assert.equal(await seen(), 'False\n');
      const mounts = [{ host, inside: '/mnt/sales' }];
      edit(session, policyOf(99, { sandbox: { mounts } }));
      assert.equal(await seen(), 'a,b\n');
      assert.match((await session.client.listTools()).tools[0]?.description ?? '', /\/mnt\/sales \(read only\)/);

      edit(session, policyOf(99, { sandbox: { mounts: [...mounts, { host: `${host}-2`, inside: '/mnt/more' }] } }));
      assert.equal(await seen(), 'a,b\n');
      assert.match(
        session.stderr(),
        /an edit of the policy is refused.*\/sandbox\/mounts\/1\/host.*sales-2: there is none/s,
      );
      // The state of this very server lies beside it.
      edit(
        session,
        policyOf(99, { sandbox: { mounts: [{ host: realpathSync(session.place.directory), inside: '/mnt/all' }] } }),
      );
      assert.equal(await seen(), 'a,b\n');
      assert.match(session.stderr(), /expected a directory without Cordon's own files/);
      edit(session, policyOf(99));
      assert.equal(await seen(), 'False\n');
    }),
);
