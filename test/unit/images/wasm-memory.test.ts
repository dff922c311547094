import assert from 'node:assert/strict';
import { test } from 'node:test';
import { limitMemory } from '../../../src/images/wasm-memory.js';

/** Of the environment; TypeScript knows it only together with all of a browser's names. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: { readonly memory: { grow(pages: number): number } } };
};

const HEADER = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
/** (module (memory (export "memory") 1)) */
const GROWS = Buffer.from([...HEADER, 5, 3, 1, 0, 1, 7, 10, 1, 6, ...Buffer.from('memory'), 2, 0]);

const memoryOf = (module: Uint8Array) => new WebAssembly.Instance(new WebAssembly.Module(module)).exports.memory;

test('a module can grow up to the cap and not beyond', () => {
  assert.equal(memoryOf(GROWS).grow(1000), 1); // by itself it can
  const capped = memoryOf(limitMemory(GROWS, 300));
  assert.equal(capped.grow(299), 1);
  assert.throws(() => capped.grow(1), RangeError);
});

test('what has no memory of its own, or several, is refused', () => {
  assert.throws(() => limitMemory(Buffer.from(HEADER), 1), /found none/);
  assert.throws(() => limitMemory(Buffer.from([...HEADER, 5, 5, 2, 0, 1, 0, 1]), 1), /one memory, got 2/);
});
