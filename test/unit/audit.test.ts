import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { AuditError, openAudit, type AuditRecord } from '../../src/audit.js';

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'cordon-audit-test-'));
});
afterEach(() => {
  rmSync(home, { recursive: true, force: true });
});

const record: AuditRecord = {
  kind: 'call',
  time: '2026-01-01T00:00:00.000Z',
  runId: 'run-1',
  grant: 'local',
  client: { name: 'test', version: '1' },
  tool: 'code_execute',
  decision: { verdict: 'allow', rule: '/tools/code_execute', code: null },
  approval: null,
  shadowed: [],
  policyHash: 'abc',
  codeSha256: null,
  codeBytes: null,
  filesIn: null,
  filesOut: null,
  status: 'ok',
  exitCode: 0,
  signal: null,
  usage: { durationMs: 1, cpuMs: 1, peakMemoryBytes: 1, outputBytes: 1 },
  tier: 'strict',
  session: null,
};

const lines = (path: string) => readFileSync(path, 'utf8').trimEnd().split('\n');

test('priming says nothing, and the first line is the first all the same', async () => {
  const path = join(home, 'audit.jsonl');
  const audit = await openAudit(path, {});
  await audit.prime();
  assert.equal(readFileSync(path, 'utf8'), '');
  await audit.write(record);
  await audit.prime();
  await audit.write({ ...record, runId: 'run-2' });
  const seen = lines(path).map((text) => JSON.parse(text) as { seq: number; prev: string; hash: string });
  assert.deepEqual(
    seen.map(({ seq }) => seq),
    [1, 2],
  );
  assert.equal(seen[1]?.prev, seen[0]?.hash);
  await audit.close();
});

test('the log is in the state directory, for its owner only', async () => {
  const audit = await openAudit(undefined, { HOME: home });
  await audit.write(record);
  const path = join(home, '.local', 'state', 'cordon', 'audit.jsonl');
  assert.equal(audit.path, path);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(statSync(join(path, '..')).mode & 0o777, 0o700);
  const [line] = lines(path).map((text) => JSON.parse(text) as Record<string, unknown>);
  assert.deepEqual({ ...line, prev: '', hash: '' }, { seq: 1, prev: '', ...record, hash: '' });
});

test('XDG_STATE_HOME is followed if it is absolute, as its specification says', async () => {
  assert.equal(
    (await openAudit(undefined, { HOME: home, XDG_STATE_HOME: join(home, 'state') })).path,
    join(home, 'state/cordon/audit.jsonl'),
  );
  assert.equal(
    (await openAudit(undefined, { HOME: home, XDG_STATE_HOME: 'state' })).path,
    join(home, '.local/state/cordon/audit.jsonl'),
  );
});

test('off writes nothing, anywhere', async () => {
  const audit = await openAudit('off', { HOME: home });
  await audit.ready();
  await audit.write(record);
  assert.equal(audit.path, null);
  assert.equal(existsSync(join(home, '.local')), false);
});

test('lines are appended to what is there', async () => {
  const path = join(home, 'log');
  writeFileSync(path, '{"old":true}\n');
  await (await openAudit(path, {})).write(record);
  assert.equal(lines(path).length, 2);
});

test('a client can not forge a line, nor fill the log with its name', async () => {
  const path = join(home, 'log');
  const name = `evil"}\n{"status":"ok"}\u2028\u0000${'x'.repeat(100_000)}`;
  await (await openAudit(path, {})).write({ ...record, client: { name, version: '\n' } });
  const [line, ...more] = lines(path);
  assert.deepEqual(more, []);
  assert.ok(line !== undefined && line.length < 1500);
  const parsed = JSON.parse(line) as AuditRecord;
  assert.ok(name.startsWith(parsed.client.name.slice(0, -1)));
});

test('what is not a regular file is refused at the start: a directory', async () => {
  await assert.rejects(openAudit(home, {}), (error) => error instanceof AuditError && error.message.includes(home));
  assert.equal(existsSync(`${home}.chain`), false);
});

test('what is not a regular file is refused at the start: a device', async () => {
  await assert.rejects(openAudit('/dev/null', {}), /not a regular file/);
  assert.equal(existsSync('/dev/null.chain'), false);
});

