/**
 * Sessions in a soak: each is kept beside a model of it, what its variables and files have to be after every step, and every answer is held against
 * that. A model knows nothing of how sessions are made: a step appends a word of its own to a list and to a file, and prints both.
 */

import { randomBytes } from 'node:crypto';
import type { Answered, Call, Caller } from './caller.js';
import type { ModelSession, State } from './model.js';
import type { Tally } from './tally.js';

/** As the policy of the soak has them (`POLICY` in soak.ts). */
export const SESSIONS_MAX = 4;
export const KEEP_STEPS = 6;

const EMPTY: State = { words: [], lines: [] };

/** What every step begins with: it finds what there is, or makes it. */
const PRELUDE = `
import os, sys
try: words
except NameError: words = []
`;
const SHOW = `
print(",".join(words), ",".join(open("lines.txt").read().split()) if os.path.exists("lines.txt") else "", sep="|")
`;

/** Ways for a step to go wrong: each first spoils what there is, which has to be undone. */
const SPOILT: readonly {
  readonly name: string;
  readonly code: string;
  readonly status: readonly string[];
  readonly seconds?: number;
  readonly weight: number;
}[] = [
  { name: 'times out', code: 'while True: pass', status: ['timeout'], seconds: 0.2, weight: 3 },
  { name: 'sleeps', code: 'import time\ntime.sleep(30)', status: ['timeout'], seconds: 0.2, weight: 2 },
  { name: 'leaves', code: 'os._exit(3)', status: ['error'], weight: 4 },
  { name: 'crashes', code: 'import ctypes\nctypes.string_at(0)', status: ['killed'], weight: 4 },
  { name: 'kills itself', code: 'os.kill(os.getpid(), 9)', status: ['killed'], weight: 3 },
  {
    name: 'leaves a process that holds on',
    code: 'import subprocess\nsubprocess.Popen(["sleep", "30"])\nos.kill(os.getpid(), 9)',
    status: ['killed'],
    weight: 2,
  },
  {
    name: 'takes all memory',
    code: 'hoard = []\nwhile True: hoard.append(os.urandom(1 << 10) * 4096)',
    status: ['memory'],
    weight: 1,
  },
];

