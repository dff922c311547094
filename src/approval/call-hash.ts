/** What an approval is an approval of. */
import { createHash } from 'node:crypto';

/** A call as it would run: arguments checked, defaults filled in. */
export interface ExactCall {
  readonly tool: string;
  readonly code: string;
  readonly stdin: string;
  /** What is put into the working directory. */
  readonly files: readonly { readonly name: string; readonly bytes: number; readonly sha256: string }[];
  /** What the caller asked for; null where it asked for nothing. */
  readonly timeoutSeconds: number | null;
}

/** SHA-256 of everything a call consists of: two calls share it only if they are the same call. */
export function callHash({ tool, code, stdin, files, timeoutSeconds }: ExactCall): string {
  const brought = files.map(({ name, bytes, sha256 }) => [name, bytes, sha256]);
  return createHash('sha256')
    .update(JSON.stringify([tool, code, stdin, timeoutSeconds, ...(brought.length === 0 ? [] : [brought])]))
    .digest('hex');
}
