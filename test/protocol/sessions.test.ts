/** Sessions, with a real client on the built server and real sandboxes. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  connect,
  createPlace,
  descendants,
  execute,
  isAlive,
  MAIN,
  startRaw,
  until,
  whyNotStrict,
  type Session,
} from '../support/server.js';

const skip = whyNotStrict();

const policyOf = (sandbox: object = {}, more: object = {}) => ({
  version: '1',
  default: 'deny',
  tools: { code_execute: {}, session_list: {}, session_fork: {}, session_rewind: {}, session_end: {} },
  sandbox: { warm: 1, memory_mb: 128, timeout_seconds: 20, ...sandbox },
  ...more,
});

async function withServer(policy: unknown, work: (session: Session) => Promise<void>): Promise<void> {
  const session = await connect(policy);
  try {
    await work(session);
  } finally {
    await session.close();
  }
}

interface Step {
  readonly status: string;
  readonly step: number | undefined;
  readonly undone: boolean | undefined;
  readonly stdout: string;
  readonly result: string | null;
  readonly text: string;
  readonly id: string;
  readonly reason: string;
}

async function step({ client }: Session, session: string, code: string, more: object = {}): Promise<Step> {
  const { structured, text } = await execute(client, { code, session, ...more });
  const at = structured.session as { id: string; step: number; undone: boolean } | null;
  return {
    status: String(structured.status),
    step: at?.step,
    undone: at?.undone,
    stdout: String(structured.stdout),
    result: structured.result as string | null,
    text,
    id: at?.id ?? '',
    reason: String(structured.reason),
  };
}

interface Told {
  readonly status: string;
  readonly reason: string;
  readonly sessions: { id: string; step: number; earliestStep: number; forkedFrom: string | null }[];
  readonly policy: { code: string; rule: string } | null;
  readonly text: string;
}

async function ask({ client }: Session, tool: string, args: Record<string, unknown> = {}): Promise<Told> {
  const { structured, text } = await execute(client, args, tool);
  return { ...(structured as unknown as Told), text };
}

test('a session of thirty steps keeps all its good state, whatever seven of them run into', { skip }, () =>
  withServer(policyOf(), async (server) => {
    const first = await step(server, 'new', 'import os\nsteps = [1]\nopen("notes.txt", "w").write("1\\n")');
    assert.equal(first.status, 'ok', first.text);
    assert.match(first.text, new RegExp(`\nsession ${first.id}: step 1\n\\[ok in .*\\]\n*$`));
    const { id } = first;
    const good = (n: number) => `steps.append(${n})\nprint(${n}, file=open("notes.txt", "a"))\nlen(steps)`;
    const spoil = 'steps.append("never")\nopen("notes.txt", "a").write("never\\n")\n';
    const bad: Record<number, [string, string]> = {
      4: ['timeout', `${spoil}while True: pass`],
      8: ['memory', `${spoil}x = bytearray(2**30)\nx[:] = b"x" * 2**30`],
      12: ['killed', `${spoil}import ctypes\nctypes.string_at(0)`],
      16: ['error', `${spoil}os._exit(3)`],
      24: ['error', 'steps.append("raised")\nraise ValueError("kept")'],
    };
    let held = 1;
    for (let n = 2; n <= 30; n += 1) {
      if (n === 20) {
        await cancelled(server, id, `${spoil}while True: pass`);
        continue;
      }
      if (n === 28) {
        // It holds, as any deed of a program that ends: it is for the caller to take it back.
        const removed = await step(server, id, 'import shutil\nshutil.rmtree(os.getcwd(), ignore_errors=True)');
        assert.deepEqual([removed.step, removed.undone], [held + 1, false], removed.text);
        const lost = await step(server, id, 'open("notes.txt")');
        assert.match(lost.reason, /FileNotFoundError/);
        const back = await ask(server, 'session_rewind', { session: id, to_step: held });
        assert.match(back.text, new RegExp(`^session ${id} is back at step ${held}\n`));
        continue;
      }
      const [status, code] = bad[n] ?? ['ok', good(n)];
      const limits = status === 'timeout' ? { timeout_seconds: 1 } : {};
      const one = await step(server, id, code, limits);
      assert.equal(one.status, status, one.text);
      const undone = status !== 'ok' && n !== 24;
      if (!undone) held += 1;
      assert.deepEqual([one.step, one.undone], [held, undone], one.text);
      if (undone)
        assert.match(
          one.text,
          new RegExp(`\nsession ${id}: this call was undone; the session stands at step ${held}, as before\n`),
        );
    }
    const last = await step(server, id, 'print(*steps)\nprint(open("notes.txt").read().split())');
    const kept = Array.from({ length: 30 }, (_, n) => n + 1).filter((n) => ![4, 8, 12, 16, 20, 24, 28].includes(n));
    assert.equal(
      last.stdout,
      `${[...kept.filter((n) => n < 24), 'raised', ...kept.filter((n) => n > 24)].join(' ')}\n[${kept.map((n) => `'${n}'`).join(', ')}]\n`,
    );
  }),
);

/** One more step, that is given up once it runs. */
async function cancelled({ client }: Session, session: string, code: string): Promise<void> {
  const stop = new AbortController();
  const call = { name: 'code_execute', arguments: { code, session } };
  await assert.rejects(
    client.callTool(call, undefined, {
      signal: stop.signal,
      onprogress: ({ message = '' }) => {
        if (message.startsWith('running')) stop.abort();
      },
    }),
  );
}

