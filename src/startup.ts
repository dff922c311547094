/** What has to be there before the first call: policy, audit log, counters, slots and a way to confine. All or nothing. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createLimits } from './admission/limits.js';
import { createSlots } from './admission/slots.js';
import { createRedisStore } from './admission/redis.js';
import { createDatabaseStore } from './admission/sqlite.js';
import { createMemoryStore, type CounterStore } from './admission/store.js';
import { createApprovals } from './approval/approvals.js';
import { AuditError, auditPath, openAudit } from './audit.js';
import { createReplaceable } from './backends/replaceable.js';
import { BackendUnavailable, selectBackend, type BackendSettings } from './backends/select.js';
import type { Rooms } from './call.js';
import { createFileStore } from './files/store.js';
import { checkMounts, MountRefused } from './mounts.js';
import { shippedPolicyPath } from './package.js';
import { loadPolicy, locatePolicy, PolicyError, type LoadedPolicy, type PolicyOrigin } from './policy/load.js';
import type { SandboxSettings } from './policy/schema.js';
import { watchPolicy } from './policy/watch.js';
import type { Backend } from './sandbox.js';
import { createSessions, type SessionCaps } from './sessions/sessions.js';
import { chooseState, StateChoiceError, stateDirectory, type StateChoice } from './state/choice.js';
import { MEMORY, openDatabase, type Database } from './state/database.js';
import { openRedis } from './state/redis.js';
import { safeLines } from './terminal.js';

/** A policy with errors, or a wrong word on the command line; everything else that stops the start is 1. */
const WRONG_STATUS = 2;

/** What the owner said on the command line. */
export interface StartOptions {
  /** `--policy` */
  readonly policy?: string | undefined;
  /** `--audit` */
  readonly audit?: string | undefined;
  /** `--state` */
  readonly state?: string | undefined;
  /** Called once the machine is being probed, which leaves this process idle for a moment. */
  readonly onProbing?: () => unknown;
  /** Sandboxes to keep ready; the policy's number when left out. */
  readonly warm?: number;
}

export interface Started {
  readonly rooms: Rooms;
  readonly backend: Backend;
  readonly loaded: LoadedPolicy;
  /** Why it is this policy, in words. */
  readonly origin: string;
  /** Where counters and approvals are kept, in words. */
  readonly state: string;
  /** End what runs and let go of everything. Only where no call is under way any more. */
  close(): Promise<void>;
}

