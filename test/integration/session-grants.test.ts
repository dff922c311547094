/** Sessions of one grant, looked for by another: by guess, by listing, and from inside a program. Through the whole of a call, in real sandboxes. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, test } from 'node:test';
import { call, type CallRequest } from '../../src/call.js';
import type { Outcome } from '../../src/outcome.js';
import { start } from '../../src/startup.js';
import { createPlace, whyNoSandbox } from '../support/server.js';

const skip = whyNoSandbox();

const POLICY = {
  version: '1',
  default: 'allow',
  sandbox: { warm: 1, memory_mb: 128, sessions: { max: 2 } },
};

async function open() {
  const place = createPlace(POLICY);
  const [, policy, , audit] = place.flags;
  const started = await start({ policy, audit, state: 'memory' });
  after(async () => {
    await started.close();
    place.remove();
  });
  return async (grant: string, tool: string, args: Record<string, unknown>): Promise<Outcome> => {
    const request: CallRequest = {
      tool,
      args,
      grant: { name: grant },
      client: { name: 'test', version: '1' },
      session: randomUUID(),
      signal: new AbortController().signal,
      form: null,
    };
    return call(started.rooms, request);
  };
}

/** Prints what of a secret and of handles can be found: in files, other processes, the environment and all of the program's memory. */
const SEARCH = String.raw`
import os, re
found = set()
wanted = re.compile(rb"(?:SECRET-|s_)[0-9a-f]{32}")
def look(data):
    found.update(match.decode() for match in wanted.findall(data))
def read(path):
    try:
        with open(path, "rb") as file: look(file.read(1 << 20))
    except OSError: pass
for pid in filter(str.isdigit, os.listdir("/proc")):
    for name in ("environ", "cmdline"): read(f"/proc/{pid}/{name}")
for top in (os.getcwd(), "/tmp", "/var/tmp", "/dev/shm", "/run"):
    for folder, _, names in os.walk(top):
        look(os.fsencode(folder))
        for name in names:
            look(os.fsencode(name))
            read(os.path.join(folder, name))
with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
    for line in maps:
        span, access = line.split()[:2]
        begin, end = (int(part, 16) for part in span.split("-"))
        if access.startswith("rw") and end - begin < 1 << 28:
            try:
                memory.seek(begin)
                look(memory.read(end - begin))
            except (OSError, ValueError): pass
print(*sorted(found), sep="\n")
`;

test(
  'a session is not there for another grant: not by its handle, not in a list, not in what counts',
  { skip },
  async () => {
    const as = await open();
    const theirs = (await as('a', 'code_execute', { code: 'x = 1', session: 'new' })).session?.id ?? '';
    assert.match(theirs, /^s_/);
    const guess = `s_${'0'.repeat(32)}`;
    for (const [tool, args] of [
      ['code_execute', { code: 'x' }],
      ['session_fork', {}],
      ['session_rewind', { steps: 1 }],
      ['session_end', {}],
    ] as const) {
      const [known, unknown] = [
        await as('b', tool, { ...args, session: theirs }),
        await as('b', tool, { ...args, session: guess }),
      ];
      assert.equal(known.policy?.code, 'no_such_session');
      assert.equal(known.reason.replace(theirs, ''), unknown.reason.replace(guess, ''));
      assert.equal(known.usage, null);
    }
    assert.deepEqual((await as('b', 'session_list', {})).sessions, []);
    for (let n = 0; n < 2; n += 1)
      assert.equal((await as('b', 'code_execute', { code: '1', session: 'new' })).status, 'ok');
    const full = await as('b', 'code_execute', { code: '1', session: 'new' });
    assert.equal(full.policy?.code, 'too_many_sessions');
    assert.ok(!full.reason.includes(theirs));
    assert.equal((await as('a', 'session_list', {})).sessions.length, 1);
    assert.equal((await as('a', 'code_execute', { code: 'x', session: theirs })).result, '1');
  },
);

test('a program finds nothing of another grant’s session, and no handle, not even its own', { skip }, async () => {
  const as = await open();
  const secret = `SECRET-${randomUUID().replaceAll('-', '')}`;
  const keep = `secret = ${JSON.stringify(secret)}\nopen("secret.txt", "w").write(secret)`;
  const theirs = (await as('a', 'code_execute', { code: keep, session: 'new' })).session?.id ?? '';
  // The search is able to find it where it is.
  const own = await as('a', 'code_execute', { code: SEARCH, session: theirs });
  assert.equal(own.stdout.text.trim(), secret, own.reason);
  const other = (await as('b', 'code_execute', { code: '1', session: 'new' })).session?.id ?? '';
  for (const args of [{ session: other }, {}]) {
    const searched = await as('b', 'code_execute', { code: SEARCH, ...args });
    assert.equal(searched.status, 'ok', searched.reason);
    assert.equal(searched.stdout.text.trim(), '');
  }
});
