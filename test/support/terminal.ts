/** A command on a terminal of its own: what a person would see of it, byte for byte. */

import { spawn } from 'node:child_process';
import { PYTHON } from './sandbox.js';

/** Runs its arguments on a new pseudo-terminal and copies what they print there. */
const ON_TERMINAL = `
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0: os.execv(sys.argv[1], sys.argv[1:])
while True:
    try: piece = os.read(terminal, 65536)
    except OSError: break
    if not piece: break
    os.write(1, piece)
os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 255)`;

/** @returns both streams, as the terminal got them (it ends lines with CR LF), and the exit status */
export function onTerminal(argv: readonly string[], cwd: string): Promise<{ shown: string; status: number | null }> {
  const child = spawn(PYTHON, ['-I', '-c', ON_TERMINAL, ...argv], { cwd, stdio: ['ignore', 'pipe', 'inherit'] });
  const pieces: Buffer[] = [];
  child.stdout.on('data', (piece: Buffer) => pieces.push(piece));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => {
      resolve({ shown: Buffer.concat(pieces).toString(), status });
    });
  });
}
