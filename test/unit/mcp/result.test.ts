import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AjvJsonSchemaValidator } from '@modelcontextprotocol/sdk/validation/ajv';
import { outcomeJsonSchema, toResult as render, type ResultOptions } from '../../../src/mcp/result.js';
import { encodePng } from '../../../src/images/png.js';
import type { Outcome } from '../../../src/outcome.js';
import { captured, deniedWith, outcomeWith } from './outcomes.js';

const toResult = (outcome: Outcome, options: Partial<ResultOptions> = {}) =>
  render(outcome, { structured: true, images: 'inline', read: () => Promise.resolve(null), ...options });

const WIRE_MAX_BYTES = 1_000_000;

const outcomes: Record<string, Outcome> = {
  ok: outcomeWith({ stdout: captured('hello\n'), result: '42' }),
  error: outcomeWith({ status: 'error', error: { type: 'ValueError', message: 'x', line: null }, exitCode: 1 }),
  killed: outcomeWith({ status: 'killed', exitCode: null, signal: 'SIGSEGV' }),
  denied: deniedWith(),
  'denied for good': deniedWith({ retryAfterMs: null, retryable: false, code: 'invalid_arguments', rule: '' }),
  unavailable: outcomeWith({ status: 'unavailable', usage: null, tier: null, limits: [], exitCode: null }),
};

// A client that checks throws where the two differ, and the caller sees nothing of the outcome.
for (const [name, outcome] of Object.entries(outcomes)) {
  test(`the structured content is what the output schema says: ${name}`, async () => {
    const { structuredContent } = await toResult(outcome);
    const checked = new AjvJsonSchemaValidator().getValidator(outcomeJsonSchema())(structuredContent);
    assert.equal(checked.errorMessage, undefined);
  });
}

test('only ok is no error', async () => {
  for (const [name, outcome] of Object.entries(outcomes))
    assert.equal((await toResult(outcome)).isError, name !== 'ok');
});

test('the structured content says what to do, for clients that show nothing else', async () => {
  const { structuredContent } = await toResult(
    outcomeWith({ status: 'timeout', reason: 'stopped at the time limit of 30 s' }),
  );
  assert.match(String(structuredContent?.reason), /30 s\. Do less in one call/);
});

const nasty: Record<string, string> = {
  'control characters, six bytes each in JSON': '\u0001',
  'quotes and backslashes': '"\\',
  'characters of four bytes': '\u{1f600}',
  'plain letters': 'x',
};
for (const [name, unit] of Object.entries(nasty)) {
  test(`a result stays under 1 MB on the wire: ${name}`, async () => {
    const text = unit.repeat(300_000);
    const result = await toResult(
      outcomeWith({
        status: 'error',
        stdout: captured(text, 7),
        stderr: captured(text),
        result: text,
        error: { type: text, message: text, line: 1 },
      }),
    );
    const bytes = Buffer.byteLength(JSON.stringify({ jsonrpc: '2.0', id: 123456789, result }));
    assert.ok(bytes < WIRE_MAX_BYTES, `${bytes}`);
    assert.ok(bytes > WIRE_MAX_BYTES / 3, `shrunk more than needed: ${bytes}`);
    assert.doesNotMatch(String(result.structuredContent?.stdout), /\p{Surrogate}/u);
  });
}

test('what had to be left out for the wire keeps head and tail, and counts every byte', async () => {
  const text = `first line\n${'\u0001'.repeat(400_000)}\nlast line`;
  const { structuredContent, content } = await toResult(outcomeWith({ stdout: captured(text) }));
  const stdout = String(structuredContent?.stdout);
  const omitted = Number(structuredContent?.stdoutOmittedBytes);
  const marker = `\n[... ${omitted} bytes left out ...]\n`;
  assert.ok(stdout.startsWith('first line\n') && stdout.endsWith('\nlast line'));
  assert.equal(stdout.split(marker).length, 2);
  assert.equal(omitted + Buffer.byteLength(stdout) - Buffer.byteLength(marker), Buffer.byteLength(text));
  const [block] = content;
  assert.ok(
    block?.type === 'text' && block.text.includes(`stdout: ${omitted} of ${Buffer.byteLength(text)} bytes left out`),
  );
});

