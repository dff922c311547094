/** Goal: by way of a directory that the policy opens, to reach what it does not open, or to leave something there that acts outside. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { openSandbox, PYTHON, TIER } from '../../support/sandbox.js';
import { strictOnly } from '../../support/tier.js';
import { attackTests, py, type Attack } from '../attack.js';

const base = realpathSync(mkdtempSync(join(tmpdir(), 'mounts-')));
chmodSync(base, 0o755);
const [outside, readable, writable] = ['outside', 'readable', 'writable'].map((name) => join(base, name)) as [
  string,
  string,
  string,
];
for (const directory of [outside, readable, writable]) mkdirSync(directory);
writeFileSync(join(outside, 'secret.txt'), 'what nobody opened');
writeFileSync(join(readable, 'plain.txt'), 'what the policy opened');
symlinkSync(join(outside, 'secret.txt'), join(readable, 'absolute'));
symlinkSync('../outside/secret.txt', join(readable, 'relative'));
symlinkSync('..', join(readable, 'up'));
symlinkSync('/', join(readable, 'root'));
writeFileSync(join(writable, 'mine.txt'), 'x'.repeat(100));
/** Nobody's: as root the directory has to belong to somebody else. */
const OWNER = 54_321;
if (process.getuid?.() === 0) for (const path of [writable, join(writable, 'mine.txt')]) chownSync(path, OWNER, OWNER);

/** A service of the host that listens on sockets and a pipe in the directory. */
const SERVICE = `
import os, socket, sys
os.umask(0)
os.chdir(sys.argv[1])
stream = socket.socket(socket.AF_UNIX); stream.bind("stream.sock"); stream.listen()
datagram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); datagram.bind("datagram.sock")
os.mkfifo("pipe")
pipe = os.open("pipe", os.O_RDWR)
print("up", flush=True)
while True:
    c, _ = stream.accept(); c.sendall(b"the service answers"); c.close()`;
const service = spawn(PYTHON, ['-I', '-c', SERVICE, readable], { stdio: ['ignore', 'pipe', 'inherit'] });
await once(service.stdout, 'data');
after(async () => {
  const gone = once(service, 'exit');
  service.kill('SIGKILL');
  await gone;
  rmSync(base, { recursive: true, force: true });
});

/** Where the directories are: at their own paths in the control, where the policy puts them inside. */
const PLACES = py`
R = "/mnt/readable" if C["inside"] else ${JSON.stringify(readable)}
W = "/mnt/writable" if C["inside"] else ${JSON.stringify(writable)}
assert os.path.isdir(R) and os.path.isdir(W)
`;

const attack = (name: string, code: string, more: Partial<Attack> = {}): Attack => ({
  name,
  code: `${PLACES}${code}`,
  ...more,
});

