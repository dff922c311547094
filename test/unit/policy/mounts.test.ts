import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parsePolicy, PolicyError } from '../../../src/policy/load.js';

function parse(mounts: unknown) {
  const text = JSON.stringify({ version: '1', default: 'deny', sandbox: { mounts } });
  try {
    return parsePolicy(text, 'test').policy.sandbox.mounts;
  } catch (error) {
    assert.ok(error instanceof PolicyError);
    return error.problems.map(({ pointer, expected, got }) => `${pointer}: expected ${expected}, got ${got}`);
  }
}

test('nothing is mounted unless the policy says so, and what is mounted is read only unless it says so', () => {
  assert.deepEqual(parse(undefined), []);
  assert.deepEqual(parse([{ host: '/srv/sales', inside: '/data' }]), [
    { host: '/srv/sales', inside: '/data', mode: 'ro' },
  ]);
});

const PLAIN = 'an absolute path without "..", ".", "//", a final "/" or control characters';
const cases: readonly [what: string, mounts: readonly Record<string, string>[], problems: readonly string[]][] = [
  ['a relative path', [{ host: 'srv', inside: '/mnt/x' }], [`/sandbox/mounts/0/host: expected ${PLAIN}, got "srv"`]],
  ['..', [{ host: '/srv/../etc', inside: '/mnt/x' }], [`/sandbox/mounts/0/host: expected ${PLAIN}, got "/srv/../etc"`]],
  ['a final slash', [{ host: '/srv/', inside: '/mnt/x' }], [`/sandbox/mounts/0/host: expected ${PLAIN}, got "/srv/"`]],
  ['the root', [{ host: '/', inside: '/mnt/x' }], ['/sandbox/mounts/0/host: expected a directory, got "/"']],
  ...['/proc', '/sys/fs', '/dev', '/run/user/1000', '/etc', '/usr/bin', '/lib64'].map(
    (host) =>
      [
        `${host}, the system's own`,
        [{ host, inside: '/mnt/x' }],
        [`/sandbox/mounts/0/host: expected a directory with data, got ${JSON.stringify(host)}`],
      ] as [string, Record<string, string>[], string[]],
  ),
  ...['/work', '/tmp/x', '/proc/x', '/usr/lib/x', '/mnt', '/home/me', '/mntx/y', '/database'].map(
    (inside) =>
      [
        `${inside} as the place inside`,
        [{ host: '/srv', inside }],
        [`/sandbox/mounts/0/inside: expected a place below /mnt or /data, got ${JSON.stringify(inside)}`],
      ] as [string, Record<string, string>[], string[]],
  ),
  [
    'one place for two directories',
    [
      { host: '/srv/a', inside: '/mnt/x' },
      { host: '/srv/b', inside: '/mnt/x' },
    ],
    ['/sandbox/mounts/1/inside: expected directories that have nothing in common, got "/mnt/x"'],
  ],
  [
    'one in the other, inside and outside',
    [
      { host: '/srv', inside: '/data/x', mode: 'rw' },
      { host: '/srv/b', inside: '/data' },
    ],
    [
      '/sandbox/mounts/1/host: expected directories that have nothing in common, got "/srv/b"',
      '/sandbox/mounts/1/inside: expected directories that have nothing in common, got "/data"',
    ],
  ],
];
for (const [what, mounts, problems] of cases) {
  test(`${what} is refused, with its place in the file`, () => {
    assert.deepEqual(parse(mounts), problems);
  });
}

test('names that only begin alike are two directories', () => {
  const mounts = [
    { host: '/srv/a', inside: '/mnt/a', mode: 'ro' },
    { host: '/srv/ab', inside: '/mnt/ab', mode: 'rw' },
  ];
  assert.deepEqual(parse(mounts), mounts);
});

test('an unknown mode and an unknown key are errors', () => {
  assert.match(JSON.stringify(parse([{ host: '/srv', inside: '/mnt/x', mode: 'w' }])), /mounts\/0\/mode/);
  assert.match(JSON.stringify(parse([{ host: '/srv', inside: '/mnt/x', readonly: true }])), /mounts\/0/);
});
