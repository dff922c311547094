/** Goal: to read what the server, its user, or another run has in an environment, in memory, in a process, or on the machine. */

import { openSandbox, runUntil } from '../../support/sandbox.js';
import { after, before } from 'node:test';
import { randomBytes } from 'node:crypto';
import { attackTests } from '../attack.js';
import { attacks } from '../secrets.js';

const sandbox = await openSandbox({ warm: 1 });

// Other runs hold a secret of the same shape, before and at the same time: an attack that finds any of them is as bad.
const other = `CORDON-SECRET-${randomBytes(16).toString('hex')}`;
const abort = new AbortController();
let running: Promise<unknown> | undefined;
before(async () => {
  if (sandbox.missing !== false) return;
  const code = `kept = ["${other}"] * 1000\nimport os\nos.environ["KEPT"] = kept[0]\nopen(os.environ.get("TMPDIR", "/tmp") + "/kept", "w").write(kept[0])\ntry: open("/dev/shm/kept", "w").write(kept[0])\nexcept OSError: pass\nprint("up")\nimport time`;
  await sandbox.run(code, { stdin: other });
  ({ outcome: running } = await runUntil('up', sandbox.run, `${code}\ntime.sleep(3600)`, {
    stdin: other,
    signal: abort.signal,
    limits: { timeoutSeconds: 300 },
  }));
});
after(async () => {
  abort.abort();
  await running;
});

attackTests('secrets', attacks, sandbox);
