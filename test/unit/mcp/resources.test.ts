import assert from 'node:assert/strict';
import { once } from 'node:events';
import { EventEmitter } from 'node:events';
import { after, test } from 'node:test';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { InMemoryTransport } from '@modelcontextprotocol/sdk/inMemory.js';
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { ResourceListChangedNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import { createFileStore } from '../../../src/files/store.js';
import { serveResources } from '../../../src/mcp/resources.js';

const store = createFileStore();
after(() => store.close());

async function connect(grant: string): Promise<Client> {
  const mcp = new Server({ name: 'test', version: '1' }, { capabilities: { resources: { listChanged: true } } });
  serveResources(mcp, store, grant);
  const client = new Client({ name: 'test', version: '1' });
  const [one, other] = InMemoryTransport.createLinkedPair();
  await Promise.all([mcp.connect(one), client.connect(other)]);
  after(() => client.close());
  return client;
}

function keep(runId: string, grant: string, files: Record<string, Buffer | string>) {
  const receiving = store.receive({ runId, grant, keptSeconds: 60, keptMb: 64 });
  for (const [name, content] of Object.entries(files)) {
    const sink = receiving.onFile({ name, bytes: Buffer.byteLength(content) });
    sink.write(Buffer.from(content));
    sink.end(true);
  }
  return receiving.finish().files;
}

interface Part {
  readonly uri: string;
  readonly mimeType?: string;
  readonly text?: string;
  readonly blob?: string;
  readonly _meta?: Record<string, { from: number; bytes: number; totalBytes: number; next: number | null }>;
}
async function read(client: Client, uri: string): Promise<{ parts: Part[]; wireBytes: number }> {
  const answer = await client.readResource({ uri });
  return { parts: answer.contents as unknown as Part[], wireBytes: Buffer.byteLength(JSON.stringify(answer)) };
}

test('text comes as text, anything else in base64, each with its type and where it stands', async () => {
  const client = await connect('one');
  keep('r1', 'one', {
    'a.csv': 'x,ü\n',
    'b.png': Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    'bad.txt': Buffer.from([0xff]),
  });
  const csv = await read(client, 'cordon://files/r1/a.csv');
  assert.equal(csv.parts.length, 1);
  assert.equal(csv.parts[0]?.text, 'x,ü\n');
  assert.equal(csv.parts[0].mimeType, 'text/csv');
  assert.deepEqual(csv.parts[0]._meta?.['cordon/range'], { from: 0, bytes: 5, totalBytes: 5, next: null });
  const png = await read(client, 'cordon://files/r1/b.png');
  assert.equal(png.parts[0]?.mimeType, 'image/png');
  assert.equal(Buffer.from(png.parts[0].blob ?? '', 'base64').toString('latin1'), '\x89PNG\r\n\x1a\n');
  assert.equal((await read(client, 'cordon://files/r1/bad.txt')).parts[0]?.blob, '/w==');
});

for (const [what, content] of [
  ['bytes', Buffer.alloc(2_000_000, '\x00\xff', 'latin1')],
  ['text of characters of many bytes', Buffer.from('aü€\u{1f600}'.repeat(200_000))],
  ['text of control characters, six bytes each on the wire', Buffer.alloc(1_500_000, '\x01')],
] as const) {
  test(`a large file of ${what} is read part by part, each below 1 MB, and comes together again`, async () => {
    const client = await connect('one');
    keep(`large-${what.length}`, 'one', { 'large.txt': content });
    const got: Buffer[] = [];
    let uri: string | undefined = `cordon://files/large-${what.length}/large.txt`;
    while (uri !== undefined) {
      const { parts, wireBytes }: Awaited<ReturnType<typeof read>> = await read(client, uri);
      assert.ok(wireBytes < 1_000_000, `${wireBytes}`);
      const [part, rest] = parts;
      got.push(part?.text === undefined ? Buffer.from(part?.blob ?? '', 'base64') : Buffer.from(part.text));
      assert.equal(part?._meta?.['cordon/range']?.totalBytes, content.length);
      assert.equal(rest === undefined, part._meta['cordon/range'].next === null);
      if (rest !== undefined) assert.match(rest.text ?? '', new RegExp(`of ${content.length}; the rest: cordon://`));
      uri = rest?.uri;
    }
    assert.ok(Buffer.concat(got).equals(content));
    assert.ok(got.length > 1);
  });
}

test('who asks for a number of bytes gets them and nothing else', async () => {
  const client = await connect('one');
  keep('r3', 'one', { a: '0123456789' });
  const { parts } = await read(client, 'cordon://files/r3/a?from=2&bytes=3');
  assert.deepEqual(
    parts.map(({ text }) => text),
    ['234'],
  );
  assert.equal(parts[0]?._meta?.['cordon/range']?.next, 5);
});

test('one grant sees nothing of another’s files, listing or guessing, and hears nothing of them', async () => {
  const [mine, theirs] = [await connect('mine'), await connect('theirs')];
  const heard = new EventEmitter();
  let told = 0;
  theirs.setNotificationHandler(ResourceListChangedNotificationSchema, () => void (told += 1));
  mine.setNotificationHandler(ResourceListChangedNotificationSchema, () => void heard.emit('change'));
  const changed = once(heard, 'change');
  const [file] = keep('r4', 'mine', { 'secret.txt': 'secret' });
  await changed;
  assert.equal((await mine.listResources()).resources.length, 1);
  assert.deepEqual((await theirs.listResources()).resources, []);
  assert.equal(told, 0);
  await assert.rejects(theirs.readResource({ uri: file?.uri ?? '' }), /-32002.*there is no file/);
});

test('the list comes in pages, newest run first', async () => {
  const client = await connect('pages');
  keep('p1', 'pages', Object.fromEntries(Array.from({ length: 150 }, (_, n) => [`old-${n}`, ''])));
  keep('p2', 'pages', Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`new-${n}`, ''])));
  const names: string[] = [];
  let cursor: string | undefined;
  let pages = 0;
  do {
    const page = await client.listResources(cursor === undefined ? {} : { cursor });
    names.push(...page.resources.map(({ name }) => name));
    cursor = page.nextCursor;
    pages += 1;
  } while (cursor !== undefined);
  assert.equal(pages, 3);
  assert.equal(new Set(names).size, 250);
  assert.equal(names[0], 'new-0');
  assert.equal(names.at(-1), 'old-149');
  await assert.rejects(client.listResources({ cursor: 'x' }), /cursor: expected/);
});

test('the template says how an address is made', async () => {
  const client = await connect('one');
  const { resourceTemplates } = await client.listResourceTemplates();
  assert.deepEqual(
    resourceTemplates.map(({ uriTemplate }) => uriTemplate),
    ['cordon://files/{runId}/{+name}{?from,bytes}'],
  );
});

test('an address that is none of ours is told so', async () => {
  const client = await connect('one');
  await assert.rejects(
    client.readResource({ uri: 'file:///etc/passwd' }),
    /expected an address that begins with cordon:/,
  );
});
