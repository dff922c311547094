/** What would harm every process of this machine, kept from it by a process namespace, and by nothing else. */

import { ownDirectory } from './planted.js';
import { unconfined } from './sandbox.js';

/** What became of processes beside a program: `killed` when one that it did not start is gone; `missing`, and nothing was run, where no namespace is to be had. */
export async function amongProcesses(code: string): Promise<{ missing: string | null; killed: boolean }> {
  const { stdout, stderr } = await unconfined(NAMESPACE, { stdin: code, parent: ownDirectory() });
  const missing = /^MISSING (.*)$/m.exec(stdout)?.[1] ?? null;
  const found = /^KILLED (True|False)$/m.exec(stdout)?.[1];
  if (missing === null && found === undefined) throw new Error(`it said nothing: ${stdout}${stderr}`);
  return { missing, killed: found === 'True' };
}

/** Process 1 of a new process namespace, which the kernel spares (pid_namespaces(7)), starts a bystander and the program, and looks. */
const NAMESPACE = String.raw`
import ctypes, os, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
code = sys.stdin.read()
uid, gid = os.getuid(), os.getgid()
if libc.unshare(0x10000000 | 0x20000000) != 0: print("MISSING", os.strerror(ctypes.get_errno())); sys.exit()
open("/proc/self/setgroups", "w").write("deny")
open("/proc/self/uid_map", "w").write(f"{uid} {uid} 1"); open("/proc/self/gid_map", "w").write(f"{gid} {gid} 1")
first = os.fork()
if first: os.waitpid(first, 0); sys.exit()
bystander = subprocess.Popen(["sleep", "30"])
subprocess.run([sys.executable, "-I", "-c", code])
try: bystander.wait(10); killed = True  # who was killed may take a moment to die
except subprocess.TimeoutExpired: killed = False
print("KILLED", killed, flush=True)
os._exit(0)
`;
