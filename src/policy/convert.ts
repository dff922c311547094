/**
 * Policies of other dialects, written over into ours. The result never allows a call that the original denies: what has
 * no equivalent is denied instead, and said. Where something could concern every call, the result hides every tool until
 * the owner has decided.
 */
import { readAction } from './dialects/rule.js';
import { convertRuleList } from './dialects/rule-list.js';
import { convertToolMap, isIntercept, type ConvertedTools } from './dialects/tool-map.js';
import { isObject, type Note } from './dialects/note.js';
import { readForeign } from './dialects/read.js';
import { parsePolicy, PolicyError } from './load.js';
import { pointer } from './pointer.js';

interface ConversionNote {
  readonly kind: Note['kind'];
  /** JSON pointer into the original. */
  readonly pointer: string;
  /** Line in the original, counted from 1. */
  readonly line: number;
  readonly said: string;
}

export interface Conversion {
  /** The policy in our language, as a text that loads. */
  readonly text: string;
  /** `cordon`: ours already; `intercept`: PolicyLayer Intercept's; `tools`, `rules`: rules by the tool, or in one list. */
  readonly dialect: 'cordon' | 'intercept' | 'tools' | 'rules';
  /** In the order of the original. */
  readonly notes: readonly ConversionNote[];
  /** Whether every decision is kept: nothing lost, nothing stricter. */
  readonly exact: boolean;
}

/**
 * Write a policy over.
 * @param text JSON or YAML
 * @param source named in errors
 * @throws PolicyError where the text cannot be read, is of no dialect that is known, or does not load when written over
 */
export async function convertPolicy(text: string, source: string): Promise<Conversion> {
  const read = await readForeign(text);
  if ('faults' in read) throw new PolicyError(source, read.faults);
  const { document } = read;
  const { value } = document;
  const dialect = dialectOf(value);
  if (dialect === 'cordon' || !isObject(value)) {
    const same = `${JSON.stringify(value, null, 2)}\n`;
    parsePolicy(same, source);
    return { text: same, dialect: 'cordon', notes: [], exact: true };
  }
  const notes: Note[] = [];
  const written = `${JSON.stringify(writeOver(value, dialect, notes), null, 2)}\n`;
  parsePolicy(written, `${source}, converted`);
  const seen = new Set<string>();
  const said = notes
    .map(({ kind, path, said: words }) => ({ kind, pointer: pointer(path), line: document.lineAt(path), said: words }))
    .filter((note) => {
      const key = JSON.stringify(note);
      return seen.has(key) ? false : seen.add(key);
    })
    .sort((one, other) => one.line - other.line);
  return { text: written, dialect, notes: said, exact: said.every(({ kind }) => kind === 'note') };
}

const listKeys = ['rules', 'policies', 'statements'];
const foreignToolKeys = ['rules', 'action', 'effect', 'rate_limit', 'rateLimit', 'reason', 'conditions', 'state'];

/** Which dialect a policy is written in. What is none of the others is taken for ours, and has to be it. */
function dialectOf(value: unknown): Conversion['dialect'] {
  if (!isObject(value)) return 'cordon';
  if (listKeys.some((key) => Array.isArray(value[key]))) return 'rules';
  const tools = isObject(value.tools) ? Object.entries(value.tools) : [];
  const foreign = tools.some(
    ([name, tool]) =>
      name === '*' ||
      typeof tool === 'string' ||
      Array.isArray(tool) ||
      (isObject(tool) && foreignToolKeys.some((key) => Object.hasOwn(tool, key))),
  );
  if (!foreign) return 'cordon';
  return isIntercept(Object.fromEntries(tools)) ? 'intercept' : 'tools';
}

const defaultKeys = [
  'default',
  'defaultAction',
  'default_action',
  'default_effect',
  'defaultDecision',
  'default_policy',
];
const remarkKeys = ['description', 'name', 'comment', 'version', '$schema'];

