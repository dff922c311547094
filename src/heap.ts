/** How V8 keeps this process's memory, and how it compiles. Both are said once the start is over, which they would slow. */
import { setFlagsFromString } from 'node:v8';

/** After this long a server has started: compiling for size slows the start by a tenth. */
const STARTED_MS = 1000;

/**
 * Keep the heap as small as its contents, once the start is over. By itself V8 lets a server that makes short-lived objects all day grow by a third
 * over thousands of calls before it collects: nothing leaks, but who looks sees a leak.
 */
export function keepHeapSmall(): void {
  const timer = setTimeout(() => {
    setFlagsFromString('--optimize-for-size'); // how the heap grows between collections
    setFlagsFromString('--max-semi-space-size=1'); // the nursery, in units of 2^20 bytes
  }, STARTED_MS);
  timer.unref();
}

/**
 * From now on compile each function to machine code when it is first called, without waiting to see whether it is worth it (V8's Sparkplug). A server
 * goes over the same path with every call, but seldom enough to be interpreted for hundreds of calls. Functions that have run already stay as they are.
 */
export function compileAtFirstCall(): void {
  setFlagsFromString('--always-sparkplug');
}
