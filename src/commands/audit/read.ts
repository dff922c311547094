/** A log's lines as objects, one file after the other. */
import { linesOf } from '../../audit/files.js';
import type { Snapshot } from '../../audit/verify.js';
import { parseLine, type LoggedLine } from './filter.js';

export interface ReadLine {
  readonly text: string;
  /** null: it can't be read as a line of the log. */
  readonly line: LoggedLine | null;
  readonly ended: boolean;
}

const decoder = new TextDecoder();

export function* linesIn({ files }: Snapshot): Generator<ReadLine> {
  for (const { descriptor, bytes } of files) {
    for (const { bytes: raw, ended } of linesOf(descriptor, 0, bytes)) {
      const text = decoder.decode(raw);
      yield { text, line: parseLine(text), ended };
    }
  }
}
