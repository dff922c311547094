/** Which Python runs, and with which packages: Debian's own, a shim in front of it, virtual environments of every kind. */

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { selectBackend, BackendUnavailable } from '../../src/backends/select.js';
import { openSandbox, PYTHON, TIER } from '../support/sandbox.js';

const { missing } = await openSandbox({ warm: 0 });
const place = mkdtempSync(join(tmpdir(), 'python-'));
chmodSync(place, 0o755); // as any directory that an interpreter is installed in
/** What a program is told of a file that is not for it: behind namespaces it has no name, elsewhere it may not be opened. */
const REFUSED = TIER === 'strict' ? 'FileNotFoundError' : 'PermissionError';
after(() => {
  rmSync(place, { recursive: true, force: true });
});

const noVenv =
  spawnSync(PYTHON, ['-I', '-m', 'venv', '--without-pip', join(place, 'probe')]).status === 0
    ? false
    : 'needs the module venv';
const skip = missing || noVenv;

/** A virtual environment with a package of its own in it; its path and its site-packages. */
function makeVenv(path: string, ...flags: string[]): { python: string; site: string } {
  execFileSync(PYTHON, ['-I', '-m', 'venv', '--without-pip', ...flags, path]);
  const python = join(path, 'bin', 'python3');
  const site = execFileSync(python, ['-I', '-c', 'import site; print(site.getsitepackages()[0])'], {
    encoding: 'utf8',
  }).trim();
  mkdirSync(join(site, 'ownpackage'));
  writeFileSync(join(site, 'ownpackage', '__init__.py'), 'value = "from the virtual environment"\n');
  return { python, site };
}

/** Run one program with the interpreter `python`; its standard output. */
async function output(python: string, code: string): Promise<string> {
  const { backend, run } = await openSandbox({ python, warm: 0 });
  try {
    const outcome = await run(code);
    assert.equal(outcome.status, 'ok', `${outcome.reason}\n${outcome.stderr.text}`);
    return outcome.stdout.text;
  } finally {
    await backend.close();
  }
}

test('Debian’s own Python, with Debian’s packages', { skip: missing }, async () => {
  const outside = execFileSync(PYTHON, ['-I', '-c', 'import sys; print(sys.version_info[:3], sys.prefix)'], {
    encoding: 'utf8',
  });
  assert.equal(await output(PYTHON, 'import sys; print(sys.version_info[:3], sys.prefix)'), outside);
});

/** Of util-linux. */
const SETPRIV = 'setpriv';

/** In the weaker tiers root's programs run under ids of their own. */
const closed =
  TIER === 'confined' &&
  process.getuid?.() === 0 &&
  !mayEveryoneRun(execFileSync('python3', ['-I', '-c', 'import os; print(os.__file__)'], { encoding: 'utf8' }).trim());

function mayEveryoneRun(path: string): boolean {
  return spawnSync(SETPRIV, ['--reuid', '65534', '--regid', '65534', '--clear-groups', 'cat', path]).status === 0;
}

