// What we depend on: each package pinned with its hash, none of those that ship runs code at install, and none has a known vulnerability.
// The first two need no network. The third asks the registry; where that has no answer, it says so and is no failure.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** Development tools that may run a script of their own when they are installed: esbuild puts its binary in place. */
const SCRIPTS_ALLOWED = new Set(['node_modules/esbuild']);
/** From this severity on a vulnerability is a failure (npm's words). */
const SEVERE = ['moderate', 'high', 'critical'];
const AUDIT_TIMEOUT_MS = 60_000;

const root = new URL('../', import.meta.url);
const lock = JSON.parse(readFileSync(new URL('package-lock.json', root), 'utf8'));
const packages = Object.entries(lock.packages).filter(([path]) => path !== '');
const shipped = packages.filter(([, entry]) => !entry.dev && !entry.devOptional);
const failures = [];
for (const [path, entry] of packages) {
  if (!/^\d+\.\d+\.\d+/.test(entry.version ?? '')) failures.push(`${path} has no version in package-lock.json`);
  if (!/^sha512-/.test(entry.integrity ?? '')) failures.push(`${path} has no SHA-512 in package-lock.json`);
  if (entry.hasInstallScript && !(entry.dev && SCRIPTS_ALLOWED.has(path)))
    failures.push(`${path} runs a script at install`);
}

/** npm's own verdict, or why there is none. */
function audit() {
  return new Promise((resolve) => {
    const args = ['audit', '--omit=dev', '--json'];
    execFile('npm', args, { cwd: root, timeout: AUDIT_TIMEOUT_MS, maxBuffer: 64 << 20 }, (error, stdout) => {
      try {
        const said = JSON.parse(stdout);
        if (said.metadata?.vulnerabilities !== undefined) resolve({ found: said.vulnerabilities ?? {} });
        else resolve({ why: said.message ?? said.error?.summary ?? 'npm gave no verdict' });
      } catch {
        resolve({
          why: error?.killed
            ? `no answer within ${AUDIT_TIMEOUT_MS / 1000} s`
            : (error?.message ?? 'npm gave no verdict'),
        });
      }
    });
  });
}

const { found, why } = await audit();
if (found === undefined) {
  console.warn(`NOT AUDITED: known vulnerabilities could not be asked for (${String(why).split('\n')[0]})`);
} else {
  for (const [name, { severity, range }] of Object.entries(found)) {
    if (SEVERE.includes(severity)) failures.push(`${name} ${range} has a known vulnerability: ${severity}`);
  }
}
const direct = Object.keys(lock.packages[''].dependencies ?? {}).length;
console.log(
  `${direct} dependencies, ${shipped.length} packages with all of theirs; ${packages.length} with development tools, all pinned` +
    (found === undefined ? '' : `; audited, ${Object.keys(found).length} advisories`),
);
for (const failure of failures) console.error(`dependencies: ${failure}`);
process.exitCode = failures.length === 0 ? 0 : 1;
