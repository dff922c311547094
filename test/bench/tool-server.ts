/**
 * What Cordon is measured against, as MCP servers over stdio: `empty`, a tool that does nothing (the floor: the SDK itself), and `naive`,
 * the tool this product replaces (a Python subprocess in a temporary directory, unconfined).
 */

import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import { z } from 'zod';

const [kind = 'empty', python = 'python3'] = process.argv.slice(2);

async function naive(code: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'naive-'));
  try {
    await writeFile(join(directory, 'script.py'), code);
    return await new Promise((resolve) => {
      const child = spawn(python, ['script.py'], { cwd: directory, stdio: ['ignore', 'pipe', 'inherit'] });
      let out = '';
      child.stdout.on('data', (piece: Buffer) => (out += piece.toString()));
      child.on('close', () => {
        resolve(out);
      });
    });
  } finally {
    await rm(directory, { recursive: true });
  }
}

const server = new McpServer({ name: kind, version: '1' });
server.registerTool('code_execute', { inputSchema: z.strictObject({ code: z.string() }) }, async ({ code }) => ({
  content: [{ type: 'text', text: kind === 'naive' ? await naive(code) : '1\n' }],
}));
await server.connect(new StdioServerTransport());
