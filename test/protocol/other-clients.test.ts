/**
 * Clients that no one here wrote: Inspector's command line and LangChain's adapter. They are no dependencies of ours: install them
 * somewhere, and name the directory in $CORDON_TEST_CLIENTS.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { createPlace, MAIN, until, whyNoSandbox, type Place } from '../support/server.js';

const directory = process.env.CORDON_TEST_CLIENTS ?? '';
const INSTALL =
  'needs $CORDON_TEST_CLIENTS: a directory after `npm install @modelcontextprotocol/inspector@0.15 @langchain/mcp-adapters @langchain/core` in it';

function whyNot(module: string): string | false {
  if (directory === '') return INSTALL;
  return existsSync(join(directory, 'node_modules', module)) ? whyNoSandbox() : INSTALL;
}

let place: Place;
beforeEach(() => {
  place = createPlace();
});
afterEach(() => {
  place.remove();
});

/** A picture of one pixel, a table, a line and a value. */
const CODE = `
import base64
open('dot.png', 'wb').write(base64.b64decode('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII='))
open('table.csv', 'w').write(open('in.csv').read().upper())
print('printed')
6 * 7`;
const FILES = [{ name: 'in.csv', text: 'a,b\n' }];

interface Block {
  readonly type: string;
  readonly text?: string;
  readonly mimeType?: string;
  readonly uri?: string;
}

test(
  "Inspector's command line gets text, image, resources and structured content",
  { skip: whyNot('@modelcontextprotocol/inspector') },
  () => {
    const { stdout, stderr, status } = spawnSync(
      join(directory, 'node_modules', '.bin', 'mcp-inspector'),
      [
        ...[
          '--cli',
          process.execPath,
          MAIN,
          'serve',
          ...place.flags,
          '--method',
          'tools/call',
          '--tool-name',
          'code_execute',
        ],
        ...['--tool-arg', `code=${CODE}`, `files=${JSON.stringify(FILES)}`],
      ],
      { encoding: 'utf8', cwd: place.directory },
    );
    assert.equal(status, 0, stderr);
    const result = JSON.parse(stdout) as { content: Block[]; structuredContent: { stdout: string; result: string } };
    assert.deepEqual(
      result.content.map(({ type }) => type),
      ['text', 'image', 'resource_link', 'resource_link'],
    );
    assert.match(result.content[0]?.text ?? '', /printed/);
    assert.equal(result.content[1]?.mimeType, 'image/png');
    assert.match(result.content[3]?.uri ?? '', /^cordon:\/\/files\/.*table\.csv$/);
    assert.equal(result.structuredContent.stdout, 'printed\n');
    assert.equal(result.structuredContent.result, '42');
  },
);

/** What is used of the adapter. */
interface Tool {
  readonly name: string;
  invoke(call: object, options?: { signal?: AbortSignal }): Promise<{ content: Block[]; artifact: unknown }>;
}
interface Adapter {
  getTools(): Promise<Tool[]>;
  getClient(server: string): Promise<{ readResource(of: { uri: string }): Promise<{ contents: { text?: string }[] }> }>;
  close(): Promise<void>;
}

async function adapter(onProgress: (progress: { message?: string }) => void): Promise<Adapter> {
  const path = createRequire(join(directory, 'package.json')).resolve('@langchain/mcp-adapters');
  const { MultiServerMCPClient } = (await import(pathToFileURL(path).href)) as {
    MultiServerMCPClient: new (config: object) => Adapter;
  };
  const server = { transport: 'stdio', command: process.execPath, args: [MAIN, 'serve', ...place.flags] };
  return new MultiServerMCPClient({ mcpServers: { cordon: server }, onProgress });
}

test(
  "LangChain's adapter gets the same, reads the resource, and its cancel ends the program",
  { skip: whyNot('@langchain/mcp-adapters') },
  async () => {
    const stop = new AbortController();
    const client = await adapter(({ message = '' }) => {
      if (message.includes('begun')) stop.abort();
    });
    try {
      const [tool] = await client.getTools();
      assert.ok(tool?.name === 'code_execute');
      const args = { code: CODE, files: FILES };
      const { content, artifact } = await tool.invoke({ type: 'tool_call', id: '1', name: tool.name, args });
      const shown = JSON.stringify(content);
      for (const part of ['printed', 'data:image/png;base64,', 'cordon://files/'])
        assert.ok(shown.includes(part), part);
      assert.match(JSON.stringify(artifact), /"mcp_structured_content".*"result":"42"/);
      const uri = /cordon:\/\/files\/[^" ]*table\.csv/.exec(shown)?.[0] ?? '';
      const { contents } = await (await client.getClient('cordon')).readResource({ uri });
      assert.equal(contents[0]?.text, 'A,B\n');

      const endless = { code: 'print("begun", flush=True)\nwhile True: pass' };
      await assert.rejects(tool.invoke(endless, { signal: stop.signal }));
      await until('the cancelled call is on record', () => place.audit().length === 2);
      assert.deepEqual(
        place.audit().map(({ status }) => status),
        ['ok', 'cancelled'],
      );
    } finally {
      await client.close();
    }
  },
);
