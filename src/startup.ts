/** What has to be there before the first call: policy, audit log, counters, slots and a way to confine. All or nothing. */
import { createLimits } from './admission/limits.js';
import { createSlots } from './admission/slots.js';
import { createMemoryStore } from './admission/store.js';
import { AuditError, openAudit } from './audit.js';
import { BackendUnavailable, selectBackend } from './backends/select.js';
import type { Rooms } from './call.js';
import { shippedPolicyPath } from './package.js';
import { loadPolicy, locatePolicy, PolicyError, type LoadedPolicy, type PolicyOrigin } from './policy/load.js';
import type { Backend } from './sandbox.js';

/** A policy with errors; everything else that stops the start is 1. */
const POLICY_STATUS = 2;

/** What the owner said on the command line. */
export interface StartOptions {
  /** `--policy` */
  readonly policy?: string | undefined;
  /** `--audit` */
  readonly audit?: string | undefined;
  /** Sandboxes to keep ready; the policy's number when left out. */
  readonly warm?: number;
}

export interface Started {
  readonly rooms: Rooms;
  readonly backend: Backend;
  readonly loaded: LoadedPolicy;
  /** Why it is this policy, in words. */
  readonly origin: string;
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
    if (error instanceof PolicyError) throw new StartRefused(error.message, POLICY_STATUS, { cause: error });
    throw error;
  }
}

/** Open everything. @throws StartRefused */
export async function start(options: StartOptions): Promise<Started> {
  const { loaded, origin } = await readPolicy(options.policy);
  const { sandbox } = loaded.policy;
  try {
    const audit = openAudit(options.audit, process.env);
    const backend = await selectBackend({
      minimum: sandbox.isolation,
      python: sandbox.python,
      preload: sandbox.preload,
      warm: options.warm ?? sandbox.warm,
      diskMb: sandbox.diskMb,
      diskInodes: sandbox.diskInodes,
    });
    const rooms: Rooms = {
      policy: () => loaded,
      backend: () => backend,
      limits: createLimits(createMemoryStore()),
      slots: createSlots({ maxRunning: sandbox.maxRunning, maxWaiting: sandbox.maxWaiting }),
      audit,
    };
    return { rooms, backend, loaded, origin };
  } catch (error) {
    if (error instanceof AuditError || error instanceof BackendUnavailable) {
      throw new StartRefused(error.message, 1, { cause: error });
    }
    throw error;
  }
}
