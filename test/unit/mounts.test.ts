import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { checkMounts, MountRefused } from '../../src/mounts.js';
import { packageDirectory } from '../../src/package.js';

const base = realpathSync(mkdtempSync(join(tmpdir(), 'mounts-')));
after(() => {
  rmSync(base, { recursive: true, force: true });
});
for (const name of ['data', 'kept', 'kept/files', 'project', 'project/data']) mkdirSync(join(base, name));
writeFileSync(join(base, 'file'), '');
writeFileSync(join(base, 'project', 'policy.json'), '{}');
symlinkSync(join(base, 'data'), join(base, 'link'));

const own = { secret: [join(base, 'kept')], fixed: [join(base, 'project', 'policy.json')] };

function refusal(host: string, mode: 'ro' | 'rw'): string | null {
  try {
    checkMounts([{ host, inside: '/mnt/x', mode }], own);
    return null;
  } catch (error) {
    assert.ok(error instanceof MountRefused);
    return error.message;
  }
}

const cases: readonly [what: string, host: string, ro: RegExp | null, rw: RegExp | null][] = [
  ['a directory with data', join(base, 'data'), null, null],
  ['one beside the policy', join(base, 'project', 'data'), null, null],
  ['what is not there', join(base, 'gone'), /there is none/, /there is none/],
  ['a file', join(base, 'file'), /it is none/, /it is none/],
  ['a link', join(base, 'link'), /without symbolic links.*write .*\/data,/, /without symbolic links/],
  ["Cordon's state", join(base, 'kept'), /without Cordon's own files/, /without Cordon's own files/],
  ["a part of Cordon's state", join(base, 'kept', 'files'), /without Cordon's own files/, /own files/],
  ["what holds Cordon's state", base, /without Cordon's own files/, /own files/],
  ["the policy's directory", join(base, 'project'), null, /policy\.json is in it: open it "ro"/],
  ['the package', realpathSync(packageDirectory), null, /is in it: open it "ro"/],
  ['a part of the package', join(realpathSync(packageDirectory), 'sandbox'), null, /it is part of it/],
  ['the home directory', realpathSync(homedir()), /holds the home directory/, /holds the home directory/],
  ['the directory for temporary files', realpathSync(tmpdir()), /temporary files|home directory/, /temporary|home/],
  ['what holds it', dirname(realpathSync(tmpdir())), /./, /./],
];
for (const [what, host, ro, rw] of cases) {
  test(`${what}: ${ro === null ? 'can be read' : 'is refused'}, ${rw === null ? 'can be written' : 'is refused for writing'}`, () => {
    for (const [mode, expected] of [
      ['ro', ro],
      ['rw', rw],
    ] as const) {
      const got = refusal(host, mode);
      if (expected === null) assert.equal(got, null);
      else assert.match(got ?? 'it was taken', expected);
    }
  });
}

test('the refusal names the entry of the policy', () => {
  const mounts = [
    { host: join(base, 'data'), inside: '/mnt/x', mode: 'ro' as const },
    { host: join(base, 'gone'), inside: '/mnt/y', mode: 'ro' as const },
  ];
  assert.throws(() => {
    checkMounts(mounts, own);
  }, /\/sandbox\/mounts\/1\/host/);
});
