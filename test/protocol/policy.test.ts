/** What the policy does to a client's calls, and what is left of them on record. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  connect,
  descendants,
  EXAMPLE_POLICY,
  execute,
  OPEN_POLICY,
  until,
  whyNoSandbox,
  type Answer,
  type Session,
} from '../support/server.js';

const skip = whyNoSandbox();

async function withSession(policy: unknown, work: (session: Session) => Promise<void>): Promise<void> {
  const session = await connect(policy);
  try {
    await work(session);
  } finally {
    await session.close();
  }
}

test(
  'the one tool is listed with its schemas, the truth about this machine, and hints that say it is harmless',
  { skip },
  () =>
    withSession(OPEN_POLICY, async ({ client }) => {
      const { tools } = await client.listTools();
      assert.deepEqual(
        tools.map(({ name }) => name),
        ['code_execute'],
      );
      const [tool] = tools;
      assert.ok(tool !== undefined);
      assert.deepEqual(tool.inputSchema.required, ['code']);
      assert.equal(tool.inputSchema.additionalProperties, false);
      assert.equal(tool.outputSchema?.type, 'object');
      assert.equal(tool.annotations?.destructiveHint, false);
      assert.equal(tool.annotations.openWorldHint, false);
      const { structured } = await execute(client, { code: 'import platform\nprint(platform.python_version())' });
      assert.ok(tool.description?.includes(`Python ${String(structured.stdout).trim()} `));
      assert.equal(client.getServerVersion()?.name, 'cordon');
      assert.match(client.getInstructions() ?? '', /sandbox/);
    }),
);

test(
  'the design’s example: ten calls a minute, the eleventh is denied with code, rule and when to try again',
  { skip },
  () =>
    withSession(EXAMPLE_POLICY, async ({ client, place, stderr }) => {
      const calls = async () => {
        const answers: Answer[] = [];
        for (let n = 0; n < 10; n += 1) answers.push(await execute(client, { code: 'pass' }));
        return [...answers, await execute(client, { code: 'open("/tmp/ran", "w")' })];
      };
      const minute = () => Math.floor(Date.now() / 60_000);
      let begun = minute();
      let answers = await calls();
      if (minute() !== begun) {
        // The window ended meanwhile. What is in the next one by now is taken out of it by waiting for the one after.
        begun = minute();
        while (minute() === begun) await new Promise((resolve) => setTimeout(resolve, 100));
        answers = await calls();
      }
      const last = answers.pop();
      assert.ok(last !== undefined);
      for (const [index, { structured }] of answers.entries()) {
        assert.equal(structured.status, 'ok');
        assert.equal((structured.limits as { left: number }[])[0]?.left, 9 - index);
      }
      const { text, isError, structured } = last;
      assert.equal(isError, true);
      assert.equal(structured.status, 'denied');
      const policy = structured.policy as Record<string, unknown>;
      assert.equal(policy.code, 'limit_reached');
      assert.equal(policy.rule, '/tools/code_execute/limits/0');
      assert.equal(policy.retryable, true);
      assert.ok(Number(policy.retryAfterMs) > 0);
      assert.match(text, /^denied: .*\ncode: limit_reached\nrule: \/tools\/code_execute\/limits\/0\nretry: in \d+ s\n/);
      assert.equal(place.audit().length % 11, 0);
      assert.match(stderr(), /default: deny/);
      assert.match(stderr(), /code_execute: at most 10 calls a minute for each grant \(code_execute_rate\)/);
    }),
);

test('every other tool is denied and on record, as is a call with an argument that does not exist', { skip }, () =>
  withSession(EXAMPLE_POLICY, async ({ client, place }) => {
    const other = await execute(client, { path: '/etc/passwd' }, 'read_file');
    assert.equal(other.isError, true);
    assert.match(other.text, /^denied: .*\ncode: tool_not_allowed\nrule: \/default\n/);
    const unknown = await execute(client, { code: 'print(1)', cwd: '/' });
    assert.match(
      unknown.text,
      /^denied: unknown argument "cwd"; code_execute takes code \(required\), stdin, files, timeout_seconds, session/,
    );
    assert.match(unknown.text, /code: invalid_arguments/);
    const lines = place.audit();
    assert.deepEqual(
      lines.map(({ tool, status }) => [tool, status]),
      [
        ['read_file', 'denied'],
        ['code_execute', 'denied'],
      ],
    );
    assert.deepEqual(lines[0]?.client, { name: 'cordon-test', version: '1.2.3' });
    assert.equal((await execute(client, { code: 'pass' })).structured.status, 'ok');
  }),
);

test('code and stdin over the policy’s sizes are refused in words, however large they are', { skip }, () =>
  withSession({ ...OPEN_POLICY, sandbox: { code_kb: 1, stdin_mb: 1 } }, async ({ client }) => {
    const code = await execute(client, { code: `# ${'x'.repeat(2000)}` });
    assert.match(
      code.text,
      /^denied: code is 2002 bytes .* at most 1024 .*\ncode: code_too_large\nrule: \/sandbox\/code_kb\n/,
    );
    const stdin = await execute(client, { code: '1', stdin: '\u0001'.repeat(1_500_000) });
    assert.match(stdin.text, /^denied: stdin is 1500000 bytes .*\ncode: stdin_too_large\n/);
  }),
);

test('a hidden tool is not listed, and denied when called all the same', { skip }, () =>
  withSession({ ...OPEN_POLICY, hide: ['code_execute'] }, async ({ client }) => {
    assert.deepEqual((await client.listTools()).tools, []);
    assert.match(
      (await execute(client, { code: 'print(1)' })).text,
      /^denied: .*\ncode: tool_hidden\nrule: \/hide\/0\n/,
    );
  }),
);

test('an audit line holds the hash of the code, and not the code', { skip }, () =>
  withSession(OPEN_POLICY, async ({ client, place }) => {
    const { structured } = await execute(client, { code: 'password = "hunter2"' });
    const [line] = place.audit();
    assert.equal(line?.runId, structured.runId);
    assert.match(String(line?.codeSha256), /^[0-9a-f]{64}$/);
    assert.doesNotMatch(JSON.stringify(line), /hunter2/);
  }),
);

test('a cancelled call is killed and on record, and the next call is answered', { skip }, () =>
  withSession(OPEN_POLICY, async ({ client, place }) => {
    const stop = new AbortController();
    const running = client.callTool({ name: 'code_execute', arguments: { code: 'while True: pass' } }, undefined, {
      signal: stop.signal,
      // The server tells that the program runs; that is when it is to be cancelled.
      onprogress: ({ message }) => {
        if (message === 'running') stop.abort('enough');
      },
    });
    await assert.rejects(running);
    assert.equal((await execute(client, { code: 'print(1)' })).structured.stdout, '1\n');
    await until('the cancelled call is on record too', () => place.audit().length === 2);
    assert.deepEqual(
      place
        .audit()
        .map(({ status }) => status)
        .sort(),
      ['cancelled', 'ok'],
    );
  }),
);

test('a denial spawns nothing: no process comes that was not there before', { skip }, () => {
  const limits = [{ counter: 'one', window: 'day', max: 1 }];
  const policy = { version: '1', default: 'deny', tools: { code_execute: { limits } }, sandbox: { warm: 0 } };
  return withSession(policy, async ({ client }) => {
    const pid = (client.transport as { pid?: number | null } | undefined)?.pid;
    assert.ok(typeof pid === 'number');
    // What is started once for all calls is there when the first has run.
    assert.equal((await execute(client, { code: 'pass' })).structured.status, 'ok');
    const before = descendants(pid);
    assert.ok(before.length > 0);
    for (let n = 0; n < 20; n += 1) {
      assert.equal((await execute(client, { code: 'pass' })).structured.status, 'denied');
      assert.deepEqual(
        descendants(pid).filter((child) => !before.includes(child)),
        [],
      );
    }
  });
});
