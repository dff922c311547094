/** `cordon audit verify`: whether the log is as it was written, and if not, which line. */
import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { auditPath } from '../../audit.js';
import { headPath, openHead } from '../../audit/head.js';
import { snapshot, verify, type Verdict } from '../../audit/verify.js';
import { UsageError } from '../../command.js';
import { StateError } from '../../state/database.js';
import { print, printJson } from '../policy/print.js';
import { safeLine } from '../../terminal.js';

export async function main(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: { audit: { type: 'string' }, hash: { type: 'string' }, json: { type: 'boolean', default: false } },
    strict: true,
  });
  const { hash } = values;
  if (hash !== undefined && !/^[0-9a-f]{64}$/.test(hash)) {
    throw new UsageError(`--hash: expected 64 hexadecimal digits, got ${JSON.stringify(hash.slice(0, 80))}`);
  }
  const path = auditPath(values.audit, process.env);
  // Looking must not make what it looks for.
  const head = existsSync(headPath(path)) ? openHead(path) : null;
  let log;
  try {
    log = await snapshot(path, head);
  } catch (error) {
    if (!(error instanceof StateError) && !(error instanceof Error && 'code' in error)) throw error;
    process.stderr.write(`cordon audit: can't read ${safeLine(path)}: ${safeLine(error.message)}\n`);
    return 1;
  }
  try {
    if (log.files.length === 0 && head === null) {
      process.stderr.write(`cordon audit: there is no log ${safeLine(path)}\n`);
      return 1;
    }
    const verdict = verify(log, hash);
    if (values.json) printJson({ ...verdict, intact: verdict.problems.length === 0 });
    else print(report(verdict, path, head !== null));
    return verdict.problems.length === 0 ? 0 : 1;
  } finally {
    log.close();
    await head?.close();
  }
}

function report(verdict: Verdict, path: string, hasHead: boolean): string[] {
  const { problems, torn, lines, files, firstSeq, lastSeq, lastHash } = verdict;
  const size = `${lines} line${lines === 1 ? '' : 's'} in ${files} file${files === 1 ? '' : 's'}`;
  const range = firstSeq === null || lastSeq === null ? '' : `, numbers ${firstSeq} to ${lastSeq}`;
  return [
    ...torn.map(({ where, words }) => `torn      ${where}: ${words}`),
    ...problems.map(({ what, where, words }) => `${what.padEnd(8)}  ${where}: ${words}`),
    ...(hasHead ? [] : [`note      there is no ${headPath(path)}: lines cut off at either end would not be missed`]),
    problems.length === 0
      ? `yes: ${size}${range}, as they were written`
      : `no: ${problems.length} thing${problems.length === 1 ? ' is' : 's are'} not as written (${size}${range})`,
    ...(lastHash === null ? [] : [`last hash: ${lastHash}`]),
  ];
}
