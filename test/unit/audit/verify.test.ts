import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import fc from 'fast-check';
import { openAudit, type AuditRecord } from '../../../src/audit.js';
import { chain } from '../../../src/audit/chain.js';
import { rotatedFiles } from '../../../src/audit/files.js';
import { headPath, openHead } from '../../../src/audit/head.js';
import { snapshot, verify, type Verdict } from '../../../src/audit/verify.js';

let home: string;
let log: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'cordon-audit-test-'));
  log = join(home, 'log');
});
afterEach(() => {
  rmSync(home, { recursive: true, force: true });
});

function record(runId: string): AuditRecord {
  return {
    kind: 'call',
    time: '2026-01-01T00:00:00.000Z',
    runId,
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
    usage: null,
    tier: 'strict',
    session: null,
  };
}

async function write(count: number, env: NodeJS.ProcessEnv = {}): Promise<void> {
  const audit = await openAudit(log, env);
  for (let n = 1; n <= count; n += 1) await audit.write(record(`run-${n}`));
  await audit.close();
}

async function check(hash?: string): Promise<Verdict> {
  const head = existsSync(headPath(log)) ? openHead(log) : null;
  const held = await snapshot(log, head);
  try {
    return verify(held, hash);
  } finally {
    held.close();
    await head?.close();
  }
}

const found = ({ problems }: Verdict) => problems.map(({ what, where }) => `${what} ${where}`);
const edit = (change: (lines: string[]) => string[]): void => {
  const lines = readFileSync(log, 'utf8').trimEnd().split('\n');
  writeFileSync(log, `${change(lines).join('\n')}\n`);
};

test('a log that nobody touched verifies, and its last hash can be kept elsewhere', async () => {
  await write(5);
  const { problems, torn, lines, firstSeq, lastSeq, lastHash } = await check();
  assert.deepEqual(
    { problems, torn, lines, firstSeq, lastSeq },
    { problems: [], torn: [], lines: 5, firstSeq: 1, lastSeq: 5 },
  );
  await write(2);
  assert.deepEqual(found(await check(lastHash ?? '')), []);
  assert.deepEqual(found(await check('0'.repeat(64))), ['missing the end of log']);
});

const tampering: [string, (lines: string[]) => string[], string[]][] = [
  ['a changed line', (l) => l.map((line) => line.replace('"run-3"', '"run-8"')), ['changed log:3']],
  ['a changed last line', (l) => l.map((line) => line.replace('"run-6"', '"run-8"')), ['changed log:6']],
  ['a removed line', (l) => l.filter((_, index) => index !== 2), ['missing log:3']],
  ['removed lines at the beginning', (l) => l.slice(2), ['missing log:1']],
  ['removed lines at the end', (l) => l.slice(0, 4), ['missing the end of log']],
  ['all lines removed', () => [''], ['inserted log:1', 'missing the end of log']],
  ['a copied line', (l) => [...l.slice(0, 4), l[1] ?? '', ...l.slice(4)], ['inserted log:5']],
  ['a line of somebody else', (l) => [...l.slice(0, 2), '{"status":"ok"}', ...l.slice(2)], ['inserted log:3']],
  ['two lines put the other way round', (l) => [0, 1, 3, 2, 4, 5].map((index) => l[index] ?? ''), ['moved log:3']],
  ['a line put elsewhere', (l) => [0, 5, 1, 2, 3, 4].map((index) => l[index] ?? ''), ['moved log:2']],
];
for (const [name, change, expected] of tampering) {
  test(`verify finds ${name}, and says which`, async () => {
    await write(6);
    edit(change);
    assert.deepEqual(found(await check()), expected);
  });
}

test('verify finds a line that was written anew with a hash that fits it', async () => {
  await write(4);
  edit((lines) => {
    const { prev } = JSON.parse(lines[1] ?? '') as { prev: string };
    return lines.with(1, chain({ seq: 1, hash: prev }, record('forged')).line);
  });
  assert.deepEqual(found(await check()), ['unlinked log:3']);
});

test('verify finds a last line that was written anew with a hash that fits it', async () => {
  await write(3);
  edit((lines) => {
    const { prev } = JSON.parse(lines[2] ?? '') as { prev: string };
    return lines.with(2, chain({ seq: 2, hash: prev }, record('forged')).line);
  });
  assert.deepEqual(found(await check()), ['changed log:3']);
});

test('whatever single byte is changed, verify finds it in its line', async () => {
  await write(4);
  const bytes = readFileSync(log);
  await fc.assert(
    fc.asyncProperty(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), async (at, change) => {
      const altered = Buffer.from(bytes);
      altered[at] = (altered[at] ?? 0) ^ change;
      writeFileSync(log, altered);
      const number = bytes.subarray(0, at).filter((byte) => byte === 0x0a).length + 1;
      const { problems, torn } = await check();
      // Without the newline between them two lines are one; without the last one, nothing is lost.
      if (bytes[at] === 0x0a && number === 4) assert.ok(problems.length + torn.length > 0);
      else
        assert.ok(
          problems.some(({ where }) => where === `log:${number}`),
          JSON.stringify({ at, change, problems }),
        );
    }),
    { numRuns: 60 },
  );
});

