/** Asking a person, end to end: a real client, the built server, and `cordon approve` as a process of its own. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { getDefaultEnvironment, StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { ElicitRequestSchema, type ElicitRequest, type ElicitResult } from '@modelcontextprotocol/sdk/types.js';
import { createPlace, execute, MAIN, until, whyNoSandbox, type Answer, type Place } from '../support/server.js';

const skip = whyNoSandbox();

const asking = (rule: object = {}) => ({
  version: '1',
  default: 'deny',
  tools: {
    code_execute: {
      require_approval: [
        {
          conditions: [{ path: 'args.code', op: 'contains', value: 'danger' }],
          message: 'Is this what you want?',
          timeout_seconds: 60,
          ...rule,
        },
      ],
      limits: [{ counter: 'calls', window: 'day', max: 10 }],
    },
  },
});
const CODE = 'print("danger")';

let place: Place;
let environment: Record<string, string>;
/** Without `--state`: what the environment says holds, for the server and for `cordon approve`. */
let flags: readonly string[];
const open: Client[] = [];
beforeEach(() => {
  setUp(asking());
});
afterEach(async () => {
  for (const client of open.splice(0)) await client.close();
  place.remove();
});

function setUp(policy: object): void {
  place = createPlace(policy);
  flags = place.flags.filter((flag, index) => flag !== '--state' && place.flags[index - 1] !== '--state');
  environment = { ...getDefaultEnvironment(), CORDON_STATE: join(place.directory, 'state.db') };
}

type Handler = (request: ElicitRequest, signal: AbortSignal) => ElicitResult | Promise<ElicitResult>;

/** A client; with a handler it declares that it shows forms. */
async function connect(handler: Handler | null = null): Promise<Client> {
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [MAIN, 'serve', ...flags],
    cwd: place.directory,
    env: environment,
    stderr: 'ignore',
  });
  const capabilities = handler === null ? {} : { elicitation: {} };
  const client = new Client({ name: 'cordon-test', version: '1.2.3' }, { capabilities });
  if (handler !== null)
    client.setRequestHandler(ElicitRequestSchema, (request, { signal }) => handler(request, signal));
  await client.connect(transport);
  open.push(client);
  return client;
}

/**
 * Claude Desktop's way: it declares elicitation and never answers. Resolves `shown` when the form has come, and `taken` when the
 * server takes it away.
 */
function silent() {
  let away: (() => void) | undefined;
  let came: (() => void) | undefined;
  const shown = new Promise<void>((resolve) => {
    came = resolve;
  });
  const taken = new Promise<void>((resolve) => {
    away = resolve;
  });
  const handler: Handler = (_request, signal) =>
    new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => {
        away?.();
        reject(new Error('taken away'));
      });
      came?.();
    });
  return { handler, shown, taken };
}

async function cordon(...argv: string[]): Promise<{ status: number; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [MAIN, ...argv], {
    cwd: place.directory,
    env: environment,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (bytes: Buffer) => (stdout += bytes.toString()));
  child.stderr.on('data', (bytes: Buffer) => (stderr += bytes.toString()));
  const [status] = (await once(child, 'close')) as [number];
  return { status, stdout, stderr };
}

/** Call, and hear of the id as a client does: by progress. */
function call(client: Client, code = CODE): { id: Promise<string>; answer: Promise<Answer> } {
  let heard: ((id: string) => void) | undefined;
  const id = new Promise<string>((resolve) => {
    heard = resolve;
  });
  const answer = client
    .callTool({ name: 'code_execute', arguments: { code } }, undefined, {
      onprogress: ({ message = '' }) => {
        const found = /approve this call, in another terminal: cordon approve show (\w+)/.exec(message);
        if (found?.[1] !== undefined) heard?.(found[1]);
      },
    })
    .then((result) => {
      const content = result.content as { text?: string }[];
      return {
        text: content.map(({ text = '' }) => text).join('\n'),
        isError: result.isError === true,
        structured: result.structuredContent as Record<string, unknown>,
      };
    });
  return { id, answer };
}

const codeOf = (answer: Answer): unknown => (answer.structured.policy as { code?: string } | null)?.code;
const lastLine = () => place.audit().at(-1) as { decision: object; approval: Record<string, unknown> | null };

