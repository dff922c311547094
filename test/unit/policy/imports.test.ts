import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { importsOf } from '../../../src/policy/imports.js';

describe('the imports of a program', () => {
  const cases: [code: string, imports: string[]][] = [
    ['', []],
    ['x = 1', []],
    ['import os', ['os']],
    ['import os.path as p, sys; import json', ['json', 'os', 'sys']],
    ['from collections.abc import Mapping as M, (Sequence)', ['collections']],
    ['from os import (path,\n  sep,)', ['os']],
    ['from . import x', ['.']],
    ['from ...pkg import x', ['.']],
    ['from x import *', ['x']],
    ['def f():\n  if 1:\n    import socket', ['socket']],
    ['try:\n  import a\nexcept* ImportError:\n  import b', ['a', 'b']],
    ['import\\\n  os', ['os']],
    ['import ｏｓ', ['os']],
    ['# import os\n"import sys"\n"""\nimport json\n"""', []],
    ['import os\nimport os', ['os']],
    ['x = 1.\nyield\nimport os', ['os']],
    ['def f(:\n  import socket\nfrom re import (', ['re', 'socket']],
    ['if True: import os\n)', ['os']],
    ['\ufeffimport os', ['os']],
    ['import os\r\nimport sys', ['os', 'sys']],
    ['import os\0', ['os']],
  ];
  for (const [code, imports] of cases) {
    it(`${JSON.stringify(code)}: ${imports.join(', ') || 'none'}`, () => {
      assert.deepEqual(importsOf(code), imports);
    });
  }
  it('of a program that is too long cannot be told', () => {
    assert.equal(importsOf('#'.repeat(1_048_577)), null);
  });
  it('of deeply nested code are found without a stack overflow', () => {
    assert.deepEqual(importsOf(`${'('.repeat(20_000)}1\nimport os`), ['os']);
  });
});
