/**
 * The directories of the host that a policy opens (`sandbox.mounts`): what their paths must look like. Whether they are there is
 * a question to the machine, and asked at start.
 */
import type { Finding } from './finding.js';
import { show } from './diagnose.js';

/** Where mounts may be seen inside: nothing of a sandbox's own lies there. */
const PLACES = ['/mnt', '/data'];

/** System directories, with all below them: what lies there is the machine's, or not a file. */
const SYSTEM =
  '/proc /sys /dev /run /etc /boot /bin /sbin /lib /lib32 /lib64 /libx32 /usr/bin /usr/sbin /usr/lib'.split(' ');

/** One entry as it is written, of whatever type its values are. */
interface Written {
  readonly host?: unknown;
  readonly inside?: unknown;
}

/** What is wrong with the paths of `mounts`, each by itself and together. */
export function checkMounts(mounts: readonly (readonly [number, unknown])[]): Finding[] {
  const findings: Finding[] = [];
  const seen: { host: string[]; inside: string[] } = { host: [], inside: [] };
  for (const [index, mount] of mounts) {
    if (typeof mount !== 'object' || mount === null) continue;
    const { host, inside } = mount as Written;
    const add = (key: string, expected: string, got: unknown, hint: string | null = null): void => {
      findings.push({ path: ['sandbox', 'mounts', index, key], expected, got: show(got), hint });
    };
    if (typeof host === 'string') {
      const system = SYSTEM.find((directory) => isWithin(host, directory));
      if (!isPlain(host)) add('host', PLAIN, host);
      else if (host === '/') add('host', 'a directory', host, 'this would open the whole machine: name what is needed');
      else if (system !== undefined) add('host', 'a directory with data', host, `${system} is the system's own`);
    }
    if (typeof inside === 'string') {
      if (!isPlain(inside)) add('inside', PLAIN, inside);
      else if (!PLACES.some((place) => inside === '/data' || (isWithin(inside, place) && inside !== place))) {
        add('inside', 'a place below /mnt or /data', inside, 'everything else is the sandbox\'s own: try "/mnt/input"');
      }
    }
    for (const [key, path] of Object.entries({ host, inside })) {
      if (typeof path !== 'string' || !isPlain(path)) continue;
      const others = key === 'host' ? seen.host : seen.inside;
      const other = others.find((one) => isWithin(one, path) || isWithin(path, one));
      if (other !== undefined) {
        const how = other === path ? 'is named twice' : `and ${show(other)} lie one in the other`;
        add(key, 'directories that have nothing in common', path, `it ${how}: each needs one entry of its own`);
      }
      others.push(path);
    }
  }
  return findings;
}

const PLAIN = 'an absolute path without "..", ".", "//", a final "/" or control characters';

function isPlain(path: string): boolean {
  if (path === '/') return true;
  if (!path.startsWith('/') || /[\0-\x1f\x7f]/.test(path)) return false;
  return path
    .slice(1)
    .split('/')
    .every((part) => part !== '' && part !== '.' && part !== '..');
}

/** Whether `path` is `directory` or below it. */
function isWithin(path: string, directory: string): boolean {
  return path === directory || path.startsWith(directory === '/' ? '/' : `${directory}/`);
}
