#!/usr/bin/env node
// argv in, exit status out: the only process.exit. Nothing is imported before the check, because what is imported
// would fail on an old Node with an error that says nothing of Node.
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  process.stderr.write(
    `cordon: needs Node 20.19 or newer, and this is Node ${process.versions.node} (${process.execPath}).\n` +
      'Install a newer one from your distribution, https://nodejs.org or a version manager (nvm install 22).\n',
  );
  process.exit(1);
}

import('./cli.js')
  .then(({ cli }) => cli(process.argv.slice(2)))
  .then(
    (status) => {
      // What was written may still be on its way into a pipe.
      process.stdout.write('', () => process.stderr.write('', () => process.exit(status)));
    },
    (error: unknown) => {
      process.stderr.write(
        `cordon: a fault of ours, please report it: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
      );
      process.exit(1);
    },
  );
export {};
