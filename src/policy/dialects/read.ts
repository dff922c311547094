/**
 * Reading a policy of another dialect, which may be YAML. JSON goes through the strict reader; YAML through the `yaml`
 * package, whose only home this is, with equal keys, unknown tags and a second document refused, as a reader who takes
 * one of two silently drops a rule.
 */
import { maxTextLength, readJson, type JsonFault } from '../json.js';
import { pointer } from '../pointer.js';

export interface ForeignDocument {
  readonly value: unknown;
  /** The line of the value at a path, counted from 1; of what is around it where there is none. */
  lineAt(path: readonly PropertyKey[]): number;
}

/** Read a text as JSON if it begins as JSON does, and as YAML 1.2 otherwise. */
export async function readForeign(
  text: string,
): Promise<{ document: ForeignDocument } | { faults: readonly JsonFault[] }> {
  const bare = text.startsWith('\uFEFF') ? text.slice(1) : text;
  if (/^\s*[{[]/.test(bare)) {
    const read = readJson(bare);
    if ('faults' in read) return read;
    const json = read.document;
    return { document: { value: json.value, lineAt: (path) => json.lineAt(json.offsetAt(path)) } };
  }
  if (bare.length > maxTextLength) {
    return fault(1, `at most ${maxTextLength} characters`, `${bare.length}`);
  }
  return readYaml(bare);
}

function fault(line: number, expected: string, got: string, hint: string | null = null) {
  return { faults: [{ pointer: pointer([]), expected, got, hint, line }] };
}

/** How often aliases may be followed: enough for any policy a person writes, too little for a bomb. */
const maxAliasCount = 100;

async function readYaml(text: string): Promise<{ document: ForeignDocument } | { faults: readonly JsonFault[] }> {
  const { LineCounter, parseDocument, isNode } = await import('yaml');
  const lines = new LineCounter();
  try {
    // Timestamps are read as such, and not as texts, because they compare as neither; `<<` merges, as it does elsewhere.
    const parsed = parseDocument(text, {
      lineCounter: lines,
      prettyErrors: false,
      merge: true,
      stringKeys: true, // a key that is a list would become a text of the package's own making
      customTags: ['timestamp'],
    });
    const wrong = [...parsed.errors, ...parsed.warnings];
    if (wrong.length > 0) {
      return {
        faults: wrong.map((error) => ({
          pointer: '',
          expected: 'YAML 1.2, every key once, one document',
          got: error.message,
          hint: null,
          line: lines.linePos(error.pos[0]).line,
        })),
      };
    }
    const value: unknown = parsed.toJS({ maxAliasCount });
    // What contains itself is no policy.
    JSON.stringify(value);
    const lineAt = (path: readonly PropertyKey[]): number => {
      for (let length = path.length; length >= 0; length -= 1) {
        const node = length === 0 ? parsed.contents : parsed.getIn(path.slice(0, length), true);
        if (isNode(node) && node.range !== undefined && node.range !== null) return lines.linePos(node.range[0]).line;
      }
      return 1;
    };
    return { document: { value, lineAt } };
  } catch (error) {
    // Aliases that multiply, or nesting deeper than the stack.
    return fault(1, 'YAML that can be read', error instanceof Error ? error.message : String(error));
  }
}
