import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isWhole } from '../../../../src/commands/run/statement.js';

for (const text of [
  'x = 1\n',
  '\n',
  'print("a", (1, [2]))\n',
  'x = "("  # and (\n',
  "x = 'it\\'s ('\n",
  'x = """a\n\nb"""\n',
  'f(1,\n  2)\n',
  'x = 1 + \\\n  2\n',
  'if x: y = 1\n',
  'd = {1:\n  2}\n',
  'def f():\n  return 1\n\n',
  'for x in y:  # why\n  print(x)\n   \n',
  'class A:\n  """Doc:\n\n  more"""\n  x = 1\n\n',
  '@cached\ndef f():\n  return 1\n\n',
  'x = )\n',
  "x = 'never closed (\n",
]) {
  test(`whole: ${JSON.stringify(text)}`, () => {
    assert.equal(isWhole(text), true);
  });
}

for (const text of [
  'def f():\n',
  'def f():\n  return 1\n',
  'for x in y:  # why\n',
  'f(1,\n',
  'f(1,\n\n',
  'x = """a\n\n',
  "x = '''a\n",
  'x = 1 + \\\n',
  '@cached\n',
  '@cached\ndef f():\n',
  'class A:\n  """Doc:\n\n',
  'if x:\n  f(\n\n',
]) {
  test(`not yet whole: ${JSON.stringify(text)}`, () => {
    assert.equal(isWhole(text), false);
  });
}
