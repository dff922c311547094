/** `cordon audit`: the audit log, read back by people. */
import { runSubcommand, type Subcommands } from '../command.js';

export const help = `cordon audit: read the audit log, count it, and prove that it is as it was written

Usage: cordon audit tail [-n N] [-f] [--json] [filters] [--audit FILE]
       cordon audit stats [--json] [filters] [--audit FILE]
       cordon audit verify [--hash HASH] [--json] [--audit FILE]

tail       the last N lines (20; all: 0) that fit the filters, a call each; -f (--follow) goes on with those to come.
stats      how many calls, how they ended, what they cost: by tool, grant, client, status and refusal.
verify     every line against the hash chain: what was changed, removed, inserted or put elsewhere, and which line it is.
           A torn last line (a full disk, a power cut) is said to be that, and is no error. --hash HASH: this line, whose
           hash was kept elsewhere, must still be there. Status: 0 as it was written, 1 not, 2 wrong command line.

Filters; a call must fit all that are given, and one of several values of the same (--status error --status timeout):
  --status STATUS    ok, error, timeout, memory, output, killed, cancelled, denied, unavailable
  --decision WORD    allow, deny, ask or refused, or the code of a denial (limit_reached)
  --grant NAME  --client NAME  --tool NAME
  --run ID           a run id, or how it begins
  --since TIME       2026-03-04T15:30:00Z, 2026-03-04, or how long ago: 90s, 15m, 2h, 7d
  --until TIME

  --audit FILE       the log (default: $XDG_STATE_HOME/cordon/audit.jsonl); files that were put away are read as well
`;

const subcommands: Subcommands = {
  tail: () => import('./audit/tail.js'),
  stats: () => import('./audit/stats.js'),
  verify: () => import('./audit/verify.js'),
};

export function main(argv: readonly string[]): Promise<number> {
  return runSubcommand(subcommands, argv);
}
