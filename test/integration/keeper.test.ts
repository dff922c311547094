/** The keeper (sandbox/keeper.py): an answer need not wait until a program's memory is taken apart, and nothing else changes. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openSandbox } from '../support/sandbox.js';
import { onlyStrict } from '../support/tier.js';

const { run, missing } = await openSandbox();
const skip = missing || onlyStrict('there are keepers only where a sandbox has processes of its own');

test('a program’s own waits do not find its keeper', { skip }, async () => {
  const { stdout, stderr } = await run(`
import os, subprocess
for wait in (os.wait, lambda: os.waitpid(-1, 0), lambda: os.waitpid(0, os.WNOHANG)):
    try: print(wait())
    except ChildProcessError: print("no children")
print(subprocess.run(["true"]).returncode)
pid = os.fork()
if pid == 0: os._exit(7)
print(os.wait() == (pid, 7 << 8))`);
  assert.equal(stdout.text, 'no children\nno children\nno children\n0\nTrue\n', stderr.text);
});

test('a program that kills, buries, stops or wakes its keeper ends as any other', { skip }, async () => {
  const children = 'open(f"/proc/self/task/{os.getpid()}/children").read().split()';
  for (const deed of [
    'os.kill(keeper, 9)',
    'os.kill(keeper, 9); os.waitpid(keeper, 0x40000000)',
    'os.kill(keeper, 19)',
    'os.kill(keeper, 19); os.kill(keeper, 18)',
    'for number in range(1, 32): number == 9 or os.kill(keeper, number)',
  ]) {
    const { status, exitCode, stdout, stderr } = await run(
      `import os\nkeeper, = map(int, ${children})\n${deed}\nprint("done", flush=True)\nos._exit(5)`,
    );
    assert.deepEqual([status, exitCode, stdout.text], ['error', 5, 'done\n'], `${deed}: ${stderr.text}`);
  }
});

test(
  'what a keeper is made to do by the program is confined, and over when the answer is there',
  { skip },
  async () => {
    // A keeper's own code, overwritten in the memory that both have: it prints for ever. No answer goes out before that has an end.
    const { status, stdout, stderr } = await run(`
import ctypes, os, platform, signal, time
keeper, = map(int, open(f"/proc/self/task/{os.getpid()}/children").read().split())
libc = ctypes.CDLL(None)
page = os.sysconf("SC_PAGE_SIZE")
entry = ctypes.cast(libc.pause, ctypes.c_void_p).value
start = entry & -page
libc.mprotect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
assert libc.mprotect(start, 2 * page, 7) == 0
letter = ctypes.create_string_buffer(b"k")
where = ctypes.addressof(letter)
if platform.machine() == "x86_64":
    # again: eax = write; edi = 1; rsi = where; edx = 1; syscall; jmp again
    code = b"\\xb8\\x01\\0\\0\\0\\xbf\\x01\\0\\0\\0\\x48\\xbe" + where.to_bytes(8, "little") + b"\\xba\\x01\\0\\0\\0\\x0f\\x05\\xeb\\xe3"
else:
    words = [0xd2800808, 0xd2800020, 0xd2800022] + [0xf2800001 | (shift << 21) | ((where >> 16 * shift & 0xffff) << 5) for shift in range(4)] + [0xd4000001, 0x17fffff8]
    code = b"".join(word.to_bytes(4, "little") for word in words)
# Wherever in the function it sleeps, what comes next is this: nothing but no-ops up to it.
nop = b"\\x90" if platform.machine() == "x86_64" else (0xd503201f).to_bytes(4, "little")
room = start + 2 * page - entry - len(code)
ctypes.memmove(entry, (nop * room)[:min(room, 256)] + code, min(room, 256) + len(code))
os.kill(keeper, signal.SIGSTOP); os.kill(keeper, signal.SIGCONT)
time.sleep(0.005)
os._exit(0)`);
    assert.equal(status, 'ok', stderr.text);
    assert.match(stdout.text, /^k+/, 'the keeper was hijacked');
  },
);

test('a program that becomes another one gives back what it held before', { skip }, async () => {
  const { status, usage, stderr } = await run(
    `
import os, sys
held = b"x" * (150 << 20)
os.execv(sys.executable, ["python3", "-c", "import time; time.sleep(0.2); held = b'x' * (150 << 20); time.sleep(0.2)"])`,
    { limits: { memoryMb: 256 } },
  );
  assert.equal(status, 'ok', `${stderr.text} ${JSON.stringify(usage)}`);
});
