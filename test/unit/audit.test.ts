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
  time: '2026-01-01T00:00:00.000Z',
  runId: 'run-1',
  grant: 'local',
  client: { name: 'test', version: '1' },
  tool: 'code_execute',
  decision: { verdict: 'allow', rule: '/tools/code_execute', code: null },
  shadowed: [],
  policyHash: 'abc',
  codeSha256: null,
  codeBytes: null,
  status: 'ok',
  exitCode: 0,
  signal: null,
  usage: { durationMs: 1, cpuMs: 1, peakMemoryBytes: 1 },
  tier: 'strict',
};

const lines = (path: string) => readFileSync(path, 'utf8').trimEnd().split('\n');

test('the log is in the state directory, for its owner only', () => {
  const audit = openAudit(undefined, { HOME: home });
  audit.write(record);
  const path = join(home, '.local', 'state', 'cordon', 'audit.jsonl');
  assert.equal(audit.path, path);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(statSync(join(path, '..')).mode & 0o777, 0o700);
  assert.deepEqual(
    lines(path).map((line) => JSON.parse(line) as unknown),
    [record],
  );
});

test('XDG_STATE_HOME is followed if it is absolute, as its specification says', () => {
  assert.equal(
    openAudit(undefined, { HOME: home, XDG_STATE_HOME: join(home, 'state') }).path,
    join(home, 'state/cordon/audit.jsonl'),
  );
  assert.equal(
    openAudit(undefined, { HOME: home, XDG_STATE_HOME: 'state' }).path,
    join(home, '.local/state/cordon/audit.jsonl'),
  );
});

test('off writes nothing, anywhere', () => {
  const audit = openAudit('off', { HOME: home });
  audit.ready();
  audit.write(record);
  assert.equal(audit.path, null);
  assert.equal(existsSync(join(home, '.local')), false);
});

test('lines are appended to what is there', () => {
  const path = join(home, 'log');
  writeFileSync(path, '{"old":true}\n');
  openAudit(path, {}).write(record);
  assert.equal(lines(path).length, 2);
});

test('a client can not forge a line, nor fill the log with its name', () => {
  const path = join(home, 'log');
  const name = `evil"}\n{"status":"ok"}\u2028\u0000${'x'.repeat(100_000)}`;
  openAudit(path, {}).write({ ...record, client: { name, version: '\n' } });
  const [line, ...more] = lines(path);
  assert.deepEqual(more, []);
  assert.ok(line !== undefined && line.length < 1500);
  const parsed = JSON.parse(line) as AuditRecord;
  assert.ok(name.startsWith(parsed.client.name.slice(0, -1)));
});

test('what is not a regular file is refused at the start: a directory', () => {
  assert.throws(
    () => openAudit(home, {}),
    (error) => error instanceof AuditError && error.message.includes(home),
  );
});

test('what is not a regular file is refused at the start: a device', () => {
  assert.throws(() => openAudit('/dev/null', {}), /not a regular file/);
});

test('a log that stops being writable stops calls before they run, and loses no line once it is writable again', () => {
  const directory = join(home, 'state');
  const path = join(directory, 'log');
  const audit = openAudit(path, {});
  audit.write({ ...record, runId: 'before' });
  // A file where the directory was stops root too, whom permissions would not.
  renameSync(directory, `${directory}.away`);
  writeFileSync(directory, '');
  assert.throws(() => {
    audit.ready();
  }, AuditError);
  assert.throws(() => {
    audit.write({ ...record, runId: 'owed' });
  }, AuditError);
  assert.throws(() => {
    audit.ready();
  }, /--audit FILE/);

  rmSync(directory);
  renameSync(`${directory}.away`, directory);
  audit.ready();
  audit.write({ ...record, runId: 'after' });
  assert.deepEqual(
    lines(path).map((line) => (JSON.parse(line) as AuditRecord).runId),
    ['before', 'owed', 'after'],
  );
});

test('a log that was moved away is made again', () => {
  const path = join(home, 'log');
  const audit = openAudit(path, {});
  audit.write(record);
  renameSync(path, `${path}.1`);
  audit.ready();
  audit.write(record);
  assert.equal(lines(path).length, 1);
  assert.equal(lines(`${path}.1`).length, 1);
});

test('the mode of a log that was there is its owner’s business', () => {
  const path = join(home, 'log');
  mkdirSync(home, { recursive: true });
  writeFileSync(path, '');
  chmodSync(path, 0o640);
  openAudit(path, {}).write(record);
  assert.equal(statSync(path).mode & 0o777, 0o640);
});

test('a write that stops half-way is an error, and tears no line but its own', (context) => {
  if (!existsSync('/usr/bin/prlimit')) {
    context.skip('needs prlimit (util-linux) to make a disk look full');
    return;
  }
  const path = join(home, 'log');
  const script = `
    import { execFileSync } from 'node:child_process';
    import { openAudit } from ${JSON.stringify(new URL('../../src/audit.js', import.meta.url).href)};
    const record = ${JSON.stringify(record)};
    const fileSize = (bytes) => execFileSync('prlimit', ['--pid', String(process.pid), '--fsize=' + bytes + ':unlimited']);
    const audit = openAudit(${JSON.stringify(path)}, {});
    audit.write({ ...record, runId: 'before' });
    fileSize(${JSON.stringify(record).length} + 100);
    try {
      audit.write({ ...record, runId: 'torn' });
      console.log('written');
    } catch (error) {
      console.log(error.name);
    }
    fileSize('unlimited');
    audit.ready();
    audit.write({ ...record, runId: 'after' });
  `;
  const ran = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  assert.equal(ran.stdout.trim(), 'AuditError', ran.stderr);
  const [before, torn, owed, after, ...more] = lines(path);
  assert.deepEqual(more, []);
  assert.throws(() => JSON.parse(torn ?? '') as unknown, SyntaxError);
  assert.deepEqual(
    [before, owed, after].map((line) => (JSON.parse(line ?? '') as AuditRecord).runId),
    ['before', 'torn', 'after'],
  );
});
