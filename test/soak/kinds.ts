/** The calls a soak is mixed of. Each says what its answer has to be; one more kind is one more entry here. */

import { randomBytes } from 'node:crypto';
import { programOf } from '../attack/attack.js';
import type { Canaries } from '../attack/canaries.js';
import { attacks as files } from '../attack/files.js';
import { attacks as kernel } from '../attack/kernel.js';
import { attacks as network } from '../attack/network.js';
import { attacks as processes } from '../attack/processes.js';
import { attacks as secrets } from '../attack/secrets.js';
import { PROGRAMS } from '../integration/programs.js';
import type { Tier } from '../../src/sandbox.js';
import type { Answered, Call, Caller } from './caller.js';
import { hostileFiles, passFiles, picture, useMounts, type Opened } from './file-kinds.js';
import { useSession } from './session-kinds.js';
import type { Tally } from './tally.js';

export interface Kind {
  readonly name: string;
  /** How often it comes, against the others. */
  readonly weight: number;
  /** Makes one call, or a few that belong together. */
  readonly play: (caller: Caller, random: () => number) => Promise<void>;
}

/** Looking for all ports, or through everything that can be read, takes seconds. */
const LONG = /scan of all|search of everything|guessing numbers|core dumps/;

const pick = <T>(random: () => number, list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
const expected = (answer: Answered, what: string): string =>
  `expected ${what}, got ${answer.status}: ${answer.text.slice(0, 300)}`;

/** A kind that is one call. */
const single = (name: string, weight: number, make: (random: () => number) => Call): Kind => ({
  name,
  weight,
  async play(caller, random) {
    await caller.call(make(random), name);
  },
});

/**
 * @param quick the programs that work and are over soon on this machine, by name, where directories are opened and where not
 * @param opened the directories that the policy of some of the servers opens
 * @param tier that they run in: there are neither sessions nor mounts without namespaces
 */
export function kinds(
  { told, secret }: Canaries,
  quick: (hasMounts: boolean) => ReadonlySet<string>,
  opened: Opened,
  tally: Tally,
  tier: Tier,
): readonly Kind[] {
  const attacks = [...secrets, ...files, ...network, ...processes, ...kernel].filter(
    ({ name, promisedIn }) => !LONG.test(name) && (promisedIn?.includes(tier) ?? true),
  );
  const programs = [false, true].map((hasMounts) => PROGRAMS.filter(({ name }) => quick(hasMounts).has(name)));
  const all: readonly Kind[] = [
    single('its own number', 40, () => {
      const token = randomBytes(8).toString('hex');
      return {
        args: { code: `print(input())`, stdin: token },
        wrong: (answer) => (answer.status === 'ok' && answer.stdout === `${token}\n` ? null : expected(answer, token)),
      };
    }),
    {
      name: 'an ordinary program',
      weight: 16,
      async play(caller, random) {
        const { name, code, stdin = '' } = pick(random, programs[caller.hasMounts ? 1 : 0] ?? []);
        const call: Call = {
          args: { code, stdin },
          wrong: (answer) =>
            answer.status === 'ok' && /(^|\n)ok\n$/.test(answer.stdout) ? null : expected(answer, `ok of "${name}"`),
        };
        await caller.call(call, 'an ordinary program');
      },
    },
    single('an attack', 18, (random) => {
      const attack = pick(random, attacks);
      return {
        args: { code: programOf(attack, told, false) },
        wrong: (answer) =>
          !/^GOT/m.test(answer.stdout) && !answer.text.includes(secret)
            ? null
            : expected(answer, `nothing for "${attack.name}"`),
      };
    }),
    single('a failure', 4, () => ({
      args: { code: 'import os\nprint("x")\nos._exit(3)' },
      wrong: (answer) => (answer.status === 'error' ? null : expected(answer, 'error')),
    })),
    single('a loop up to its time', 1, () => ({
      args: { code: 'while True: pass', timeout_seconds: 0.2 },
      wrong: (answer) => (answer.status === 'timeout' ? null : expected(answer, 'timeout')),
    })),
    single('much output', 2, () => ({
      args: { code: 'print("x" * 300_000)' },
      wrong: (answer) => (answer.status === 'ok' ? null : expected(answer, 'ok')),
    })),
    single('a call that is given up', 3, (random) => ({
      args: { code: 'import time\ntime.sleep(30)' },
      cancelAfterMs: 5 + random() * 200,
      wrong: (answer) => expected(answer, 'no answer to a call that was given up'),
    })),
    { name: 'files in and out', weight: 12, play: passFiles },
    { name: 'files that can not come out', weight: 2, play: hostileFiles },
    { name: 'a picture', weight: 2, play: picture },
  ];
  if (tier !== 'strict') return all;
  return [
    ...all,
    { name: 'a session', weight: 40, play: (caller, random) => useSession(caller, random, tally) },
    { name: 'a mount', weight: 8, play: (caller, random) => useMounts(caller, random, opened) },
  ];
}
