/** What is said of a run once it has ended: the last value, the files it left, how it ended and what it cost. */
import { saveFiles, type Saved } from '../../files/save.js';
import type { FileStore } from '../../files/store.js';
import { happened, usageLine } from '../../mcp/text.js';
import type { Outcome } from '../../outcome.js';
import type { Screen } from './screen.js';

/** Files that are named one by one where they were not saved. */
const NAMED_MAX = 10;

/** Put the files of an outcome into a directory. */
export async function save(store: FileStore, grant: string, outcome: Outcome, directory: string): Promise<Saved[]> {
  return outcome.files.length === 0 ? [] : saveFiles(store, grant, outcome.files, directory);
}

/**
 * Say it all. The value goes to stderr like all that is ours: stdout is the program's alone, byte for byte, so that it can be piped on.
 * @param saved null where nobody asked for the files
 */
export function report(screen: Screen, outcome: Outcome, saved: readonly Saved[] | null): void {
  const { result, status, policy, files } = outcome;
  if (result !== null) {
    if (result.includes('\n')) screen.say('value of the last expression:', result);
    else screen.say(`value of the last expression: ${result}`);
  }
  for (const { file, path, problem } of saved ?? []) {
    if (path === null) screen.say(`not saved: ${file.name}: ${problem ?? 'unknown'}`);
    else screen.say(`file: ${path} (${file.mimeType}, ${file.bytes} bytes)`);
  }
  if (saved === null && files.length > 0)
    screen.say(`${left(outcome)}; --out DIR saves ${files.length === 1 ? 'it' : 'them'}`);
  for (const line of leftOut(outcome)) screen.say(line);
  if (status !== 'ok') {
    const rule = policy === null || policy.rule === '' ? '' : ` (${policy.code}, ${policy.rule})`;
    screen.say(`${happened(outcome)}${rule}`);
  }
  screen.say(usageLine(outcome));
}

function left({ files }: Outcome): string {
  const named = files.slice(0, NAMED_MAX).map(({ name, bytes }) => `${name} (${bytes} bytes)`);
  const more = files.length > named.length ? ` and ${files.length - named.length} more` : '';
  return `the program left ${files.length === 1 ? 'a file' : `${files.length} files`}: ${named.join(', ')}${more}`;
}

function leftOut({ filesLeftOut: { count, examples } }: Outcome): string[] {
  if (count === 0) return [];
  const some = examples.slice(0, NAMED_MAX).map(({ name, why }) => `${name}: ${why}`);
  return [`${count === 1 ? 'one file' : `${count} files`} did not come out: ${some.join('; ')}`];
}
