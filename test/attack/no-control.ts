/**
 * What can't have a positive control, and why. Everything else in test/attack has one: a test asserts it (suite/controls.test.ts).
 */

interface NoControl {
  readonly goal: string;
  /** Of the attack's name, whole. */
  readonly names: readonly string[];
  readonly why: string;
}

export const noControls: readonly NoControl[] = [
  {
    goal: 'resources',
    names: ['the buffers of Unix sockets', 'the buffers of TCP connections', 'the buffers of pipes'],
    why: 'unconfined it takes what the machine has; the test is of how much of it is taken',
  },
  {
    goal: 'outcome',
    names: ['memory that ran out, by its own word'],
    why: 'it is no forgery: that memory ran out is the program’s own word by design, and SECURITY.md says so',
  },
  {
    goal: 'python',
    names: [
      'an atexit function that registers another',
      'sys.modules emptied',
      'sys emptied',
      'streams replaced by rubbish',
      'streams whose flush raises',
      'the main module emptied',
      'SystemExit whose code raises when shown',
      'a last expression that exits',
      'a last expression whose repr exits with 5',
      'a finalizer that starts a process',
      'a thread that writes after the end',
      'KeyboardInterrupt in the middle of the end',
    ],
    why: 'an end that is odd and harms nobody: the naive judge gets it right as well, and what is tested is that we do',
  },
];

/** Why an attack has no control; null where it has to have one. */
export function whyNoControl(goal: string, name: string): string | null {
  return noControls.find((one) => one.goal === goal && one.names.includes(name))?.why ?? null;
}