test(
  'an interpreter that only root may read is refused at the start, and the words say what to do',
  { skip: missing || (closed ? false : 'needs tier confined, root, and such a python3 on PATH') },
  async () => {
    await assert.rejects(openSandbox({ python: 'python3', warm: 0 }), (error: Error) => {
      assert.ok(error instanceof BackendUnavailable);
      assert.match(error.message, /identity: the interpreter's \/\S+ can be read by root only/);
      assert.match(error.message, /name an interpreter that everyone may read as sandbox\.python/);
      return true;
    });
  },
);

test(
  'a part of a virtual environment that only root may read is found at the start, too',
  { skip: skip || (TIER === 'confined' && process.getuid?.() === 0 ? false : 'needs tier confined and root') },
  async () => {
    const { python, site } = makeVenv(join(place, 'half-closed'));
    chmodSync(join(place, 'half-closed', 'lib'), 0o700);
    await assert.rejects(
      openSandbox({ python, warm: 0 }),
      /identity: the interpreter's \S+half-closed\/lib can be read by root only/,
    );
    chmodSync(join(place, 'half-closed', 'lib'), 0o755);
    assert.ok(existsSync(site));
    assert.equal(await output(python, 'import ownpackage; print(ownpackage.value)'), 'from the virtual environment\n');
  },
);

test(
  'the python3 on PATH, whatever it is',
  { skip: missing || (closed ? 'only root may read it' : false) },
  async () => {
    const code = 'import sys; print(sys.version_info[:3], sys.prefix)';
    assert.equal(await output('python3', code), execFileSync('python3', ['-I', '-c', code], { encoding: 'utf8' }));
  },
);

test('a shell shim in front of Python is seen through', { skip: missing }, async () => {
  mkdirSync(join(place, 'shims'));
  const shim = join(place, 'shims', 'python3');
  writeFileSync(shim, `#!/bin/sh\nset -e\nexec "${PYTHON}" "$@"\n`);
  chmodSync(shim, 0o755);
  const { backend, run } = await openSandbox({ python: shim, warm: 0 });
  assert.notEqual(backend.guarantees.interpreter.executable, shim);
  const read = `try: print(open(${JSON.stringify(shim)}).read())\nexcept OSError as e: print(type(e).__name__)`;
  assert.equal((await run(read)).stdout.text, `${REFUSED}\n`);
  await backend.close();
});

test('a link to Python in another directory', { skip: missing }, async () => {
  const link = join(place, 'linked-python');
  symlinkSync(PYTHON, link);
  assert.equal(await output(link, 'import json, ctypes, sqlite3; print("works")'), 'works\n');
});

test('a virtual environment has its own packages, and not the system’s', { skip }, async () => {
  const { python } = makeVenv(join(place, 'plain'));
  const told = await output(
    python,
    'import ownpackage, importlib.util, sys; print(ownpackage.value, sys.prefix, importlib.util.find_spec("numpy") is None)',
  );
  assert.equal(told, `from the virtual environment ${join(place, 'plain')} True\n`);
});

test('a child Python of a virtual environment has its packages as well', { skip }, async () => {
  const { python } = makeVenv(join(place, 'children'));
  const told = await output(
    python,
    'import subprocess, sys\nprint(subprocess.check_output([sys.executable, "-c", "import ownpackage; print(ownpackage.value)"], text=True), subprocess.check_output(["python3", "-c", "import ownpackage; print(1)"], text=True))',
  );
  assert.equal(told, 'from the virtual environment\n 1\n\n');
});

test('packages of a virtual environment are named in the guarantees', { skip }, async () => {
  const { python, site } = makeVenv(join(place, 'named'));
  const info = join(site, 'some_thing-1.0.dist-info');
  mkdirSync(info);
  writeFileSync(join(info, 'METADATA'), 'Metadata-Version: 2.1\nName: some-thing\nVersion: 1.0\n');
  const { backend } = await openSandbox({ python, warm: 0 });
  assert.deepEqual(backend.guarantees.interpreter.packages, ['some-thing']);
  await backend.close();
});

test('a .pth file that names a directory inside the environment works', { skip }, async () => {
  const { python, site } = makeVenv(join(place, 'pth'));
  mkdirSync(join(site, 'more'));
  writeFileSync(join(site, 'more', 'viapth.py'), 'value = "via .pth"\n');
  writeFileSync(join(site, 'more.pth'), 'more\n');
  assert.equal(await output(python, 'import viapth; print(viapth.value)'), 'via .pth\n');
});

test('a .pth file with code runs inside the sandbox only', { skip }, async () => {
  const { python, site } = makeVenv(join(place, 'pthcode'));
  const witness = join(place, 'witness');
  writeFileSync(
    join(site, 'evil.pth'),
    `import os, sys; sys.pth_ran = True; exec("try: open(${JSON.stringify(JSON.stringify(witness)).slice(1, -1)}, 'w')\\nexcept OSError: pass")\n`,
  );
  assert.equal(await output(python, 'import sys; print(sys.pth_ran)'), 'True\n');
  assert.equal(existsSync(witness), false);
});

test('a .pth file with an error is no reason to fail', { skip }, async () => {
  const { python, site } = makeVenv(join(place, 'badpth'));
  writeFileSync(join(site, 'bad.pth'), 'import no_such_module_anywhere\n');
  assert.equal(await output(python, 'print("runs")'), 'runs\n');
});

test('a virtual environment with system-site-packages has both', { skip }, async () => {
  const { python } = makeVenv(join(place, 'both'), '--system-site-packages');
  const outside = spawnSync(PYTHON, ['-I', '-c', 'import numpy']).status === 0;
  const told = await output(
    python,
    'import ownpackage, importlib.util; print(ownpackage.value, importlib.util.find_spec("numpy") is not None)',
  );
  assert.equal(told, `from the virtual environment ${outside ? 'True' : 'False'}\n`);
});

test('a virtual environment made of copies', { skip }, async () => {
  const { python } = makeVenv(join(place, 'copies'), '--copies');
  assert.equal(
    await output(python, 'import ownpackage, json; print(ownpackage.value)'),
    'from the virtual environment\n',
  );
});

test('a virtual environment that lies directly in a project shows nothing else of the project', { skip }, async () => {
  const project = join(place, 'project');
  mkdirSync(join(project, 'src'), { recursive: true });
  const { python } = makeVenv(project);
  for (const name of ['secret.env', 'policy.json', 'src/main.py', '.netrc'])
    writeFileSync(join(project, name), 'the project’s own');
  const told = await output(
    python,
    `
import ownpackage, os
for name in ("secret.env", "policy.json", "src/main.py", ".netrc"):
    try: print(open(os.path.join(${JSON.stringify(project)}, name)).read())
    except OSError as e: print(type(e).__name__)
print(ownpackage.value)`,
  );
  assert.equal(told, `${`${REFUSED}\n`.repeat(4)}from the virtual environment\n`);
});

test('a virtual environment as .venv in a project shows nothing of the project', { skip }, async () => {
  const project = join(place, 'dotvenv');
  mkdirSync(project);
  writeFileSync(join(project, 'secret.env'), 'the project’s own');
  const { python } = makeVenv(join(project, '.venv'));
  const told = await output(
    python,
    `import ownpackage, os\ntry: print(os.listdir(${JSON.stringify(project)}))\nexcept OSError as e: print(type(e).__name__)\ntry: print(open(${JSON.stringify(join(project, 'secret.env'))}).read())\nexcept OSError as e: print(type(e).__name__)`,
  );
  assert.match(told, new RegExp(`^(PermissionError|\\['\\.venv'\\])\\n${REFUSED}\\n$`));
});

test('packages are read-only', { skip }, async () => {
  const { python, site } = makeVenv(join(place, 'readonly'));
  const told = await output(
    python,
    `
import os
for path in (${JSON.stringify(join(site, 'ownpackage', '__init__.py'))}, ${JSON.stringify(join(site, 'new.py'))}, os.__file__):
    try: open(path, "a").write("# changed"); print("written")
    except OSError as e: print(type(e).__name__)`,
  );
  assert.doesNotMatch(told, /written/);
  assert.equal(existsSync(join(site, 'new.py')), false);
});

test('a Python that is not there, is none, or fails is refused with words', { skip: missing }, async () => {
  const notPython = join(place, 'not-python');
  writeFileSync(notPython, '#!/bin/sh\necho hello\n');
  const failing = join(place, 'failing-python');
  writeFileSync(failing, '#!/bin/sh\necho "pyenv: version 9.9 is not installed" >&2\nexit 1\n');
  for (const path of [notPython, failing]) chmodSync(path, 0o755);
  const settings = { minimum: 'strict' as const, preload: [], warm: 0, diskMb: 8, diskInodes: 100, mounts: [] };
  for (const [python, words] of [
    [join(place, 'nowhere'), /was not found/],
    [notPython, /its answer was "hello": is it a Python\?/],
    [failing, /pyenv: version 9\.9 is not installed/],
  ] as const) {
    await assert.rejects(selectBackend({ ...settings, python }), (error: Error) => {
      assert.ok(error instanceof BackendUnavailable);
      assert.match(error.message, words);
      assert.ok(error.message.includes(JSON.stringify(python)));
      return true;
    });
  }
});

for (const version of ['3.9', '3.10', '3.12', '3.13', '3.14']) {
  const name = `python${version}`;
  const found = spawnSync(name, ['-I', '-c', '']).status === 0;
  test(`${name} works as well`, { skip: missing || (found ? false : `needs ${name}`) }, async () => {
    const told = await output(
      name,
      'import ctypes, json, multiprocessing, sqlite3, ssl, subprocess, sys, threading\nt = threading.Thread(target=print, args=("thread",)); t.start(); t.join()\nprint("%d.%d" % sys.version_info[:2], subprocess.check_output([sys.executable, "-c", "print(1)"], text=True))',
    );
    assert.equal(told, `thread\n${version} 1\n\n`);
  });
}