test('a result that fits is left alone', async () => {
  const text = 'x'.repeat(128 * 1024);
  assert.equal((await toResult(outcomeWith({ stdout: captured(text) }))).structuredContent?.stdout, text);
});

/** A PNG that nothing makes smaller, as a program could have left it. */
function noisePng(side: number): Buffer {
  const rgba = new Uint8Array(side * side * 4);
  let state = 1;
  for (let at = 0; at < rgba.length; at += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    rgba[at] = at % 4 === 3 ? 255 : state >>> 24;
  }
  return encodePng(rgba, side, side);
}

function leaving(files: Readonly<Record<string, Buffer>>): [Partial<Outcome>, Pick<ResultOptions, 'read'>] {
  const left = Object.entries(files).map(([name, { length }]) => ({
    name,
    bytes: length,
    mimeType: name.endsWith('.png') ? 'image/png' : 'text/csv',
    uri: `cordon://files/run/${name}`,
  }));
  return [{ files: left }, { read: ({ name }) => Promise.resolve(files[name] ?? null) }];
}

const blocksOf = async (...given: Parameters<typeof toResult>) =>
  (await toResult(...given)).content.map((block) => (block.type === 'resource_link' ? block.name : block.type));

test('images stand right behind the text, and base64 only there', async () => {
  const png = noisePng(20);
  const [outcome, { read }] = leaving({ 'a.png': png, 'b.csv': Buffer.from('a,b\n') });
  const result = await toResult(outcomeWith(outcome), { read });
  const base64 = png.toString('base64');
  assert.deepEqual(result.content[1], { type: 'image', mimeType: 'image/png', data: base64 });
  assert.deepEqual(await blocksOf(outcomeWith(outcome), { read }), ['text', 'image', 'a.png', 'b.csv']);
  assert.ok(!JSON.stringify(result.structuredContent).includes(base64.slice(0, 60)));
});

test('images inline, as links, or not at all; structured content, or none', async () => {
  const [outcome, { read }] = leaving({ 'a.png': noisePng(20), 'b.csv': Buffer.from('a,b\n') });
  const unread = () => assert.fail('the image was read');
  assert.deepEqual(await blocksOf(outcomeWith(outcome), { read: unread, images: 'link' }), ['text', 'a.png', 'b.csv']);
  assert.deepEqual(await blocksOf(outcomeWith(outcome), { read: unread, images: 'none' }), ['text', 'b.csv']);
  assert.deepEqual(await blocksOf(outcomeWith(), { read }), ['text']);
  assert.equal((await toResult(outcomeWith(), { structured: false })).structuredContent, undefined);
});

test('with images and as much text as there can be, a result stays under 1 MB, and shows both', async () => {
  const large = noisePng(600);
  const [outcome, { read }] = leaving({ 'a.png': large, 'b.png': large, 'c.png': large });
  const text = '\u0001'.repeat(130_000);
  const result = await toResult(outcomeWith({ ...outcome, stdout: captured(text), stderr: captured(text) }), { read });
  const bytes = Buffer.byteLength(JSON.stringify({ jsonrpc: '2.0', id: 123456789, result }));
  assert.ok(bytes < WIRE_MAX_BYTES, `${bytes}`);
  assert.equal(result.content.filter(({ type }) => type === 'image').length, 3);
  assert.ok(String(result.structuredContent?.stdout).length > 10_000);
});

test('the structured content says the failing line too', async () => {
  const error = { type: 'KeyError', message: "'a'", line: 2 };
  const result = await toResult(outcomeWith({ status: 'error', error }), { code: 'x = {}\nx["a"]' });
  assert.equal(result.structuredContent?.reason, `KeyError: 'a' (line 2: x["a"])`);
});
