/** What is made of a probe's answer: an interpreter that lies about the machine is enough to see it. */

import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { probe } from '../../../src/backends/probe.js';
import { BackendUnavailable, selectBackend } from '../../../src/backends/select.js';

const place = mkdtempSync(join(tmpdir(), 'probe-'));
after(() => {
  rmSync(place, { recursive: true, force: true });
});
const skip = process.platform === 'linux' ? false : 'needs Linux';

const NAMES = [
  'user namespace',
  'mount and pid namespace',
  'network namespace',
  'ipc namespace',
  'uts namespace',
  'landlock',
  'seccomp',
  'no_new_privs',
  'interpreter',
];
const layer = (name: string, available = true) => ({
  layer: name,
  available,
  detail: available ? 'fine' : `${name} is refused here`,
  fix: available ? null : `allow ${name}`,
});
const interpreter = { version: '3.11.2', executable: '/usr/bin/python3.11', packages: ['numpy'] };
let made = 0;

/** An executable that answers `text` instead of probing. */
function answering(text: string): string {
  made += 1;
  const path = join(place, `python-${made}`);
  writeFileSync(path, `#!/bin/sh\ncat <<'END'\n${text}\nEND\n`);
  chmodSync(path, 0o755);
  return path;
}

const select = (python: string) =>
  selectBackend({ minimum: 'strict', python, preload: [], warm: 0, diskMb: 8, diskInodes: 100, mounts: [] });

test('with every layer the tier is strict', { skip }, async () => {
  const python = answering(JSON.stringify({ interpreter, layers: NAMES.map((name) => layer(name)) }));
  const { guarantees } = await select(python);
  assert.deepEqual([guarantees.tier, guarantees.interpreter], ['strict', interpreter]);
});

for (const name of NAMES) {
  test(
    `without ${name} there is no backend, and the message says what is missing and what would help`,
    { skip },
    async () => {
      const python = answering(JSON.stringify({ interpreter, layers: NAMES.map((one) => layer(one, one !== name)) }));
      await assert.rejects(select(python), (error: Error) => {
        assert.ok(error instanceof BackendUnavailable);
        assert.ok(error.message.includes(`${name}: ${name} is refused here`), error.message);
        assert.ok(error.message.includes(`\n  ${name}: allow ${name}`), error.message);
        return true;
      });
    },
  );

  test(`a probe that does not speak of ${name} is no proof of it`, { skip }, async () => {
    const python = answering(
      JSON.stringify({ interpreter, layers: NAMES.filter((one) => one !== name).map((one) => layer(one)) }),
    );
    await assert.rejects(select(python), BackendUnavailable);
  });
}

test('an interpreter that can’t be opened to programs is for no tier', { skip }, async () => {
  const layers = NAMES.map((name) => layer(name, name !== 'interpreter'));
  const found = await probe(answering(JSON.stringify({ interpreter, layers })));
  assert.deepEqual([found.tier, found.problem], [null, 'interpreter: interpreter is refused here']);
});

for (const [name, text] of [
  ['nothing', ''],
  ['no JSON', 'hello'],
  ['another shape', '{"interpreter": null, "layers": []}'],
  ['an unknown key', JSON.stringify({ interpreter, layers: [], more: 1 })],
] as const) {
  test(`an interpreter that answers ${name} is refused by its name`, { skip }, async () => {
    const python = answering(text);
    const { tier, problem } = await probe(python);
    assert.equal(tier, null);
    assert.match(problem ?? '', /is it a Python\?$/);
    assert.ok(problem?.includes(python));
  });
}
