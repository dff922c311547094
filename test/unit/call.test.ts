import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { createLimits } from '../../src/admission/limits.js';
import { createSlots } from '../../src/admission/slots.js';
import { createMemoryStore } from '../../src/admission/store.js';
import { createApprovals, type Form } from '../../src/approval/approvals.js';
import { AuditError, type AuditRecord } from '../../src/audit.js';
import { describeRequest } from '../../src/approval/words.js';
import { call, type CallRequest, type Rooms } from '../../src/call.js';
import { policySchema } from '../../src/policy/schema.js';
import { createFileStore } from '../../src/files/store.js';
import type { Backend, Job, JobOutcome } from '../../src/sandbox.js';
import { createSessions } from '../../src/sessions/sessions.js';
import { MEMORY, openDatabase } from '../../src/state/database.js';
import { fakeSessions, type FakeSessions } from '../support/session-sandbox.js';

const fine: JobOutcome = {
  status: 'ok',
  reason: 'the program ended normally',
  stdout: { text: 'hello\n', totalBytes: 6, omittedBytes: 0 },
  stderr: { text: '', totalBytes: 0, omittedBytes: 0 },
  result: null,
  error: null,
  filesLeftOut: { count: 0, examples: [] },
  exitCode: 0,
  signal: null,
  usage: { durationMs: 12, cpuMs: 8, peakMemoryBytes: 9_000_000 },
  retryable: false,
};

interface Bench {
  readonly rooms: Rooms;
  /** Every job that reached the backend. */
  readonly jobs: Job[];
  readonly lines: AuditRecord[];
  readonly sandboxes: FakeSessions;
  readonly make: (request?: Partial<CallRequest>) => ReturnType<typeof call>;
}

interface BenchOptions {
  policy?: object;
  run?: Backend['run'];
  maxRunning?: number;
  maxWaiting?: number;
  audit?: Partial<Rooms['audit']>;
  approvals?: Rooms['approvals'];
  limits?: Rooms['limits'];
}

const tenAMinute = {
  version: '1',
  default: 'deny',
  tools: {
    code_execute: { limits: [{ counter: 'code_execute_rate', window: 'minute', max: 10, scope: 'grant' }] },
  },
};

/** The real rooms, but for the backend: no sandbox is needed to see which calls would reach one. */
function bench(options: BenchOptions = {}): Bench {
  const policy = policySchema.parse(options.policy ?? tenAMinute);
  const jobs: Job[] = [];
  const lines: AuditRecord[] = [];
  const run = options.run ?? (() => Promise.resolve(fine));
  const sandboxes = fakeSessions();
  const backend: Backend = {
    guarantees: {
      tier: 'strict',
      interpreter: { version: '3.11.2', executable: '/usr/bin/python3', packages: [] },
      layers: [],
    },
    get jobsStarted() {
      return jobs.length;
    },
    warm: () => undefined,
    run(job, signal, sinks) {
      jobs.push(job);
      return run(job, signal, sinks);
    },
    openSession: sandboxes.openSession,
    footprintBytes: () => Promise.resolve(0),
    close: () => Promise.resolve(),
  };
  const rooms: Rooms = {
    policy: () => Promise.resolve({ policy, hash: 'the-hash', source: '/policy.json' }),
    backend: () => backend,
    limits: options.limits ?? createLimits(createMemoryStore()),
    slots: createSlots({ maxRunning: options.maxRunning ?? 4, maxWaiting: options.maxWaiting ?? 64 }),
    sessions: createSessions({ ...policy.sandbox.sessions, maxWaiting: policy.sandbox.maxWaiting }),
    approvals: options.approvals ?? createApprovals(openDatabase(MEMORY)),
    files: createFileStore(),
    audit: {
      path: null,
      ready: () => Promise.resolve(),
      prime: () => Promise.resolve(),
      write: (record) => {
        lines.push(record);
        return Promise.resolve();
      },
      note: () => Promise.resolve(),
      close: () => Promise.resolve(),
      ...options.audit,
    },
  };
  return {
    rooms,
    jobs,
    lines,
    sandboxes,
    make: (request) =>
      call(rooms, {
        tool: 'code_execute',
        args: { code: 'print("hello")' },
        grant: { name: 'local' },
        client: { name: 'test', version: '1' },
        session: 'session',
        form: null,
        signal: new AbortController().signal,
        ...request,
      }),
  };
}

