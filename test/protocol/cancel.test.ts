/** A call that its client cancels: the program is killed by the arrival of the notice, and what it had printed is not lost. */
import assert from 'node:assert/strict';
import { chownSync, mkdirSync, readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import {
  createPlace,
  OPEN_POLICY,
  startRaw,
  until,
  whyNotStrict,
  type Place,
  type RawServer,
} from '../support/server.js';

const skip = whyNotStrict();
const servers: { server: RawServer; place: Place }[] = [];
after(async () => {
  for (const { server, place } of servers) {
    server.process.stdin.end();
    await server.exited;
    place.remove();
  }
});

/** Writes down the time, on the clock that all processes of a machine share, for as long as it lives, with a helper that does the same. */
const CLOCK = `
import os, time
file = os.open(f"/data/{os.fork() and 'first' or 'second'}", os.O_CREAT | os.O_WRONLY)
print("ticking", flush=True)
while True: os.pwrite(file, str(time.monotonic_ns()).encode(), 0)`;

test('cancel kills the program, tells nobody after it, and is on record with what there was', { skip }, async (t) => {
  const place = createPlace();
  const host = join(realpathSync(place.directory), 'ticks');
  mkdirSync(host);
  // As root the directory has to be somebody else's: no program writes as root.
  if (process.getuid?.() === 0) chownSync(host, 54_322, 54_322);
  place.write({ ...OPEN_POLICY, sandbox: { mounts: [{ host, inside: '/data', mode: 'rw' }] } });
  const server = startRaw(['serve', ...place.flags], place.directory);
  servers.push({ server, place });
  await server.initialize();

  const params = { name: 'code_execute', arguments: { code: CLOCK }, _meta: { progressToken: 'run' } };
  server.send({ id: 'run', method: 'tools/call', params });
  await server.message(() => (server.lines.join('').match(/ticking/g)?.length ?? 0) === 2);
  const sentAt = process.hrtime.bigint();
  server.send({ method: 'notifications/cancelled', params: { requestId: 'run', reason: 'enough' } });
  await until('the call is on record', () => place.audit().length === 1);

  const ticks = () => ['first', 'second'].map((name) => BigInt(readFileSync(join(host, name), 'utf8')));
  const lastTicks = ticks();
  for (const at of lastTicks) t.diagnostic(`dead ${(at - sentAt) / 1_000n} us after the notice was sent`);
  const [line] = place.audit();
  assert.equal(line?.status, 'cancelled');
  assert.ok((line.usage as { outputBytes: number }).outputBytes >= 'ticking\n'.length * 2);
  // The next call is answered, and by then neither clock has moved on.
  server.send({ id: 'next', method: 'tools/call', params: { name: 'code_execute', arguments: { code: 'print(1)' } } });
  await server.message(({ id }) => id === 'next');
  assert.deepEqual(ticks(), lastTicks);
  assert.deepEqual(
    server.lines.map((sent) => JSON.parse(sent) as { id?: string }).filter(({ id }) => id === 'run'),
    [],
  );
});
