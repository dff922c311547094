/** The kernel's doors: each call of the table is closed, and each other way in. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openSandbox, unconfined } from '../../support/sandbox.js';
import { attackTests } from '../attack.js';
import { allowedOnPurpose, calls, numbers, others } from '../kernel.js';

/** A program that makes the call and says how it was answered. */
const program = (number: number, args: readonly number[]): string => `
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
r = libc.syscall(ctypes.c_long(${number}), ${args.map((arg) => `ctypes.c_long(${arg})`).join(', ')})
print("answer", errno.errorcode.get(ctypes.get_errno(), ctypes.get_errno()) if r == -1 else "success")`;

const sandbox = await openSandbox({ warm: 1 });

for (const [name, args, root] of calls) {
  const number = numbers[name];
  const other = number === undefined ? 'needs an architecture that has it' : false;
  const allowed = allowedOnPurpose.has(name);
  test(
    `kernel: ${name} is ${allowed ? 'open, on purpose' : 'closed'}`,
    { skip: sandbox.missing || other },
    async () => {
      const outcome = await sandbox.run(program(number ?? -1, args));
      assert.match(
        outcome.stdout.text,
        allowed ? /^answer (?!EPERM|ENOSYS)/ : /^answer (EPERM|ENOSYS)\n$/,
        outcome.reason + outcome.stderr.text,
      );
    },
  );

  const needsRoot = root === 'root' && process.getuid?.() !== 0 ? 'needs root' : false;
  test(
    `kernel, control: ${name} is answered otherwise without a sandbox`,
    { skip: sandbox.missing || other || needsRoot },
    async (t) => {
      const [inside, outside] = await Promise.all([
        sandbox.run(program(number ?? -1, args)).then((outcome) => outcome.stdout.text),
        unconfined(program(number ?? -1, args)).then((ran) => ran.stdout),
      ]);
      assert.match(outside, /^answer /);
      if (!allowed && inside === outside && outside === 'answer ENOSYS\n') {
        t.skip('this kernel does not have it');
        return;
      }
      if (!allowed && inside === outside && root === 'root') {
        t.skip('this user, though root, lacks the capability for it');
        return;
      }
      if (!allowed) assert.notEqual(inside, outside);
    },
  );
}

attackTests('kernel', others, sandbox);
