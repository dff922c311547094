/** Files outside are neither read, nor written, nor found out about. */

import { openSandbox } from '../../support/sandbox.js';
import { attackTests } from '../attack.js';
import { attacks } from '../files.js';

const sandbox = await openSandbox({ warm: 1 });
attackTests('files', attacks, sandbox);