/** The start was refused, for a reason that the owner can do something about: a message, not a stack. */
export class StartRefused extends Error {
  override readonly name = 'StartRefused';
  constructor(
    message: string,
    readonly status: number,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

const ORIGIN_WORDS: Readonly<Record<PolicyOrigin, string>> = {
  '--policy': 'named by --policy',
  CORDON_POLICY: 'named by $CORDON_POLICY',
  './policy.json': 'found in the working directory',
  shipped: 'the one that comes with cordon',
};

/** Find and read the policy. @throws StartRefused */
export async function readPolicy(flag: string | undefined): Promise<{ loaded: LoadedPolicy; origin: string }> {
  try {
    const where = { flag, env: process.env, cwd: process.cwd(), shipped: shippedPolicyPath };
    const { path, origin } = locatePolicy(where);
    return { loaded: await loadPolicy(path), origin: ORIGIN_WORDS[origin] };
  } catch (error) {
    if (error instanceof PolicyError) throw new StartRefused(error.message, WRONG_STATUS, { cause: error });
    throw error;
  }
}

/** Open everything. @throws StartRefused */
export async function start(options: StartOptions): Promise<Started> {
  const { loaded, origin } = await readPolicy(options.policy);
  try {
    const choice = chooseState(options.state, process.env);
    const checkOpened = ({ policy, source }: LoadedPolicy): void => {
      const kept = choice.kind === 'file' ? [choice.path] : [];
      const log = options.audit === 'off' ? [] : [auditPath(options.audit, process.env)];
      checkMounts(policy.sandbox.mounts, { secret: [stateDirectory(process.env), ...kept, ...log], fixed: [source] });
    };
    checkOpened(loaded);
    let settings = backendSettings(loaded.policy.sandbox, options.warm);
    let onProbing = (): void => undefined;
    const probing = new Promise<void>((resolve) => {
      onProbing = () => {
        options.onProbing?.();
        resolve();
      };
    });
    const selecting = selectBackend(settings, onProbing);
    // The probe first: what is loaded below takes this process's time, not that of the probe's.
    await Promise.race([probing, selecting.catch(() => undefined)]);
    const audit = await openAudit(options.audit, process.env);
    const backend = createReplaceable(await selecting);
    const slots = createSlots(loaded.policy.sandbox);
    const sessions = createSessions(sessionCaps(loaded.policy.sandbox));

    const database = openDatabase(databasePath(choice));
    const counters = openCounters(choice, database);
    const shown = choice.kind === 'redis' ? choice.shown : choice.kind === 'file' ? choice.path : 'memory';
    const onStore = (failure: Error | null): void => {
      const what =
        failure === null ? `the state ${shown} is in use again` : `${failure.message} Limited calls are denied.`;
      process.stderr.write(`cordon: ${safeLines(what)}\n`);
    };

    let held = loaded;
    const policy = watchPolicy(loaded, {
      async adopt(next) {
        checkOpened(next);
        const wanted = backendSettings(next.policy.sandbox, options.warm);
        if (JSON.stringify(wanted) !== JSON.stringify(settings)) {
          backend.replace(await selectBackend(wanted));
          // What confines them, or the interpreter, is not what the policy says any more.
          sessions.endAll('the policy was edited, and sandboxes are made another way now');
        }
        settings = wanted;
        slots.resize(next.policy.sandbox);
        sessions.resize(sessionCaps(next.policy.sandbox));
        held = next;
        process.stderr.write(`cordon: the policy ${next.source} was edited, and holds from now on (${next.hash})\n`);
      },
      onRefused(error) {
        const source = held.source;
        process.stderr.write(
          `cordon: an edit of the policy is refused, the one before it stays: ${safeLines(error.message)}\n`,
        );
        void audit.note({ kind: 'policy_refused', source, policyHash: held.hash, problems: problemsOf(error) });
      },
    });
    const files = createFileStore();
    const rooms: Rooms = {
      policy: () => policy.current(),
      backend: () => backend,
      limits: createLimits(counters.store, Date.now, { onStore }),
      slots,
      sessions,
      approvals: createApprovals(database),
      files,
      audit,
    };
    async function close(): Promise<void> {
      sessions.close();
      await backend.close();
      await Promise.all([database.close(), counters.close(), audit.close(), files.close()]);
    }
    return { rooms, backend, loaded, origin, state: shown, close };
  } catch (error) {
    if (error instanceof AuditError || error instanceof BackendUnavailable || error instanceof MountRefused) {
      throw new StartRefused(error.message, 1, { cause: error });
    }
    if (error instanceof StateChoiceError) throw new StartRefused(error.message, WRONG_STATUS, { cause: error });
    throw error;
  }
}

function backendSettings(sandbox: SandboxSettings, warm: number | undefined): BackendSettings {
  const { isolation, python, preload, diskMb, diskInodes, mounts } = sandbox;
  return { minimum: isolation, python, preload, warm: warm ?? sandbox.warm, diskMb, diskInodes, mounts };
}

function sessionCaps({ sessions, maxWaiting }: SandboxSettings): SessionCaps {
  return { ...sessions, maxWaiting };
}

function openCounters(choice: StateChoice, database: Database): { store: CounterStore; close(): Promise<void> } {
  switch (choice.kind) {
    case 'file':
      return { store: createDatabaseStore(database), close: () => Promise.resolve() };
    case 'memory':
      return { store: createMemoryStore(), close: () => Promise.resolve() };
    case 'redis': {
      const redis = openRedis(choice.url, choice.shown);
      return { store: createRedisStore(redis), close: () => redis.close() };
    }
  }
}

/** Questions for people wait in a file of this machine, also where the counters live in Redis. */
/**
 * The counters that this user's servers share, to look at; null where they have counted nothing yet, or only in their own memory.
 * @param flag `--state`
 * @throws StateChoiceError
 */
export function lookAtCounters(flag: string | undefined): { store: CounterStore; close(): Promise<void> } | null {
  const choice = chooseState(flag, process.env);
  const path = databasePath(choice);
  if (choice.kind === 'memory' || (choice.kind === 'file' && !existsSync(path))) return null;
  const database = openDatabase(path);
  const counters = openCounters(choice, database);
  return {
    store: counters.store,
    async close() {
      await counters.close();
      await database.close();
    },
  };
}

function databasePath(choice: StateChoice): string {
  if (choice.kind === 'memory') return MEMORY;
  return choice.kind === 'file' ? choice.path : join(stateDirectory(process.env), 'state.db');
}

/** What is wrong with an edit, a sentence each. */
function problemsOf(error: Error): string[] {
  if (!(error instanceof PolicyError)) return [error.message];
  return error.problems.map(({ pointer, line, expected, got }) => {
    const where = `${pointer === '' ? 'the whole file' : pointer}${line === null ? '' : ` (line ${line})`}`;
    return `${where}: expected ${expected}, got ${got}`;
  });
}
