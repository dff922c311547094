/** What an approval is an approval of. */
import { sha256 } from '../sha256.js';

/** A state of a session. An approval is for a call in the very state that the session stood at: it is void once that has moved. */
interface ExactState {
  /** Stands for the handle, which is not for everybody's eyes. */
  readonly digest: string;
  readonly step: number;
  readonly state: number;
}

/** A program as it would run: arguments checked, defaults filled in. */
export interface ExactProgram {
  readonly tool: string;
  readonly code: string;
  readonly stdin: string;
  /** What is put into the working directory. */
  readonly files: readonly { readonly name: string; readonly bytes: number; readonly sha256: string }[];
  /** What the caller asked for; null where it asked for nothing. */
  readonly timeoutSeconds: number | null;
  /** What it would be a step of; null: of nothing. */
  readonly session: ExactState | 'new' | null;
}

/** A call that runs no program. */
export interface ExactRequest {
  readonly tool: string;
  /** Its arguments, but for the session. */
  readonly args: Readonly<Record<string, unknown>>;
  readonly session: ExactState | null;
}

export type ExactCall = ExactProgram | ExactRequest;

/** SHA-256 of everything a call consists of: two calls share it only if they are the same call. */
export function callHash(call: ExactCall): string {
  return sha256(JSON.stringify('code' in call ? programParts(call) : requestParts(call)));
}

/** What is not there is left out, so that a call without it has the hash that it had before there was such a thing. */
function programParts({ tool, code, stdin, timeoutSeconds, files, session }: ExactProgram): unknown[] {
  const brought = files.map(({ name, bytes, sha256 }) => [name, bytes, sha256]);
  const parts: unknown[] = [tool, code, stdin, timeoutSeconds, ...(brought.length === 0 ? [] : [brought])];
  if (session === null) return parts;
  return [...parts, { session: session === 'new' ? session : [session.digest, session.state] }];
}

function requestParts({ tool, args, session }: ExactRequest): unknown[] {
  return [tool, args, session === null ? null : [session.digest, session.state]];
}