const ATTACKS: readonly Attack[] = [
  attack('an absolute link in it', py`return open(R + "/absolute").read()`),
  attack('a relative link in it', py`return open(R + "/relative").read()`),
  attack('a link to the directory above', py`return open(R + "/up/outside/secret.txt").read()`),
  attack('a link to the root', py`return open(R + "/root" + ${JSON.stringify(join(outside, 'secret.txt'))}).read()`),
  attack('.. in a path', py`return open(R + "/../outside/secret.txt").read()`),
  attack(
    '.. from a descriptor of it',
    py`
fd = os.open(R, os.O_PATH)
above = os.open("..", os.O_PATH, dir_fd=fd)
return open(os.open("outside/secret.txt", os.O_RDONLY, dir_fd=above)).read()`,
  ),
  attack(
    '.. from inside it, after changing into it',
    py`
os.chdir(R)
return open("../outside/secret.txt").read()`,
  ),
  attack('its own path on the host', py`return os.listdir(${JSON.stringify(readable)})`),
  attack(
    'a Unix socket in it',
    py`
s = socket.socket(socket.AF_UNIX)
s.connect(R + "/stream.sock")
return s.recv(99)`,
  ),
  attack(
    'a datagram socket in it',
    py`
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
return s.sendto(b"x", R + "/datagram.sock")`,
  ),
  attack(
    'a datagram socket in it, from one of a pair',
    py`
s, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
return s.sendto(b"x", R + "/datagram.sock")`,
  ),
  attack(
    'a stream socket in it, from one of a pair',
    py`
s, _ = socket.socketpair()
if not C["inside"]: s = socket.socket(socket.AF_UNIX)
s.connect(R + "/stream.sock")
return s.recv(99)`,
  ),
  attack(
    'a pipe in the one that is read only',
    py`return os.write(os.open(R + "/pipe", os.O_WRONLY | os.O_NONBLOCK), b"x")`,
  ),
  attack('writing to a file where it is read only', py`return os.open(R + "/plain.txt", os.O_WRONLY) > 0`),
  attack('making a file where it is read only', py`return os.open(R + "/made", os.O_WRONLY | os.O_CREAT) > 0`),
  attack(
    'renaming where it is read only',
    py`
os.rename(R + "/plain.txt", R + "/renamed")
os.rename(R + "/renamed", R + "/plain.txt")
return True`,
  ),
  attack(
    'changing modes where it is read only',
    py`
os.chmod(R + "/plain.txt", 0o644)
return True`,
  ),
  attack(
    'changing times where it is read only',
    py`
os.utime(R + "/plain.txt", (1, 1))
return True`,
  ),
  attack(
    'a symbolic link left for somebody outside',
    py`
os.symlink("/etc/passwd", W + "/" + str(C["inside"]))
return True`,
  ),
  attack(
    'a named pipe left for somebody outside',
    py`
os.mkfifo(W + "/pipe" + str(C["inside"]))
return True`,
  ),
  attack(
    'a socket left for somebody outside',
    py`
s = socket.socket(socket.AF_UNIX)
s.bind(W + "/sock" + str(C["inside"]))
return True`,
  ),
  attack(
    'a device left for somebody outside',
    py`
os.mknod(W + "/device" + str(C["inside"]), 0o20666, os.makedev(1, 3))
return True`,
    { needs: 'root' },
  ),
  ...[
    ['chmod', py`os.chmod(path, 0o4755)`],
    ['fchmod', py`os.fchmod(os.open(path, os.O_RDONLY), 0o4755)`],
    ['fchmodat', py`call(libc.syscall(268 if os.uname().machine == "x86_64" else 53, -100, path.encode(), 0o4755))`],
    ['a set-group-id mode', py`os.chmod(path, 0o2755)`],
  ].map(([how = '', call = '']) =>
    attack(
      `a program that runs as its owner, by ${how}`,
      py`
path = W + "/tool" + str(C["inside"])
open(path, "w").write("#!/bin/sh")
${call}
return os.stat(path).st_mode & 0o6000`,
    ),
  ),
  attack(
    'a program that runs as its owner, from the moment it is made',
    py`
path = W + "/born" + str(C["inside"])
fd = os.open(path, os.O_CREAT | os.O_WRONLY, 0o4755)
os.write(fd, b"#!/bin/sh")
return os.stat(path).st_mode & 0o6000`,
    { needs: 'root' },
  ),
  attack(
    'a hard link to a file of another file system',
    py`
os.link("/usr/bin/env" if C["inside"] else R + "/plain.txt", W + "/hard" + str(C["inside"]))
return True`,
  ),
  attack(
    'writing more to one file than a file may have',
    py`
with open(W + "/large" + str(C["inside"]), "wb") as file:
    for _ in range(20): file.write(bytes(1 << 20))
return os.path.getsize(file.name) > 16 << 20`,
    { ends: ['ok', 'killed'] },
  ),
];

const mounts = [
  { host: readable, inside: '/mnt/readable', mode: 'ro' },
  { host: writable, inside: '/mnt/writable', mode: 'rw' },
] as const;
const sandbox = strictOnly(await openSandbox(TIER === 'strict' ? { mounts } : {}), 'a policy with mounts is refused');
attackTests('mounts', ATTACKS, sandbox);
