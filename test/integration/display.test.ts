/** Plots, images and last values, as the programs of a real sandbox leave them. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import type { JobOutcome } from '../../src/sandbox.js';
import { colours, decodePng } from '../support/png.js';
import { openSandbox, PYTHON, type RunOptions } from '../support/sandbox.js';
import { asInTree } from '../support/tier.js';

const has = (module: string) => spawnSync(PYTHON, ['-c', `import ${module}`]).status === 0;
const lacks = (module: string) => (has(module) ? false : `needs ${module}`);

const plain = await openSandbox({ warm: 1 });
const preloaded = has('matplotlib') ? await openSandbox({ warm: 1, preload: ['matplotlib.pyplot'] }) : plain;
const noPlots = plain.missing || lacks('matplotlib');
const noPandas = plain.missing || lacks('pandas');

interface Left extends JobOutcome {
  readonly files: Readonly<Record<string, Buffer>>;
}

/** Run a program that ends well, and take the files it leaves. */
async function run(code: string, sandbox = plain, options: RunOptions = {}): Promise<Left> {
  const files: Record<string, Buffer> = {};
  const outcome = await sandbox.run(code, {
    limits: { memoryMb: 512 },
    ...options,
    onFile: ({ name }) => {
      const pieces: Buffer[] = [];
      return {
        write: (piece) => void pieces.push(Buffer.from(piece)),
        end: (whole) => {
          if (whole) files[name] = Buffer.concat(pieces);
        },
      };
    },
  });
  return { ...outcome, files };
}

const names = ({ files }: Left) => Object.keys(files).sort();

function assertDrawn(png: Buffer | undefined): void {
  assert.ok(png !== undefined);
  assert.ok(colours(decodePng(png)) > 10, 'it is blank');
}

for (const [title, sandbox] of [
  ['imported by the program', plain],
  ['preloaded', preloaded],
] as const) {
  test(
    `matplotlib ${title}: a plot comes back without being told, and nothing is said on stderr`,
    { skip: noPlots },
    async () => {
      const left = await run('import matplotlib.pyplot as plt\nplt.plot([1, 3, 2])\nplt.title("größer")', sandbox);
      assert.equal(left.status, 'ok', left.stderr.text);
      assert.equal(left.stderr.text, '');
      assert.deepEqual(names(left), ['plot-1.png']);
      assertDrawn(left.files['plot-1.png']);
    },
  );

  test(`matplotlib ${title}: show ends a figure, and the next begins a new one`, { skip: noPlots }, async () => {
    const code = `
import matplotlib.pyplot as plt
plt.plot([1, 2]); plt.show()
print(plt.get_fignums())
plt.plot([2, 1]); plt.show(block=True)
plt.bar([1, 2], [3, 4])
plt.pause(0.01)
print(plt.get_fignums())`;
    const left = await run(code, sandbox);
    assert.equal(left.stdout.text, '[]\n[1]\n');
    assert.deepEqual(names(left), ['plot-1.png', 'plot-2.png', 'plot-3.png']);
    assert.equal(left.stderr.text, '');
    assert.notDeepEqual(left.files['plot-1.png'], left.files['plot-2.png']);
  });
}

