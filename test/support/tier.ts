/** What differs from tier to tier, for tests that run in each of them. */
import { TIER, type TestSandbox } from './sandbox.js';

/** For a test's `skip`: why only strict promises it. */
export function onlyStrict(why: string): string | false {
  return TIER === 'strict' ? false : `tier ${TIER}: ${why}`;
}

/** `sandbox`, for tests of what only strict has. */
export function strictOnly(sandbox: TestSandbox, why: string): TestSandbox {
  const missing = onlyStrict(why);
  return missing === false || sandbox.missing !== false ? sandbox : { ...sandbox, missing };
}

/** Launcher and zygote; behind namespaces root's has one more in between, which belongs to root's user namespace. */
export const STANDING = TIER === 'strict' && process.getuid?.() === 0 ? 3 : 2;

/** `text` as strict has it: without a file tree of its own a run's places lie in a directory of the host. */
export function asInTree(text: string): string {
  return text.replaceAll(/\/[^\s"]*\/cordon-\d+-[0-9a-f]{16}\/root\/\d+-[0-9a-f]{32}(?=\/(?:work|code|tmp)\b)/g, '');
}

/** Python: the places a program may write to, as a tuple. */
export const WRITABLE = TIER === 'strict' ? '(".", "/tmp", "/dev/shm")' : '(".", __import__("tempfile").gettempdir())';
