/** What a session is called by. Who has the handle can go on with the session, so it can't be guessed and is not logged. */
import { randomBytes } from 'node:crypto';
import { sha256 } from '../sha256.js';

/** 128 random bits: nobody guesses one. */
const RANDOM_BYTES = 16;

export function newHandle(): string {
  return `s_${randomBytes(RANDOM_BYTES).toString('hex')}`;
}

/** What stands for a handle in logs and questions: tells two sessions apart, and opens none. 48 bits of its SHA-256. */
export function digestOf(handle: string): string {
  return sha256(handle).slice(0, 12);
}