test('two ways are tried from one state, and one of them is taken back', { skip }, () =>
  withServer(policyOf(), async (server) => {
    const { id } = await step(server, 'new', 'import random\nx = [1]\nopen("a.txt", "w").write("1")');
    await step(server, id, 'x.append(2)');
    const forked = await ask(server, 'session_fork', { session: id });
    assert.equal(forked.status, 'ok', forked.text);
    const [other] = forked.sessions;
    assert.ok(other !== undefined);
    assert.deepEqual([other.step, other.forkedFrom], [2, id]);
    await step(server, id, 'x.append("left"); open("a.txt", "w").write("left")');
    await step(server, other.id, 'x.append("right"); open("a.txt", "a").write("right")');
    const look = 'x, open("a.txt").read()';
    assert.equal((await step(server, id, look)).result, "([1, 2, 'left'], 'left')");
    assert.equal((await step(server, other.id, look)).result, "([1, 2, 'right'], '1right')");
    const listed = await ask(server, 'session_list');
    assert.deepEqual(
      listed.sessions.map((one) => [one.id, one.step, one.earliestStep, one.forkedFrom]),
      [
        [id, 4, 0, null],
        [other.id, 4, 0, id],
      ],
    );
    assert.match(
      listed.text,
      new RegExp(`^open sessions: 2\n${id}: step 4, can go back to step 0, ends in \\d+ s if not used, \\d+ MB\n`),
    );
    const back = await ask(server, 'session_rewind', { session: id, steps: 3 });
    assert.equal(back.sessions[0]?.step, 1);
    assert.equal((await step(server, id, look)).result, "([1], '1')");
    const tooFar = await ask(server, 'session_rewind', { session: id, to_step: 9 });
    assert.equal(tooFar.policy?.code, 'no_such_step');
    const ended = await ask(server, 'session_end', { session: id });
    assert.match(ended.text, new RegExp(`^session ${id} has ended, at step 2\n`));
    const lost = await step(server, id, 'x');
    assert.match(
      lost.text,
      /^denied: session .* has ended: session_end was called\. Begin another with session: "new"/,
    );
    assert.equal((await step(server, other.id, look)).result, "([1, 2, 'right'], '1right')");
  }),
);

test('what a client is told of sessions is what the policy allows', { skip }, async () => {
  await withServer(policyOf({ sessions: { max: 3 } }), async ({ client }) => {
    const { tools } = await client.listTools();
    assert.deepEqual(
      tools.map(({ name }) => name),
      ['code_execute', 'session_list', 'session_fork', 'session_rewind', 'session_end'],
    );
    assert.match(
      tools[0]?.description ?? '',
      /"session": "new" begins a session.*At most 3 at a time.*See also session_list/s,
    );
    assert.deepEqual(tools[3]?.inputSchema.required, ['session']);
    assert.equal(tools[3].annotations?.destructiveHint, true);
  });
  const some = { ...policyOf(), tools: { code_execute: {}, session_end: {} } };
  await withServer(some, async (server) => {
    const { tools } = await server.client.listTools();
    assert.deepEqual(
      tools.map(({ name }) => name),
      ['code_execute', 'session_end'],
    );
    const { id } = await step(server, 'new', '1');
    assert.equal((await ask(server, 'session_fork', { session: id })).policy?.code, 'tool_not_allowed');
  });
  await withServer(policyOf({ sessions: { max: 0 } }), async (server) => {
    const { tools } = await server.client.listTools();
    assert.deepEqual(
      tools.map(({ name }) => name),
      ['code_execute'],
    );
    assert.ok(!('session' in (tools[0]?.inputSchema.properties ?? {})));
    assert.doesNotMatch(tools[0]?.description ?? '', /session/);
    const no = await step(server, 'new', '1');
    assert.match(
      no.text,
      /^denied: The policy allows no sessions.*\ncode: no_sessions\nrule: \/sandbox\/sessions\/max\n/,
    );
    assert.equal((await ask(server, 'session_list')).policy?.code, 'no_sessions');
  });
});