test('a log that stops being writable stops calls before they run, and loses no line once it is writable again', async () => {
  const directory = join(home, 'state');
  const path = join(directory, 'log');
  const audit = await openAudit(path, {});
  await audit.write({ ...record, runId: 'before' });
  // A file where the directory was stops root too, whom permissions would not.
  renameSync(directory, `${directory}.away`);
  writeFileSync(directory, '');
  await assert.rejects(audit.ready(), AuditError);
  await assert.rejects(audit.write({ ...record, runId: 'owed' }), AuditError);
  await assert.rejects(audit.ready(), /--audit FILE/);

  rmSync(directory);
  renameSync(`${directory}.away`, directory);
  await audit.ready();
  await audit.write({ ...record, runId: 'after' });
  assert.deepEqual(
    lines(path).map((line) => (JSON.parse(line) as AuditRecord).runId),
    ['before', 'owed', 'after'],
  );
});

test('a log that was moved away is made again', async () => {
  const path = join(home, 'log');
  const audit = await openAudit(path, {});
  await audit.write(record);
  renameSync(path, `${path}.1`);
  await audit.ready();
  await audit.write(record);
  assert.equal(lines(path).length, 1);
  assert.equal(lines(`${path}.1`).length, 1);
});

test('the mode of a log that was there is its owner’s business', async () => {
  const path = join(home, 'log');
  mkdirSync(home, { recursive: true });
  writeFileSync(path, '');
  chmodSync(path, 0o640);
  await (await openAudit(path, {})).write(record);
  assert.equal(statSync(path).mode & 0o777, 0o640);
});

test('a write that stops half-way is an error, and leaves no part of its line', (context) => {
  if (!existsSync('/usr/bin/prlimit')) {
    context.skip('needs prlimit (util-linux) to make a disk look full');
    return;
  }
  const path = join(home, 'log');
  const script = `
    import { execFileSync } from 'node:child_process';
    import { statSync } from 'node:fs';
    import { openAudit } from ${JSON.stringify(new URL('../../src/audit.js', import.meta.url).href)};
    const record = ${JSON.stringify(record)};
    const fileSize = (bytes) => execFileSync('prlimit', ['--pid', String(process.pid), '--fsize=' + bytes + ':unlimited']);
    const audit = await openAudit(${JSON.stringify(path)}, {});
    // SQLite's file is the larger one: it must not be what is full.
    for (let n = 0; n < 200; n += 1) await audit.write(record);
    fileSize(statSync(${JSON.stringify(path)}).size + 100);
    try {
      await audit.write({ ...record, runId: 'owed' });
      console.log('written');
    } catch (error) {
      console.log(error.name);
    }
    fileSize('unlimited');
    await audit.write({ ...record, runId: 'after' });
  `;
  const ran = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  assert.equal(ran.stdout.trim(), 'AuditError', ran.stderr);
  const runs = lines(path).map((line) => (JSON.parse(line) as AuditRecord).runId);
  assert.deepEqual(runs.slice(199), ['run-1', 'owed', 'after']);
});

test('lines that were owed while the log could not be written are written once, however many calls come at once', async () => {
  const directory = join(home, 'state');
  const audit = await openAudit(join(directory, 'log'), {});
  renameSync(directory, `${directory}.away`);
  writeFileSync(directory, '');
  const owed = ['a', 'b', 'c'];
  await Promise.allSettled(owed.map((runId) => audit.write({ ...record, runId })));
  await audit.note({ kind: 'policy_refused', source: '/p.json', policyHash: 'abc', problems: ['/x: no'] });
  rmSync(directory);
  renameSync(`${directory}.away`, directory);
  await Promise.all([audit.ready(), audit.ready(), audit.write({ ...record, runId: 'd' }), audit.ready()]);
  const said = lines(join(directory, 'log')).map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.deepEqual(
    said.map(({ kind, runId }) => (kind === 'call' ? runId : kind)),
    ['a', 'b', 'c', 'policy_refused', 'd'],
  );
});

test('what the environment says of size and age is taken at its word or refused, never guessed at', async () => {
  for (const [name, value] of [
    ['CORDON_AUDIT_MAX_MB', 'lots'],
    ['CORDON_AUDIT_MAX_MB', '0'],
    ['CORDON_AUDIT_KEEP_DAYS', '-1'],
    ['CORDON_AUDIT_KEEP_DAYS', 'Infinity'],
  ] as const) {
    await assert.rejects(
      openAudit(join(home, 'log'), { [name]: value }),
      (error) => error instanceof AuditError && error.message.includes(name),
    );
  }
});
