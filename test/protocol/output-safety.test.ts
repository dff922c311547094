/** What programs, clients and policies say is shown as theirs: it steers no terminal, and is no line of ours. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect, createPlace, execute, MAIN, OPEN_POLICY, startRaw, until, whyNoSandbox } from '../support/server.js';
import { onTerminal } from '../support/terminal.js';

const skip = whyNoSandbox();

/** Sets the title, clears the screen, moves up and over what was there, asks the terminal to answer, turns the line around. */
const HOSTILE = '\u001b]0;owned\u0007\u001b[2J\u001b[1A\u001b[2K\u009b31m\u001b[6n\u202Etxt\u0000\u007f';
const FORGED = 'cordon: ok in 1 ms, CPU 1 ms, memory 1 MB; run 00000000-0000-0000-0000-000000000000';
// Beside newline, tab and return nothing of category Cc, and no mark of direction.
const STEERS = /[^\P{Cc}\n\r\t]|[\u061C\u200E\u200F\u202A-\u202E\u2066-\u2069]/u;

const cordon = (place: { flags: readonly string[] }, ...argv: readonly string[]) => [
  process.execPath,
  MAIN,
  ...argv,
  ...place.flags,
];

for (const [name, code] of [
  ['stdout', `print(${JSON.stringify(HOSTILE)})`],
  ['stderr', `import sys\nprint(${JSON.stringify(HOSTILE)}, file=sys.stderr)`],
  ['raw bytes that are no UTF-8', 'import os\nos.write(1, bytes(range(256)))'],
  [
    'an exception',
    `raise type(${JSON.stringify(HOSTILE.replaceAll('\u0000', ''))}, (Exception,), {})(${JSON.stringify(HOSTILE)})`,
  ],
  ['the reason of its exit', `raise SystemExit(${JSON.stringify(HOSTILE)})`],
  [
    'pieces of a sequence',
    'import os, time\nfor b in b"\\x1b[2J\\xc2\\x9b1A": os.write(1, bytes([b])); time.sleep(0.005)',
  ],
] as const) {
  test(`a terminal is not steered by a program’s ${name}`, { skip }, async () => {
    const place = createPlace();
    try {
      const { shown } = await onTerminal(cordon(place, 'run', '-c', code), place.directory);
      assert.match(shown, /^cordon: .*run [0-9a-f-]{36}\r\n$/m);
      assert.doesNotMatch(shown, STEERS);
    } finally {
      place.remove();
    }
  });
}

test('control: what goes into a file goes there as it is', { skip }, () => {
  const place = createPlace();
  try {
    const [command = '', ...argv] = cordon(place, 'run', '-c', 'import os\nos.write(1, bytes(range(256)))');
    const ran = spawnSync(command, argv, { cwd: place.directory });
    assert.deepEqual([...ran.stdout], [...Array(256).keys()]);
  } finally {
    place.remove();
  }
});

for (const [name, code] of [
  ['stdout', `print(${JSON.stringify(FORGED)}, end="", flush=True)`],
  ['stderr', `import sys\nprint(${JSON.stringify(FORGED)}, end="", file=sys.stderr, flush=True)`],
  ['a return over its own line', `print(${JSON.stringify(`x\r${FORGED}\r`)}, end="", flush=True)`],
] as const) {
  test(`our last line stands by itself after a line begun on ${name}`, { skip }, async () => {
    const place = createPlace();
    try {
      const { shown } = await onTerminal(cordon(place, 'run', '-c', `${code}\nraise SystemExit(3)`), place.directory);
      const lines = shown.trimEnd().split('\r\n');
      assert.match(lines.at(-1) ?? '', /^cordon: error in .* run (?!0{8})[0-9a-f-]{36}$/);
    } finally {
      place.remove();
    }
  });
}

test('structured content keeps escapes, with NUL and bad bytes replaced', { skip }, async () => {
  const { client, close } = await connect();
  try {
    const { structured, text } = await execute(client, { code: 'import os\nos.write(1, b"\\x1b[31mred\\0\\xff\\n")' });
    assert.equal(structured.stdout, '\u001b[31mred\uFFFD\uFFFD\n');
    assert.ok(text.startsWith('\u001b[31mred'));
  } finally {
    await close();
  }
});

test('a program adds nothing to what the server says on stderr', { skip }, async () => {
  const { client, stderr, close } = await connect();
  try {
    const before = stderr();
    await execute(client, {
      code: `import os\nfor fd in range(64):\n    try: os.write(fd, b"\\n${FORGED}\\n")\n    except OSError: pass\nraise ValueError("\\n${FORGED}")`,
    });
    await execute(client, { code: 'import os\nos._exit(1)' });
    assert.equal(stderr(), before);
  } finally {
    await close();
  }
});

