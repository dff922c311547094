import assert from 'node:assert/strict';
import { test } from 'node:test';
import { presentationFor, type PresentationSettings } from '../../../src/mcp/presentation.js';

const auto: PresentationSettings = { structured: 'auto', images: 'inline' };

const byClient: readonly [client: string, structured: boolean, why: string][] = [
  ['codex-mcp-client', false, 'it would show nothing else, images neither'],
  ['Codex-MCP-Client/0.60 (linux)', false, 'a version behind the name does not matter'],
  ['claude-code', false, 'it would show it in place of the text'],
  ['claude-ai', true, 'Claude Desktop shows the text'],
  ['Visual Studio Code', true, 'it shows the text'],
  ['cursor-vscode', true, 'it shows the text'],
  ['inspector-cli', true, 'a person looks at everything'],
  ['langchain-mcp-adapters', true, 'a program may want it'],
  ['my-codex-mcp-client', true, 'another client'],
  ['', true, 'unknown'],
  ['unknown', true, 'unknown'],
];
for (const [client, structured, why] of byClient) {
  test(`${JSON.stringify(client)} is sent ${structured ? 'structured content and text' : 'text alone'}: ${why}`, () => {
    assert.deepEqual(presentationFor(client, auto), { structured, images: 'inline' });
  });
}

for (const [client] of byClient) {
  test(`what the owner says holds for ${JSON.stringify(client)} too`, () => {
    assert.deepEqual(presentationFor(client, { structured: 'always', images: 'none' }), {
      structured: true,
      images: 'none',
    });
    assert.deepEqual(presentationFor(client, { structured: 'never', images: 'link' }), {
      structured: false,
      images: 'link',
    });
  });
}