/** A backend's `run` that ends when it is told to, and tells when it has begun. */
function heldRun() {
  const begun: (() => void)[] = [];
  const finish: (() => void)[] = [];
  let started = 0;
  return {
    run: () =>
      new Promise<JobOutcome>((resolve) => {
        finish.push(() => {
          resolve(fine);
        });
        started += 1;
        begun.shift()?.();
      }),
    untilStarted: (count: number) =>
      new Promise<void>((resolve) => {
        const check = () => {
          if (started >= count) resolve();
          else begun.push(check);
        };
        check();
      }),
    finishAll: () => {
      for (const end of finish.splice(0)) end();
    },
  };
}

test('an allowed call runs once, and says what it cost and what is left', async () => {
  const { make, jobs, lines } = bench();
  const outcome = await make();
  assert.equal(outcome.status, 'ok');
  assert.equal(outcome.tier, 'strict');
  assert.equal(outcome.policy, null);
  assert.deepEqual(
    outcome.limits.map(({ counter, left }) => [counter, left]),
    [['code_execute_rate', 9]],
  );
  assert.equal(jobs.length, 1);
  assert.equal(jobs[0]?.runId, outcome.runId);
  assert.equal(lines.length, 1);
});

test('the audit line tells call, decision and cost, and never the code', async () => {
  const { make, lines } = bench();
  const code = 'print("hello")';
  const outcome = await make({ args: { code } });
  const [line] = lines;
  assert.ok(line !== undefined);
  assert.match(line.time, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  assert.deepEqual(
    { ...line, time: '' },
    {
      kind: 'call',
      time: '',
      runId: outcome.runId,
      grant: 'local',
      client: { name: 'test', version: '1' },
      tool: 'code_execute',
      decision: { verdict: 'allow', rule: '/tools/code_execute', code: null },
      approval: null,
      shadowed: [],
      policyHash: 'the-hash',
      codeSha256: createHash('sha256').update(code).digest('hex'),
      codeBytes: 14,
      filesIn: null,
      filesOut: null,
      status: 'ok',
      exitCode: 0,
      signal: null,
      usage: { ...fine.usage, outputBytes: 6 },
      tier: 'strict',
      session: null,
    },
  );
  assert.ok(!JSON.stringify(line).includes('hello'));
});

test('the eleventh call of a minute is denied, and spawns nothing', async () => {
  const { make, jobs, lines } = bench();
  const outcomes = [];
  for (let n = 0; n < 11; n += 1) outcomes.push(await make());
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    [...Array<string>(10).fill('ok'), 'denied'],
  );
  const denial = outcomes[10]?.policy;
  assert.equal(denial?.code, 'limit_reached');
  assert.equal(denial.rule, '/tools/code_execute/limits/0');
  assert.equal(denial.retryable, true);
  assert.ok(denial.retryAfterMs !== null && denial.retryAfterMs > 0 && denial.retryAfterMs <= 60_000);
  assert.equal(jobs.length, 10);
  assert.equal(lines.length, 11);
  assert.deepEqual(lines[10]?.decision, {
    verdict: 'deny',
    rule: '/tools/code_execute/limits/0',
    code: 'limit_reached',
  });
});

test('every other tool is denied by the default, and spawns nothing', async () => {
  const { make, jobs, lines } = bench();
  const outcome = await make({ tool: 'shell', args: { command: 'id' } });
  assert.equal(outcome.status, 'denied');
  assert.equal(outcome.policy?.code, 'tool_not_allowed');
  assert.equal(outcome.usage, null);
  assert.equal(jobs.length, 0);
  assert.equal(lines[0]?.tool, 'shell');
});

