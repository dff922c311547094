/** The commands of the README do what it says when they are pasted. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { MAIN, whyNoSandbox } from '../support/server.js';

const readme = readFileSync(fileURLToPath(new URL('../../../README.md', import.meta.url)), 'utf8');
const [, commands = ''] = /^```sh plot\n([\s\S]*?)^```$/m.exec(readme) ?? [];

function whyNot(): string | false {
  const asked = spawnSync('/usr/bin/python3', ['-c', 'import pandas, matplotlib'], { stdio: 'ignore' });
  return asked.status === 0 ? whyNoSandbox() : 'needs pandas and matplotlib for /usr/bin/python3';
}

test('the plot of the CSV is drawn, the table shown, and the CSV as it was', { skip: whyNot() }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'readme-'));
  try {
    // The commands stand in a checkout.
    symlinkSync(dirname(dirname(MAIN)), join(directory, 'dist'));
    const { status, stdout, stderr } = spawnSync('sh', ['-e', '-c', commands], {
      cwd: directory,
      encoding: 'utf8',
      input: '',
      env: { ...process.env, XDG_STATE_HOME: join(directory, 'state'), CORDON_POLICY: '' },
    });
    assert.equal(status, 0, stderr);
    assert.equal(stdout, '');
    assert.match(stderr, /West\s+95\nSouth\s+150\nNorth\s+180/);
    assert.match(stderr, /^cordon: file: results\/plot-1\.png \(image\/png, /m);
    const picture = readFileSync(join(directory, 'results', 'plot-1.png'));
    assert.equal(picture.toString('latin1', 1, 4), 'PNG');
    // IHDR: width and height (PNG specification, 11.2.2).
    assert.deepEqual([picture.readUInt32BE(16) > 600, picture.readUInt32BE(20) > 300], [true, true]);
    assert.match(readFileSync(join(directory, 'sales.csv'), 'utf8'), /^region,sales\nNorth,120\n/);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
