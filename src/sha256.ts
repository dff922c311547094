import { hash } from 'node:crypto';

/** SHA-256 in hexadecimal; of text, that of its UTF-8. Node's one-shot function makes no object for it, which is most of what a short one costs. */
export function sha256(data: string | Uint8Array): string {
  return hash('sha256', data, 'hex');
}
