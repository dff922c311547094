/** `cordon policy`: everything about a policy that can be done without running anything under it. */
import { runSubcommand, type Subcommands } from '../command.js';

export const help = `cordon policy: check, explain, test, convert and simulate policies; nothing is run and nothing is counted

Usage: cordon policy check [FILE] [--json]
       cordon policy explain [--tool NAME] [--code FILE|-] [--arg NAME=VALUE]... [--grant NAME] [--client NAME]
                             [--at TIME] [--call FILE|-] [--policy FILE] [--state FILE] [--json]
       cordon policy test FILE... [--policy FILE] [--json]
       cordon policy convert FILE|-
       cordon policy schema
       cordon policy simulate POLICY --audit FILE [--audit FILE]... [--json]

check      all that is wrong with a policy at once, each with its place, what was expected, what came and what to do.
           Status: 0 valid (warnings are no error), 2 not valid.

explain    what would be decided about a call: by which rule, what every condition compared, every limit and what is left.
             --call FILE|-       the call as JSON: { "tool", "args", "code", "grant", "client", "at" }, each optional
             --tool NAME         the tool (code_execute)
             --code FILE|-       the argument "code", from a file
             --arg NAME=VALUE    another argument; a VALUE that is JSON is taken as that, else as text
             --grant NAME        who calls (local)
             --client NAME       with which client (unknown)
             --at TIME           when, as 2026-03-04T15:30:00Z (now)
           Status: 0 allow, 1 deny, 3 ask a person, 2 wrong policy or command line.

test       cases with the decision they expect, for your own CI. A file is JSON or YAML: a list of cases, or
           { "policy": "FILE", "cases": [...] }. A case: { "name", "call", "expect": "allow"|"deny"|"ask" }, and if you like
           "code" and "rule" (the pointer) of a decision, and "repeat": make the call so often, the last one counts.
           Status: 0 all as expected, 1 some not, 2 wrong file, policy or command line.

convert    a policy of another dialect, YAML or JSON, written over into this one on stdout; what is to be said about it on
           stderr. The result never allows more than the original: what has no equivalent is denied, and said.
           Status: 0 every decision is kept, 1 something has no equivalent, 2 not readable or of no known dialect.

schema     the JSON Schema of a policy, for editors; also in the package: "$schema": "./node_modules/cordon/policy.schema.json"

simulate   what a policy would have decided about the calls in an audit log. Arguments are not logged, so what rests on
           them can't be told, and is said to be so. Name every file of a log that was put away by size. Status: 0 replayed, 1 no readable log, 2 wrong policy or command line.

The policy is --policy FILE, else $CORDON_POLICY, else ./policy.json, else the one that comes with cordon.
`;

const subcommands: Subcommands = {
  check: () => import('./policy/check.js'),
  explain: () => import('./policy/explain.js'),
  test: () => import('./policy/test.js'),
  convert: () => import('./policy/convert.js'),
  schema: () => import('./policy/schema.js'),
  simulate: () => import('./policy/simulate.js'),
};

export function main(argv: readonly string[]): Promise<number> {
  return runSubcommand(subcommands, argv);
}
