/** `cordon policy convert`: a policy of another dialect, written over into ours on stdout. */
import { parseArgs } from 'node:util';
import { UsageError } from '../../command.js';
import { convertPolicy, type Conversion } from '../../policy/convert.js';
import { print, table } from './print.js';
import { readText } from './read.js';
import { refusing } from './refuse.js';

const dialectWords: Record<Conversion['dialect'], string> = {
  cordon: "this is Cordon's own language already; it is printed as JSON",
  intercept: "read as PolicyLayer Intercept's rules",
  tools: 'read as rules by the tool',
  rules: 'read as a list of rules of which the first match decides',
};

export async function main(argv: readonly string[]): Promise<number> {
  const { positionals } = parseArgs({ args: [...argv], options: {}, allowPositionals: true, strict: true });
  const [file = 'policy.json', ...more] = positionals;
  if (more.length > 0) throw new UsageError(`expected one FILE, got ${positionals.join(' ')}`);
  return refusing('convert', async () => {
    const conversion = await convertPolicy(await readText(file), file === '-' ? 'standard input' : file);
    process.stdout.write(conversion.text);
    print(report(conversion), process.stderr);
    return conversion.exact ? 0 : 1;
  });
}

function report({ dialect, notes, exact }: Conversion): string[] {
  const lines = table(
    notes.map(({ kind, pointer, line, said }) => [
      kind,
      `line ${line}`,
      pointer === '' ? '(the whole file)' : pointer,
      said,
    ]),
  );
  const verdict = exact
    ? 'every decision is kept'
    : '"lost" has no equivalent and is denied instead; "stricter" allows less than it did: decide, and edit the result';
  return [dialectWords[dialect], ...lines, ...(dialect === 'cordon' ? [] : [verdict])];
}
