/**
 * Which modules a Python program imports, as far as its text says so: the top-level names of its import statements. This
 * is lint, not a wall: `__import__`, importlib and exec are not seen, and need not be, because the sandbox is the wall.
 *
 * The parser recovers from what it does not understand, and it does not understand all of Python (a bare `yield`, `1.`).
 * Where it had to recover, import statements are also looked for line by line; that finds too many (one in a docstring)
 * rather than too few.
 */
import { createRequire } from 'node:module';

/** Longest code that is parsed, in UTF-16 units: some 200 ms of work. Longer code has imports that cannot be told. */
const maxCodeLength = 1_048_576;

type Parser = typeof import('@lezer/python').parser;
let loaded: Parser | undefined;

/** Loaded at the first condition that needs it, and synchronously, so that a decision stays a plain function. */
function pythonParser(): Parser {
  loaded ??= (createRequire(import.meta.url)('@lezer/python') as typeof import('@lezer/python')).parser;
  return loaded;
}

/**
 * Top-level names of the modules that `code` imports, each once, sorted; `.` stands for a relative import. Names are
 * brought to NFKC, as Python does. Null where it cannot be told.
 */
export function importsOf(code: string): readonly string[] | null {
  if (code.length > maxCodeLength) return null;
  const names = new Set<string>();
  let recovered = false;
  const cursor = pythonParser().parse(code).cursor();
  do {
    if (cursor.type.isError) recovered = true;
    else if (cursor.name === 'ImportStatement') {
      // Of `from a.b import c` the first name counts; of `import a.b as c, d` the first one and each after a comma.
      let from = false;
      let wanted = true;
      const node = cursor.node;
      for (let child = node.firstChild; child !== null; child = child.nextSibling) {
        if (child.name === 'from') from = true;
        else if (child.name === ',' && !from) wanted = true;
        else if (wanted && child.name === 'VariableName') {
          names.add(code.slice(child.from, child.to).normalize('NFKC'));
          wanted = false;
        } else if (wanted && from && (child.name === '.' || child.name === 'Ellipsis')) {
          names.add('.');
          wanted = false;
        }
      }
    }
  } while (cursor.next());
  if (recovered) for (const name of importsByLine(code)) names.add(name);
  return [...names].sort();
}

function* importsByLine(code: string): Generator<string> {
  for (const statement of code.replaceAll(/\\\r?\n/g, ' ').split(/[\n\r;:]/)) {
    const words = statement.trim();
    if (words.startsWith('from')) {
      const match = /^from\s*(\.|[\p{L}\p{Nl}_][\p{L}\p{M}\p{N}\p{Pc}]*)/u.exec(words);
      if (match?.[1] !== undefined && /\bimport\b/.test(words)) yield match[1].normalize('NFKC');
    } else if (/^import\s/.test(words)) {
      for (const part of words.slice('import'.length).split(',')) {
        const match = /^[\p{L}\p{Nl}_][\p{L}\p{M}\p{N}\p{Pc}]*/u.exec(part.trim());
        if (match !== null) yield match[0].normalize('NFKC');
      }
    }
  }
}