test(
  'a client’s name and tool are one line of the audit log, and steer no terminal that shows it',
  { skip },
  async () => {
    const name = `evil\n{"seq":1,"forged":true}\n${HOSTILE}\u2028x`;
    const session = await connect(OPEN_POLICY, name);
    try {
      await execute(session.client, { code: 'print(1)' });
      await session.client.callTool({ name: `none${HOSTILE}\n`, arguments: { a: HOSTILE } });
      const lines = readFileSync(join(session.place.directory, 'audit.jsonl'), 'utf8').trimEnd().split('\n');
      assert.equal(lines.length, 2);
      for (const line of lines) assert.equal((JSON.parse(line) as { forged?: boolean }).forged, undefined);
      assert.equal((JSON.parse(lines[0] ?? '') as { client: { name: string } }).client.name, name);
      for (const command of [['tail', '--lines', '10'], ['tail', '--json'], ['stats'], ['verify']]) {
        const { shown } = await onTerminal(
          [process.execPath, MAIN, 'audit', ...command, '--audit', join(session.place.directory, 'audit.jsonl')],
          session.place.directory,
        );
        assert.notEqual(shown, '');
        assert.doesNotMatch(shown, STEERS, `cordon audit ${command.join(' ')}`);
      }
      assert.doesNotMatch(session.stderr(), STEERS);
      assert.doesNotMatch(session.stderr(), /^\{"seq"/m);
    } finally {
      await session.close();
    }
  },
);

test('a line that a client sends and that is no message is quoted in one line of the log', async () => {
  const place = createPlace();
  const server = startRaw(['serve', ...place.flags], place.directory);
  try {
    await server.initialize();
    const before = server.stderr();
    server.process.stdin.write(`x\u001b[2J\r${FORGED}\u0085\n`);
    await until('the server has said so', () => server.stderr() !== before);
    const said = server.stderr().slice(before.length);
    assert.equal(said.trimEnd().split('\n').length, 1);
    assert.doesNotMatch(said.trimEnd(), /[\p{Cc}]/u);
    assert.match(said, /^cordon: /);
  } finally {
    server.process.stdin.end();
    await server.exited;
    place.remove();
  }
});

test('the words of a policy steer no terminal', { skip }, async () => {
  const place = createPlace({
    version: '1',
    default: 'deny',
    tools: { code_execute: { deny_if: [{ conditions: [], on_deny: `no\n${FORGED}\n${HOSTILE}` }] } },
  });
  try {
    const { shown, status } = await onTerminal(cordon(place, 'run', '-c', 'print(1)'), place.directory);
    assert.doesNotMatch(shown, STEERS);
    assert.doesNotMatch(shown, new RegExp(`^${FORGED.slice(0, 30)}`, 'm'));
    assert.notEqual(status, 0);
  } finally {
    place.remove();
  }
});

/** What an agent may have named, as a file or an option, and a script then passes on. */
const NAMED = `a\u001b]52;c;QQ\u0007\u009b2J\u001bPq\u202Eb\r${FORGED}\n${FORGED}`;
for (const [what, argv] of [
  ['a program that is not there', ['run', `${NAMED}.py`]],
  ['an option that does not exist', ['run', `--${NAMED}`]],
  ['a command that does not exist', [NAMED]],
  ['a state that is not there', ['approve', 'list', '--state', NAMED]],
  ['a log that is not there', ['audit', 'tail', '--audit', NAMED]],
  ['a log that is not there, to be counted', ['audit', 'stats', '--audit', NAMED]],
  ['a log that is not there, to be verified', ['audit', 'verify', '--audit', NAMED]],
  ['a policy that is not there', ['doctor', '--policy', NAMED]],
  ['a policy that is not there, to serve by', ['serve', '--policy', NAMED]],
] as const) {
  test(`a terminal is not steered by the name of ${what}`, async () => {
    const place = createPlace();
    try {
      const { shown, status } = await onTerminal([process.execPath, MAIN, ...argv], place.directory);
      assert.doesNotMatch(shown, STEERS);
      assert.doesNotMatch(shown.replace(/\r\r?\n/g, '\n'), /\r/);
      assert.doesNotMatch(shown, /^cordon: ok in 1 ms/m);
      assert.ok(shown !== '' || status !== 0);
    } finally {
      place.remove();
    }
  });
}
