/**
 * The wire between Node and a sandbox: frames over one connection, as sandbox/PROTOCOL.md has it. Node reads them as
 * hostile input: a length, a type or an order that the protocol does not have is a violation, never a guess.
 */

/** Frames that Node sends. */
export type SentKind = 'A' | 'C' | 'I' | 'J' | 'X' | 'S' | 'K';
/** Frames that a warden sends. */
export type ReceivedKind = 'R' | 'O' | 'E' | 'P' | 'N' | 'B' | 'D' | 'F';

const HEADER_BYTES = 5;

/** The largest payload of each frame that may come, in bytes (PROTOCOL.md, 2). */
const MAX_PAYLOAD_BYTES: Readonly<Record<ReceivedKind, number>> = {
  R: 1024,
  O: 64 * 1024,
  E: 64 * 1024,
  P: 256 * 1024,
  N: 8192,
  B: 64 * 1024,
  D: 16 * 1024,
  F: 8192,
};

/** What came is not what the protocol allows: the sandbox has failed. */
export class ProtocolViolation extends Error {
  override name = 'ProtocolViolation';
}

/** The bytes of one frame's header; the payload follows as it is. */
export function frameHeader(kind: SentKind, payloadBytes: number): Buffer {
  const header = Buffer.allocUnsafe(HEADER_BYTES);
  header.writeUInt32BE(payloadBytes, 0);
  header.write(kind, 4, 'latin1');
  return header;
}

function receivedKind(code: number): ReceivedKind {
  const kind = String.fromCharCode(code);
  if (Object.hasOwn(MAX_PAYLOAD_BYTES, kind)) return kind as ReceivedKind;
  throw new ProtocolViolation(`a frame of type 0x${code.toString(16)}, expected one of R O E P N B D F`);
}

/**
 * A reader of frames: give it what comes off the connection, in pieces of any size, and it calls `onFrame` for each
 * whole frame. The payload is a view of what was given where it lay in one piece. Throws ProtocolViolation.
 */
export function frameReader(onFrame: (kind: ReceivedKind, payload: Buffer) => void): (piece: Buffer) => void {
  let pending: Buffer[] = [];
  let pendingBytes = 0;
  let neededBytes = HEADER_BYTES;
  return (piece) => {
    pending.push(piece);
    pendingBytes += piece.length;
    if (pendingBytes < neededBytes) return;
    let data = pending.length === 1 ? piece : Buffer.concat(pending, pendingBytes);
    for (;;) {
      neededBytes = HEADER_BYTES;
      if (data.length < neededBytes) break;
      const kind = receivedKind(data.readUInt8(4));
      const payloadBytes = data.readUInt32BE(0);
      if (payloadBytes > MAX_PAYLOAD_BYTES[kind]) {
        throw new ProtocolViolation(
          `a frame ${kind} of ${payloadBytes} bytes, expected at most ${MAX_PAYLOAD_BYTES[kind]}`,
        );
      }
      neededBytes += payloadBytes;
      if (data.length < neededBytes) break;
      onFrame(kind, data.subarray(HEADER_BYTES, neededBytes));
      data = data.subarray(neededBytes);
    }
    pending = data.length > 0 ? [data] : [];
    pendingBytes = data.length;
  };
}
