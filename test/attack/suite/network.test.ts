/** Nothing outside is reached by any family of sockets. */

import { openSandbox } from '../../support/sandbox.js';
import { attackTests } from '../attack.js';
import { attacks } from '../network.js';

const sandbox = await openSandbox({ warm: 1 });
attackTests('network', attacks, sandbox);
