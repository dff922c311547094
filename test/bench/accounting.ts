/** What the policy costs a call: decision and accounting together, with 50 conditions and 50 limits, in the embedded state on disk. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLimits } from '../../src/admission/limits.js';
import { createDatabaseStore } from '../../src/admission/sqlite.js';
import { decide } from '../../src/policy/decide.js';
import { parsePolicy } from '../../src/policy/load.js';
import { openDatabase } from '../../src/state/database.js';

const RULES = 50;

/** As many conditions on the call, and as many limits, with a budget of measured cost among them. */
function policyText(): string {
  const windows = ['minute', 'hour', 'day'];
  return JSON.stringify({
    version: '1',
    default: 'deny',
    tools: {
      code_execute: {
        deny_if: Array.from({ length: RULES }, (_, index) => ({
          conditions: [{ path: 'args.code', op: index % 2 ? 'regex' : 'contains', value: `forbidden_${index}` }],
        })),
        limits: Array.from({ length: RULES }, (_, index) => ({
          counter: `counter_${index}`,
          window: windows[index % 3],
          max: 1_000_000,
          scope: index % 2 ? 'grant' : 'server',
          charge: index === 0 ? 'cpu_seconds' : 'calls',
        })),
      },
    },
  });
}

/**
 * The median, in milliseconds, of deciding a call, reserving its limits and settling them.
 * @param rounds how many calls are measured, after a tenth of that to warm up
 */
export async function accountingMs(rounds = 500): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), 'cordon-bench-'));
  const database = openDatabase(join(directory, 'state.db'));
  try {
    const limits = createLimits(createDatabaseStore(database));
    const { policy } = parsePolicy(policyText(), 'bench');
    const grant = { name: 'local' };
    const args = { code: 'import statistics\nprint(statistics.mean([1, 2, 3]))\n' };
    const samples: number[] = [];
    for (let round = -rounds / 10; round < rounds; round += 1) {
      const begin = performance.now();
      const now = new Date();
      const request = { tool: 'code_execute', args, grant, client: { name: 'bench', version: '1' }, now };
      const decision = decide(policy, request);
      if (decision.verdict !== 'allow') throw new Error(`the policy of the benchmark says ${decision.verdict}`);
      const atMost = { cpuSeconds: 5, wallSeconds: 5, outputBytes: 1_000_000 };
      const reserved = await limits.reserve(decision.limits, { grant: grant.name }, now, atMost);
      if (!reserved.ok) throw new Error(reserved.denial.message);
      await reserved.reservation.settle({ cpuSeconds: 0.02, wallSeconds: 0.03, outputBytes: 10 });
      if (round >= 0) samples.push(performance.now() - begin);
    }
    return samples.sort((one, other) => one - other)[Math.floor(samples.length / 2)] ?? Number.NaN;
  } finally {
    await database.close();
    rmSync(directory, { recursive: true, force: true });
  }
}
