/**
 * The layers a sandbox is made of, each by the name under which it can be switched off: in tests, one at a time, to see that the others hold
 * without it, and by `cordon doctor --without`. No policy and no client can name one. sandbox/confine/layers.py is the other half.
 */

import type { Tier } from '../sandbox.js';

/** Each layer, with what it stops by itself. */
export const LAYERS = {
  'file tree': "files: the host's have no name in the mount namespace of a sandbox, whose root is a tree of its own",
  'pid namespace':
    'processes: those of the host and of other runs have no number in it, and all of a run end with its process 1',
  'network namespace': 'the network: there is only a loopback, and it is the own one',
  'ipc namespace': 'System V shared memory, semaphores and message queues of the host',
  'uts namespace': "the host's name",
  'user namespace':
    "being anyone: the program's ids mean nothing outside, and no rights can be had in the warden's namespaces",
  landlock: 'files again, by path; where its ABI has them signals and abstract sockets, and in tier "confined" TCP',
  seccomp:
    'system calls that an ordinary program does not need, by an allow list; other kinds of sockets; 32-bit calls',
  capabilities: 'holding a right, be it in a user namespace only, by which more of the kernel could be reached',
  rlimits: 'one process taking too much memory, CPU time, files, or file size, and too many processes',
  'proc masks': "the machine's own parts of /proc",
} as const satisfies Readonly<Record<string, string>>;

export type Layer = keyof typeof LAYERS;

/** What each tier has of them; `user namespace` as root is also an id of the run's own. */
export const TIER_LAYERS: Readonly<Record<Tier, readonly Layer[]>> = {
  strict: Object.keys(LAYERS) as Layer[],
  confined: ['landlock', 'seccomp', 'capabilities', 'rlimits'],
  none: ['rlimits'],
};

/** With these a sandbox ends by itself, and leaves nothing to clear away (_SELF_ENDING in sandbox/zygote.py). */
export const SELF_ENDING: readonly Layer[] = ['pid namespace', 'file tree'];

/**
 * Whether there can be sessions: the states of one are stopped and killed in one step, and its files put back, which takes processes and a file system
 * of its own.
 */
export function hasSessions(tier: Tier, without: readonly Layer[]): boolean {
  return SELF_ENDING.every((layer) => TIER_LAYERS[tier].includes(layer) && !without.includes(layer));
}

export function isLayer(name: string): name is Layer {
  return Object.hasOwn(LAYERS, name);
}
