import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeTool } from '../../../src/mcp/tool.js';
import { policySchema } from '../../../src/policy/schema.js';
import type { Guarantees, Tier } from '../../../src/sandbox.js';

function guarantees(tier: Tier, packages: string[] = []): Guarantees {
  const interpreter = { version: '3.11.2', executable: '/usr/bin/python3.11', packages };
  return { tier, sessions: tier === 'strict', interpreter, layers: [] };
}

const settings = policySchema.parse({
  version: '1',
  default: 'deny',
  sandbox: { timeout_seconds: 7, memory_mb: 333 },
}).sandbox;

test('a model is told version, limits, and that there is no network and nothing kept', () => {
  const { description = '' } = describeTool(settings, guarantees('strict'));
  assert.match(description, /Python 3\.11\.2/);
  assert.match(description, /7 s of time/);
  assert.match(description, /333 MB of memory/);
  assert.match(description, /No network/);
  assert.match(description, /Nothing is kept between calls/);
  assert.match(description, /standard library is there, and no other packages/);
});

test('packages are named, those that programs are written with first, forty at most', () => {
  const packages = [...Array.from({ length: 60 }, (_, n) => `aaa-${n}`), 'numpy', 'pandas', 'pip', 'setuptools'];
  const { description = '' } = describeTool(settings, guarantees('strict', packages));
  assert.match(description, /numpy, pandas, aaa-0, .*aaa-37 and 22 more\./);
  assert.doesNotMatch(description, /\bpip\b/);
});

test('hints tell the truth: sealed off, a call changes nothing and reaches nothing', () => {
  assert.deepEqual(describeTool(settings, guarantees('strict')).annotations, {
    title: 'Run Python',
    readOnlyHint: true,
    destructiveHint: false,
    idempotentHint: true,
    openWorldHint: false,
  });
});

test('without a sandbox the tool does not claim to be one', () => {
  const tool = describeTool(settings, guarantees('none'));
  assert.equal(tool.annotations?.destructiveHint, true);
  assert.equal(tool.annotations.openWorldHint, true);
  assert.doesNotMatch(tool.description ?? '', /No network/);
});

test('directories that the policy opens are named by where programs find them, and a writable one is no longer harmless', () => {
  const open = (mode: 'ro' | 'rw') => ({ ...settings, mounts: [{ host: '/srv/sales', inside: '/mnt/sales', mode }] });
  const readable = describeTool(open('ro'), guarantees('strict'));
  assert.match(readable.description ?? '', /\/mnt\/sales \(read only\)/);
  assert.doesNotMatch(readable.description ?? '', /\/srv\/sales/);
  assert.equal(readable.annotations?.readOnlyHint, true);
  const writable = describeTool(open('rw'), guarantees('strict'));
  assert.match(writable.description ?? '', /\/mnt\/sales \(what a program changes there stays changed\)/);
  assert.deepEqual(writable.annotations, {
    title: 'Run Python',
    readOnlyHint: false,
    destructiveHint: true,
    idempotentHint: false,
    openWorldHint: false,
  });
});
