/** The address of a file that a run left: `cordon://files/<run id>/<name, percent-encoded>`. */

/** For clients that list templates (RFC 6570). */
export const FILE_URI_TEMPLATE = 'cordon://files/{runId}/{+name}{?from,bytes}';

const PREFIX = 'cordon://files/';

export function fileUri(runId: string, name: string): string {
  return `${PREFIX}${runId}/${name.split('/').map(encodeURIComponent).join('/')}`;
}

/** What an address asks for. `from` and `bytes` say which part of the content. */
export interface FileAddress {
  readonly runId: string;
  readonly name: string;
  readonly from?: number;
  readonly bytes?: number;
}

/** Take an address apart. @returns what is wrong with it, where it is none of ours */
export function parseFileUri(uri: string): FileAddress | { readonly problem: string } {
  const shown = JSON.stringify(uri.slice(0, 200));
  const problem = (what: string) => ({ problem: `${shown}: ${what}` });
  if (!uri.startsWith(PREFIX)) return problem(`expected an address that begins with ${PREFIX}`);
  const [path = '', query = '', ...more] = uri.slice(PREFIX.length).split('?');
  const slash = path.indexOf('/');
  if (slash < 1 || more.length > 0) return problem(`expected ${FILE_URI_TEMPLATE}`);
  let name: string;
  try {
    name = decodeURIComponent(path.slice(slash + 1));
  } catch {
    return problem('the name in it is not percent-encoded UTF-8');
  }
  const asked: { from?: number; bytes?: number } = {};
  for (const pair of query === '' ? [] : query.split('&')) {
    const [key = '', value = ''] = pair.split('=', 2);
    if ((key !== 'from' && key !== 'bytes') || asked[key] !== undefined) {
      return problem('expected ?from=BYTES&bytes=NUMBER, each at most once');
    }
    if (!/^\d{1,15}$/.test(value)) return problem(`${key}: expected a number of bytes`);
    asked[key] = Number(value);
  }
  return { runId: path.slice(0, slash), name, ...asked };
}
