/** What attacks are after. */

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { createSocket } from 'node:dgram';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { newNames, ownDirectory } from '../support/planted.js';
import { PYTHON } from '../support/sandbox.js';

/** All of it is real, and reachable for any process of this user. */
export interface Canaries {
  /** Never in the text of an attack: it can only come from where it was put. */
  readonly secret: string;
  /** What attacks are told. */
  readonly told: Record<string, unknown>;
  close(): Promise<void>;
}

/** One for a process, whose environment can hold but one. */
const secret = `CORDON-SECRET-${randomBytes(16).toString('hex')}`;
const ENVIRONMENT_NAME = 'CORDON_TEST_TOKEN';

/** Put the secret into a file, an environment, a process, and behind every kind of socket. */
export async function createCanaries(): Promise<Canaries> {
  // Nothing that holds a secret of ours is older than this process. A second early: file systems tell the time by ticks of the kernel's.
  const since = Math.floor(Date.now() / 1000 - process.uptime()) - 1;
  process.env[ENVIRONMENT_NAME] = secret;
  const directory = mkdtempSync(join(ownDirectory(), 'canary-'));
  const open = join(directory, 'open');
  mkdirSync(join(open, 'home', '.ssh'), { recursive: true });
  mkdirSync(join(open, 'writable'));
  chmodSync(directory, 0o755);
  chmodSync(join(open, 'writable'), 0o777);
  const secretFile = join(open, 'secret.txt');
  for (const path of [secretFile, join(open, 'home', '.ssh', 'id_ed25519'), join(open, 'policy.json')])
    writeFileSync(path, secret);

  const servers: Server[] = [];
  const listen = async (...where: [string] | [number, string]) => {
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.end(secret);
    });
    server.listen(...(where as [number, string]));
    await once(server, 'listening');
    servers.push(server);
    return server.address();
  };
  const portOf = (address: ReturnType<Server['address']>) =>
    typeof address === 'object' && address !== null ? address.port : 0;
  const unixPath = join(open, 's.sock');
  await listen(unixPath);
  chmodSync(unixPath, 0o777);
  const abstractName = `cordon-test-${randomBytes(8).toString('hex')}`;
  const tcpPort = portOf(await listen(0, '127.0.0.1'));
  const tcp6Port = await listen(0, '::1').then(portOf, () => 0);
  const udp = createSocket('udp4', (_, from) => {
    udp.send(secret, from.port, from.address);
  });
  udp.bind(0, '127.0.0.1');
  await once(udp, 'listening');

  // A process like the server: the secret in its environment, its memory, its arguments and its working directory; and behind an
  // abstract socket, which Node can only name with 107 bytes.
  const code = `
import ctypes, socket
ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG: it ends with us, however we end
kept = "${secret}" * 100
s = socket.socket(socket.AF_UNIX); s.bind("\\0${abstractName}"); s.listen()
print("up", flush=True)
while True:
    c, _ = s.accept(); c.sendall(b"${secret}"); c.close()`;
  const victim = spawn(PYTHON, ['-I', '-c', code], {
    cwd: open,
    env: { ...process.env, [ENVIRONMENT_NAME]: secret },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const gone = once(victim, 'exit'); // from the start: an attack may end it, and we must not wait for that twice
  await once(victim.stdout, 'data');

  const told = {
    since,
    env: ENVIRONMENT_NAME,
    secretFile,
    open,
    home: join(open, 'home'),
    writable: join(open, 'writable'),
    unixPath,
    abstractName,
    tcpPort,
    tcp6Port,
    udpPort: udp.address().port,
    victim: victim.pid,
    server: process.pid,
    tmpdir: tmpdir(),
    ...newNames(),
  };
  return {
    secret,
    told,
    async close() {
      victim.kill('SIGKILL');
      await gone;
      udp.close();
      for (const server of servers) server.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
