/**
 * What an attack is, and how it is judged.
 *
 * An attack is the body of a Python function that returns what it got; nothing, or an exception, is a failure. The same text runs twice:
 * in a sandbox, where it has to get nothing, and without one under the same user (the control), where it has to succeed against
 * the canaries; else it would prove nothing. Where the machine can't let it succeed, the control is skipped and says why.
 */

import assert from 'node:assert/strict';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { newNames, ownDirectory, takeAwayPlanted } from '../support/planted.js';
import { runUntil, TIER, unconfined, type RunOptions, type TestSandbox, type Unconfined } from '../support/sandbox.js';
import type { JobOutcome, Tier } from '../../src/sandbox.js';
import { createCanaries, type Canaries } from './canaries.js';

/** Python source as it is: backslashes are Python's. */
export const py = String.raw;

export type Need = 'root' | 'kernel' | 'root and kernel';

export interface Attack {
  readonly name: string;
  /** The body of a function; what it returns is what it got. `C` has the canaries, by name. */
  readonly code: string;
  /** Runs before the body, in the control only: what a sandbox is said not to have. */
  readonly controlPrelude?: string;
  /**
   * What the control needs: `root`; or `kernel`, where the machine may not have what is attacked, and the control is skipped if it
   * gets nothing outside either; or both.
   */
  readonly needs?: Need;
  /** The tiers that promise to stop it; every one that confines, when left out. Without a file tree the names and sizes of files can be seen, say. */
  readonly promisedIn?: readonly Tier[];
  /** The control has to print the secret, not just anything. */
  readonly wants?: 'secret';
  readonly options?: RunOptions;
  /** The body of an earlier run, which leaves something for the attack to find. */
  readonly first?: string;
  /** The body of a run at the same time, which prints UP when it has done what the attack is to find; the control has `first` instead. */
  readonly meanwhile?: string;
  /** `C["file"]` is a file of the host that everybody may change, made for this trial. */
  readonly file?: true;
  /** In the control, the earlier run is one process with the attack, as it would be in an interpreter that is shared. */
  readonly sameProcess?: boolean;
  /** How the attacking program may end inside; it may just fail by default. */
  readonly ends?: readonly JobOutcome['status'][];
  /** It is aimed at the warden, too: where it succeeds the sandbox may be gone, and nobody tell what it got. */
  readonly endsSandbox?: true;
  /** More to check of what became of it inside. */
  readonly check?: (outcome: JobOutcome) => void;
}

/** The whole program of an attack. */
export function programOf(attack: Attack, told: Record<string, unknown>, isControl: boolean): string {
  const body = `${isControl ? (attack.controlPrelude ?? '') : ''}\n${attack.code}`;
  const indented = body
    .split('\n')
    .map((line) => `    ${line}`)
    .join('\n');
  return `
import ctypes, errno, json, os, re, signal, socket, struct, sys, time
C = json.loads(${JSON.stringify(JSON.stringify({ ...told, inside: !isControl }))})
libc = ctypes.CDLL(None, use_errno=True)
def call(result):
    if result == -1: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
SECRET = re.compile(rb"CORDON" + rb"-SECRET-[0-9a-f]{32}")
def attack():
${indented}
try:
    got = attack()
    print("GOT", repr(got)) if got else print("NOTHING")
except BaseException as error:
    print("STOPPED", type(error).__name__, error)
`;
}

/** What an attack got inside: null for nothing, or a sentence. `secret`: what must not come out by any way. */
export function gotThrough(attack: Attack, outcome: JobOutcome, secret: string): string | null {
  const told = /^GOT.*$/m.exec(outcome.stdout.text);
  if (told !== null) return told[0].slice(0, 300);
  const all = JSON.stringify(outcome);
  if (all.includes(secret)) return `the secret came out: ${all}`;
  const ends = attack.ends ?? ['ok'];
  const said = `${outcome.stdout.text}${outcome.stderr.text}`;
  if (!ends.includes(outcome.status)) return `${outcome.status}: ${outcome.reason}\n${said}`;
  // An attack that ran to its end says what stopped it: one that never ran would prove nothing.
  if (outcome.status === 'ok' && !/^(STOPPED|NOTHING)/m.test(outcome.stdout.text)) return `it did not run: ${said}`;
  try {
    attack.check?.(outcome);
  } catch (error) {
    return String(error);
  }
  return null;
}

