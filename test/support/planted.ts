/**
 * Names for what attacks leave on this machine, and their end.
 *
 * With a layer off, and in every control, an attack leaves what it plants on the machine itself. Each trial plants under names of its own, so that
 * none finds what another left; and what a process of ours named is taken away when that process ends, however it ends: by an undertaker, a
 * process in a session of its own that waits for the end of its standard input, which the kernel closes for us. Should that one be killed as well,
 * the next undertaker finds the names, which tell whose they are (process id and start time), and takes them away, as it does with all of dead runs.
 */

import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PYTHON } from './sandbox.js';

/** What one trial may plant under. */
export interface Names {
  /** Of files, shared memory, semaphores, queues, keys, modules: nobody else has it. Letters, digits, `_`. */
  readonly planted: string;
  /** Of processes (prctl(2), PR_SET_NAME: 15 bytes). */
  readonly comm: string;
  /** Of System V objects. */
  readonly key: number;
  /** Of listeners, in the order in which to try them; below those that the kernel gives out by itself. */
  readonly ports: readonly number[];
  /** Which files of a library are meant: a number to choose by. */
  readonly choice: number;
}

/** The upper byte of every key of ours; the undertaker knows them by it. */
const KEYS = 0x43 << 24;
const FIRST_PORT = 20_000;
const PORTS = 12_000;
/** Field 22 of /proc/PID/stat, counted from behind the name (proc(5)): together with the number it names a process for good. */
const START_TIME = 19;

const startTime = (): string => {
  const stat = readFileSync('/proc/self/stat', 'latin1');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[START_TIME] ?? '0';
};

const COMM = `cp${process.pid.toString(36)}-`;

interface Owner {
  readonly name: string;
  readonly directory: string;
  /** How many names were given. */
  given: number;
  readonly tell: (key: number) => void;
  readonly close: () => Promise<void>;
}

let owner: Owner | null = null;
let owners = 0;

/** This process's own temporary directory, which goes with it. Everybody may pass through. */
export function ownDirectory(): string {
  return (owner ??= begin()).directory;
}

/** Names that nothing else has, here and in every other run. */
export function newNames(): Names {
  owner ??= begin();
  owner.given += 1;
  const choice = randomInt(2 ** 31);
  const key = KEYS | randomInt(1 << 24);
  owner.tell(key);
  return {
    planted: `cordon_planted_${owner.name}_${owner.given}`,
    comm: `${COMM}${owner.given.toString(36)}`,
    key,
    ports: Array.from({ length: 20 }, (_, n) => FIRST_PORT + ((choice + n * 997) % PORTS)),
    choice,
  };
}

/** Take away all that this process named, and wait until it is gone. What comes later begins anew. */
export async function takeAwayPlanted(): Promise<void> {
  const was = owner;
  owner = null;
  await was?.close();
}

function begin(): Owner {
  owners += 1;
  const name = `${process.pid}_${startTime()}_${owners}`;
  const directory = join(tmpdir(), `attack-${name}`);
  mkdirSync(directory);
  chmodSync(directory, 0o755);
  const undertaker = spawn(PYTHON, ['-I', '-c', UNDERTAKER, name, directory, COMM], {
    detached: true,
    cwd: '/',
    stdio: ['pipe', 'ignore', 'inherit'],
  });
  const gone = once(undertaker, 'exit');
  // It waits for us, and not we for it.
  undertaker.unref();
  (undertaker.stdin as unknown as { unref(): void }).unref();
  return {
    name,
    directory,
    given: 0,
    tell: (key) => void undertaker.stdin.write(`${key}\n`),
    async close() {
      undertaker.ref();
      undertaker.stdin.end('orderly\n');
      await gone;
    },
  };
}

const UNDERTAKER = String.raw`
import ctypes, os, re, shutil, signal, stat, sys, time

for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
owner, directory, prefix = sys.argv[1:]
libc = ctypes.CDLL(None)
PLANTED = re.compile(r"cordon_planted_((\d+)_(\d+)_\d+)_\d+")
DIRECTORY = re.compile(r"attack-((\d+)_(\d+)_\d+)$")
PLACES = {"/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "/work", "/code", os.path.expanduser("~"), os.path.dirname(directory)}
HOUR = 3600

def is_alive(match):
    try: return open(f"/proc/{match[2]}/stat").read().rsplit(")", 1)[1].split()[19] == match[3]
    except OSError: return False

def names():
    for place in PLACES:
        try: found = os.listdir(place)
        except OSError: continue
        yield from ((place, name) for name in found)

def remove(path):
    try:
        if stat.S_ISDIR(os.lstat(path).st_mode): shutil.rmtree(path)
        else: os.unlink(path)
    except OSError: pass

def take_away(is_gone, keys_too):
    for place, name in names():
        match = PLANTED.search(name) or DIRECTORY.match(name)
        if match and is_gone(match): remove(os.path.join(place, name))
    # Of the kernel's own objects only the name or the age tells.
    try: keys = open("/proc/keys").read()
    except OSError: keys = ""
    machine = os.uname().machine
    for line in keys.splitlines():
        match = PLANTED.search(line)
        if match and is_gone(match): libc.syscall({"x86_64": 250}.get(machine, 219), 9, int(line.split()[0], 16), -4)
    for kind, remove_by_id in (("shm", lambda n: libc.shmctl(n, 0, None)), ("msg", lambda n: libc.msgctl(n, 0, None)), ("sem", lambda n: libc.semctl(n, 0, 0))):
        try: lines = open(f"/proc/sysvipc/{kind}").read().splitlines()
        except OSError: continue
        heads = lines[0].split()
        for line in lines[1:]:
            entry = dict(zip(heads, line.split()))
            key = int(entry["key"]) & 0xffffffff
            if key >> 24 == 0x43 and int(entry["perms"], 8) & 0o777 == 0o666 and (key in keys_too or int(entry["ctime"]) < time.time() - HOUR):
                remove_by_id(int(line.split()[1]))

def end_processes(prefix):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if open(f"/proc/{pid}/comm").read().startswith(prefix): os.kill(int(pid), 9)
        except OSError: pass

take_away(lambda match: not is_alive(match), ())
keys, said = set(), b""
for said in sys.stdin.buffer:
    if said.strip().isdigit(): keys.add(int(said))
if said != b"orderly\n": time.sleep(0.5)  # what it had running ends now, too
end_processes(prefix)
take_away(lambda match: match[1] == owner, keys)
queues = ctypes.CDLL("librt.so.1")
for number in range(1, len(keys) + 1): queues.mq_unlink(f"/cordon_planted_{owner}_{number}".encode())
`;
