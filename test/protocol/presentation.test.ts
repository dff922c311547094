/** What reaches which client of a result with text, an image and a file, by its name and by what the owner says. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { connect, MAIN, OPEN_POLICY, whyNoSandbox } from '../support/server.js';

const skip = whyNoSandbox();

/** A picture of four pixels and a table. */
const CODE = `
import struct, zlib
def chunk(kind, data): return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
pixels = zlib.compress(b'\\0\\xff\\0\\0\\0\\xff\\0' * 1 + b'\\0\\0\\0\\xff\\xff\\xff\\xff')
png = b'\\x89PNG\\r\\n\\x1a\\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 2, 2, 8, 2, 0, 0, 0)) + chunk(b'IDAT', pixels) + chunk(b'IEND', b'')
open('plot.png', 'wb').write(png)
open('table.csv', 'w').write('a,b\\n1,2\\n')
print('done')`;

interface Seen {
  readonly kinds: readonly string[];
  readonly structured: boolean;
  readonly declared: boolean;
}

async function seen(client: string, ...argv: string[]): Promise<Seen> {
  const session = await connect(OPEN_POLICY, client, argv);
  try {
    const { tools } = await session.client.listTools();
    const result = await session.client.callTool({ name: 'code_execute', arguments: { code: CODE } });
    assert.match(JSON.stringify(result.content), /done/);
    return {
      kinds: (result.content as { type: string }[]).map(({ type }) => type),
      structured: result.structuredContent !== undefined,
      declared: tools.some(({ outputSchema }) => outputSchema !== undefined),
    };
  } finally {
    await session.close();
  }
}

const everything = ['text', 'image', 'resource_link', 'resource_link'];
const yes = { structured: true, declared: true };
const no = { structured: false, declared: false };

for (const [client, argv, expected] of [
  ['a-client', [], { kinds: everything, ...yes }],
  ['codex-mcp-client', [], { kinds: everything, ...no }],
  ['claude-code', [], { kinds: everything, ...no }],
  ['codex-mcp-client', ['--structured', 'always'], { kinds: everything, ...yes }],
  ['a-client', ['--structured', 'never'], { kinds: everything, ...no }],
  ['a-client', ['--images', 'link'], { kinds: ['text', 'resource_link', 'resource_link'], ...yes }],
  ['a-client', ['--images', 'none'], { kinds: ['text', 'resource_link'], ...yes }],
] as const) {
  const title = [client, ...argv].join(' ');
  test(
    `${title}: ${expected.kinds.join(', ')}, ${expected.structured ? 'with' : 'without'} structured content and its schema`,
    { skip },
    async () => {
      assert.deepEqual(await seen(client, ...argv), expected);
    },
  );
}

for (const argv of [
  ['--structured', 'sometimes'],
  ['--images', 'big'],
]) {
  test(`${argv.join(' ')} is no way to start`, () => {
    const { status, stderr } = spawnSync(process.execPath, [MAIN, ...argv], { encoding: 'utf8', input: '' });
    assert.equal(status, 2);
    assert.match(stderr, new RegExp(`${argv[0] ?? ''}: expected .*, got "${argv[1] ?? ''}"`));
  });
}
