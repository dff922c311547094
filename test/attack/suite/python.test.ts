/** Goal: to get at our own machinery by Python's own means: frames, the collector, modules, memory, hooks. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openSandbox } from '../../support/sandbox.js';
import { attackTests } from '../attack.js';
import { attacks } from '../python.js';

const sandbox = await openSandbox({ warm: 1 });
attackTests('python', attacks, sandbox);

// Tricks with the way a program ends: none may run anything after the answer, or turn the answer around.
const TRICKS: readonly (readonly [name: string, code: string, status: string])[] = [
  ['an exception hook that raises', 'import sys\nsys.excepthook = lambda *a: 1 / 0\nraise ValueError', 'error'],
  [
    'an exception hook that exits with 0',
    'import os, sys\nsys.excepthook = lambda *a: os._exit(0)\nraise ValueError',
    'ok',
  ],
  ['an atexit function that raises', 'import atexit\natexit.register(lambda: 1 / 0)', 'ok'],
  [
    'an atexit function that registers another',
    'import atexit\ndef again(n):\n    if n: atexit.register(again, n - 1)\natexit.register(again, 100)',
    'ok',
  ],
  [
    'replaced exec, eval, compile and len',
    'import builtins\nfor n in ("exec", "eval", "compile", "len", "print", "open", "isinstance", "repr", "type", "getattr"): setattr(builtins, n, None)',
    'ok',
  ],
  ['builtins emptied', 'import builtins\nbuiltins.__dict__.clear()', 'any'],
  ['sys.modules emptied', 'import sys\nsys.modules.clear()', 'ok'],
  ['sys emptied', 'import sys\nfor n in list(vars(sys)):\n    try: delattr(sys, n)\n    except Exception: pass', 'ok'],
  ['os emptied', 'import os\nos.__dict__.clear()', 'ok'],
  ['json replaced', 'import json\njson.dumps = lambda *a: "x" * 10\n1 + 1', 'ok'],
  ['streams replaced by rubbish', 'import sys\nsys.stdout = sys.stderr = sys.stdin = None\n1 + 1', 'ok'],
  [
    'streams whose flush raises',
    'import sys\nclass S:\n    def write(self, s): pass\n    def flush(self): raise ValueError\nsys.stdout = S()',
    'error',
  ],
  ['the main module emptied', 'globals().clear()', 'ok'],
  [
    'a frame of ours cleared',
    'import sys\nf = sys._getframe()\nwhile f.f_back: f = f.f_back\ntry: f.clear()\nexcept RuntimeError: pass\nf.f_globals.clear()',
    'any',
  ],
  ['an exception with itself as context', 'e = ValueError("x")\ne.__context__ = e\nraise e', 'error'],
  [
    'a ring of exceptions',
    'a, b = ValueError("a"), ValueError("b")\na.__cause__, b.__cause__ = b, a\nraise a',
    'error',
  ],
  [
    'an exception whose class has a hostile name',
    'raise type("A\\n\\x1b[31m\\0" * 1000, (Exception,), {})("x")',
    'error',
  ],
  [
    'an exception whose attributes raise',
    'class E(Exception):\n    def __getattribute__(self, n): raise RuntimeError\nraise E',
    'error',
  ],
  [
    'an exception group 100 deep',
    'import sys\ne = ValueError("x")\nif sys.version_info >= (3, 11):\n    for _ in range(100): e = ExceptionGroup("g", [e])\nraise e',
    'error',
  ],
  ['BaseException of its own', 'class B(BaseException): pass\nraise B', 'error'],
  ['GeneratorExit', 'raise GeneratorExit', 'error'],
  [
    'SystemExit whose code raises when shown',
    'class C:\n    def __str__(self): raise ValueError\nraise SystemExit(C())',
    'error',
  ],
  ['an int of 10 million digits as exit status', 'raise SystemExit(10 ** 1_000_000)', 'any'],
  ['a last expression that exits', 'import sys\nsys.exit(0)', 'ok'],
  ['a last expression whose repr exits with 5', 'class A:\n    def __repr__(self): raise SystemExit(5)\nA()', 'error'],
  ['a fork that both go on', 'import os\nos.fork()\n1 + 1', 'ok'],
  [
    'a child that runs our end as well',
    'import os\nif os.fork() == 0: raise SystemExit(9)\nos.wait()\nprint("parent")',
    'ok',
  ],
  ['a finalizer that starts a process', 'import os\nclass A:\n    def __del__(self): os.fork()\nx = A()', 'ok'],
  [
    'a thread that writes after the end',
    'import threading, os\ndef w():\n    while True: os.write(1, b".")\nthreading.Thread(target=w, daemon=True).start()',
    'any',
  ],
  [
    'KeyboardInterrupt in the middle of the end',
    'import atexit, os, signal\natexit.register(os.kill, os.getpid(), signal.SIGINT)',
    'any',
  ],
];

for (const [name, code, status] of TRICKS) {
  test(`python: ${name}: the answer is the program’s, never ours`, { skip: sandbox.missing }, async () => {
    const outcome = await sandbox.run(code, { limits: { timeoutSeconds: 5 } });
    assert.notEqual(outcome.status, 'unavailable', outcome.reason);
    if (status !== 'any') assert.equal(outcome.status, status, `${outcome.reason}\n${outcome.stderr.text}`);
    assert.doesNotMatch(outcome.stderr.text, /zygote\.py|warden\.py/);
    assert.equal((await sandbox.run('print("next")')).stdout.text, 'next\n');
  });
}
