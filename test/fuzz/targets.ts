/** Every parser on the server's own surface: what comes from a sandbox, a caller, a file. */
import type { FuzzTarget } from './target.js';
import { audit } from './targets/audit.js';
import { callArguments } from './targets/arguments.js';
import { dialect } from './targets/dialect.js';
import { frames } from './targets/frames.js';
import { policy } from './targets/policy.js';
import { state } from './targets/state.js';
import { word } from './targets/word.js';

export const targets: readonly FuzzTarget[] = [frames, word, callArguments, policy, dialect, audit, state];