test(
  'a client that shows forms: the user sees message and code, says yes, and the program runs',
  { skip },
  async () => {
    const seen: ElicitRequest[] = [];
    const client = await connect((request) => {
      seen.push(request);
      return { action: 'accept', content: { allow: true } };
    });
    const answer = await execute(client, { code: CODE });
    assert.equal(answer.structured.stdout, 'danger\n');
    assert.match(seen[0]?.params.message ?? '', /^Is this what you want\?\n[^]*```python\nprint\("danger"\)\n```/);
    const { decision, approval } = lastLine();
    assert.deepEqual(decision, { verdict: 'allow', rule: '/tools/code_execute/require_approval/0', code: null });
    assert.equal(approval?.via, 'form');
    assert.match(String(approval.id), /^\w{8}$/);
    // Once is once.
    await execute(client, { code: CODE });
    assert.equal(seen.length, 2);
    // What the rule does not ask about, nobody is asked about.
    assert.equal((await execute(client, { code: 'print(1)' })).structured.status, 'ok');
    assert.equal(seen.length, 2);
  },
);

const noes: [string, ElicitResult][] = [
  ['declines', { action: 'decline' }],
  ['dismisses the form', { action: 'cancel' }],
  ['sends the form without a yes', { action: 'accept', content: { allow: false } }],
];
for (const [name, result] of noes) {
  test(`a user who ${name}: the call is denied, costs nothing and spawns nothing`, { skip }, async () => {
    const client = await connect(() => result);
    const answer = await execute(client, { code: CODE });
    assert.equal(codeOf(answer), 'approval_denied');
    assert.match(answer.text, /^denied: .*\ncode: approval_denied\nrule: \/tools\/code_execute\/require_approval\/0\n/);
    assert.equal((answer.structured.limits as { left: number }[])[0]?.left, 10);
    assert.equal(lastLine().approval?.via, 'form');
  });
}

const nonsense: [string, Handler][] = [
  ['fails', () => Promise.reject(new Error('no idea'))],
  ['is sent empty', () => ({ action: 'accept', content: {} })],
  ['is answered with a text', () => ({ action: 'accept', content: { allow: 'true' } })],
];
for (const [name, handler] of nonsense) {
  test(`a form that ${name} is no yes: the question stays open, and its end is a no`, { skip }, async () => {
    place.remove();
    setUp(asking({ timeout_seconds: 1 }));
    const client = await connect(handler);
    assert.equal(codeOf(await execute(client, { code: CODE })), 'approval_timeout');
  });
}

test(
  'a client that declares forms and never answers: a person allows with cordon approve while the call waits',
  { skip },
  async () => {
    const { handler, taken } = silent();
    const { id, answer } = call(await connect(handler));
    const waiting = await id;
    const listed = await cordon('approve', 'list');
    assert.match(listed.stdout, new RegExp(`${waiting}.*cordon-test.*Is this what you want\\?`));
    const shown = await cordon('approve', 'show', await id);
    assert.match(shown.stdout, /```python\nprint\("danger"\)\n```/);
    const done = await cordon('approve', 'allow', await id);
    assert.equal(done.status, 0);
    assert.match(done.stdout, /the call that waits goes on/);
    assert.equal((await answer).structured.stdout, 'danger\n');
    await taken;
    assert.equal(lastLine().approval?.via, 'cli');
    assert.equal(lastLine().approval?.id, await id);
    assert.notEqual(lastLine().approval?.by, '');
    // An answer that was given is not given again.
    assert.equal((await cordon('approve', 'allow', await id)).status, 1);
    assert.equal((await cordon('approve', 'list')).stdout, 'nothing waits for an answer\n');
  },
);

test('a client without forms: a person denies, with words that reach the model', { skip }, async () => {
  const { id, answer } = call(await connect());
  assert.equal((await cordon('approve', 'deny', await id, '--reason', 'use the test data')).status, 0);
  assert.match((await answer).text, /^denied: .*use the test data.*\ncode: approval_denied/);
  assert.equal(lastLine().approval?.via, 'cli');
});

