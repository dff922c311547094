/** Files in and out, by a real client of the built server. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { ResourceListChangedNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import { connect, createPlace, execute, startRaw, until, whyNoSandbox, type Session } from '../support/server.js';

const skip = whyNoSandbox();
const PYTHON = existsSync('/usr/bin/python3') ? '/usr/bin/python3' : 'python3';
const noPlots =
  skip === false && spawnSync(PYTHON, ['-c', 'import pandas, matplotlib']).status !== 0
    ? 'needs pandas and matplotlib'
    : skip;

/** What one run may bring and leave, small enough to be reached. */
const POLICY = {
  version: '1',
  default: 'deny',
  tools: {
    code_execute: {
      deny_if: [
        {
          conditions: [{ path: 'args.files.0.name', op: 'regex', value: '\\.exe$' }],
          on_deny: 'No programs, please.',
        },
      ],
    },
  },
  sandbox: {
    python: PYTHON,
    timeout_seconds: 60,
    cpu_seconds: 60,
    memory_mb: 1024,
    files_in: 3,
    files_in_mb: 1,
    files_out_mb: 4,
  },
};

let session: Session;
before(async () => {
  if (skip === false) session = await connect(POLICY);
});
after(async () => {
  if (skip === false) await session.close();
});

interface LeftFile {
  readonly name: string;
  readonly bytes: number;
  readonly mimeType: string;
  readonly uri: string;
}
const filesOf = (structured: Record<string, unknown>) => structured.files as LeftFile[];

async function contentOf(client: Client, uri: string): Promise<Buffer> {
  const { contents } = await client.readResource({ uri });
  const [part] = contents as { text?: string; blob?: string }[];
  return part?.text === undefined ? Buffer.from(part?.blob ?? '', 'base64') : Buffer.from(part.text);
}

// Made up: the number of bicycles counted on three bridges in four months.
const CSV = 'bridge,month,bicycles\nnorth,1,10\nnorth,2,25\nmiddle,1,31\nmiddle,2,60\nsouth,1,5\nsouth,2,9\n';

