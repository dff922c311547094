/** Every attack there is, by its goal, in the one shape the matrix runs them in. */

import { gotThrough, runAttack, runControl, type Attack, type Need } from './attack.js';
import type { Canaries } from './canaries.js';
import { attacks as files } from './files.js';
import { attacks as kernel } from './kernel.js';
import { attacks as network } from './network.js';
import { whyNoControl } from './no-control.js';
import { forgeries, FORGERY_OPTIONS, untrue } from './outcome.js';
import { attacks as persistence } from './persistence.js';
import { attacks as processes } from './processes.js';
import { attacks as python } from './python.js';
import { attacks as resources } from './resources.js';
import { attacks as secrets } from './secrets.js';
import type { Tier } from '../../src/sandbox.js';
import { judgeNaively } from '../support/naive-judge.js';
import type { TestSandbox } from '../support/sandbox.js';

/** `odd`: nothing was got, but not in a way that the attack foresees: the sandbox died, for example. */
export type Verdict = 'stopped' | 'through' | 'odd';

export interface Trial {
  readonly goal: string;
  readonly name: string;
  /** Two independent layers are to stop it: files, network, processes, kernel, and what rests on them. */
  readonly byTwo: boolean;
  /** The tiers that promise to stop it. */
  readonly promisedIn: readonly Tier[];
  /** It takes a second or more, as limits of time and memory do. */
  readonly slow: boolean;
  readonly inside: (run: TestSandbox['run'], canaries: Canaries) => Promise<{ verdict: Verdict; why: string }>;
  /** Without a sandbox: whether it succeeds at all on this machine, as this user. */
  readonly outside: (canaries: Canaries) => Promise<boolean>;
  /** Why it can't have such a control (no-control.ts); null where it has. */
  readonly noControl: string | null;
  /** Why the control may fail: this user has not the right (`root`), or this kernel has not what is attacked (`kernel`). */
  readonly needs: Need | null;
}

function trial(goal: string, attack: Attack): Trial {
  return {
    goal,
    name: attack.name,
    byTwo: goal !== 'resources' && goal !== 'python',
    promisedIn: attack.promisedIn ?? ['strict', 'confined'],
    slow: goal === 'resources',
    async inside(run, { told, secret }) {
      const { outcome, ran } = await runAttack(attack, told, run);
      const why = ran ?? gotThrough(attack, outcome, secret);
      if (why === null) return { verdict: 'stopped', why: '' };
      const got = /^GOT/m.test(outcome.stdout.text) || JSON.stringify(outcome).includes(secret);
      const ended = attack.endsSandbox === true && outcome.status === 'unavailable';
      return { verdict: got || ended ? 'through' : 'odd', why: why.slice(0, 300) };
    },
    noControl: whyNoControl(goal, attack.name),
    needs: attack.needs ?? null,
    outside: async ({ told, secret }) => {
      const { stdout } = await runControl(attack, told);
      return /^GOT/m.test(stdout) && (attack.wants !== 'secret' || stdout.includes(secret));
    },
  };
}

const forged: readonly Trial[] = forgeries.map((forgery) => ({
  goal: 'outcome',
  name: forgery.name,
  byTwo: false,
  promisedIn: ['strict', 'confined'],
  slow: false,
  async inside(run) {
    const outcome = await run(forgery.code, FORGERY_OPTIONS);
    const why = untrue(forgery, outcome);
    const verdict = why === null ? 'stopped' : outcome.status === 'unavailable' ? 'odd' : 'through';
    return { verdict, why: why?.slice(0, 300) ?? '' };
  },
  noControl: whyNoControl('outcome', forgery.name),
  needs: null,
  outside: async () => untrue(forgery, await judgeNaively(forgery.code)) !== null,
}));

const tables: Readonly<Record<string, readonly Attack[]>> = {
  secrets,
  files,
  persistence,
  network,
  processes,
  kernel,
  python,
  resources,
};

export const trials: readonly Trial[] = [
  ...Object.entries(tables).flatMap(([goal, attacks]) => attacks.map((attack) => trial(goal, attack))),
  ...forged,
];