test(
  'nobody answers in time: denied with the id and what to do; allowed later, the same call goes through once',
  { skip },
  async () => {
    place.remove();
    setUp(asking({ timeout_seconds: 1 }));
    const client = await connect(silent().handler);
    const late = await execute(client, { code: CODE });
    assert.equal(codeOf(late), 'approval_timeout');
    const id = /cordon approve allow (\w+)/.exec(late.text)?.[1] ?? '';
    assert.equal(lastLine().approval?.id, id);
    assert.equal(lastLine().approval?.via, null);
    assert.match((await cordon('approve', 'allow', id)).stdout, /made again within 15 min, it runs once/);

    // One byte more is another call.
    assert.equal(codeOf(await execute(client, { code: `${CODE}\n` })), 'approval_timeout');
    // Two at once, one approval.
    const two = await Promise.all([execute(client, { code: CODE }), execute(client, { code: CODE })]);
    assert.deepEqual(two.map(({ structured }) => structured.status).sort(), ['denied', 'ok']);
    // And it is used up.
    assert.equal(codeOf(await execute(client, { code: CODE })), 'approval_timeout');
  },
);

test('an approval does not outlive an edit of the policy', { skip }, async () => {
  place.remove();
  setUp(asking({ timeout_seconds: 1 }));
  const first = await execute(await connect(), { code: CODE });
  const id = /cordon approve allow (\w+)/.exec(first.text)?.[1] ?? '';
  assert.equal((await cordon('approve', 'allow', id)).status, 0);
  const path = join(place.directory, 'policy.json');
  writeFileSync(path, `${readFileSync(path, 'utf8')}\n`);
  assert.equal(codeOf(await execute(await connect(), { code: CODE })), 'approval_timeout');
});

test('remember: session asks once for a connection, and again for the next', { skip }, async () => {
  place.remove();
  setUp(asking({ remember: 'session' }));
  let asked = 0;
  const handler: Handler = () => {
    asked += 1;
    return { action: 'accept', content: { allow: true } };
  };
  const client = await connect(handler);
  for (const code of [CODE, `${CODE} # another`])
    assert.equal((await execute(client, { code })).structured.status, 'ok');
  assert.equal(asked, 1);
  assert.equal(lastLine().approval?.via, 'remembered');
  assert.equal((await execute(await connect(handler), { code: CODE })).structured.status, 'ok');
  assert.equal(asked, 2);
});

test(
  'with the state in memory: without a form nobody can be asked, and the denial says so; a form answers',
  { skip },
  async () => {
    environment.CORDON_STATE = 'memory';
    place = { ...place, flags: [...place.flags, '--state', 'memory'] };
    const answer = await execute(await connect(), { code: CODE });
    assert.equal(codeOf(answer), 'approval_required');
    assert.match(answer.text, /state is in memory/);
    const client = await connect(() => ({ action: 'accept', content: { allow: true } }));
    assert.equal((await execute(client, { code: CODE })).structured.status, 'ok');
    assert.match((await cordon('approve', 'list')).stderr, /in memory/);
  },
);

test(
  'a server killed while a call waits leaves the question, which a person can answer until it expires',
  { skip },
  async () => {
    const client = await connect();
    const { id, answer } = call(client);
    const lost = assert.rejects(answer);
    const waiting = await id;
    const pid = (client.transport as StdioClientTransport).pid;
    assert.ok(pid !== null);
    process.kill(pid, 'SIGKILL');
    await lost;
    const [request] = JSON.parse((await cordon('approve', 'list', '--json')).stdout) as {
      id: string;
      expiresMs: number;
    }[];
    assert.equal(request?.id, waiting);
    assert.ok(request.expiresMs <= Date.now() + 3_600_000);
    assert.equal((await cordon('audit', 'verify', '--audit', join(place.directory, 'audit.jsonl'))).status, 0);
  },
);

test('while one call waits for a person, others run', { skip }, async () => {
  place.remove();
  setUp({ ...asking(), sandbox: { max_running: 1, max_waiting: 0 } });
  const client = await connect();
  const { id, answer } = call(client);
  const waiting = await id;
  assert.equal((await execute(client, { code: 'print(1)' })).structured.status, 'ok');
  await cordon('approve', 'deny', waiting);
  await answer;
});

test('a client that cancels the call is not kept, and the form goes', { skip }, async () => {
  const { handler, shown, taken } = silent();
  const client = await connect(handler);
  const stop = new AbortController();
  // A call that is cancelled before its form was shown has no form to take away.
  void shown.then(() => {
    stop.abort('enough');
  });
  const cancelled = client.callTool({ name: 'code_execute', arguments: { code: CODE } }, undefined, {
    signal: stop.signal,
  });
  await assert.rejects(cancelled);
  await taken;
  await until('the cancelled call is on record', () => place.audit().length === 1);
  assert.equal((lastLine() as { status?: string }).status, 'cancelled');
});

