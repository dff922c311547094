/**
 * What a single layer stops, and why the kernel has no second one for it. Whatever the matrix finds beyond this list is a fault.
 * SECURITY.md has the same list in words.
 */

import type { Layer } from '../../src/backends/layers.js';
import type { Tier } from '../../src/sandbox.js';

interface OneLayer {
  readonly goal: string;
  /** Of the attack's name. */
  readonly attack: RegExp;
  readonly layer: Layer;
  /** Only in this tier, where another one has a second layer. */
  readonly tier?: Tier;
  /** Only for this user, where the other one has a second layer. */
  readonly user?: 'root' | 'ordinary';
  readonly why: string;
}

const PROC =
  /command line|identity|settings|interrupts|keys|list of processes|by its number|session|last process|how many processes/;

const ONE_LAYER: readonly OneLayer[] = [
  {
    goal: 'kernel',
    attack: /./,
    layer: 'seccomp',
    why: 'a system call that asks for no right is refused by the filter or by nobody; those that ask for one have the missing capability as their second layer',
  },
  {
    goal: 'network',
    attack: /socket of|MPTCP|UDP-Lite|SCTP|TLS|odd type|ping|BPF|all but three/,
    layer: 'seccomp',
    why: 'it can be made in any network namespace, and reaches nothing from this one; that it can be made at all, only the filter stops',
  },
  {
    goal: 'network',
    attack: /TCP|UDP|ports|multicast|names by DNS|interfaces|abstract/,
    layer: 'network namespace',
    tier: 'strict',
    why: 'programs have TCP and UDP for a loopback of their own, so the filter lets them be made; landlock knows TCP by port only, abstract sockets from ABI 6 on, and UDP not at all',
  },
  {
    goal: 'network',
    attack: /Unix socket/,
    layer: 'file tree',
    tier: 'strict',
    why: 'landlock covers connecting to a Unix socket by its path from ABI 9 on',
  },
  {
    goal: 'files',
    attack: /exists|size and times|access\(2\)|entering|mode|times of a file/,
    layer: 'file tree',
    tier: 'strict',
    why: 'landlock covers opening and changing, not looking at names and metadata (landlock(7))',
  },
  {
    goal: 'files',
    attack: /extended attribute|being told|holding up|mode|times of a file|owner/,
    layer: 'seccomp',
    why: 'landlock does not cover metadata, watches and leases, and a read-only mount not the last two',
  },
  { goal: 'files', attack: /running without a filter/, layer: 'seccomp', why: 'it is the filter that is looked for' },
  {
    goal: 'files',
    attack: /a capability (of any kind|in the bounding set)/,
    layer: 'capabilities',
    why: 'it is the capabilities that are looked for',
  },
  {
    goal: 'files',
    attack: /a capability (of any kind|in the bounding set)/,
    layer: 'user namespace',
    why: 'as root, the bounding set is emptied on the way into the namespace; a set that is full gives no right by itself',
  },
  {
    goal: 'files',
    attack: /parts of the tree/,
    layer: 'landlock',
    tier: 'strict',
    why: 'these are directories of our own tree, and there is nothing in them of anybody else',
  },
  {
    goal: 'secrets',
    attack: PROC,
    layer: 'pid namespace',
    tier: 'strict',
    why: '/proc shows the process namespace that it was mounted for',
  },
  {
    goal: 'processes',
    attack: PROC,
    layer: 'pid namespace',
    tier: 'strict',
    why: '/proc shows the process namespace that it was mounted for',
  },
  {
    goal: 'processes',
    attack: PROC,
    layer: 'file tree',
    tier: 'strict',
    why: 'a /proc of its own can only be mounted in a tree of its own',
  },
  {
    goal: 'secrets',
    attack: /users of|identity|command line|settings|interrupts|keys|devices|mounts|last process/,
    layer: 'file tree',
    tier: 'strict',
    why: 'landlock lets all of /etc, /proc and /dev be read, which are our own in a tree of ours',
  },
  {
    goal: 'secrets',
    attack: PROC,
    layer: 'proc masks',
    tier: 'strict',
    why: 'these parts of /proc are no process’s: only a mount over them hides them',
  },
  {
    goal: 'secrets',
    attack: /name of the machine/,
    layer: 'uts namespace',
    tier: 'strict',
    why: 'uname(2) can not be refused',
  },
  {
    goal: 'secrets',
    attack: /connections|Unix sockets|went through/,
    layer: 'network namespace',
    tier: 'strict',
    why: '/proc/net shows the network namespace of who looks',
  },
  {
    goal: 'secrets',
    attack: /core dumps/,
    layer: 'rlimits',
    why: 'whether a core is written is for the limit alone to say',
  },
  {
    goal: 'persistence',
    attack: /a process|a lock|listener|abstract socket/,
    layer: 'pid namespace',
    tier: 'strict',
    why: 'what a run leaves running ends with process 1 of its namespace, and what it held with it',
  },
  {
    goal: 'persistence',
    attack: /a lock/,
    layer: 'file tree',
    tier: 'strict',
    why: 'flock(2) needs no right on a file, and those of the library are everybody’s',
  },
  {
    goal: 'processes',
    attack: /a (lower priority|processor|scheduler) for another|what another has open/,
    layer: 'pid namespace',
    tier: 'strict',
    user: 'ordinary',
    why: 'an ordinary user has one id, by which the kernel takes a program for the owner of the user’s other processes: it must not see their numbers. As root each run has an id of its own',
  },
  {
    goal: 'processes',
    attack: /a lower limit for another|the limits of another/,
    layer: 'seccomp',
    tier: 'strict',
    user: 'ordinary',
    why: 'an ordinary user has one id, which the warden has as well, and prlimit(2) asks for nothing else: it must be in sight to be process 1, and no other layer guards limits. As root the warden has another id',
  },
  {
    goal: 'processes',
    attack: /own child|sub-reaper|CLONE_PARENT|trace/,
    layer: 'seccomp',
    why: 'it concerns the program’s own children: there is no border for another layer to keep',
  },
  ...(['secrets', 'files', 'persistence', 'processes', 'network'] as const).flatMap((goal): OneLayer[] => [
    {
      goal,
      attack: /./,
      layer: 'landlock',
      tier: 'confined',
      why: 'without namespaces landlock is all there is for files, and so for /proc',
    },
    {
      goal,
      attack: /./,
      layer: 'seccomp',
      tier: 'confined',
      why: 'without namespaces the filter is all there is for sockets, signals, namespaces and what landlock of this ABI does not cover',
    },
  ]),
];

/** Why this layer alone stops an attack in a tier, run by `user` (`root`, or anything else); null where it is not known, and so a fault. */
export function whyOnly(tier: Tier, user: string, layer: Layer, goal: string, attack: string): string | null {
  const kind = user === 'root' ? 'root' : 'ordinary';
  const found = ONE_LAYER.find(
    (one) =>
      one.layer === layer &&
      one.goal === goal &&
      (one.tier ?? tier) === tier &&
      (one.user ?? kind) === kind &&
      one.attack.test(attack),
  );
  return found?.why ?? null;
}