test('a tool that the policy would allow and that does not exist is denied as unknown', async () => {
  const { make, jobs } = bench({ policy: { version: '1', default: 'allow' } });
  const outcome = await make({ tool: 'shell' });
  assert.equal(outcome.policy?.code, 'unknown_tool');
  assert.match(outcome.reason, /code_execute/);
  assert.equal(jobs.length, 0);
});

test('a hidden tool is denied as hidden, and tells nothing of its arguments', async () => {
  const { make, jobs } = bench({ policy: { ...tenAMinute, hide: ['*'] } });
  const outcome = await make({ args: { nonsense: true } });
  assert.equal(outcome.policy?.code, 'tool_hidden');
  assert.ok(!outcome.reason.includes('timeout_seconds'));
  assert.equal(jobs.length, 0);
});

test('wrong arguments are refused, on record, and cost nothing', async () => {
  const { make, jobs, lines } = bench();
  const outcome = await make({ args: { code: '1', cwd: '/' } });
  assert.equal(outcome.status, 'denied');
  assert.equal(outcome.policy?.code, 'invalid_arguments');
  assert.match(outcome.reason, /unknown argument "cwd"/);
  assert.equal(jobs.length, 0);
  assert.deepEqual(lines[0]?.decision, { verdict: 'deny', rule: null, code: 'invalid_arguments' });
  assert.equal((await make()).limits[0]?.left, 9);
});

test('code and stdin over the policy’s sizes are refused before anything is spawned', async () => {
  const policy = { ...tenAMinute, sandbox: { code_kb: 1, stdin_mb: 1 } };
  const { make, jobs } = bench({ policy });
  // Bytes count, not characters.
  const code = await make({ args: { code: `#${'é'.repeat(512)}` } });
  assert.equal(code.policy?.code, 'code_too_large');
  assert.equal(code.policy.rule, '/sandbox/code_kb');
  assert.match(code.reason, /1025 bytes .* at most 1024/);
  const stdin = await make({ args: { code: '', stdin: 'x'.repeat(2 ** 20 + 1) } });
  assert.equal(stdin.policy?.code, 'stdin_too_large');
  assert.equal(stdin.policy.rule, '/sandbox/stdin_mb');
  assert.equal(jobs.length, 0);
  assert.equal((await make({ args: { code: 'x'.repeat(1024), stdin: 'x'.repeat(2 ** 20) } })).status, 'ok');
});

test('a caller can lower the time limit and not raise it', async () => {
  const { make, jobs } = bench({ policy: { ...tenAMinute, sandbox: { timeout_seconds: 5 } } });
  await make({ args: { code: '', timeout_seconds: 0.5 } });
  await make({ args: { code: '', timeout_seconds: 3600 } });
  await make({ args: { code: '' } });
  assert.deepEqual(
    jobs.map(({ limits }) => limits.timeoutSeconds),
    [0.5, 5, 5],
  );
});

test('a call that a person would have to approve is denied while there is nobody to ask', async () => {
  const policy = { ...tenAMinute, tools: { code_execute: { require_approval: [{ message: 'Really?' }] } } };
  const { make, jobs, lines } = bench({ policy });
  const outcome = await make();
  assert.equal(outcome.policy?.code, 'approval_required');
  assert.equal(outcome.policy.rule, '/tools/code_execute/require_approval/0');
  assert.equal(jobs.length, 0);
  assert.equal(lines[0]?.status, 'denied');
  assert.equal(lines[0].decision.code, 'approval_required');
});

test('a rule in shadow mode lets the call through, and is on record', async () => {
  const limits = [{ counter: 'one', window: 'day', max: 1, shadow: true }];
  const policy = { ...tenAMinute, tools: { code_execute: { limits, deny_if: [{ shadow: true }] } } };
  const { make, lines } = bench({ policy });
  await make();
  assert.equal((await make()).status, 'ok');
  const denyIf = { rule: '/tools/code_execute/deny_if/0', code: 'condition_denied' };
  const limit = { rule: '/tools/code_execute/limits/0', code: 'limit_reached' };
  assert.deepEqual(
    lines.map(({ shadowed }) => shadowed),
    [[denyIf], [denyIf, limit]],
  );
});

