/** A cap on the memory of a WebAssembly module: written into the module itself, for there is none to be set from outside. */

const SECTION_MEMORY = 5;
/** limits with and without a maximum: WebAssembly Core 2.0, 5.3.12. */
const HAS_MAXIMUM = 0x01;

/**
 * The module with `maxPages` (of 64 KiB) as the maximum of its one memory: growing beyond it fails inside, as if the machine had no more.
 * @throws Error where it is not a module with one memory of its own
 */
export function limitMemory(module: Uint8Array, maxPages: number): Uint8Array {
  const bytes = Buffer.from(module.buffer, module.byteOffset, module.byteLength);
  for (let at = 8; at < bytes.length;) {
    const [size, content] = readUnsigned(bytes, at + 1);
    if (bytes[at] === SECTION_MEMORY) {
      const [count, limits] = readUnsigned(bytes, content);
      const [minimum] = readUnsigned(bytes, limits + 1);
      if (count !== 1) throw new Error(`expected a module with one memory, got ${count}`);
      const body = [1, HAS_MAXIMUM, ...unsigned(minimum), ...unsigned(maxPages)];
      const section = Buffer.from([SECTION_MEMORY, ...unsigned(body.length), ...body]);
      return Buffer.concat([bytes.subarray(0, at), section, bytes.subarray(content + size)]);
    }
    at = content + size;
  }
  throw new Error('expected a WebAssembly module with a memory, found none');
}

/** An unsigned LEB128 number and where it ends (ibid., 5.2.2). */
function readUnsigned(bytes: Buffer, at: number): [value: number, next: number] {
  let value = 0;
  for (let shift = 0; ; shift += 7, at += 1) {
    const byte = bytes.readUInt8(at);
    value += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) return [value, at + 1];
  }
}

function unsigned(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];
}