for (const [left, bytes] of [
  ['most of it', -40],
  ['hardly anything', 20],
] as const) {
  test(`a torn last line (${left} is left) is said to be that, is no error, and costs no line after it`, async () => {
    await write(3);
    const text = readFileSync(log, 'utf8');
    truncateSync(log, bytes < 0 ? text.length + bytes : text.lastIndexOf('\n', text.length - 2) + 1 + bytes);
    const before = await check();
    assert.deepEqual([found(before), before.torn.map(({ where }) => where)], [[], ['log:3']]);
    await write(2);
    const after = await check();
    assert.deepEqual([found(after), after.torn.map(({ where }) => where)], [[], ['log:3']]);
    edit((lines) => lines.with(2, 'another thing'));
    assert.notDeepEqual(found(await check()), []);
  });
}

test('without the row of the last line the chain is held against itself, and goes on from what the file says', async () => {
  await write(3);
  for (const suffix of ['', '-wal', '-shm']) rmSync(`${headPath(log)}${suffix}`, { force: true });
  assert.deepEqual(found(await check()), []);
  await write(1);
  const verdict = await check();
  assert.deepEqual([found(verdict), verdict.lastSeq], [[], 4]);
});

test('a server killed between its line and the note of it leaves a log that goes on and verifies', async () => {
  await write(2);
  const last = JSON.parse(readFileSync(log, 'utf8').trimEnd().split('\n')[1] ?? '') as { seq: number; hash: string };
  appendFileSync(log, `${chain(last, record('killed')).line}\n`);
  assert.deepEqual(found(await check()), []);
  await write(1);
  const verdict = await check();
  assert.deepEqual([found(verdict), verdict.lastSeq], [[], 4]);
});

test('a line that lacks only its newline is taken over as it is', async () => {
  await write(2);
  truncateSync(log, readFileSync(log).length - 1);
  await write(1);
  const verdict = await check();
  assert.deepEqual([found(verdict), verdict.torn, verdict.lastSeq], [[], [], 3]);
});

test('full files are put away by the number of their last line, the chain goes on through them', async () => {
  await write(20, { CORDON_AUDIT_MAX_MB: '0.002' });
  const files = rotatedFiles(log);
  assert.ok(files.length >= 5);
  const verdict = await check();
  assert.deepEqual([found(verdict), verdict.lines, verdict.files], [[], 20, files.length + 1]);
  // One that disappears in the middle is missed.
  const [, second] = files;
  assert.ok(second !== undefined);
  rmSync(second.path);
  assert.deepEqual(
    (await check()).problems.map(({ what }) => what),
    ['missing'],
  );
});

test('full files are removed after their time and not before, and are not missed then', async () => {
  const env = { CORDON_AUDIT_MAX_MB: '0.002', CORDON_AUDIT_KEEP_DAYS: '30' };
  await write(20, env);
  const [first, second] = rotatedFiles(log);
  assert.ok(first !== undefined && second !== undefined);
  const daysAgo = (days: number) => new Date(Date.now() - days * 86_400_000);
  utimesSync(first.path, daysAgo(31), daysAgo(31));
  utimesSync(second.path, daysAgo(29), daysAgo(29));
  await write(1, env);
  assert.equal(existsSync(first.path), false);
  assert.equal(existsSync(second.path), true);
  const verdict = await check();
  assert.deepEqual([found(verdict), verdict.firstSeq], [[], first.lastSeq + 1]);
});

test('a log that was moved away begins anew in the same chain; what was moved is missed until it is put back', async () => {
  await write(3);
  renameSync(log, join(home, 'elsewhere'));
  await write(2);
  assert.deepEqual(found(await check()), ['missing log:1']);
  renameSync(join(home, 'elsewhere'), `${log}.000000000003`);
  assert.deepEqual(found(await check()), []);
});

test('several servers that write to one log make one chain, and lose no line; also where one is killed', async () => {
  const script = `
    import { openAudit } from ${JSON.stringify(new URL('../../../src/audit.js', import.meta.url).href)};
    const audit = await openAudit(${JSON.stringify(log)}, { CORDON_AUDIT_MAX_MB: '0.02' });
    for (let n = 0; n < 200; n += 1) await audit.write({ ...${JSON.stringify(record(''))}, runId: process.argv[1] + '-' + n });
    if (process.argv[1] === 'killed') process.kill(process.pid, 'SIGKILL');
  `;
  const names = ['a', 'b', 'killed'];
  const writers = names.map((name) =>
    spawn(process.execPath, ['--input-type=module', '-e', script, name], { stdio: 'inherit' }),
  );
  await Promise.all(writers.map((writer) => once(writer, 'exit')));
  const verdict = await check();
  assert.deepEqual([found(verdict), verdict.lines, verdict.lastSeq], [[], 600, 600]);
  const texts = [...rotatedFiles(log).map(({ path }) => path), log].map((path) => readFileSync(path, 'utf8')).join('');
  for (const name of names) {
    const mine = [...texts.matchAll(new RegExp(`"runId":"${name}-(\\d+)"`, 'g'))].map(([, n]) => Number(n));
    assert.deepEqual(
      mine,
      Array.from({ length: 200 }, (_, n) => n),
    );
  }
});