test(
  'limits hold for every step and every session tool, and each has its line in the audit log, without the handle',
  { skip },
  () =>
    withServer(policyOf({}, { all_tools: { limits: [{ counter: 'all', window: 'day', max: 6 }] } }), async (server) => {
      const { id } = await step(server, 'new', 'x = 1');
      await step(server, id, 'import os; os._exit(0)');
      const fork = (await ask(server, 'session_fork', { session: id })).sessions[0]?.id ?? '';
      await ask(server, 'session_rewind', { session: id, to_step: 0 });
      await ask(server, 'session_list');
      await ask(server, 'session_end', { session: id });
      const denied = await step(server, fork, '1');
      assert.match(denied.text, /code: limit_reached/);
      assert.equal((await ask(server, 'session_list')).policy?.code, 'limit_reached');
      const lines = server.place.audit();
      assert.deepEqual(
        lines.map(({ tool, status, session }) => {
          const at = session as { step: number | null; undone: boolean | null } | null;
          return [tool, status, at?.step, at?.undone];
        }),
        [
          ['code_execute', 'ok', 1, false],
          ['code_execute', 'error', 1, true],
          ['session_fork', 'ok', 1, false],
          ['session_rewind', 'ok', 0, false],
          ['session_list', 'ok', undefined, undefined],
          ['session_end', 'ok', 0, false],
          ['code_execute', 'denied', null, null],
          ['session_list', 'denied', undefined, undefined],
        ],
      );
      const all = JSON.stringify(lines);
      assert.ok(!all.includes(id) && !all.includes(fork));
      const digests = lines.map(({ session }) => (session as { digest: string } | null)?.digest);
      assert.equal(new Set(digests.slice(0, 4)).size, 1);
      assert.equal((lines[2]?.session as { forkedTo: string }).forkedTo, digests[6]);
    }),
);

test('a condition can be about the session, and an argument that does not fit is refused', { skip }, () =>
  withServer(
    policyOf(
      {},
      {
        tools: {
          code_execute: {
            deny_if: [
              { conditions: [{ path: 'args.session', op: 'exists', value: false }], on_deny: 'Work in a session' },
            ],
          },
          session_rewind: {},
        },
      },
    ),
    async (server) => {
      const { structured } = await execute(server.client, { code: '1' });
      assert.match(String(structured.reason), /^Work in a session\./);
      const { id, status } = await step(server, 'new', '1');
      assert.equal(status, 'ok');
      const wrong = async (args: object) => (await ask(server, 'session_rewind', { session: id, ...args })).reason;
      assert.match(await wrong({}), /expected either steps or to_step/);
      assert.match(await wrong({ steps: 1, to_step: 0 }), /expected either steps or to_step/);
      assert.match(await wrong({ steps: 0 }), /steps: expected a whole number greater than 0, got the number 0/);
      assert.match(
        await wrong({ to_step: 1, force: true }),
        /unknown argument "force"; session_rewind takes session \(required\), steps, to_step/,
      );
      assert.match((await step(server, 's_guess', '1')).text, /there is no session "s_guess" here/);
    },
  ),
);

