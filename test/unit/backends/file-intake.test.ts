import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createFileIntake, type FileIntake } from '../../../src/backends/file-intake.js';
import { LIMITS } from '../../support/sandbox.js';

interface Heard {
  readonly intake: FileIntake;
  readonly said: string[];
}

function intake(limits: Partial<typeof LIMITS> = {}): Heard {
  const said: string[] = [];
  return {
    said,
    intake: createFileIntake({ ...LIMITS, ...limits }, ({ name }) => ({
      write: (piece) => said.push(`${name} ${Buffer.from(piece).toString()}`),
      end: (whole) => said.push(`${name} ${whole ? 'whole' : 'lost'}`),
    })),
  };
}
const announce = (name: unknown, bytes: unknown) => Buffer.from(JSON.stringify({ name, bytes }));

test('a file is whole at the next one or at the end, when all of it has come', () => {
  const { intake: files, said } = intake();
  files.begin(announce('a', 4));
  files.add(Buffer.from('12'));
  files.add(Buffer.from('34'));
  files.begin(announce('empty', 0));
  files.begin(announce('b', 1));
  files.add(Buffer.from('x'));
  files.finish();
  assert.deepEqual(said, ['a 12', 'a 34', 'a whole', 'empty whole', 'b x', 'b whole']);
});

test('a file of which less came than was said is lost, and so is the one under way when the sandbox goes', () => {
  const { intake: files, said } = intake();
  files.begin(announce('a', 4));
  files.add(Buffer.from('12'));
  files.begin(announce('b', 4));
  files.stop();
  files.stop();
  assert.deepEqual(said, ['a 12', 'a lost', 'b lost']);
});

for (const name of ['../../x', '/etc/passwd', 'a\nb', '', 'a/../../b', '..\\x', 7, null]) {
  test(`a file named ${JSON.stringify(name)} breaks the protocol`, () => {
    const { intake: files, said } = intake();
    assert.throws(() => {
      files.begin(announce(name, 1));
    });
    assert.deepEqual(said, []);
  });
}

test('more than was said, more files and more bytes than were asked for, and unasked files break the protocol', () => {
  const long = intake().intake;
  long.begin(announce('a', 1));
  assert.throws(() => {
    long.add(Buffer.from('12'));
  }, /more of a file/);
  assert.throws(() => {
    intake().intake.add(Buffer.from('1'));
  }, /more of a file/);
  const many = intake({ filesOut: 1 }).intake;
  many.begin(announce('a', 0));
  assert.throws(() => {
    many.begin(announce('b', 0));
  }, /more files/);
  const much = intake({ filesOutMb: 1 }).intake;
  much.begin(announce('a', 2 ** 20));
  assert.throws(() => {
    much.begin(announce('b', 1));
  }, /expected at most 0/);
  assert.throws(() => {
    createFileIntake(LIMITS, undefined).begin(announce('a', 0));
  }, /more files/);
  for (const bytes of [-1, 1.5, '1', null, 1e300]) {
    assert.throws(() => {
      intake().intake.begin(announce('a', bytes));
    });
  }
});