test('a full queue is unavailable, can be tried again, and costs nothing', async () => {
  const held = heldRun();
  const { make, jobs, lines } = bench({ run: held.run, maxRunning: 1, maxWaiting: 0 });
  const first = make();
  await held.untilStarted(1);
  const second = await make();
  assert.equal(second.status, 'unavailable');
  assert.equal(second.retryable, true);
  assert.match(second.reason, /too many calls/);
  assert.equal(second.policy, null);
  assert.equal(second.limits[0]?.left, 9);
  assert.equal(jobs.length, 1);
  held.finishAll();
  assert.equal((await first).status, 'ok');
  assert.deepEqual(
    lines.map(({ status }) => status),
    ['unavailable', 'ok'],
  );
});

test('a call cancelled while it waits never starts, costs nothing, and leaves its place', async () => {
  const held = heldRun();
  const { make, jobs, rooms } = bench({ run: held.run, maxRunning: 1 });
  const first = make();
  await held.untilStarted(1);
  const stop = new AbortController();
  const waiting = new Promise<void>((resolve) => {
    void make({
      signal: stop.signal,
      onProgress: (stage) => {
        if (stage === 'waiting') setImmediate(resolve);
      },
    }).then((outcome) => {
      assert.equal(outcome.status, 'cancelled');
      assert.equal(outcome.limits[0]?.left, 9);
    });
  });
  await waiting;
  stop.abort();
  held.finishAll();
  await first;
  assert.equal(jobs.length, 1);
  assert.equal(rooms.slots.waiting, 0);
});

test('a program that ran is charged what it cost, whatever became of it', async () => {
  const policy = {
    ...tenAMinute,
    tools: { code_execute: { limits: [{ counter: 'cpu', window: 'day', max: 60, charge: 'cpu_seconds' }] } },
  };
  const run = () =>
    Promise.resolve<JobOutcome>({ ...fine, status: 'timeout', usage: { ...fine.usage, cpuMs: 30_000 } });
  const { make } = bench({ policy, run });
  assert.equal((await make()).limits[0]?.left, 30);
  assert.equal((await make()).limits[0]?.left, 0);
  assert.equal((await make()).policy?.code, 'budget_spent');
});

test('a call that our side could not run is not charged; one it lost half-way is', async () => {
  const lost: JobOutcome = { ...fine, status: 'unavailable', usage: { durationMs: 0, cpuMs: 0, peakMemoryBytes: 0 } };
  let outcome = lost;
  const { make } = bench({ run: () => Promise.resolve(outcome) });
  assert.equal((await make()).limits[0]?.left, 10);
  outcome = { ...lost, usage: { ...lost.usage, durationMs: 5 } };
  assert.equal((await make()).limits[0]?.left, 9);
});

test('a fault of ours in the middle is an outcome, gives back slot and reservation, and is on record', async () => {
  const { make, lines, rooms } = bench({ run: () => Promise.reject(new Error('the roof came down')) });
  const outcome = await make();
  assert.equal(outcome.status, 'unavailable');
  assert.match(outcome.reason, /the roof came down/);
  assert.equal(outcome.limits[0]?.left, 10);
  assert.equal(rooms.slots.running, 0);
  assert.equal(lines[0]?.status, 'unavailable');
});

test('limits that can not be told deny the call', async () => {
  const limits = createLimits({ lasting: false, transact: () => Promise.reject(new Error('disk gone')) });
  const { make, jobs } = bench({ limits });
  assert.equal((await make()).policy?.code, 'limiter_unavailable');
  assert.equal(jobs.length, 0);
});

test('without an audit log that can be written nothing is spawned', async () => {
  const fail = () => Promise.reject(new AuditError('the audit log /x can’t be written'));
  const { make, jobs } = bench({ audit: { ready: fail, write: fail } });
  const outcome = await make();
  assert.equal(outcome.status, 'unavailable');
  assert.match(outcome.reason, /audit log/);
  assert.equal(jobs.length, 0);
});

