/** The tools beside `code_execute`: what sessions there are, a second one at the same state, back to an earlier step, the end. */
import * as z from 'zod';
import { checkStrictly } from '../arguments.js';
import type { AuditRecord } from '../audit.js';
import { answered, denied } from '../outcome.js';
import { digestOf } from '../sessions/handle.js';
import type { SessionState } from '../sessions/sessions.js';
import { inTurn, refusedBySessions } from './in-turn.js';
import { nothingDone, placeIn, refusal, type Action, type Performed, type Performing, type Tool } from './tool.js';

/** A session tool, with what is taken for its arguments. */
export interface SessionTool extends Tool {
  readonly argumentsJsonSchema: Record<string, unknown>;
}

const handle = z.string().min(1).describe('The handle of the session.');

export const sessionList = sessionTool('session_list', z.strictObject({}), () => ({
  handle: null,
  otherArgs: {},
  run({ sessions, grant }) {
    const open = sessions.list(grant);
    return Promise.resolve(
      done(open.length === 0 ? 'no session is open' : `open sessions: ${open.length}`, open, null),
    );
  },
}));

export const sessionFork = sessionTool('session_fork', z.strictObject({ session: handle }), ({ session }) => ({
  handle: session,
  otherArgs: {},
  run: (performing) =>
    inTurn(performing, session, (turn) => {
      const forked = turn.fork();
      if ('code' in forked) return nothingDone(denied(refusedBySessions(forked)));
      const record = { digest: turn.place.digest, step: forked.step, undone: false, forkedTo: digestOf(forked.id) };
      return done(`session ${forked.id} begins where ${session} stands, at step ${forked.step}`, [forked], record);
    }),
}));

export const sessionRewind = sessionTool(
  'session_rewind',
  z.strictObject({
    session: handle,
    steps: z.int().positive().optional().describe('Go back by so many steps.'),
    to_step: z.int().nonnegative().optional().describe('Go back to the state after this step; 0: the empty beginning.'),
  }),
  ({ session, steps, to_step: toStep }) => ({
    handle: session,
    otherArgs: steps === undefined ? { to_step: toStep } : { steps },
    problems: (steps === undefined) === (toStep === undefined) ? ['expected either steps or to_step'] : [],
    run: (performing) =>
      inTurn(performing, session, (turn) => {
        const rewound = turn.rewind(steps === undefined ? { toStep: toStep ?? 0 } : { steps });
        if ('code' in rewound) return nothingDone(denied(refusedBySessions(rewound)));
        const record = { digest: turn.place.digest, step: rewound.step, undone: false, forkedTo: null };
        return done(`session ${session} is back at step ${rewound.step}`, [rewound], record);
      }),
  }),
);

export const sessionEnd = sessionTool('session_end', z.strictObject({ session: handle }), ({ session }) => ({
  handle: session,
  otherArgs: {},
  run({ sessions, grant }) {
    const ended = sessions.end(grant, session);
    if (!ended.ok) return Promise.resolve(nothingDone(denied(refusedBySessions(ended.refusal))));
    const record = { digest: digestOf(session), step: ended.step, undone: false, forkedTo: null };
    return Promise.resolve(done(`session ${session} has ended, at step ${ended.step}`, [], record));
  },
}));

interface Request {
  readonly handle: string | null;
  /** The arguments but for the handle. */
  readonly otherArgs: Readonly<Record<string, unknown>>;
  /** What is wrong with the arguments beyond their types. */
  readonly problems?: readonly string[];
  readonly run: (performing: Performing) => Promise<Performed>;
}

function sessionTool<S extends z.ZodObject>(
  name: string,
  schema: S,
  requestOf: (args: z.output<S>) => Request,
): SessionTool {
  return {
    name,
    argumentsJsonSchema: z.toJSONSchema(schema),
    check(args) {
      const checked = checkStrictly(name, schema, args);
      if (!checked.ok) return checked;
      const request = requestOf(checked.value);
      const { problems = [] } = request;
      return problems.length > 0 ? { ok: false, problems } : { ok: true, action: actionOf(name, request) };
    },
  };
}

function actionOf(tool: string, { handle, otherArgs, run }: Request): Action {
  return {
    files: [],
    session: handle,
    excess({ sessions }) {
      if (sessions.max > 0) return null;
      return refusal('no_sessions', '/sandbox/sessions/max', 'The policy allows no sessions, so there are none');
    },
    objection(sessions, grant) {
      const found = handle === null ? null : sessions.stand(grant, handle);
      return found?.ok === false ? refusedBySessions(found.refusal) : null;
    },
    exact: (sessions, grant) => ({ tool, args: otherArgs, session: placeIn(sessions, grant, handle) }),
    atMost: () => NO_COST,
    perform: run,
  };
}

const NO_COST = { cpuSeconds: 0, wallSeconds: 0, outputBytes: 0 };

/** It did what it was to do. */
function done(what: string, sessions: readonly SessionState[], onRecord: AuditRecord['session']): Performed {
  return { ending: answered(what), measured: NO_COST, tier: null, kept: null, session: null, sessions, onRecord };
}
