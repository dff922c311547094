/**
 * Lines of a stream, each in one piece. The SDK's transport copies all it holds with every piece that comes: for a message of n pieces
 * that is n² of work, which for files of some megabytes is seconds, and for a message without end minutes.
 */
import { Transform } from 'node:stream';

const NEWLINE = 0x0a;

/** @param maxBytes what is held of a line that has not ended; one that is longer ends the stream with an error */
export function wholeLines(maxBytes: number): Transform {
  let held: Buffer[] = [];
  let heldBytes = 0;
  return new Transform({
    transform(piece: Buffer, _encoding, done) {
      const end = piece.lastIndexOf(NEWLINE) + 1;
      held.push(piece.subarray(0, end === 0 ? piece.length : end));
      heldBytes += end === 0 ? piece.length : end;
      if (heldBytes > maxBytes) {
        held = [];
        done(new Error(`a message exceeded maximum size of ${maxBytes} bytes`));
        return;
      }
      if (end > 0) {
        this.push(held.length === 1 ? held[0] : Buffer.concat(held, heldBytes));
        const rest = piece.subarray(end);
        held = rest.length === 0 ? [] : [rest];
        heldBytes = rest.length;
      }
      done();
    },
  });
}