test('a restarted server tells a lost handle plainly, and leaves nothing behind', { skip }, async () => {
  const place = createPlace(policyOf());
  try {
    const call = async (server: ReturnType<typeof startRaw>, session: string) => {
      const params = { name: 'code_execute', arguments: { code: 'x = 1', session } };
      server.send({ id: session, method: 'tools/call', params });
      const { result } = await server.message(({ id }) => id === session);
      return result as { content: { text: string }[]; structuredContent: { session: { id: string } | null } };
    };
    const first = startRaw(['serve', ...place.flags], place.directory);
    await first.initialize();
    const begun = await call(first, 'new');
    const handle = begun.structuredContent.session?.id ?? '';
    const children = descendants(first.process.pid ?? 0);
    assert.ok(children.length > 0);
    first.process.stdin.end();
    assert.equal(await first.exited, 0);
    await until('no process of the session is left', () => children.every((pid) => !isAlive(pid)));
    const second = startRaw(['serve', ...place.flags], place.directory);
    await second.initialize();
    const lost = await call(second, handle);
    assert.match(
      lost.content[0]?.text ?? '',
      /^denied: there is no session "s_[0-9a-f]{32}" here: it was ended, or the server was restarted\. Begin another with session: "new"/,
    );
    second.process.stdin.end();
    await second.exited;
  } finally {
    place.remove();
  }
});

test(
  'an edit of the policy holds from the next step on; one that makes other sandboxes ends sessions, and says so',
  { skip },
  () =>
    withServer(policyOf(), async (server) => {
      const edit = (policy: object): void => {
        const path = join(server.place.directory, 'policy.json');
        writeFileSync(`${path}.new`, JSON.stringify(policy));
        renameSync(`${path}.new`, path);
      };
      const { id } = await step(server, 'new', 'x = 1');
      await step(server, id, 'x += 1');
      edit(policyOf({ sessions: { max: 1, keep_steps: 1 }, timeout_seconds: 1 }));
      const bounded = await step(server, id, 'while True: pass');
      assert.equal(bounded.status, 'timeout');
      assert.match((await step(server, id, 'x += 1')).text, /step 3 \(can be rewound to step 2 or later\)\n/);
      const full = await step(server, 'new', '1');
      assert.match(
        full.text,
        new RegExp(`^denied: 1 session is open.*End one .* session_end.*${id} \\(step 3, unused for \\d+ s\\)`),
      );
      assert.match(full.text, /code: too_many_sessions\nrule: \/sandbox\/sessions\/max\n/);
      edit(policyOf({ disk_mb: 16 }));
      const over = await step(server, id, 'x');
      assert.match(
        over.text,
        /^denied: session .* has ended: the policy was edited, and sandboxes are made another way now\. Begin another/,
      );
      assert.equal((await step(server, 'new', 'x = 5\nx')).result, '5');
    }),
);

test('a session that nobody uses ends, and says after how long', { skip }, () =>
  withServer(policyOf({ sessions: { idle_seconds: 0.2 } }), async (server) => {
    const { id } = await step(server, 'new', 'x = 1');
    const asked = async () => (await ask(server, 'session_list')).sessions.length;
    const deadline = performance.now() + 10_000;
    while ((await asked()) > 0) assert.ok(performance.now() < deadline);
    assert.match((await step(server, id, 'x')).text, /has ended: it was not used for 0\.2 s/);
  }),
);

test(
  'cordon run --session runs programs as steps of one session, or what is typed, and stops at one that fails',
  { skip },
  () => {
    const place = createPlace(policyOf());
    try {
      const run = (argv: string[], input = ''): { status: number | null; stdout: string; stderr: string } =>
        spawnSync(process.execPath, [MAIN, 'run', '--session', ...argv, ...place.flags], {
          cwd: place.directory,
          input,
          encoding: 'utf8',
        });
      writeFileSync(join(place.directory, 'a.py'), 'x = 20\nprint("a")');
      const all = run(['a.py', '-c', 'x += 1', '-c', 'x * 2', '-c', 'raise SystemExit(7)', '-c', 'print("never")']);
      assert.deepEqual([all.status, all.stdout], [7, 'a\n'], all.stderr);
      assert.match(all.stderr, /^cordon: a\.py: step 1\ncordon: ok in .*\ncordon: -c: step 2\n[^]*expression: 42\n/);
      const typed = run([], 'def f(n):\n  return n * 2\n\nimport os\nos._exit(3)\nf(21)');
      assert.deepEqual([typed.status, typed.stdout], [0, ''], typed.stderr);
      assert.match(typed.stderr, /statement 3: undone, the session stands at step 2\n[^]*expression: 42\n/);
      const wrong = run(['-']);
      assert.deepEqual([wrong.status, wrong.stdout], [2, '']);
    } finally {
      place.remove();
    }
  },
);
