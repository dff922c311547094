/**
 * A server where namespaces are refused, as a default Docker container refuses them: what it says of itself, and that it offers nothing that it can't keep.
 */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { PYTHON } from '../support/sandbox.js';
import { connect, createPlace, execute, MAIN, OPEN_POLICY, whyNoSandbox } from '../support/server.js';

const SANDBOX = fileURLToPath(new URL('../../../sandbox', import.meta.url));
const SCRIPT = fileURLToPath(new URL('../../../test/support/without-namespaces.py', import.meta.url));
const UNDER = [PYTHON, SCRIPT, SANDBOX];
const skip = whyNoSandbox();

/** Each call by itself, in a child; prints what it answered: 0 or the error's number. */
const ATTEMPTS = `
import sys; sys.path.insert(0, ${JSON.stringify(SANDBOX)})
import ctypes, errno, json, os
from confine import syscalls
libc = ctypes.CDLL(None, use_errno=True)
def attempt(name, *arguments):
    pid = os.fork()
    if pid == 0:
        answer = libc.syscall(ctypes.c_long(syscalls.number(name)), *map(ctypes.c_long, arguments))
        if name == "clone" and answer == 0: os._exit(0)
        os._exit(ctypes.get_errno() if answer == -1 else 0)
    return errno.errorcode.get(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), "fine")
NEWUSER, SIGCHLD = 0x10000000, 17
print(json.dumps({
    "a new user namespace": attempt("unshare", NEWUSER),
    "a child in a new user namespace": attempt("clone", NEWUSER | SIGCHLD, 0, 0, 0, 0),
    "a child as clone3 makes it": attempt("clone3", 0, 0),
    "an ordinary child": attempt("clone", SIGCHLD, 0, 0, 0, 0),
    "another namespace": attempt("setns", -1, 0),
    "a mount": attempt("mount", 0, 0, 0, 0, 0),
}))`;

const attempts = (...command: string[]): unknown => {
  const [program, ...args] = [...command, PYTHON, '-I', '-c', ATTEMPTS];
  const ran = spawnSync(program, args, { encoding: 'utf8' });
  assert.equal(ran.status, 0, ran.stderr);
  return JSON.parse(ran.stdout);
};

test('the filter around the server refuses what makes and enters namespaces, and nothing else does', { skip }, () => {
  assert.deepEqual(attempts(), {
    'a new user namespace': 'fine',
    'a child in a new user namespace': 'fine',
    'a child as clone3 makes it': 'EINVAL',
    'an ordinary child': 'fine',
    'another namespace': 'EBADF',
    'a mount': 'EFAULT',
  });
  assert.deepEqual(attempts(...UNDER), {
    'a new user namespace': 'EPERM',
    'a child in a new user namespace': 'EPERM',
    'a child as clone3 makes it': 'ENOSYS',
    'an ordinary child': 'fine',
    'another namespace': 'EPERM',
    'a mount': 'EPERM',
  });
});

const POLICY = { ...OPEN_POLICY, default: 'allow', sandbox: { python: PYTHON } };

/** Run `cordon doctor` there. */
function doctor(policy: unknown, ...flags: string[]) {
  const place = createPlace(policy);
  try {
    const [program = '', ...args] = [...UNDER, process.execPath, MAIN, 'doctor', ...place.flags.slice(0, 2), ...flags];
    return spawnSync(program, args, { encoding: 'utf8', cwd: place.directory });
  } finally {
    place.remove();
  }
}

interface Data {
  readonly tier: string;
  readonly enough: boolean;
  readonly problem: string | null;
  readonly policy: { readonly isolation: string };
  readonly missing: Readonly<Record<string, readonly string[]>>;
  readonly holds: {
    readonly tier: string;
    readonly layers: readonly { readonly layer: string; readonly on: boolean }[];
  };
  readonly trial: { readonly ok: boolean } | null;
}

test('the doctor says that it is confined, what strict would need, and that a program runs', { skip }, () => {
  const said = doctor(POLICY);
  assert.equal(said.status, 0, said.stdout + said.stderr);
  assert.match(said.stdout, /^yes: isolation "confined" is to be had here$/m);
  assert.match(said.stdout, /^ {5}"strict" would need: user namespace, mount and pid namespace, /m);
  assert.match(said.stdout, /^ {2}on {3}landlock: /m);
  assert.match(said.stdout, /^yes: a program ran, /m);

  const data = JSON.parse(doctor(POLICY, '--json').stdout) as Data;
  assert.deepEqual(
    [
      data.tier,
      data.enough,
      data.problem,
      data.policy.isolation,
      data.missing.confined,
      data.holds.tier,
      data.trial?.ok,
    ],
    ['confined', true, null, 'confined', [], 'confined', true],
  );
  assert.ok(data.missing.strict?.includes('user namespace'));
  assert.ok(data.holds.layers.some(({ layer, on }) => layer === 'landlock' && on));
});

test('a policy that asks for strict is refused there, with the reason and the fix, also as data', { skip }, () => {
  const policy = { ...POLICY, sandbox: { python: PYTHON, isolation: 'strict' } };
  const said = doctor(policy);
  assert.equal(said.status, 1);
  assert.match(said.stdout, /^no: isolation "strict" can't be had here: user namespace: /m);
  const ran = doctor(policy, '--json');
  assert.equal(ran.status, 1);
  const data = JSON.parse(ran.stdout) as Data;
  assert.deepEqual([data.enough, data.trial], [false, null]);
  assert.match(data.problem ?? '', /^user namespace: /);
});

test(
  'a client hears the tier with each outcome, the owner reads it in the audit log, and sessions are not offered',
  { skip },
  async () => {
    const { client, place, close } = await connect(POLICY, 'cordon-test', [], UNDER);
    try {
      const { structured } = await execute(client, { code: 'print(6 * 7)' });
      assert.deepEqual([structured.status, structured.stdout, structured.tier], ['ok', '42\n', 'confined']);
      assert.equal(place.audit().at(-1)?.tier, 'confined');

      const { tools } = await client.listTools();
      assert.deepEqual(
        tools.map(({ name }) => name),
        ['code_execute'],
      );
      assert.doesNotMatch(JSON.stringify(tools[0]?.inputSchema) + (tools[0]?.description ?? ''), /session/i);
      assert.doesNotMatch(client.getInstructions() ?? '', /session/i);

      for (const [tool, args] of [
        ['code_execute', { code: 'print(1)', session: 'new' }],
        ['session_list', {}],
      ] as const) {
        const { text, isError } = await execute(client, args, tool);
        assert.ok(isError);
        assert.match(text, /Sessions need isolation "strict", and what is to be had here is "confined"/);
        const line = place.audit().at(-1) as { status: string; decision: { code: string } };
        assert.deepEqual([line.status, line.decision.code], ['denied', 'no_sessions']);
      }
    } finally {
      await close();
    }
  },
);

test('where namespaces are to be had, the same server offers sessions', { skip }, async () => {
  const { client, close } = await connect(POLICY);
  try {
    const { tools } = await client.listTools();
    assert.ok(tools.some(({ name }) => name === 'session_list'));
    assert.match(JSON.stringify(tools[0]?.inputSchema), /"session"/);
    assert.match(client.getInstructions() ?? '', /but in a session/);
  } finally {
    await close();
  }
});
