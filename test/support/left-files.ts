/** Collects what a program leaves, in memory. */
import type { JobSinks } from '../../src/sandbox.js';

export interface LeftFiles {
  readonly onFile: NonNullable<JobSinks['onFile']>;
  /** Whole files by name, in the order in which they came. */
  readonly files: ReadonlyMap<string, Buffer>;
}

export function leftFiles(): LeftFiles {
  const files = new Map<string, Buffer>();
  return {
    files,
    onFile({ name, bytes }) {
      const pieces: Uint8Array[] = [];
      return {
        write: (piece) => void pieces.push(Uint8Array.from(piece)),
        end(whole) {
          const content = Buffer.concat(pieces);
          if (whole && content.length === bytes) files.set(name, content);
        },
      };
    },
  };
}
