/**
 * Goal: to have the server read, by way of the files that a program leaves, what the program itself can't; or to choke on them.
 *
 * The control leaves the same files without a sandbox, and a collector as one would write it in a hurry, which follows what is there,
 * has to be had by them.
 */

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { linkSync, mkdtempSync, openSync, readdirSync, rmSync, statSync, constants, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { JobLimits } from '../../../src/sandbox.js';
import { nameProblem } from '../../../src/files/name.js';
import { leftFiles } from '../../support/left-files.js';
import { openSandbox, PYTHON, TIER } from '../../support/sandbox.js';

const sandbox = await openSandbox({ diskInodes: 16_384 });
const skip = sandbox.missing;

const SECRET = `CORDON-SECRET-${randomBytes(16).toString('hex')}`;
const canaries = mkdtempSync(join(tmpdir(), 'canary-'));
const secretFile = join(canaries, 'secret.txt');
writeFileSync(secretFile, SECRET);
process.env.CORDON_TEST_RETURNED = SECRET;
after(() => {
  rmSync(canaries, { recursive: true, force: true });
});

/** What a naive collector is had by. */
type Harm =
  /** It reads the secret. */
  | 'secret'
  /** It fails altogether, and with it all files of the run are lost. */
  | 'chokes'
  /** It waits for ever. */
  | 'waits'
  /** It takes in more than there is memory for. */
  | 'swells'
  /** It shows a name that says something else than it is. */
  | 'misleads';

interface Trick {
  readonly name: string;
  /** Python; `SECRET_FILE` and `CANARIES` are paths. Leaves something in the working directory. */
  readonly code: string;
  readonly harm: Harm;
  /** What is said of it, instead of bringing it out; null: it may come back as what it is. */
  readonly why: RegExp | null;
  readonly limits?: Partial<JobLimits>;
  /** Only tier strict lets a program leave it at all. */
  readonly onlyStrict?: boolean;
}

const TRICKS: readonly Trick[] = [
  {
    name: 'a symbolic link to a file outside',
    code: 'os.symlink(SECRET_FILE, "out.txt")',
    harm: 'secret',
    why: /symbolic link/,
  },
  {
    name: 'a relative symbolic link that climbs out',
    code: 'os.symlink("../" * 30 + SECRET_FILE.lstrip("/"), "out.txt")',
    harm: 'secret',
    why: /symbolic link/,
  },
  {
    name: 'a symbolic link to a directory outside',
    code: 'os.symlink(CANARIES, "out")',
    harm: 'secret',
    why: /symbolic link/,
  },
  {
    name: 'a symbolic link to a directory outside, deep in the tree',
    code: 'os.makedirs("a/b/c"); os.symlink(CANARIES, "a/b/c/out")',
    harm: 'secret',
    why: /symbolic link/,
  },
  {
    name: 'a symbolic link by way of another',
    code: 'os.symlink(CANARIES, "first"); os.symlink("first/secret.txt", "second")',
    harm: 'secret',
    why: /symbolic link/,
  },
  {
    name: 'a symbolic link to the environment of whoever reads it',
    code: 'os.symlink("/proc/self/environ", "out.txt")',
    harm: 'secret',
    why: /symbolic link/,
  },
  {
    name: 'a symbolic link to the root of whoever reads it',
    code: 'os.symlink("/proc/self/root" + SECRET_FILE, "out.txt")',
    harm: 'secret',
    why: /symbolic link/,
  },
  {
    name: 'a directory that became a symbolic link',
    code: 'os.mkdir("d"); open("d/secret.txt", "w").close(); os.rename("d", "old"); os.symlink(CANARIES, "d")',
    harm: 'secret',
    why: /symbolic link/,
  },
  { name: 'a symbolic link to itself', code: 'os.symlink("loop", "loop")', harm: 'chokes', why: /symbolic link/ },
  { name: 'a dangling symbolic link', code: 'os.symlink("/nowhere", "out")', harm: 'chokes', why: /symbolic link/ },
  { name: 'a FIFO without a writer', code: 'os.mkfifo("pipe")', harm: 'waits', why: /FIFO/ },
  {
    name: 'a socket',
    code: 'import socket; socket.socket(socket.AF_UNIX).bind("sock")',
    harm: 'chokes',
    why: /socket/,
    onlyStrict: true,
  },
  {
    name: 'a file of 1 TiB that is a hole',
    code: 'os.truncate(os.open("hole", os.O_CREAT | os.O_RDWR), 1 << 40)',
    harm: 'swells',
    why: /1099511627776 bytes long/,
    limits: { fileSizeMb: 1 << 21 },
  },
  {
    name: '10,000 directories in each other',
    code: `
for n in range(10_000):
    os.mkdir("d"); os.chdir("d")
open("bottom", "w").close()`,
    harm: 'chokes',
    why: /more than 32 directories deep/,
    onlyStrict: true,
  },
  {
    name: 'a path longer than PATH_MAX',
    code: `
for n in range(30):
    os.mkdir("d" * 250); os.chdir("d" * 250)
open("bottom", "w").close()`,
    harm: 'chokes',
    why: /longer than 1024 bytes/,
  },
  {
    name: 'a name with a newline',
    code: 'open("a\\nb.txt: all fine", "w").close()',
    harm: 'misleads',
    why: /control characters/,
  },
  {
    name: 'a name with terminal escapes',
    code: 'open("a\\x1b[2Jb", "w").close()',
    harm: 'misleads',
    why: /control characters/,
  },
  {
    name: 'a name that reads backwards',
    code: 'open("a\\u202efdp.exe", "w").close()',
    harm: 'misleads',
    why: /invisible/,
  },
  {
    name: 'a name with an invisible character',
    code: 'open("pass\\u200bwd", "w").close()',
    harm: 'misleads',
    why: /invisible/,
  },
  {
    name: 'a name that is no UTF-8',
    code: 'open(b"a\\xff\\xfe", "w").close()',
    harm: 'chokes',
    why: /not valid UTF-8/,
  },
  {
    name: 'a name with half a surrogate pair',
    code: 'open(b"a\\xed\\xa0\\x80", "w").close()',
    harm: 'chokes',
    why: /not valid UTF-8/,
  },
  {
    name: 'a name with the backslashes of other systems',
    code: 'open("..\\\\..\\\\x", "w").close()',
    harm: 'misleads',
    why: /backslash/,
  },
  { name: 'a name that spells ..', code: 'open("..\\\\x66", "w").close()', harm: 'misleads', why: /backslash/ },
];

/** As one would write it in a hurry. */
function naively(directory: string, prefix = ''): { name: string; content: string }[] {
  return readdirSync(directory).flatMap((name) => {
    const path = join(directory, name);
    const found = statSync(path);
    if (found.isDirectory()) return naively(path, `${prefix}${name}/`);
    if (found.isFIFO()) {
      // It would open it, and wait. Without waiting the kernel tells that nobody would ever come: ENXIO (fifo(7)).
      openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
    }
    if (found.size > 2 ** 33) throw new RangeError(`${found.size} bytes`);
    return [
      { name: `${prefix}${name}`, content: execFileSync('cat', ['--', path], { encoding: 'latin1', stdio: 'pipe' }) },
    ];
  });
}

/** Leave the files without a sandbox, and see what the naive collector makes of them. */
function control({ code }: Trick): { files: { name: string; content: string }[] } | { error: NodeJS.ErrnoException } {
  const directory = mkdtempSync(join(tmpdir(), 'control-'));
  try {
    const ran = spawnSync(PYTHON, ['-I', '-c', programOf(code)], { cwd: directory, encoding: 'utf8' });
    assert.equal(ran.status, 0, ran.stderr);
    try {
      return { files: naively(directory) };
    } catch (error) {
      return { error: error as NodeJS.ErrnoException };
    }
  } finally {
    spawnSync('rm', ['-rf', directory]); // Node's own rm recurses, and ends at PATH_MAX
  }
}

function programOf(code: string): string {
  return `import os\nSECRET_FILE, CANARIES = ${JSON.stringify(secretFile)}, ${JSON.stringify(canaries)}\n${code}\n`;
}

for (const trick of TRICKS) {
  const { name, code, harm, why, limits = {}, onlyStrict = false } = trick;
  const out = skip || (onlyStrict && TIER !== 'strict' ? `tier ${TIER} ends a program that tries` : false);
  test(`returned files: ${name} gets nothing out, and costs no other file`, { skip: out }, async () => {
    const left = leftFiles();
    // The deep ones leave the directory they began in: the last file is to lie in it.
    const program = `import os\nHOME = os.getcwd()\nopen("aaa", "w").write("fine")\n${programOf(code)}\nopen(HOME + "/zzz", "w").write("fine")`;
    const outcome = await sandbox.run(program, { limits, onFile: left.onFile });
    assert.equal(outcome.status, 'ok', `${outcome.reason}\n${outcome.stderr.text}`);
    assert.equal(left.files.get('aaa')?.toString(), 'fine');
    assert.equal(left.files.get('zzz')?.toString(), 'fine');
    for (const [file, content] of left.files) {
      assert.equal(nameProblem(file), null);
      assert.ok(!content.includes(SECRET), `the secret came out as ${file}`);
    }
    assert.ok(!JSON.stringify(outcome).includes(SECRET));
    if (why !== null) {
      assert.ok(outcome.filesLeftOut.count >= 1);
      assert.match(outcome.filesLeftOut.examples.map((example) => example.why).join('\n'), why);
    }
    for (const example of outcome.filesLeftOut.examples) assert.match(example.name, /^[^\p{C}\u2028\u2029]*$/u);
  });

  test(`returned files, control: ${name} has a naive collector`, { skip }, () => {
    const got = control(trick);
    switch (harm) {
      case 'secret':
        assert.ok('files' in got && got.files.some(({ content }) => content.includes(SECRET)), JSON.stringify(got));
        return;
      case 'waits':
        assert.equal('error' in got && got.error.code, 'ENXIO');
        return;
      case 'chokes':
        assert.ok('error' in got, JSON.stringify(got));
        return;
      case 'swells':
        assert.match('error' in got ? got.error.message : '', /1099511627776 bytes/);
        return;
      case 'misleads':
        assert.ok('files' in got && got.files.some((file) => nameProblem(file.name) !== null), JSON.stringify(got));
    }
  });
}

test('returned files: a hard link to a file outside can’t be made, and none comes back', { skip }, async () => {
  const left = leftFiles();
  const outcome = await sandbox.run(
    programOf(`
for source in (SECRET_FILE, "/etc/passwd", "/code/main.py", "/usr/bin/python3"):
    try: os.link(source, os.path.basename(source)); print("LINKED", source)
    except OSError: pass
open("own", "w").write("x"); os.link("own", "other")`),
    { onFile: left.onFile },
  );
  assert.equal(outcome.status, 'ok', outcome.stderr.text);
  assert.doesNotMatch(outcome.stdout.text, /LINKED/);
  assert.deepEqual([...left.files.keys()], []);
  assert.deepEqual(
    outcome.filesLeftOut.examples.map(({ name }) => name),
    ['other', 'own'],
  );
});

test('returned files, control: a hard link to a file outside has a naive collector', { skip }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'control-'));
  linkSync(secretFile, join(directory, 'out.txt'));
  assert.ok(naively(directory)[0]?.content.includes(SECRET));
  rmSync(directory, { recursive: true });
});

test('returned files: frames of its own, written to every descriptor, make no file', { skip }, async () => {
  const left = leftFiles();
  const outcome = await sandbox.run(
    `
import os, struct
name = b'{"name": "../../forged", "bytes": 3}'
forged = struct.pack(">IB", len(name), ord("N")) + name + struct.pack(">IB", 3, ord("B")) + b"abc"
for fd in range(1, 64):
    try: os.write(fd, forged)
    except OSError: pass
`,
    { onFile: left.onFile },
  );
  assert.equal(outcome.status, 'ok', outcome.reason);
  assert.deepEqual([...left.files.keys()], []);
  assert.ok(outcome.stdout.text.includes('forged'), 'it was its output, and nothing else');
});