test('cordon run waits for cordon approve like the rest where there is no terminal', { skip }, async () => {
  const child = spawn(process.execPath, [MAIN, 'run', '-c', CODE, ...flags], {
    cwd: place.directory,
    env: environment,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (bytes: Buffer) => (stdout += bytes.toString()));
  const id = new Promise<string>((resolve) => {
    child.stderr.on('data', (bytes: Buffer) => {
      stderr += bytes.toString();
      const found = /cordon approve allow (\w+)/.exec(stderr);
      if (found?.[1] !== undefined) resolve(found[1]);
    });
  });
  const ended = once(child, 'close');
  assert.equal((await cordon('approve', 'allow', await id)).status, 0);
  assert.deepEqual(await ended, [0, null]);
  assert.equal(stdout, 'danger\n');
});

const wrong: [string[], RegExp][] = [
  [['approve'], /expected one of list, show, allow, deny, got nothing/],
  [['approve', 'yes', 'x'], /got "yes"/],
  [['approve', 'allow'], /expected allow ID/],
  [['approve', 'allow', 'a', 'b'], /expected one ID/],
  [['approve', 'allow', 'a', '--reason', 'x'], /--reason goes with deny/],
  [['audit'], /expected one of tail, stats, verify/],
  [['audit', 'tail', '-n', 'many'], /-n: expected a number/],
  [['audit', 'stats', '--since', 'yesterday'], /--since: expected a time/],
  [['audit', 'verify', '--hash', 'x'], /--hash: expected 64/],
];
for (const [argv, words] of wrong) {
  test(`a wrong command line is answered with the usage and status 2: cordon ${argv.join(' ')}`, async () => {
    const { status, stderr, stdout } = await cordon(...argv);
    assert.equal(status, 2);
    assert.equal(stdout, '');
    assert.match(stderr, words);
    assert.match(stderr, /Usage: cordon/);
  });
}

test('an id that nobody has is said to be that', { skip }, async () => {
  await cordon('run', '-c', CODE.replace('danger', 'dull'), ...flags);
  const { status, stderr } = await cordon('approve', 'allow', 'bcdfghjk');
  assert.equal(status, 1);
  assert.match(stderr, /there is no request "bcdfghjk"/);
});

test('cordon audit shows, counts and proves what was called', { skip }, async () => {
  const client = await connect(() => ({ action: 'decline' }));
  await execute(client, { code: 'print(1)' });
  await execute(client, { code: '1/0' });
  await execute(client, { code: CODE });
  const log = ['--audit', join(place.directory, 'audit.jsonl')];
  const tail = (await cordon('audit', 'tail', ...log)).stdout.trimEnd().split('\n');
  assert.equal(tail.length, 3);
  assert.match(
    tail[2] ?? '',
    /denied .*local cordon-test {2}code_execute .*approval_denied .* by the user of .* \(form\)$/,
  );
  const failed = (
    await cordon('audit', 'tail', '--status', 'error', '--since', '1h', '--json', ...log)
  ).stdout.trimEnd();
  assert.equal((JSON.parse(failed) as { status: string }).status, 'error');
  assert.equal((await cordon('audit', 'tail', '--until', '2020-01-01', ...log)).stdout, '');
  assert.equal((await cordon('audit', 'tail', '-n', '1', ...log)).stdout.trimEnd(), tail[2]);
  assert.match((await cordon('audit', 'stats', ...log)).stdout, /^all calls +3 +1 +1 /m);
  const whole = await cordon('audit', 'verify', ...log);
  assert.deepEqual([whole.status, whole.stdout.startsWith('yes: 3 lines in 1 file')], [0, true]);
  const path = join(place.directory, 'audit.jsonl');
  writeFileSync(path, readFileSync(path, 'utf8').replace('"status":"error"', '"status":"ok"'));
  const changed = await cordon('audit', 'verify', ...log);
  assert.equal(changed.status, 1);
  assert.match(changed.stdout, /^changed {3}audit\.jsonl:2: line 2 is not as it was written$/m);
});
