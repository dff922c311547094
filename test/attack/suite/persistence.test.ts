/** Nothing that one run leaves is there in the next. */

import { openSandbox } from '../../support/sandbox.js';
import { attackTests } from '../attack.js';
import { attacks } from '../persistence.js';

const sandbox = await openSandbox({ warm: 1 });
attackTests('persistence', attacks, sandbox);