/** What an attack is told, with names that are this trial's own. */
function toldOf(attack: Attack, canaries: Canaries['told']): Canaries['told'] {
  const told: Canaries['told'] = { ...canaries, ...newNames() };
  if (attack.file !== true) return told;
  const file = join(String(told.writable), `${String(told.planted)}_file`);
  writeFileSync(file, 'xx');
  chmodSync(file, 0o666);
  return { ...told, file };
}

/** Run an attack in a sandbox, after the run that prepares it, where it has one; both under names that no other trial has. */
export async function runAttack(
  attack: Attack,
  canaries: Canaries['told'],
  run: TestSandbox['run'],
): Promise<{ outcome: JobOutcome; ran: string | null }> {
  const told = toldOf(attack, canaries);
  if (attack.meanwhile !== undefined) {
    const abort = new AbortController();
    const other = programOf({ ...attack, code: attack.meanwhile }, told, false);
    const { outcome: others } = await runUntil('UP', run, other, { signal: abort.signal });
    const outcome = await run(programOf(attack, told, false), attack.options);
    abort.abort();
    await others;
    return { outcome, ran: null };
  }
  let failed: string | null = null;
  if (attack.first !== undefined) {
    const first = await run(programOf({ ...attack, code: `${attack.first}\nreturn False` }, told, false));
    if (first.status !== 'ok')
      failed = `the run before it ended as ${first.status}: ${first.reason}${first.stderr.text}`;
  }
  return { outcome: await run(programOf(attack, told, false), attack.options), ran: failed };
}

/** The control: what the attack gets without a sandbox; its last line says so. What it plants is taken away with the rest (planted.ts). */
export async function runControl(attack: Attack, canaries: Canaries['told']): Promise<Unconfined> {
  const told = toldOf(attack, canaries);
  const alone = (code: string) => unconfined(programOf({ ...attack, code }, told, true), { parent: ownDirectory() });
  const { first, code } = attack;
  if (first === undefined) return alone(code);
  if (attack.sameProcess === true) return alone(`${first}\n${code}`);
  const before = await alone(`${first}\nreturn False`);
  const ran = await alone(code);
  return { ...ran, stderr: `before: ${before.stdout}${before.stderr}\n${ran.stderr}` };
}

/** Two tests for each attack: that it gets nothing inside, and that it works outside. */
export function attackTests(goal: string, attacks: readonly Attack[], sandbox: TestSandbox): void {
  let canaries: Canaries | undefined;
  const ready = (): Canaries => {
    assert.ok(canaries !== undefined);
    return canaries;
  };
  before(async () => {
    if (sandbox.missing === false) canaries = await createCanaries();
  });
  after(async () => {
    await canaries?.close();
    await takeAwayPlanted();
  });

  for (const attack of attacks) {
    const promised = attack.promisedIn?.includes(TIER) ?? true;
    const skip = sandbox.missing || (promised ? false : `tier ${TIER} does not promise it`);
    test(`${goal}: ${attack.name} gets nothing`, { skip }, async () => {
      const { secret, told } = ready();
      const { outcome, ran } = await runAttack(attack, told, sandbox.run);
      assert.equal(ran, null);
      assert.equal(gotThrough(attack, outcome, secret), null);
    });

    const needsRoot = attack.needs?.startsWith('root') === true && process.getuid?.() !== 0 ? 'needs root' : false;
    test(
      `${goal}, control: ${attack.name} succeeds without a sandbox`,
      { skip: sandbox.missing || needsRoot },
      async (t) => {
        const { secret, told } = ready();
        const ran = await runControl(attack, told);
        if (attack.needs?.endsWith('kernel') === true && !/^GOT/m.test(ran.stdout)) {
          t.skip(`not to be had on this machine even without a sandbox: ${ran.stdout.trim()}`);
          return;
        }
        assert.match(ran.stdout, /^GOT/m, ran.stdout + ran.stderr);
        if (attack.wants === 'secret') assert.ok(ran.stdout.includes(secret), ran.stdout);
      },
    );
  }
}
