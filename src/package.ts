/**
 * What lies beside the compiled code in the installed package. The one place that knows where its root is.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** This file runs as `dist/src/package.js`, and bundled in `dist/bin/`: the root is two directories up from either. */
const root = new URL('../../', import.meta.url);

/** Path of the policy that is used when the owner names none. */
export const shippedPolicyPath: string = fileURLToPath(new URL('policy.json', root));

/** The far side: the Python files that run in and around a sandbox. */
export const sandboxDirectory: string = fileURLToPath(new URL('sandbox/', root));

/** The thread that decodes images: a bundle of its own, wherever this file runs from. */
export const imageDecoderUrl: URL = new URL('dist/bin/image-decoder.js', root);

/** Where this package is installed. */
export const packageDirectory: string = fileURLToPath(new URL('.', root)).replace(/\/$/, '');

/** This package's version, `0.1.0`. */
export function packageVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('package.json', root), 'utf8'));
  if (typeof manifest === 'object' && manifest !== null && 'version' in manifest) {
    if (typeof manifest.version === 'string') return manifest.version;
  }
  throw new Error(`${fileURLToPath(new URL('package.json', root))} has no "version": the installation is damaged`);
}
