import assert from 'node:assert/strict';
import {
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { loadPolicy, PolicyError, type LoadedPolicy } from '../../../src/policy/load.js';
import { watchPolicy } from '../../../src/policy/watch.js';

const policyOf = (max: number) =>
  JSON.stringify({
    version: '1',
    default: 'deny',
    tools: { code_execute: { limits: [{ counter: 'c', window: 'minute', max, scope: 'grant' }] } },
  });

function fresh(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'cordon-test-'));
  t.after(() => {
    rmSync(directory, { recursive: true, force: true });
  });
  return directory;
}

/** A watched policy; `aheadMs` is how far our clock is ahead of the file system's, so that changes count as old. */
async function watched(path: string, aheadMs = 0) {
  const refused: Error[] = [];
  const adopted: LoadedPolicy[] = [];
  const adopt = { fails: null as Error | null };
  const policy = watchPolicy(await loadPolicy(path), {
    adopt: (next) => {
      if (adopt.fails !== null) return Promise.reject(adopt.fails);
      adopted.push(next);
      return Promise.resolve();
    },
    onRefused: (error) => refused.push(error),
    clock: () => Date.now() + aheadMs,
  });
  return { max: async () => maxOf(await policy.current()), policy, refused, adopted, adopt };
}

function maxOf({ policy }: LoadedPolicy): number | undefined {
  return policy.tools.code_execute?.limits[0]?.max;
}

/** Ways in which editors, tools and orchestrators write. */
const writers: Record<string, (path: string, text: string) => void> = {
  'replaces the file': (path, text) => {
    writeFileSync(`${path}.new`, text);
    renameSync(`${path}.new`, path);
  },
  'truncates and rewrites it': (path, text) => {
    truncateSync(path, 0);
    writeFileSync(path, text);
  },
  'writes over it': (path, text) => {
    writeFileSync(path, text, { flag: 'r+' });
  },
  'removes and makes it': (path, text) => {
    rmSync(path);
    writeFileSync(path, text);
  },
  'puts the times back to what they were': (path, text) => {
    writeFileSync(path, text);
    utimesSync(path, new Date(0), new Date(0));
  },
};

describe('an edited policy', () => {
  for (const [how, write] of Object.entries(writers)) {
    it(`holds from the next call on where the writer ${how}`, async (t) => {
      for (const aheadMs of [0, 60_000]) {
        const path = join(fresh(t), 'policy.json');
        writeFileSync(path, policyOf(1));
        const { max, refused, adopted } = await watched(path, aheadMs);
        // Same length each time: what differs is the text.
        for (const next of [1, 2, 3, 4, 3]) {
          write(path, policyOf(next));
          assert.equal(await max(), next);
        }
        assert.deepEqual(refused, []);
        assert.deepEqual(adopted.map(maxOf), [2, 3, 4, 3]);
      }
    });
  }

  it('is seen through the symbolic links of a Kubernetes volume', async (t) => {
    const directory = fresh(t);
    for (const [version, max] of [
      ['..2024_01', 1],
      ['..2024_02', 2],
    ] as const) {
      mkdirSync(join(directory, version));
      writeFileSync(join(directory, version, 'policy.json'), policyOf(max));
    }
    symlinkSync('..2024_01', join(directory, '..data'));
    symlinkSync('..data/policy.json', join(directory, 'policy.json'));
    const { max } = await watched(join(directory, 'policy.json'), 60_000);
    assert.equal(await max(), 1);
    symlinkSync('..2024_02', join(directory, '..data_tmp'));
    renameSync(join(directory, '..data_tmp'), join(directory, '..data'));
    rmSync(join(directory, '..2024_01'), { recursive: true });
    assert.equal(await max(), 2);
  });

  it('that is broken is refused once, aloud, and the one before it stays until it is mended', async (t) => {
    for (const aheadMs of [0, 60_000]) {
      const path = join(fresh(t), 'policy.json');
      writeFileSync(path, policyOf(1));
      const { max, refused } = await watched(path, aheadMs);
      writeFileSync(path, policyOf(2).replace('"max"', '"maximum"'));
      for (let call = 0; call < 3; call += 1) assert.equal(await max(), 1);
      assert.equal(refused.length, 1);
      assert.ok(refused[0] instanceof PolicyError);
      assert.match(refused[0].message, /maximum/);
      writeFileSync(path, 'nor is this');
      assert.equal(await max(), 1);
      assert.equal(refused.length, 2);
      writeFileSync(path, policyOf(3));
      assert.equal(await max(), 3);
      assert.equal(refused.length, 2);
    }
  });

  it('that is caught half-written holds as soon as it is whole', async (t) => {
    const path = join(fresh(t), 'policy.json');
    writeFileSync(path, policyOf(1));
    const { max, refused } = await watched(path, 60_000);
    const text = policyOf(2);
    for (let length = 0; length < text.length; length += 10) {
      writeFileSync(path, text.slice(0, length));
      assert.equal(await max(), 1);
    }
    writeFileSync(path, text);
    assert.equal(await max(), 2);
    assert.ok(refused.length > 0);
  });

  it('whose file is gone is refused, and holds when it is back', async (t) => {
    const path = join(fresh(t), 'policy.json');
    writeFileSync(path, policyOf(1));
    const { max, refused } = await watched(path, 60_000);
    rmSync(path);
    assert.equal(await max(), 1);
    assert.equal(await max(), 1);
    assert.match(refused.map(({ message }) => message).join(), /no such file/);
    assert.equal(refused.length, 1);
    writeFileSync(path, policyOf(2));
    assert.equal(await max(), 2);
  });

  it('that the rest of the house cannot follow is refused, and the one before it stays', async (t) => {
    const path = join(fresh(t), 'policy.json');
    writeFileSync(path, policyOf(1));
    const { max, refused, adopt } = await watched(path);
    adopt.fails = new Error('no such Python');
    writeFileSync(path, policyOf(2));
    assert.equal(await max(), 1);
    assert.equal(await max(), 1);
    assert.deepEqual(
      refused.map(({ message }) => message),
      ['no such Python'],
    );
    adopt.fails = null;
    writeFileSync(path, policyOf(3));
    assert.equal(await max(), 3);
  });

  it('holds for all calls that come after it, however many come at once', async (t) => {
    const path = join(fresh(t), 'policy.json');
    writeFileSync(path, policyOf(1));
    const { max, policy, adopted } = await watched(path, 60_000);
    const before = Array.from({ length: 20 }, () => policy.current());
    await Promise.all(before);
    writeFileSync(path, policyOf(2));
    assert.deepEqual(new Set(await Promise.all(Array.from({ length: 20 }, max))), new Set([2]));
    assert.equal(adopted.length, 1);
  });
});
