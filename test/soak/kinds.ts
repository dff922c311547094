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

/** What came back of a call that came to its end. */
interface Answered {
  readonly status: string;
  readonly stdout: string;
  readonly text: string;
}

export interface Call {
  readonly args: Readonly<Record<string, unknown>>;
  /** Given up by the client after so long. Milliseconds. */
  readonly cancelAfterMs?: number;
  /** What is wrong with the answer, or null. */
  readonly wrong: (answer: Answered) => string | null;
}

export interface Kind {
  readonly name: string;
  /** How often it comes, against the others. */
  readonly weight: number;
  readonly make: (random: () => number) => Call;
}

/** Looking for all ports, or through everything that can be read, takes seconds. */
const LONG = /scan of all|search of everything|guessing numbers|core dumps/;

const pick = <T>(random: () => number, list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
const expected = (answer: Answered, what: string): string =>
  `expected ${what}, got ${answer.status}: ${answer.text.slice(0, 300)}`;

/** @param quick the programs that are over soon on this machine, by name */
export function kinds({ told, secret }: Canaries, quick: ReadonlySet<string>): readonly Kind[] {
  const attacks = [...secrets, ...files, ...network, ...processes, ...kernel].filter(({ name }) => !LONG.test(name));
  const programs = PROGRAMS.filter(({ name }) => quick.has(name));
  return [
    {
      name: 'its own number',
      weight: 50,
      make() {
        const token = randomBytes(8).toString('hex');
        return {
          args: { code: `print(input())`, stdin: token },
          wrong: (answer) =>
            answer.status === 'ok' && answer.stdout === `${token}\n` ? null : expected(answer, token),
        };
      },
    },
    {
      name: 'an ordinary program',
      weight: 20,
      make(random) {
        const { name, code, stdin = '' } = pick(random, programs);
        return {
          args: { code, stdin },
          wrong: (answer) =>
            answer.status === 'ok' && /(^|\n)ok\n$/.test(answer.stdout) ? null : expected(answer, `ok of "${name}"`),
        };
      },
    },
    {
      name: 'an attack',
      weight: 20,
      make(random) {
        const attack = pick(random, attacks);
        return {
          args: { code: programOf(attack, told, false) },
          wrong: (answer) =>
            !/^GOT/m.test(answer.stdout) && !answer.text.includes(secret)
              ? null
              : expected(answer, `nothing for "${attack.name}"`),
        };
      },
    },
    {
      name: 'a failure',
      weight: 4,
      make: () => ({
        args: { code: 'import os\nprint("x")\nos._exit(3)' },
        wrong: (answer) => (answer.status === 'error' ? null : expected(answer, 'error')),
      }),
    },
    {
      name: 'a loop up to its time',
      weight: 1,
      make: () => ({
        args: { code: 'while True: pass', timeout_seconds: 0.2 },
        wrong: (answer) => (answer.status === 'timeout' ? null : expected(answer, 'timeout')),
      }),
    },
    {
      name: 'much output',
      weight: 2,
      make: () => ({
        args: { code: 'print("x" * 300_000)' },
        wrong: (answer) => (answer.status === 'ok' ? null : expected(answer, 'ok')),
      }),
    },
    {
      name: 'a call that is given up',
      weight: 3,
      make: (random) => ({
        args: { code: 'import time\ntime.sleep(30)' },
        cancelAfterMs: 5 + random() * 200,
        wrong: (answer) => expected(answer, 'no answer to a call that was given up'),
      }),
    },
  ];
}
