/**
 * What a person sees of the call that they are asked about. The call is the model's: nothing in it may hide, move or
 * pass for our own words.
 */
import type { ExactProgram, ExactRequest } from './call-hash.js';
import type { StoredRequest } from './requests.js';

/**
 * A text with everything in it to be seen: control characters (but newline and tab), direction marks that show code in
 * another order than it runs, invisible and lone characters come out as `\u{202e}`.
 */
export function visible(text: string): string {
  // Cc control, Cf format (direction, zero width, tags), Zl Zp separators, Cs lone surrogates, Co private use,
  // U+115F… Hangul fillers and U+2800, which look empty; variation selectors, which can carry a text of their own.
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}\u115F\u1160\u3164\uFFA0\u2800\uFE00-\uFE0F\u{E0100}-\u{E01EF}]/gu,
    (character) =>
      character === '\n' || character === '\t' ? character : `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  );
}

const REMEMBERED: Readonly<Record<StoredRequest['remember'], string>> = {
  once: 'A yes holds for this one call.',
  same_code: 'A yes holds for this very call, however often it is made, for 24 hours.',
  session: 'A yes holds for EVERY call that this rule asks about, whatever its code, until the client leaves.',
};

/** Of code and stdin in a form; a form is no place to read more. */
const FORM_CODE_MAX_CHARACTERS = 12_000;
const FORM_STDIN_MAX_CHARACTERS = 1_000;
const FORM_FILES_MAX = 20;

/**
 * The whole question.
 * @param bounded true: long texts are cut in the middle, and it says so (forms); false: everything (a terminal)
 */
export function describeRequest(request: StoredRequest, bounded: boolean): string {
  const { id, message, call, grant, client, rule, callHash, remember } = request;
  return [
    visible(message),
    '',
    ...('code' in call ? programWords(call, request, bounded) : requestWords(call, client, grant)),
    REMEMBERED[remember],
    `Asked by ${rule}; request ${id}; SHA-256 of the call ${callHash}`,
  ].join('\n');
}

function programWords(call: ExactProgram, { id, client, grant }: StoredRequest, bounded: boolean): string[] {
  const { code, stdin, timeoutSeconds, session } = call;
  const asks = timeoutSeconds === null ? '' : `, for at most ${timeoutSeconds} s`;
  return [
    `${quote(client)} wants to run this Python program (grant ${quote(grant)}${asks}):`,
    block('python', code, bounded ? FORM_CODE_MAX_CHARACTERS : null, id),
    ...(stdin === ''
      ? []
      : ['with this as its standard input:', block('', stdin, bounded ? FORM_STDIN_MAX_CHARACTERS : null, id)]),
    ...files(call.files, bounded, id),
    ...sessionWords(session),
  ];
}

/** A name in a program can mean what an earlier step has made of it, which nobody sees here. */
function sessionWords(session: ExactProgram['session']): string[] {
  if (session === null) return [];
  if (session === 'new') return ['It begins a session: what it leaves behind, later programs of the session find.'];
  return [
    `It is step ${session.step + 1} of session ${session.digest}, and finds what the steps before it left: variables, functions, files. ` +
      'A yes is void once the session has moved on.',
  ];
}

function requestWords({ tool, args, session }: ExactRequest, client: string, grant: string): string[] {
  const whose = session === null ? '' : ` of session ${session.digest}, which stands at step ${session.step}`;
  const what = Object.entries(args).map(([name, value]) => `, ${name} ${JSON.stringify(value)}`);
  return [`${quote(client)} wants ${tool}${whose}${what.join('')} (grant ${quote(grant)}).`];
}

/** What is put beside the program: names, sizes and hashes, not contents, which may be anything. */
function files(brought: ExactProgram['files'], bounded: boolean, id: string): string[] {
  if (brought.length === 0) return [];
  const shown = bounded ? brought.slice(0, FORM_FILES_MAX) : brought;
  const left = brought.length - shown.length;
  return [
    `with ${brought.length === 1 ? 'this file' : `these ${brought.length} files`} in its working directory:`,
    ...shown.map(({ name, bytes, sha256 }) => `- ${quote(name, 1024)} (${bytes} bytes, SHA-256 ${sha256})`),
    ...(left === 0 ? [] : [`*** ${left} more are left out here: cordon approve show ${id} ***`]),
  ];
}

/** In a fence that the text can't close, for where a form is shown as Markdown. */
function block(language: string, text: string, maxCharacters: number | null, id: string): string {
  const fence = '`'.repeat(Math.max(3, ...[...text.matchAll(/`+/g)].map(([run]) => run.length + 1)));
  const shown = visible(text);
  if (maxCharacters === null || shown.length <= maxCharacters) return `${fence}${language}\n${shown}\n${fence}`;
  const half = maxCharacters / 2;
  const [head, tail] = [shown.slice(0, half), shown.slice(shown.length - half)];
  const left = shown.length - maxCharacters;
  return [
    `${fence}${language}\n${head}\n${fence}`,
    `*** ${left} characters are left out here. Read all of it before you allow it: cordon approve show ${id} ***`,
    `${fence}${language}\n${tail}\n${fence}`,
  ].join('\n');
}

/** A name that comes from outside, on one line and short. */
export function quote(name: string, maxCharacters = 80): string {
  const shown = visible(name).replace(/[\n\t]/g, ' ');
  return JSON.stringify(shown.length > maxCharacters ? `${shown.slice(0, maxCharacters - 1)}…` : shown);
}
