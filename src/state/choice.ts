/** Where the state lives: what `--state` and $CORDON_STATE may say. */
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';

export type StateChoice =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'memory' }
  | {
      readonly kind: 'redis';
      readonly url: string;
      /** The URL as it may be shown: without its password. */
      readonly shown: string;
    };

/** What was said of the state is none of the things that can be said. */
export class StateChoiceError extends Error {
  override readonly name = 'StateChoiceError';
}

/** Cordon's own directory for what lasts: `$XDG_STATE_HOME/cordon`. */
export function stateDirectory(env: NodeJS.ProcessEnv): string {
  const state = env.XDG_STATE_HOME;
  // The XDG base directory specification: a path that is not absolute is to be ignored.
  const base = state !== undefined && isAbsolute(state) ? state : join(env.HOME ?? homedir(), '.local', 'state');
  return join(base, 'cordon');
}

/**
 * The flag, else $CORDON_STATE, else `state.db` in Cordon's own directory. An empty variable counts as not set.
 * @param flag a file, `memory`, or a `redis://`, `rediss://` or `unix://` URL
 * @throws StateChoiceError
 */
export function chooseState(flag: string | undefined, env: NodeJS.ProcessEnv): StateChoice {
  const [said, origin] =
    flag === undefined ? [env.CORDON_STATE === '' ? undefined : env.CORDON_STATE, '$CORDON_STATE'] : [flag, '--state'];
  if (said === undefined) return { kind: 'file', path: join(stateDirectory(env), 'state.db') };
  if (said === 'memory') return { kind: 'memory' };
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(said)?.[1]?.toLowerCase();
  if (scheme === undefined && said !== '') return { kind: 'file', path: resolve(said) };
  if (scheme === 'redis' || scheme === 'rediss' || scheme === 'unix') {
    const usable = URL.canParse(said) && (scheme === 'unix' || new URL(said).hostname !== '');
    if (!usable) throw new StateChoiceError(`${origin}: expected a URL with a host, such as redis://localhost:6379`);
    return { kind: 'redis', url: said, shown: withoutPassword(said) };
  }
  const got = scheme === undefined ? 'an empty text' : `a URL that begins with ${scheme}://`;
  throw new StateChoiceError(
    `${origin}: expected a file, "memory", or a redis://, rediss:// or unix:// URL of a Redis, got ${got}`,
  );
}

function withoutPassword(text: string): string {
  const url = new URL(text);
  if (url.password !== '') url.password = '***';
  return url.href;
}
