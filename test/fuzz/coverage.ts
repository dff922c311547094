/**
 * Which parts of our own code an input reaches, by V8's block coverage (the inspector's Profiler domain, in this very process): an input
 * that reaches something new is worth keeping. Nothing is instrumented, so that what is fuzzed is what ships.
 *
 * (The registry's coverage-guided fuzzer, jazzer.js 4, comes as a binary for glibc 2.38, newer than what Debian 12 has.)
 */

import { Session } from 'node:inspector/promises';

export interface Coverage {
  /** How many blocks were reached for the first time since the last look. */
  fresh(): Promise<number>;
  close(): Promise<void>;
}

/** Watch the scripts whose address contains `part`. */
export async function watchCoverage(part: string): Promise<Coverage> {
  const session = new Session();
  session.connect();
  await session.post('Profiler.enable');
  await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  const seen = new Set<string>();
  return {
    async fresh() {
      const { result } = await session.post('Profiler.takePreciseCoverage');
      const before = seen.size;
      for (const script of result) {
        if (!script.url.includes(part)) continue;
        for (const { functionName, ranges } of script.functions) {
          for (const { startOffset, endOffset, count } of ranges) {
            // How often, by powers of two: a loop that runs longer than ever is new as well.
            if (count === 0) continue;
            const often = Math.min(8, Math.floor(Math.log2(count)));
            seen.add(`${script.scriptId} ${functionName} ${startOffset} ${endOffset} ${often}`);
          }
        }
      }
      return seen.size - before;
    },
    async close() {
      await session.post('Profiler.stopPreciseCoverage');
      session.disconnect();
    },
  };
}