const PLOTS: Readonly<Record<string, { readonly code: string; readonly files: readonly string[] }>> = {
  'a figure that the program saved itself is not saved twice': {
    code: 'plt.plot([1, 2])\nplt.savefig("mine.png")\nplt.show()',
    files: ['mine.png'],
  },
  'a figure that changed after it was saved is': {
    code: 'plt.plot([1, 2])\nplt.savefig("mine.png")\nplt.title("more")',
    files: ['mine.png', 'plot-1.png'],
  },
  'saved without an extension is saved as an image': {
    code: 'plt.plot([1, 2])\nplt.savefig("mine")',
    files: ['mine.png'],
  },
  'saved as PDF, into a buffer, or where nothing comes back from is not shown yet': {
    code: 'import io\nplt.plot([1, 2])\nplt.savefig("mine.pdf")\nplt.savefig(io.BytesIO())\nplt.savefig(__import__("tempfile").gettempdir() + "/x.png")',
    files: ['mine.pdf', 'plot-1.png'],
  },
  'saved and removed again is not there, so it is saved': {
    code: 'import os\nplt.plot([1, 2])\nplt.savefig("mine.png")\nos.remove("mine.png")',
    files: ['plot-1.png'],
  },
  "the program's own files are not overwritten": {
    code: 'open("plot-1.png", "w").write("mine")\nplt.plot([1, 2])',
    files: ['plot-1.png', 'plot-2.png'],
  },
  'a figure with nothing on it is not worth a file': {
    code: 'plt.figure()\nplt.figure()\nplt.plot([1])',
    files: ['plot-1.png'],
  },
  'a closed figure is gone': { code: 'plt.plot([1, 2])\nplt.close()', files: [] },
  'the backend may be chosen again': {
    code: 'import matplotlib\nmatplotlib.use("svg")\nplt.plot([1, 2])',
    files: ['plot-1.png'],
  },
  'a program that leaves its directory finds its plots in it': {
    code: 'import os\nos.chdir(__import__("tempfile").gettempdir())\nplt.plot([1, 2])',
    files: ['plot-1.png'],
  },
  'a program that leaves by sys.exit keeps its plots': {
    code: 'import sys\nplt.plot([1, 2])\nsys.exit(0)',
    files: ['plot-1.png'],
  },
  'a figure without pyplot is saved as the last value': {
    code: 'from matplotlib.figure import Figure\nf = Figure()\nf.subplots().plot([1, 2])\nf',
    files: ['plot-1.png'],
  },
  'a figure that is open and the last value is saved once': {
    code: 'f, ax = plt.subplots()\nax.plot([1, 2])\nf',
    files: ['plot-1.png'],
  },
};
for (const [title, { code, files }] of Object.entries(PLOTS)) {
  test(`plots: ${title}`, { skip: noPlots }, async () => {
    const left = await run(`import matplotlib.pyplot as plt\n${code}`, preloaded);
    assert.equal(left.status, 'ok', left.stderr.text);
    assert.equal(left.stderr.text, '');
    assert.deepEqual(names(left), files);
  });
}

test(
  'plots: what was drawn until an exception comes back, and the exception is the outcome',
  { skip: noPlots },
  async () => {
    const left = await run('import matplotlib.pyplot as plt\nplt.plot([1, 2])\n1 / 0', preloaded);
    assert.equal(left.status, 'error');
    assert.equal(left.error?.type, 'ZeroDivisionError');
    assertDrawn(left.files['plot-1.png']);
  },
);

test('plots: one that can’t be drawn is told in a line, the others come', { skip: noPlots }, async () => {
  const code = 'import matplotlib.pyplot as plt\nplt.title(r"$\\frac{$")\nplt.figure()\nplt.plot([1, 2])\nNone';
  const left = await run(code, preloaded);
  assert.equal(left.status, 'ok');
  assert.match(left.stderr.text, /^figure 1 could not be saved: ValueError: .*\n$/);
  assert.deepEqual(names(left).length, 1);
});

test(
  'plots: what show raises is raised from the line that says it, without a frame of ours',
  { skip: noPlots },
  async () => {
    const left = await run('import matplotlib.pyplot as plt\nplt.title(r"$\\frac{$")\nplt.show()', preloaded);
    assert.deepEqual([left.status, left.error?.type, left.error?.line], ['error', 'ValueError', 3]);
    assert.match(asInTree(left.stderr.text), /File "\/code\/main\.py", line 3, in <module>\n {4}plt\.show\(\)\n/);
    assert.doesNotMatch(left.stderr.text, /plots\.py|execute\.py/);
  },
);

test('plots: a warning is said once, of the line that drew, or of the file', { skip: noPlots }, async () => {
  // A code point for private use: no font has it.
  const text = 'import matplotlib.pyplot as plt\nplt.figtext(0.5, 0.5, chr(0xE000))\n';
  const own = await run(`${text}plt.savefig("mine.png")`, preloaded);
  assert.equal(own.stderr.text.split('Glyph 57344').length, 2, own.stderr.text);
  assert.match(asInTree(own.stderr.text), /^\/code\/main\.py:3: UserWarning: Glyph/);
  const shown = await run(`${text}plt.show()`, preloaded);
  assert.match(shown.stderr.text, /^plot-1\.png: Glyph 57344 .*\n$/);
});

test('plots: a figure of 200 inches, and a text a mile off, do not take gigabytes', { skip: noPlots }, async () => {
  const code = `
import matplotlib.pyplot as plt
plt.figure(figsize=(200, 200), dpi=300); plt.plot([1, 2])
plt.figure(); plt.plot([1, 2]); plt.gcf().text(3000, 3000, "far")`;
  const left = await run(code, preloaded);
  assert.equal(left.status, 'ok', left.reason);
  for (const png of Object.values(left.files)) {
    const { width, height } = decodePng(png);
    assert.ok(Math.max(width, height) <= 3300, `${width}x${height}`);
  }
});

test('plots: pandas draws too', { skip: noPlots || noPandas }, async () => {
  const left = await run('import pandas as pd\npd.Series([1, 3, 2]).plot(kind="bar")', preloaded);
  assertDrawn(left.files['plot-1.png']);
});

