/**
 * `npm run fuzz -- [--seconds N] [--target NAME] [--seed N]`: every target in turn, Node's and the far side's (py-…, test/python/fuzz), for N seconds each (60 by default), guided by coverage: an
 * input that reaches code that none reached before becomes one to begin from. An input that breaks a promise is written to
 * `fuzz-NAME-SHA.bin` in the working directory, and the exit status is 1.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { PYTHON } from '../support/sandbox.js';
import { watchCoverage } from './coverage.js';
import { generator, mutate } from './mutate.js';
import type { FuzzTarget } from './target.js';
import { targets } from './targets.js';

/** Looking at the coverage takes about a millisecond: that many inputs are tried between two looks. */
const BATCH = 32;
/** An input that takes longer than this is a finding, too. */
const SLOW_MS = 2000;

interface Findings {
  readonly cases: number;
  readonly kept: number;
  readonly broken: string | null;
}

async function attempt(target: FuzzTarget, input: Uint8Array): Promise<string | null> {
  const before = process.cpuUsage();
  try {
    await target.run(input);
  } catch (error) {
    return error instanceof Error ? (error.stack ?? String(error)) : String(error);
  }
  const { user, system } = process.cpuUsage(before);
  const tookMs = (user + system) / 1000;
  return tookMs > SLOW_MS ? `it took ${Math.round(tookMs)} ms of CPU time` : null;
}

async function fuzz(target: FuzzTarget, seconds: number, seed: number): Promise<Findings> {
  const random = generator(seed);
  const corpus: Uint8Array[] = target.seeds.map((one) => Buffer.from(one));
  const coverage = await watchCoverage('/dist/src/');
  let cases = 0;
  try {
    for (const one of corpus) await target.run(one);
    await coverage.fresh();
    for (const end = performance.now() + seconds * 1000; performance.now() < end;) {
      const batch = Array.from({ length: BATCH }, () => mutate(random, corpus, target.words, target.maxBytes));
      for (const input of batch) {
        cases += 1;
        const broken = await attempt(target, input);
        if (broken !== null) {
          const path = `fuzz-${target.name}-${createHash('sha256').update(input).digest('hex').slice(0, 12)}.bin`;
          writeFileSync(path, input);
          return { cases, kept: corpus.length, broken: `${path}: ${broken}` };
        }
      }
      if ((await coverage.fresh()) === 0) continue;
      // Which of the batch it was is not told apart: what came to nothing costs a place in the list, no more.
      corpus.push(...batch);
      if (corpus.length > 4000) corpus.splice(target.seeds.length, 1000);
    }
    return { cases, kept: corpus.length, broken: null };
  } finally {
    await coverage.close();
  }
}

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    target: { type: 'string' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
  },
});
const chosen = targets.filter(({ name }) => values.target === undefined || values.target === name);
const isFar = values.target === undefined || values.target.startsWith('py-');
if ((chosen.length === 0 && !isFar) || !(Number(values.seconds) > 0)) {
  console.error(`expected --seconds N and --target one of ${targets.map(({ name }) => name).join(', ')}, or py-…`);
  process.exit(2);
}
console.log(`seed ${values.seed}`);
for (const target of chosen) {
  const { cases, kept, broken } = await fuzz(target, Number(values.seconds), Number(values.seed));
  console.log(
    `${target.name.padEnd(12)}${String(cases).padStart(9)} inputs, ${kept} to begin from${broken === null ? '' : `\n  BROKEN ${broken}`}`,
  );
  if (broken !== null) process.exitCode = 1;
}
if (isFar) {
  /** From dist/test/fuzz. */
  const root = fileURLToPath(new URL('../../..', import.meta.url));
  const args = [
    '--seconds',
    values.seconds,
    '--seed',
    values.seed,
    ...(values.target ? ['--target', values.target] : []),
  ];
  const far = spawnSync(PYTHON, ['-B', '-m', 'fuzz', ...args], {
    stdio: 'inherit',
    env: { ...process.env, PYTHONPATH: `${root}/sandbox:${root}/test/python` },
  });
  if (far.status !== 0) process.exitCode = 1;
}
