/** What is said about a conversion. */

/**
 * - `lost`: there is no equivalent, and what it was about is denied instead
 * - `stricter`: written over as something that allows less than the original
 * - `note`: for the reader; no decision changes
 */
export interface Note {
  readonly kind: 'lost' | 'stricter' | 'note';
  /** Where in the original. */
  readonly path: readonly PropertyKey[];
  /** One sentence, without its full stop. */
  readonly said: string;
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}
