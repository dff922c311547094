/** A backend that can be replaced while it runs jobs: they end in the one they began in, which is closed after the last. */
import type { Backend } from '../sandbox.js';

export interface ReplaceableBackend extends Backend {
  /** All further jobs go to `next`. */
  replace(next: Backend): void;
}

export function createReplaceable(first: Backend): ReplaceableBackend {
  let current = first;
  let warmed = false;
  let closed = false;
  let startedBefore = 0;
  const jobs = new Map<Backend, number>();
  const closing = new Set<Promise<void>>();

  const inUse = (): Backend[] => [...new Set([current, ...jobs.keys()])];

  function closeUnused(backend: Backend): void {
    if (backend === current || (jobs.get(backend) ?? 0) > 0) return;
    startedBefore += backend.jobsStarted;
    const done = backend.close().finally(() => closing.delete(done));
    closing.add(done);
  }

  /** One more thing runs in `backend`; returns what to call when it has ended. */
  function hold(backend: Backend): () => void {
    jobs.set(backend, (jobs.get(backend) ?? 0) + 1);
    return () => {
      const left = (jobs.get(backend) ?? 1) - 1;
      if (left > 0) jobs.set(backend, left);
      else {
        jobs.delete(backend);
        closeUnused(backend);
      }
    };
  }

  return {
    get guarantees() {
      return current.guarantees;
    },
    get jobsStarted() {
      return inUse().reduce((sum, one) => sum + one.jobsStarted, startedBefore);
    },
    warm() {
      warmed = true;
      current.warm();
    },
    async run(job, signal, sinks) {
      const backend = current;
      const release = hold(backend);
      try {
        return await backend.run(job, signal, sinks);
      } finally {
        release();
      }
    },
    async openSession(limits) {
      const backend = current;
      const release = hold(backend);
      try {
        const session = await backend.openSession(limits);
        void session.ended.then(release);
        return session;
      } catch (error) {
        release();
        throw error;
      }
    },
    async footprintBytes() {
      const each = await Promise.all(inUse().map((one) => one.footprintBytes()));
      return each.reduce((sum, bytes) => sum + bytes, 0);
    },
    replace(next) {
      const old = current;
      current = next;
      closeUnused(old);
      if (closed) void next.close();
      else if (warmed) next.warm();
    },
    async close() {
      closed = true;
      await Promise.all([...closing, ...inUse().map((one) => one.close())]);
    },
  };
}
