/**
 * A preloaded library that keeps state of its own behaves in each run as in a Python just started, and one run leaves nothing
 * of itself in the next. A control in each shows that the state is one that a run changes.
 */

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { openSandbox, PYTHON } from '../support/sandbox.js';
import { asInTree } from '../support/tier.js';

const libraries = ['numpy', 'pandas', 'matplotlib.pyplot'].filter(
  (name) => spawnSync(PYTHON, ['-I', '-c', `import ${name}`]).status === 0,
);
const preload = ['random', 'uuid', 'ssl', 'tempfile', 'secrets', 'decimal', 'locale', 'logging', ...libraries];
const { missing, run } = await openSandbox({ preload, warm: 2 });
const needs = (library: string) => missing || (libraries.includes(library) ? false : `needs ${library}`);

async function output(code: string): Promise<string> {
  const outcome = await run(code);
  assert.equal(outcome.status, 'ok', `${outcome.reason}\n${outcome.stderr.text}`);
  return outcome.stdout.text;
}

const drawn: readonly (readonly [what: string, code: string, library?: string])[] = [
  ['random.random', 'import random; print(random.random(), random.getrandbits(64))'],
  ['uuid.uuid4', 'import uuid; print(uuid.uuid4())'],
  ['uuid.uuid1', 'import uuid; print(uuid.uuid1())'],
  ['secrets', 'import secrets; print(secrets.token_hex(16))'],
  ['ssl.RAND_bytes', 'import ssl; print(ssl.RAND_bytes(16).hex())'],
  ['names of temporary files', 'import tempfile; print(tempfile.mkdtemp())'],
  ['numpy.random, the legacy generator', 'import numpy; print(numpy.random.rand(3))', 'numpy'],
  ['numpy.random.default_rng', 'import numpy; print(numpy.random.default_rng().random(3))', 'numpy'],
];

for (const [what, code, library] of drawn) {
  const skip = library === undefined ? missing : needs(library);
  test(`${what}: no two of eight runs draw the same`, { skip }, async () => {
    const seen = new Set(await Promise.all(Array.from({ length: 8 }, () => output(code))));
    assert.equal(seen.size, 8);
  });
}

test('a seed set in one run does not reach the next', { skip: needs('numpy') }, async () => {
  const seeded = 'import random, numpy; random.seed(7); numpy.random.seed(7)\n';
  const draw = 'import random, numpy; print(random.random(), numpy.random.rand())';
  assert.equal(await output(seeded + draw), await output(seeded + draw), 'the control: a seed decides what is drawn');
  assert.notEqual(await output(draw), await output(seeded + draw));
});

const kept: readonly (readonly [what: string, set: string, show: string, library?: string])[] = [
  ['a global of a module', 'import json; json.left_behind = 1', 'import json; print(hasattr(json, "left_behind"))'],
  [
    'a built-in',
    'import builtins; builtins.left_behind = 1',
    'import builtins; print(hasattr(builtins, "left_behind"))',
  ],
  ['an environment variable', 'import os; os.environ["LEFT"] = "1"', 'import os; print(os.environ.get("LEFT"))'],
  ['the module search path', 'import sys; sys.path.append("/left")', 'import sys; print("/left" in sys.path)'],
  ['the working directory', 'import os; os.chdir("/tmp")', 'import os; print(os.getcwd())'],
  [
    'the decimal context',
    'import decimal; decimal.getcontext().prec = 5',
    'import decimal; print(decimal.getcontext().prec)',
  ],
  ['a logging handler', 'import logging; logging.basicConfig()', 'import logging; print(logging.getLogger().handlers)'],
  [
    'a signal handler',
    'import signal; signal.signal(signal.SIGUSR1, print)',
    'import signal; print(signal.getsignal(signal.SIGUSR1))',
  ],
  ['an exit function', 'import atexit; atexit.register(print, "left")', 'import atexit; print(atexit._ncallbacks())'],
  ['the recursion limit', 'import sys; sys.setrecursionlimit(77_777)', 'import sys; print(sys.getrecursionlimit())'],
  [
    'print options of numpy',
    'import numpy; numpy.set_printoptions(precision=1)',
    'import numpy; print(numpy.get_printoptions()["precision"])',
    'numpy',
  ],
  [
    'options of pandas',
    'import pandas; pandas.set_option("display.max_rows", 3)',
    'import pandas; print(pandas.get_option("display.max_rows"))',
    'pandas',
  ],
  [
    'figures of matplotlib',
    'import matplotlib.pyplot as p; p.figure()',
    'import matplotlib.pyplot as p; print(p.get_fignums())',
    'matplotlib.pyplot',
  ],
  [
    'parameters of matplotlib',
    'import matplotlib; matplotlib.rcParams["lines.linewidth"] = 9',
    'import matplotlib; print(matplotlib.rcParams["lines.linewidth"])',
    'matplotlib.pyplot',
  ],
];

for (const [what, set, show, library] of kept) {
  const skip = library === undefined ? missing : needs(library);
  test(`${what} that one run sets is as new in the next`, { skip }, async () => {
    const before = asInTree(await output(show));
    const changed = asInTree(await output(`${set}\n${show}`));
    assert.notEqual(changed, before, 'the control: what is set is seen within the run');
    for (let again = 0; again < 3; again += 1) assert.equal(asInTree(await output(show)), before);
  });
}

test('numpy computes with threads of its own in each run', { skip: needs('numpy') }, async () => {
  const code = 'import numpy\na = numpy.arange(250_000.0).reshape(500, 500)\nprint(numpy.linalg.norm(a @ a.T))';
  const expected = execFileSync(PYTHON, ['-I', '-c', code], { encoding: 'utf8' });
  const outcomes = await Promise.all(Array.from({ length: 4 }, () => output(code)));
  for (const one of outcomes) assert.ok(Math.abs(Number(one) / Number(expected) - 1) < 1e-12, one);
});

test('a plot drawn with a preloaded matplotlib is a PNG', { skip: needs('matplotlib.pyplot') }, async () => {
  const draw =
    'import matplotlib.pyplot as plt\nplt.plot([1, 3, 2]); plt.title("t"); plt.savefig("a.png")\nprint(open("a.png", "rb").read(8))';
  assert.equal(await output(draw), "b'\\x89PNG\\r\\n\\x1a\\n'\n");
});

test(
  'a preloaded module is there without importing anything, and one that was not named is not',
  { skip: missing },
  async () => {
    assert.equal(await output('import sys; print("decimal" in sys.modules, "wave" in sys.modules)'), 'True False\n');
  },
);