test('what could not be put on record afterwards is not handed out', async () => {
  const { make, jobs } = bench({
    audit: {
      write: () => Promise.reject(new AuditError('the audit log /x can’t be written')),
    },
  });
  const outcome = await make();
  assert.equal(jobs.length, 1);
  assert.equal(outcome.status, 'unavailable');
  assert.equal(outcome.stdout.text, '');
});

test('two hundred calls at once: each is answered once, never more run than the bound', async () => {
  let now = 0;
  let most = 0;
  const policy = { version: '1', default: 'deny', tools: { code_execute: {} } };
  const run = async () => {
    most = Math.max(most, (now += 1));
    await new Promise(setImmediate);
    now -= 1;
    return fine;
  };
  const { make, jobs, lines } = bench({ policy, run, maxRunning: 3, maxWaiting: 100 });
  const outcomes = await Promise.all(Array.from({ length: 200 }, () => make()));
  const count = (status: string) => outcomes.filter((outcome) => outcome.status === status).length;
  assert.equal(most, 3);
  assert.equal(count('ok'), 103);
  assert.equal(count('unavailable'), 97);
  assert.equal(jobs.length, 103);
  assert.equal(lines.length, 200);
  assert.equal(new Set(outcomes.map(({ runId }) => runId)).size, 200);
});

const asking = (rules: object = {}) => ({
  ...tenAMinute,
  tools: { code_execute: { require_approval: [{ message: 'Really?' }], ...rules } },
});
const saying = (show: Form['show']): Form => ({ via: 'form', by: 'the user', show });

test('a call that a person allows runs, and who allowed it how is on record', async () => {
  const { make, jobs, lines } = bench({ policy: asking() });
  const outcome = await make({ form: saying(() => Promise.resolve({ kind: 'yes' })) });
  assert.equal(outcome.status, 'ok');
  assert.equal(jobs.length, 1);
  assert.deepEqual(lines[0]?.decision, {
    verdict: 'allow',
    rule: '/tools/code_execute/require_approval/0',
    code: null,
  });
  assert.deepEqual({ ...lines[0].approval, id: '' }, { id: '', via: 'form', by: 'the user' });
});

test('a call that a person refuses gets its reservation back, and the owner’s words', async () => {
  const limits = [{ counter: 'one', window: 'day', max: 1 }];
  const policy = asking({ limits, require_approval: [{ on_deny: 'Ask the data team' }] });
  const { make, jobs, lines } = bench({ policy });
  const outcome = await make({ form: saying(() => Promise.resolve({ kind: 'no', reason: 'declined' })) });
  assert.equal(outcome.policy?.code, 'approval_denied');
  assert.match(outcome.reason, /^Ask the data team\./);
  assert.equal(outcome.limits[0]?.left, 1);
  assert.equal(jobs.length, 0);
  assert.equal(lines[0]?.approval?.via, 'form');
});

test('nobody is asked about what a limit denies anyway', async () => {
  let asked = 0;
  const { make } = bench({ policy: asking({ limits: [{ counter: 'one', window: 'day', max: 1 }] }) });
  const form = saying(() => {
    asked += 1;
    return Promise.resolve({ kind: 'yes' });
  });
  assert.equal((await make({ form })).status, 'ok');
  assert.equal((await make({ form })).policy?.code, 'limit_reached');
  assert.equal(asked, 1);
});

test('a yes that comes after an edit of the policy is void: nothing runs', async () => {
  const { rooms, make, jobs } = bench({ policy: asking() });
  const before = await rooms.policy();
  let hash = before.hash;
  Object.assign(rooms, { policy: () => Promise.resolve({ ...before, hash }) });
  const outcome = await make({
    form: saying(() => {
      hash = 'edited';
      return Promise.resolve({ kind: 'yes' });
    }),
  });
  assert.equal(outcome.policy?.code, 'approval_required');
  assert.match(outcome.reason, /edited while this call waited/);
  assert.equal(jobs.length, 0);
});

test('approvals that can not be had deny the call', async () => {
  const approvals = { ask: () => Promise.resolve({ kind: 'unavailable', why: 'disk gone' } as const) };
  const { make, jobs } = bench({ policy: asking(), approvals });
  const outcome = await make();
  assert.equal(outcome.policy?.code, 'approval_unavailable');
  assert.equal(outcome.policy.retryable, true);
  assert.equal(jobs.length, 0);
});