test('a CSV goes in, pandas groups it, and a plot and a table come out', { skip: noPlots }, async () => {
  const code = `
import pandas, matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
table = pandas.read_csv("in/counts.csv").groupby("bridge")["bicycles"].sum()
table.to_csv("sums.csv")
table.plot.bar(title="Bicycles"); plt.tight_layout(); plt.savefig("plot.png")
`;
  const { text, structured } = await execute(session.client, { code, files: [{ name: 'in/counts.csv', text: CSV }] });
  assert.equal(structured.status, 'ok', String(structured.stderr));
  const [plot, sums] = filesOf(structured);
  assert.equal(plot?.name, 'plot.png');
  assert.equal(plot.mimeType, 'image/png');
  assert.equal(sums?.name, 'sums.csv');
  assert.match(
    text,
    /files:\n {2}plot\.png \(image\/png, [\d.]+ KB, cordon:\/\/files\/[\w-]+\/plot\.png\).*\n {2}sums\.csv \(text\/csv, /,
  );
  assert.equal(
    (await contentOf(session.client, sums.uri)).toString(),
    'bridge,bicycles\nmiddle,91\nnorth,35\nsouth,14\n',
  );
  const png = await contentOf(session.client, plot.uri);
  assert.equal(png.length, plot.bytes);
  assert.equal(png.subarray(0, 8).toString('latin1'), '\x89PNG\r\n\x1a\n');
  const { resources } = await session.client.listResources();
  assert.ok(resources.some(({ uri }) => uri === plot.uri));
});

test('bytes that are no text go in and come out as they are', { skip }, async () => {
  const sent = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
  const { structured } = await execute(session.client, {
    code: 'data = open("a.bin", "rb").read()\nopen("b.bin", "wb").write(data[::-1])',
    files: [{ name: 'a.bin', base64: sent.toString('base64') }],
  });
  const [file] = filesOf(structured);
  assert.deepEqual(await contentOf(session.client, file?.uri ?? ''), Buffer.from(sent).reverse());
});

test('every file has a link in the result', { skip }, async () => {
  const result = await session.client.callTool({
    name: 'code_execute',
    arguments: { code: 'open("a.txt", "w").write("hello")' },
  });
  const links = (result.content as { type: string }[]).filter(({ type }) => type === 'resource_link');
  const [file] = filesOf(result.structuredContent as Record<string, unknown>);
  assert.deepEqual(links, [{ type: 'resource_link', name: 'a.txt', uri: file?.uri, mimeType: 'text/plain', size: 5 }]);
});

test('a large file is read part by part, and each part says how to go on', { skip }, async () => {
  const { structured } = await execute(session.client, {
    code: 'open("large.txt", "w").write("".join(f"{n:07}\\n" for n in range(250_000)))',
  });
  const [file] = filesOf(structured);
  let read = '';
  let uri = file?.uri;
  let parts = 0;
  while (uri !== undefined) {
    const answer = await session.client.readResource({ uri });
    assert.ok(Buffer.byteLength(JSON.stringify(answer)) < 1_000_000);
    const [part, rest] = answer.contents as { uri: string; text: string }[];
    read += part?.text ?? '';
    parts += 1;
    if (rest !== undefined) assert.match(rest.text, /^\[bytes \d+ to \d+ of 2000000; the rest: cordon:/);
    uri = rest?.uri;
  }
  assert.equal(read.length, 2_000_000);
  assert.ok(read.endsWith('0249999\n'));
  assert.equal(parts, 3);
});

test('5,000 files make a short answer, and it says what is missing', { skip }, async () => {
  const { text, structured } = await execute(session.client, {
    code: 'for n in range(5000):\n    open(f"{n:04}.txt", "w").write("x")',
  });
  assert.equal(structured.status, 'ok', String(structured.stderr));
  assert.equal(filesOf(structured).length, 100);
  assert.equal((structured.filesLeftOut as { count: number }).count, 4900);
  assert.match(text, /and 80 more: see resources\/list/);
  assert.match(text, /4900 that can't come back \(0100\.txt: at most 100 files come back; /);
  assert.ok(text.length < 6000, `${text.length} characters`);
});

test('the file ../../x is refused on the way in, and nothing runs', { skip }, async () => {
  const code = 'print("ran")';
  const { text, structured } = await execute(session.client, { code, files: [{ name: '../../x', text: '' }] });
  assert.equal(structured.status, 'denied');
  assert.equal((structured.policy as { code: string }).code, 'invalid_arguments');
  assert.match(text, /files\.0\.name: "\.\.\/\.\.\/x" has a part that is "\." or "\.\."/);
});

test(
  'a file ../../x that a program writes lies outside the working directory, or nowhere, and does not come back',
  { skip },
  async () => {
    const { structured } = await execute(session.client, {
      code: `
import os
for name in ("../../x", "../tmp/x"):
    try: open(name, "w").write("x"); print("written")
    except OSError as error: print(error.strerror)
open("..\\\\..\\\\x", "w").close()
`,
    });
    assert.deepEqual(filesOf(structured), []);
    assert.match(JSON.stringify(structured.filesLeftOut), /its name has a backslash/);
  },
);

test('too many files and too large files are refused by the policy’s numbers', { skip }, async () => {
  const many = [1, 2, 3, 4].map((n) => ({ name: `${n}`, text: '' }));
  const first = await execute(session.client, { code: '', files: many });
  assert.deepEqual(
    [first.structured.status, (first.structured.policy as { code: string }).code],
    ['denied', 'too_many_files'],
  );
  assert.match(first.text, /4 files came, and at most 3 are taken.*rule: \/sandbox\/files_in/s);
  const large = [{ name: 'a', base64: Buffer.alloc(2 ** 20 + 1).toString('base64') }];
  const second = await execute(session.client, { code: '', files: large });
  assert.deepEqual((second.structured.policy as { code: string }).code, 'files_too_large');
  assert.match(second.text, /1048577 bytes long together, and at most 1048576 are taken \(1 MB\)/);
});

test('what is sent as base64 is that and nothing else', { skip }, async () => {
  for (const base64 of ['QQ', 'QQ==\n', 'Q Q==', 'QR==', 'QQ===', '-_==', '=', 'Q']) {
    const { structured, text } = await execute(session.client, { code: '', files: [{ name: 'a', base64 }] });
    assert.equal(structured.status, 'denied', base64);
    assert.match(text, /files\.0\.base64: expected base64/);
  }
});

test('rules see the files that would run', { skip }, async () => {
  const { structured } = await execute(session.client, { code: '', files: [{ name: 'a.exe', text: 'MZ' }] });
  assert.match((structured.policy as { message: string }).message, /^No programs, please\./);
});

test('the audit log has number, size and hash of files, and neither names nor contents', { skip }, async () => {
  const { structured } = await execute(session.client, {
    code: 'open("private-out", "w").write("private-content")',
    files: [{ name: 'private-in', text: 'private-input' }],
  });
  const line = session.place.audit().find(({ runId }) => runId === structured.runId);
  const hash = (name: string, content: string) => {
    const inner = createHash('sha256').update(content).digest('hex');
    return createHash('sha256').update(`${name}\0${inner}\n`).digest('hex');
  };
  assert.deepEqual(line?.filesIn, { count: 1, bytes: 13, sha256: hash('private-in', 'private-input') });
  assert.deepEqual(line.filesOut, { count: 1, bytes: 15, sha256: hash('private-out', 'private-content') });
  assert.doesNotMatch(JSON.stringify(line), /private/);
});

test('the client is told when there are files to list', { skip }, async () => {
  const told = new EventTarget();
  session.client.setNotificationHandler(
    ResourceListChangedNotificationSchema,
    () => void told.dispatchEvent(new Event('change')),
  );
  const changed = once(told, 'change');
  await execute(session.client, { code: 'open("a", "w").close()' });
  await changed;
});

test('a file that never was, and a run that never was, have nothing to read', { skip }, async () => {
  for (const uri of ['cordon://files/x/y', 'cordon://files/../../etc/passwd', 'file:///etc/passwd', '/etc/passwd']) {
    await assert.rejects(session.client.readResource({ uri }), /MCP error -32002/);
  }
});

test(
  'a run of a server without files makes no directory; one with files leaves none at the end',
  { skip },
  async () => {
    const place = createPlace(POLICY);
    const own = mkdtempSync(join(tmpdir(), 'files-test-'));
    chmodSync(own, 0o755); // the ids of runs may have to pass through
    const kept = () => readdirSync(own).filter((name) => name.startsWith('cordon-files-'));
    const before = process.env.TMPDIR;
    process.env.TMPDIR = own;
    try {
      const call = (id: number, code: string) => ({
        id,
        method: 'tools/call',
        params: { name: 'code_execute', arguments: { code } },
      });
      const first = startRaw(['serve', ...place.flags], place.directory);
      await first.initialize();
      first.send(call(1, 'print(1)'));
      await first.message(({ id }) => id === 1);
      assert.deepEqual(kept(), []);
      first.send(call(2, 'open("a", "w").close()'));
      await first.message(({ id }) => id === 2);
      assert.equal(kept().length, 1);
      first.process.stdin.end();
      await first.exited;
      assert.deepEqual(kept(), []);

      const killed = startRaw(['serve', ...place.flags], place.directory);
      await killed.initialize();
      killed.send(call(3, 'open("a", "w").close()'));
      await killed.message(({ id }) => id === 3);
      const died = killed.exited.catch(() => 'killed');
      killed.process.kill('SIGKILL');
      await died;
      assert.equal(kept().length, 1);
      const next = startRaw(['serve', ...place.flags], place.directory);
      await next.initialize();
      await until('what the killed server left is swept', () => kept().length === 0);
      next.process.stdin.end();
      await next.exited;
    } finally {
      if (before === undefined) delete process.env.TMPDIR;
      else process.env.TMPDIR = before;
      rmSync(own, { recursive: true, force: true });
      place.remove();
    }
  },
);