const repr = (body: string) => `class Value:\n    def __repr__(self):\n        ${body}\nValue()`;
const VALUES: Readonly<Record<string, { readonly code: string; readonly result: RegExp | string | null }>> = {
  'a number': { code: '6 * 7', result: '42' },
  None: { code: 'None', result: null },
  'a statement has none': { code: 'x = 1', result: null },
  'a semicolon keeps it quiet': { code: '(1 +\n 1); # ;', result: null },
  'a semicolon in a string does not': { code: '";"  # ; ', result: "';'" },
  'a list of ten million is told by its first items': {
    code: 'list(range(10**7))',
    result:
      /^\[0, 1, 2, .*\[\.\.\. cut: the first 16,000 characters of a value of 10,000,000 items; print the part you need\]$/,
  },
  'a string of a megabyte is cut': { code: '"é" * 10**6', result: /^'é{15999} \[\.\.\. cut: .*1,000,000 characters/ },
  'a long repr is cut': { code: repr('return "x" * 20000'), result: /^x{16000} \[\.\.\. cut: .*20,000 characters/ },
  'a repr that raises': {
    code: repr('raise ValueError("no")'),
    result: '<Value object whose repr failed: ValueError: no>',
  },
  'a repr that is no string': { code: repr('return 5'), result: /^<Value object whose repr failed: TypeError: / },
  'a repr that calls itself': {
    code: repr('return repr(self)'),
    result: /^<Value object whose repr failed: RecursionError/,
  },
  'an exception whose own words fail': {
    code: `class Bad(Exception):\n    def __str__(self): raise self\n${repr('raise Bad()')}`,
    result: '<Value object whose repr failed: Bad>',
  },
  'a string of a class with ideas of its own': {
    code: `class S(str):\n    def __len__(self): return -5\n    def __getitem__(self, key): 1 / 0\n${repr('return S("q" * 20000)')}`,
    result: /^q{16000} \[/,
  },
  'half a surrogate pair': { code: '"\\ud83d"', result: "'\\ud83d'" },
  'an object that answers to every name': {
    code: 'class All:\n    def __getattr__(self, name): return self\n    def __call__(self, *a, **k): return self\n    def __repr__(self): return "all"\nAll()',
    result: 'all',
  },
  'a class with rich forms is not one of its objects': {
    code: 'class Rich:\n    def _repr_png_(self): return b""\nRich',
    result: /^<class '__main__\.Rich'>$/,
  },
};
for (const [title, { code, result }] of Object.entries(VALUES)) {
  test(`the last value: ${title}`, { skip: plain.missing }, async () => {
    const left = await run(code);
    assert.equal(left.status, 'ok', left.stderr.text);
    if (result instanceof RegExp) assert.match(left.result ?? '', result);
    else assert.equal(left.result, result);
    assert.deepEqual(names(left), []);
  });
}

test(
  'a repr that loops for ever meets the time limit, one that leaves decides the outcome',
  { skip: plain.missing },
  async () => {
    assert.equal((await run(repr('while True: pass'), plain, { limits: { timeoutSeconds: 0.5 } })).status, 'timeout');
    const left = await run(repr('raise SystemExit(3)'));
    assert.deepEqual([left.status, left.exitCode, left.result], ['error', 3, null]);
  },
);

test('the last value is not asked for when the program failed or left', { skip: plain.missing }, async () => {
  const asked = 'class Value:\n    def __repr__(self): print("asked"); return ""\n    _repr_html_ = __repr__\n';
  for (const end of ['raise ValueError\nValue()', 'import sys\nsys.exit(0)\nValue()', '[Value(), 1 / 0][0]']) {
    const left = await run(`${asked}${end}`);
    assert.deepEqual([left.stdout.text, left.result, names(left)], ['', null, []]);
  }
});

const rich = (methods: string) =>
  `class Rich:\n${methods.replaceAll(/^/gm, '    ')}\n    def __repr__(self): return "rich" * 300\nRich()`;
const FORMS: Readonly<Record<string, { readonly code: string; readonly files: Readonly<Record<string, string>> }>> = {
  HTML: { code: rich('def _repr_html_(self): return "<b>é</b>"'), files: { 'result-1.html': '<b>é</b>' } },
  'SVG before HTML': {
    code: rich('def _repr_html_(self): return "<b>"\ndef _repr_svg_(self): return "<svg/>"'),
    files: { 'result-1.svg': '<svg/>' },
  },
  'a picture before either, in base64 as well': {
    code: rich('def _repr_svg_(self): return "<svg/>"\ndef _repr_png_(self): return "UE5H"'),
    files: { 'result-1.png': 'PNG' },
  },
  'a bundle, with its metadata': {
    code: rich('def _repr_mimebundle_(self, include, exclude): return {"image/jpeg": b"JPG"}, {"width": 3}'),
    files: { 'result-1.jpg': 'JPG' },
  },
  'a form that is None is none': {
    code: rich('def _repr_png_(self): return None\ndef _repr_html_(self): return "<b>"'),
    files: { 'result-1.html': '<b>' },
  },
  'plotly’s figures, with their library in them': {
    code: `class Figure:
    def to_html(self, include_plotlyjs): return f"<html>{include_plotlyjs}"
    def _repr_html_(self): return "<script src='https://cdn.example'>"
    def __repr__(self): return "Figure(" + "x" * 99999
Figure.__module__ = "plotly.graph_objs._figure"
Figure()`,
    files: { 'result-1.html': '<html>True' },
  },
};
for (const [title, { code, files }] of Object.entries(FORMS)) {
  test(
    `a rich last value is saved beside its repr, which is kept short: ${title}`,
    { skip: plain.missing },
    async () => {
      const left = await run(code);
      assert.deepEqual(
        Object.fromEntries(Object.entries(left.files).map(([name, bytes]) => [name, bytes.toString()])),
        files,
      );
      assert.match(left.result ?? '', /^(Figure\(|rich).* \[\.\.\. cut: the first 500 characters/);
    },
  );
}

test('a rich form that fails, or is far too large, is told beside the repr', { skip: plain.missing }, async () => {
  const failed = await run(
    'class Rich:\n    def _repr_png_(self): raise ValueError("no")\n    def __repr__(self): return "rich"\nRich()',
  );
  assert.deepEqual([failed.status, failed.result], ['ok', 'rich [it could not be saved as a file: ValueError: no]']);
  const large = await run(
    'class Rich:\n    def _repr_html_(self): return "x" * (17 << 20)\n    def __repr__(self): return "rich"\nRich()',
  );
  assert.equal(large.result, 'rich [its text/html form has 17,825,792 bytes, and at most 16,777,216 are saved]');
  assert.deepEqual(names(large), []);
});

test('an image of Pillow is a PNG, of whatever mode', { skip: plain.missing || lacks('PIL') }, async () => {
  for (const mode of ['RGB', 'CMYK', 'L', '1', 'F']) {
    const left = await run(`from PIL import Image\nImage.new("${mode}", (30, 20))`);
    assert.match(left.files['result-1.png']?.toString('latin1', 1, 4) ?? '', /PNG/, mode);
  }
});

test('a DataFrame is a table with its shape, and no file', { skip: noPandas }, async () => {
  const left = await run('import pandas as pd\npd.DataFrame({"city": ["Oslo", "Bergen"], "t": [3.5, 7]})');
  assert.equal(left.result, '     city    t\n0    Oslo  3.5\n1  Bergen  7.0\n\n[2 rows x 2 columns]');
  assert.deepEqual(names(left), []);
});

test(
  'a wide and long DataFrame is not wrapped, and told in bounds; the program’s own options count',
  { skip: noPandas },
  async () => {
    const frame = 'import pandas as pd, numpy as np\nframe = pd.DataFrame(np.zeros((5000, 22)))\n';
    const { result } = await run(`${frame}frame`);
    const lines = (result ?? '').split('\n');
    assert.equal(lines.at(-1), '[5000 rows x 22 columns]');
    assert.ok(lines.length < 30 && (lines[1] ?? '').length > 90);
    const own = await run(`${frame}pd.set_option("display.min_rows", 4)\nframe`);
    assert.equal((own.result ?? '').split('\n').length, 1 + 5 + 2);
  },
);

test('a program that uses nothing of this has nothing of this imported', { skip: plain.missing }, async () => {
  const { stdout } = await run(
    'import sys\nprint([n for n in sys.modules if n.split(".")[0] in ("matplotlib", "PIL", "pandas", "numpy", "plots", "display")])',
  );
  assert.equal(stdout.text, '[]\n');
});

test('the finder that waits for pyplot goes with it, and leaves the module as it is', { skip: noPlots }, async () => {
  const code = `
import sys
waiting = [type(f).__name__ for f in sys.meta_path if type(f).__module__ == "plots"]
import matplotlib.pyplot as plt
print(waiting, [f for f in sys.meta_path if type(f).__module__ == "plots"], "exec_module" in vars(plt.__spec__.loader))
import inspect, importlib
print(len(inspect.getsource(plt)) > 1000, plt.show.__name__)`;
  assert.equal((await run(code)).stdout.text, "['_Finder'] [] False\nTrue show\n");
});