const withSessions = (tools: object = {}, sandbox: object = {}) => ({
  version: '1',
  default: 'deny',
  tools: { code_execute: {}, session_list: {}, session_fork: {}, session_rewind: {}, session_end: {}, ...tools },
  sandbox,
});
const asStep = (session: string, code: string) => ({ args: { code, session } });

test('a call can be a step of a session: begun, continued, told of, and on record by a digest only', async () => {
  const { make, jobs, lines, sandboxes } = bench({ policy: withSessions() });
  const begun = await make(asStep('new', '+a'));
  const id = begun.session?.id ?? '';
  assert.deepEqual(begun.session, { id, step: 1, undone: false, earliestStep: 0 });
  assert.equal(begun.tier, 'strict');
  const undone = await make(asStep(id, 'timeout'));
  assert.deepEqual([undone.status, undone.session?.step, undone.session?.undone], ['timeout', 1, true]);
  assert.equal(jobs.length, 0);
  assert.equal(sandboxes.opened.length, 1);
  assert.deepEqual(sandboxes.opened[0]?.limits, { memoryMb: 1024, diskMb: 256 });
  const digest = createHash('sha256').update(id).digest('hex').slice(0, 12);
  assert.deepEqual(
    lines.map(({ session }) => session),
    [
      { digest, step: 1, undone: false, forkedTo: null },
      { digest, step: 1, undone: true, forkedTo: null },
    ],
  );
});

test('a step waits for its turn without a slot: others run meanwhile', async () => {
  const { make, rooms, sandboxes } = bench({ policy: withSessions(), maxRunning: 2 });
  const id = (await make(asStep('new', '+a'))).session?.id ?? '';
  const first = make(asStep(id, 'wait'));
  const [sandbox] = sandboxes.opened;
  await sandbox?.waiting();
  const second = make(asStep(id, '+b'));
  const third = make(asStep(id, '+c'));
  assert.equal((await make()).status, 'ok');
  assert.deepEqual([rooms.slots.running, rooms.slots.waiting], [1, 0]);
  sandbox?.finish();
  assert.deepEqual(
    (await Promise.all([first, second, third])).map(({ session }) => session?.step),
    [2, 3, 4],
  );
  assert.equal(rooms.slots.running, 0);
});

