/** Policies and requests that the tests of src/policy share. */
import { parsePolicy } from '../../../src/policy/load.js';
import type { PolicyRequest } from '../../../src/policy/decide.js';
import type { Policy } from '../../../src/policy/schema.js';

/** The published example, as it stands in the design. */
export const publishedExample = `{ "version": "1", "default": "deny",
  "tools": { "code_execute": { "limits": [
    { "counter": "code_execute_rate", "window": "minute", "max": 10, "scope": "grant" } ] } } }`;

/** A policy with every key of the language in it. */
export const everyKey = {
  $schema: './policy.schema.json',
  version: '1',
  default: 'deny',
  hide: ['internal_tool'],
  all_tools: {
    limits: [{ counter: 'everything', window: 'hour', max: 1000, scope: 'server', charge: 'calls', align: 'sliding' }],
  },
  tools: {
    code_execute: {
      require: [
        {
          conditions: [{ path: 'args.timeout_seconds', op: 'lte', value: 20 }],
          on_deny: 'Ask for less time.',
          shadow: true,
        },
      ],
      deny_if: [
        { conditions: [{ path: 'code.imports', op: 'contains', value: 'socket' }], on_deny: 'No.', shadow: false },
      ],
      require_approval: [
        {
          conditions: [{ path: 'code.bytes', op: 'gt', value: 5000 }],
          message: 'A long program. Run it?',
          timeout_seconds: 60,
          remember: 'same_code',
          on_deny: 'The person said no.',
          shadow: false,
        },
      ],
      limits: [
        {
          counter: 'cpu',
          window: 'day',
          max: 600,
          scope: 'grant',
          charge: 'cpu_seconds',
          align: 'calendar',
          on_deny: 'Enough for today.',
          shadow: false,
        },
      ],
    },
  },
  sandbox: {
    isolation: 'confined',
    python: '/usr/bin/python3',
    preload: ['numpy', 'os.path'],
    warm: 1,
    timeout_seconds: 12.5,
    cpu_seconds: 10,
    memory_mb: 256,
    processes: 32,
    open_files: 128,
    file_size_mb: 16,
    disk_mb: 32,
    disk_inodes: 1024,
    output_mb: 4,
    output_kept_kb: 32,
    code_kb: 100,
    stdin_mb: 1,
    max_running: 2,
    max_waiting: 0,
    sessions: { max: 2, idle_seconds: 60, age_seconds: 600, memory_mb: 256, disk_mb: 64, keep_steps: 4 },
  },
};

/** A valid policy from its parts. */
export function policyOf(parts: Record<string, unknown>): Policy {
  return parsePolicy(JSON.stringify({ version: '1', default: 'deny', ...parts }), 'test').policy;
}

/** A policy with rules for `code_execute` only. */
export function rulesOf(rules: Record<string, unknown>): Policy {
  return policyOf({ tools: { code_execute: rules } });
}

/** A call of `code_execute` on Wednesday, 2026-03-04, 15:30 UTC. */
export function requestOf(args: Record<string, unknown> = {}, changes: Partial<PolicyRequest> = {}): PolicyRequest {
  return {
    tool: 'code_execute',
    args: { code: 'print(1)', ...args },
    grant: { name: 'local' },
    client: { name: 'claude-code', version: '2.0' },
    now: new Date('2026-03-04T15:30:00Z'),
    ...changes,
  };
}
