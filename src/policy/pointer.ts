/** JSON pointers (RFC 6901): how rules and problems name their place in a policy. */

/** `['tools', 'a/b', 0]` becomes `/tools/a~1b/0`; the whole document is the empty string. */
export function pointer(path: readonly PropertyKey[]): string {
  return path.map((step) => `/${String(step).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}