test('where no session can be had, that is our fault and said in words; nothing is charged and no place is kept', async () => {
  const limits = [{ counter: 'one', window: 'day', max: 3 }];
  const { make, rooms, sandboxes } = bench({
    policy: withSessions({ code_execute: { limits } }, { sessions: { max: 1 } }),
  });
  sandboxes.refuse('this tier has none');
  const outcome = await make(asStep('new', '+a'));
  assert.equal(outcome.status, 'unavailable');
  assert.equal(outcome.retryable, false);
  assert.match(outcome.reason, /a session can't be had here: this tier has none/);
  assert.equal(outcome.limits[0]?.left, 3);
  assert.equal(rooms.slots.running, 0);
  sandboxes.refuse(null);
  assert.equal((await make(asStep('new', '+a'))).status, 'ok');
});

test('a session that is not there costs no limit, asks no person and takes no slot', async () => {
  let asked = 0;
  const form = saying(() => {
    asked += 1;
    return Promise.resolve({ kind: 'yes' });
  });
  const limits = [{ counter: 'one', window: 'day', max: 1 }];
  const { make } = bench({ policy: withSessions({ code_execute: { limits, require_approval: [{}] } }) });
  const lost = await make({ ...asStep('s_lost', '+a'), form });
  assert.equal(lost.policy?.code, 'no_such_session');
  assert.equal(asked, 0);
  assert.equal((await make({ ...asStep('new', '+a'), form })).status, 'ok');
  assert.equal(asked, 1);
});

test('a yes is for the session as it stood: once it has moved on, it is void, and nothing runs', async () => {
  const conditions = [{ path: 'args.code', op: 'eq', value: '+asked' }];
  const { make, lines } = bench({ policy: withSessions({ code_execute: { require_approval: [{ conditions }] } }) });
  const id = (await make(asStep('new', '+a'))).session?.id ?? '';
  const shown: string[] = [];
  const moving = saying(async ({ call: asked }) => {
    shown.push(JSON.stringify(asked));
    await make(asStep(id, '+b'));
    return { kind: 'yes' };
  });
  const outcome = await make({ ...asStep(id, '+asked'), form: moving });
  assert.equal(outcome.policy?.code, 'approval_required');
  assert.match(outcome.reason, /The session went on while this call waited for a person/);
  assert.match(shown[0] ?? '', /"step":1/);
  assert.ok(!shown[0]?.includes(id));
  assert.equal(lines.at(-1)?.decision.verdict, 'deny');
  const again = await make({ ...asStep(id, '+asked'), form: saying(() => Promise.resolve({ kind: 'yes' })) });
  assert.deepEqual([again.status, again.session?.step], ['ok', 3]);
});

test('an approval for a call in one session is none for the same call in another, or in none', async () => {
  const conditions = [{ path: 'args.code', op: 'eq', value: 'timeout' }];
  const rule = { conditions, remember: 'same_code' };
  const { make } = bench({ policy: withSessions({ code_execute: { require_approval: [rule] } }) });
  const [one, two] = [
    (await make(asStep('new', '+a'))).session?.id ?? '',
    (await make(asStep('new', '+a'))).session?.id ?? '',
  ];
  let asked = 0;
  const form = saying(() => {
    asked += 1;
    return Promise.resolve({ kind: 'yes' });
  });
  assert.equal((await make({ ...asStep(one, 'timeout'), form })).status, 'timeout');
  assert.equal((await make({ ...asStep(one, 'timeout'), form })).status, 'timeout');
  assert.equal(asked, 1);
  await make({ ...asStep(two, 'timeout'), form });
  assert.equal(asked, 2);
  await make({ args: { code: 'timeout' }, form });
  assert.equal(asked, 3);
  await make(asStep(one, '+b'));
  await make({ ...asStep(one, 'timeout'), form });
  assert.equal(asked, 4);
});

test('a session tool can want a person, too, who is shown what it does', async () => {
  const { make } = bench({ policy: withSessions({ session_rewind: { require_approval: [{}] } }) });
  const id = (await make(asStep('new', '+a'))).session?.id ?? '';
  const rewind = { tool: 'session_rewind', args: { session: id, to_step: 0 } };
  const no = await make({ ...rewind, form: saying(() => Promise.resolve({ kind: 'no', reason: 'declined' })) });
  assert.equal(no.policy?.code, 'approval_denied');
  let words = '';
  const yes = saying((request) => {
    words = describeRequest(request, true);
    return Promise.resolve({ kind: 'yes' });
  });
  const outcome = await make({ ...rewind, form: yes });
  assert.equal(outcome.sessions[0]?.step, 0);
  const digest = createHash('sha256').update(id).digest('hex').slice(0, 12);
  assert.match(
    words,
    new RegExp(`wants session_rewind of session ${digest}, which stands at step 1, to_step 0 \\(grant`),
  );
});

test('session tools are calls like any other: denied by default, their arguments checked, their limits counted', async () => {
  const { make, lines } = bench();
  assert.equal((await make({ tool: 'session_list', args: {} })).policy?.code, 'tool_not_allowed');
  const limits = [{ counter: 'lists', window: 'day', max: 1 }];
  const open = bench({ policy: withSessions({ session_list: { limits } }) });
  const listed = await open.make({ tool: 'session_list', args: {} });
  assert.deepEqual([listed.status, listed.limits[0]?.left, listed.usage, listed.tier], ['ok', 0, null, null]);
  assert.equal((await open.make({ tool: 'session_list', args: {} })).policy?.code, 'limit_reached');
  assert.equal((await open.make({ tool: 'session_list', args: { all: true } })).policy?.code, 'invalid_arguments');
  assert.equal(lines[0]?.session, null);
});