function writeOver(
  root: Record<string, unknown>,
  dialect: Exclude<Conversion['dialect'], 'cordon'>,
  notes: Note[],
): unknown {
  const listKey = dialect === 'rules' ? listKeys.find((key) => Array.isArray(root[key])) : undefined;
  const fallback = readDefault(root, dialect, notes);
  let allLost = fallback.lost;
  const lose = (path: readonly PropertyKey[], said: string) => {
    notes.push({ kind: 'lost', path, said });
    allLost = true;
  };
  if (dialect === 'intercept' && root.version !== '1' && root.version !== 1) {
    lose(['version'], `the version ${JSON.stringify(root.version)} is not "1"`);
  }
  const hide: unknown[] = Array.isArray(root.hide) ? [...(root.hide as unknown[])] : [];
  const own: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(root)) {
    if (defaultKeys.includes(key) || key === listKey) continue;
    if (key === 'tools' && dialect !== 'rules') continue;
    if (remarkKeys.includes(key)) {
      if (['description', 'name', 'comment'].includes(key))
        notes.push({ kind: 'note', path: [key], said: 'a remark, left out' });
    } else if (key === 'hide' && (Array.isArray(value) || value === null)) continue;
    else if (key === 'sandbox' || key === 'all_tools') own[key] = value;
    else lose([key], `${JSON.stringify(key)} has no equivalent`);
  }

  let converted: ConvertedTools;
  if (listKey === undefined) {
    const map = isObject(root.tools) ? root.tools : {};
    converted = convertToolMap(
      map,
      { action: fallback.action === 'allow' ? 'allow' : 'deny', path: ['default'] },
      notes,
    );
  } else converted = convertRuleList(root[listKey] as unknown[], [listKey], fallback, notes);

  if (allLost || converted.allLost) {
    const said = 'every tool is hidden, because the above may concern every call: decide, and remove "*" from "hide"';
    notes.push({ kind: 'lost', path: [], said });
    hide.unshift('*');
  }
  const allTools = withLimits(own.all_tools, converted.allToolsLimits);
  return {
    version: '1',
    default: converted.default,
    ...(hide.length > 0 ? { hide: [...new Set(hide)] } : {}),
    ...(allTools === undefined ? {} : { all_tools: allTools }),
    tools: converted.tools,
    ...(own.sandbox === undefined ? {} : { sandbox: own.sandbox }),
  };
}

function withLimits(written: unknown, limits: readonly unknown[]): unknown {
  if (limits.length === 0) return written;
  if (written === undefined) return { limits };
  const before: unknown[] = isObject(written) && Array.isArray(written.limits) ? written.limits : [];
  return { ...(isObject(written) ? written : {}), limits: [...before, ...limits] };
}

/** Intercept allows what nobody speaks about; of a list it is not known, and taken for a denial. */
function readDefault(
  root: Record<string, unknown>,
  dialect: Exclude<Conversion['dialect'], 'cordon'>,
  notes: Note[],
): { action: 'allow' | 'deny' | 'ask'; path: readonly PropertyKey[]; lost: boolean } {
  const [key, ...more] = defaultKeys.filter((known) => Object.hasOwn(root, known));
  if (more.length > 0) {
    notes.push({ kind: 'lost', path: [more[0] ?? ''], said: 'it says twice what happens where no rule matches' });
    return { action: 'deny', path: [], lost: true };
  }
  if (key === undefined || root[key] === '') {
    const action = dialect === 'intercept' ? 'allow' : 'deny';
    if (dialect !== 'intercept') {
      notes.push({ kind: 'stricter', path: [], said: 'it does not say what happens where no rule matches: denied' });
    } else
      notes.push({ kind: 'note', path: [], said: 'without "default", Intercept allows tools that are not listed' });
    return { action, path: [], lost: false };
  }
  const action = readAction(root[key]);
  if (action === 'allow' || action === 'deny') return { action, path: [key], lost: false };
  if (action === 'ask' && dialect === 'rules') return { action, path: [key], lost: false };
  notes.push({ kind: 'lost', path: [key], said: `${JSON.stringify(root[key])} is neither allow nor deny` });
  return { action: 'deny', path: [key], lost: true };
}