const pick = <T>(random: () => number, list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
const stateOf = ({ states }: ModelSession): State => states.at(-1) ?? EMPTY;
const stepOf = ({ states }: ModelSession): number => states.length - 1;

function pickSpoilt(random: () => number): (typeof SPOILT)[number] {
  let left = random() * SPOILT.reduce((sum, { weight }) => sum + weight, 0);
  return SPOILT.find(({ weight }) => (left -= weight) < 0) ?? pick(random, SPOILT);
}

/** What the answer says of the session it was a step of. */
function placeIn({ structured }: Answered): { id: string; step: number; undone: boolean } | null {
  return structured.session as { id: string; step: number; undone: boolean } | null;
}

/** One thing done with one of the caller's sessions; the model goes with it. */
export async function useSession(caller: Caller, random: () => number, tally: Tally): Promise<void> {
  const { sessions } = caller;
  const session = pick(random, sessions);
  const dice = random();
  if (sessions.length === 0 || (sessions.length < SESSIONS_MAX && dice < 0.06)) await begin(caller);
  else if (sessions.length >= SESSIONS_MAX && dice < 0.02) await beginTooMany(caller);
  else if (dice < 0.12) await fork(caller, session, tally);
  else if (dice < 0.2) await rewind(caller, session, random, tally);
  else if (dice < 0.27) await endSession(caller, session, tally);
  else if (dice < 0.3) await list(caller);
  else if (dice < 0.5) await spoil(caller, session, random, tally);
  else if (dice < 0.57) await raise(caller, session, tally);
  else if (dice < 0.6) await giveUp(caller, session, random, tally);
  else await step(caller, session, tally);
}

/** A word that no other step has. */
const newWord = (): string => randomBytes(6).toString('hex');

function appending(word: string): string {
  return `${PRELUDE}words.append("${word}")\nwith open("lines.txt", "a") as file: file.write("${word}\\n")\n`;
}

function shows(state: State): string {
  return `${state.words.join()}|${state.lines.join()}\n`;
}

const expected = (answer: Answered, what: string): string =>
  `expected ${what}, got ${answer.status}: ${answer.text.slice(0, 600)}`;

/** What is wrong with an answer of a step that was to hold, and to leave `state`. */
function notHeld(answer: Answered, status: string, step: number, output: string | null): string | null {
  const place = placeIn(answer);
  if (answer.status !== status || place?.step !== step || place.undone)
    return expected(answer, `${status} at step ${step}`);
  return output === null || answer.stdout === output ? null : expected(answer, output);
}

async function begin(caller: Caller): Promise<void> {
  const word = newWord();
  const since = caller.kills;
  const state: State = { words: [word], lines: [word] };
  let place: ReturnType<typeof placeIn> = null;
  await caller.call(
    {
      args: { code: appending(word) + SHOW, session: 'new' },
      wrong(got) {
        place = placeIn(got); // there is a session even where a kill undid the step
        return notHeld(got, 'ok', 1, shows(state));
      },
    },
    'the beginning of a session',
  );
  const made = place as ReturnType<typeof placeIn>; // as it is now, and not as it was before the call
  if (made === null) return;
  caller.sessions.push({ id: made.id, states: made.undone ? [EMPTY] : [EMPTY, state], earliest: 0, since });
}

async function beginTooMany(caller: Caller): Promise<void> {
  const since = caller.kills;
  let made: ReturnType<typeof placeIn> = null;
  await caller.call(
    {
      args: { code: '1', session: 'new' },
      wrong(answer) {
        made = placeIn(answer);
        const refusal = answer.structured.policy as { code: string } | null;
        // One that was lost by a kill makes room.
        return refusal?.code === 'too_many_sessions' || (made !== null && mayHaveLost(caller))
          ? null
          : expected(answer, 'too_many_sessions');
      },
    },
    'one session too many',
  );
  const place = made as ReturnType<typeof placeIn>; // as it is now, and not as it was before the call
  if (place !== null)
    caller.sessions.push({ id: place.id, states: [EMPTY, EMPTY].slice(place.undone ? 1 : 0), earliest: 0, since });
}

/** Whether one of the sessions may be gone without having said so yet. */
const mayHaveLost = (caller: Caller): boolean => caller.sessions.some(({ since }) => since < caller.kills);

async function step(caller: Caller, session: ModelSession, tally: Tally): Promise<void> {
  const word = newWord();
  const { words, lines } = stateOf(session);
  const next: State = { words: [...words, word], lines: [...lines, word] };
  const since = caller.kills;
  const answer = await callIn(caller, session, tally, 'a step', {
    args: { code: appending(word) + SHOW },
    wrong: (got) => notHeld(got, 'ok', session.states.length, shows(next)),
  });
  if (answer === null) return;
  advance(session, next);
  // The file is new in this step, and so comes back.
  const [file] = answer.structured.files as { name: string; uri: string }[];
  if (file?.name !== 'lines.txt') {
    caller.fault('a step: lines.txt did not come back', since);
    return;
  }
  const content = await caller.read(file.uri, 'the file of a step');
  if (content !== null && content.toString() !== `${next.lines.join('\n')}\n`) {
    caller.fault(`a step: lines.txt came back as ${content.toString().slice(0, 300)}`, since);
  }
}

async function raise(caller: Caller, session: ModelSession, tally: Tally): Promise<void> {
  const word = newWord();
  const { words, lines } = stateOf(session);
  const answer = await callIn(caller, session, tally, 'a step that raises', {
    args: { code: `${PRELUDE}words.append("${word}")\nraise ValueError("${word}")` },
    wrong: (got) => notHeld(got, 'error', session.states.length, null),
  });
  if (answer !== null) advance(session, { words: [...words, word], lines });
}

async function spoil(caller: Caller, session: ModelSession, random: () => number, tally: Tally): Promise<void> {
  const { name, code, status, seconds } = pickSpoilt(random);
  const word = newWord();
  const since = caller.kills;
  const answer = await callIn(caller, session, tally, `a step that ${name}`, {
    args: {
      code: `${appending(word)}${code}`,
      ...(seconds === undefined ? {} : { timeout_seconds: seconds }),
    },
    wrong: (got) => (status.includes(got.status) ? null : expected(got, status.join(' or '))),
  });
  const place = answer === null ? null : placeIn(answer);
  if (answer === null || place === null) return;
  // Memory may run out as a MemoryError as well, which a step survives as it does any other.
  if (!place.undone && answer.status === 'memory') {
    const { words, lines } = stateOf(session);
    advance(session, { words: [...words, word], lines: [...lines, word] });
  } else if (!place.undone || place.step !== stepOf(session)) {
    caller.fault(`a step that ${name} was not undone: ${answer.text.slice(0, 300)}`, since);
  }
}

async function giveUp(caller: Caller, session: ModelSession, random: () => number, tally: Tally): Promise<void> {
  await callIn(caller, session, tally, 'a step that is given up', {
    args: { code: `${appending(newWord())}import time\ntime.sleep(30)` },
    cancelAfterMs: 5 + random() * 200,
    wrong: (answer) => expected(answer, 'no answer to a step that was given up'),
  });
}

async function fork(caller: Caller, session: ModelSession, tally: Tally): Promise<void> {
  const answer = await callIn(caller, session, tally, 'a fork', {
    tool: 'session_fork',
    args: {},
    wrong(got) {
      if (caller.sessions.length >= SESSIONS_MAX && !(got.status === 'ok' && mayHaveLost(caller))) {
        const code = (got.structured.policy as { code?: string } | null)?.code;
        return code === 'too_many_sessions' ? null : expected(got, 'too_many_sessions');
      }
      const [made] = told(got);
      return got.status === 'ok' && made?.step === stepOf(session)
        ? null
        : expected(got, `a session at ${stepOf(session)}`);
    },
  });
  if (answer?.status !== 'ok') return;
  const [made] = told(answer);
  if (made !== undefined) caller.sessions.push({ ...session, id: made.id, states: [...session.states] });
}

async function rewind(caller: Caller, session: ModelSession, random: () => number, tally: Tally): Promise<void> {
  const to = session.earliest + Math.floor(random() * (stepOf(session) - session.earliest + 1));
  const answer = await callIn(caller, session, tally, 'a rewind', {
    tool: 'session_rewind',
    args: { to_step: to },
    wrong: (got) => (got.status === 'ok' && told(got)[0]?.step === to ? null : expected(got, `step ${to}`)),
  });
  if (answer !== null) session.states.length = to + 1;
}

async function endSession(caller: Caller, session: ModelSession, tally: Tally): Promise<void> {
  const at = stepOf(session);
  const ended = await callIn(caller, session, tally, 'the end of a session', {
    tool: 'session_end',
    args: {},
    wrong: (answer) => (answer.text.includes(`has ended, at step ${at}`) ? null : expected(answer, `the end at ${at}`)),
  });
  if (ended === null) return;
  forget(caller, session);
  await caller.call(
    {
      args: { code: 'words', session: session.id },
      wrong: (answer) =>
        whyGone(answer)?.includes('has ended: session_end was called') === true
          ? null
          : expected(answer, 'a plain word that it has ended'),
    },
    'a step after the end',
  );
}

async function list(caller: Caller): Promise<void> {
  const since = caller.kills;
  await caller.call(
    {
      tool: 'session_list',
      args: {},
      wrong(answer) {
        const open = new Map(told(answer).map(({ id, step: at }) => [id, at]));
        for (const session of caller.sessions) {
          const at = open.get(session.id);
          open.delete(session.id);
          if (at === undefined && session.since < since) continue; // lost by a kill, as its next call will say
          if (at !== stepOf(session)) return expected(answer, `${session.id} at step ${stepOf(session)}`);
        }
        // What was begun by a call whose answer was the wrong one, because of a kill, is nobody's here.
        return open.size === 0 || caller.kills > 0 ? null : expected(answer, 'no others');
      },
    },
    'a list',
  );
}

/** The sessions that an answer tells of. */
function told({ structured }: Answered): { id: string; step: number }[] {
  return (structured.sessions ?? []) as { id: string; step: number }[];
}

function advance(session: ModelSession, state: State): void {
  session.states.push(state);
  session.earliest = Math.max(session.earliest, stepOf(session) - KEEP_STEPS);
}

/** Why the server says that a session is not there; null where it does not say so. */
function whyGone({ structured }: Answered): string | null {
  const policy = structured.policy as { code: string; message: string } | null;
  return policy?.code === 'no_such_session' ? policy.message : null;
}

/** A call on a session. One that was lost by a kill has to say so, and is forgotten; so has a state. */
async function callIn(
  caller: Caller,
  session: ModelSession,
  tally: Tally,
  name: string,
  call: Call,
): Promise<Answered | null> {
  const lost: { what: 'session' | 'state' | null } = { what: null };
  const answer = await caller.call(
    {
      ...call,
      args: { ...call.args, session: session.id },
      wrong(got) {
        const wrong = call.wrong(got);
        if (wrong === null || caller.kills === session.since) return wrong;
        const reason = String(got.structured.reason);
        if (/its sandbox was lost \(.+\)/.test(whyGone(got) ?? reason)) lost.what = 'session';
        else if (reason.startsWith('the state that the step was to begin in is gone')) lost.what = 'state';
        return lost.what === null ? wrong : null;
      },
    },
    name,
  );
  if (lost.what === 'session') {
    tally.sessionsLost += 1;
    forget(caller, session);
    return null;
  }
  if (lost.what === 'state') {
    tally.statesLost += 1;
    await afterLostState(caller, session);
    return null;
  }
  return answer;
}

/** The state is gone, but not the session: an earlier one may still be there, and else it can be ended. */
async function afterLostState(caller: Caller, session: ModelSession): Promise<void> {
  if (stepOf(session) > session.earliest) {
    const to = stepOf(session) - 1;
    const back = await caller.call(
      {
        tool: 'session_rewind',
        args: { session: session.id, to_step: to },
        wrong: (got) => (got.status === 'ok' ? null : expected(got, `step ${to}`)),
      },
      'a rewind after a lost state',
    );
    if (back !== null) session.states.length = to + 1;
    return;
  }
  const ended = await caller.call(
    {
      tool: 'session_end',
      args: { session: session.id },
      wrong: (got) => (got.status === 'ok' ? null : expected(got, 'the end of a session')),
    },
    'the end of a session that lost its state',
  );
  if (ended !== null) forget(caller, session);
}

function forget(caller: Caller, session: ModelSession): void {
  const index = caller.sessions.indexOf(session);
  if (index >= 0) caller.sessions.splice(index, 1);
}
