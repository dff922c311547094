/** With the real decoder, in its own thread: it is built together with everything else. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { deflateSync } from 'node:zlib';
import { encodePng } from '../../../src/images/png.js';
import { readHeader } from '../../../src/images/header.js';
import { showImages, type ImageView } from '../../../src/images/show.js';
import { FIXTURES } from '../../support/fixtures.js';
import { colours, decodePng } from '../../support/png.js';

const ROOM_BYTES = 900_000;

/** Show files as if a program had left them. */
function show(files: Readonly<Record<string, Uint8Array>>, roomBytes = ROOM_BYTES): Promise<ImageView[]> {
  const outcomeFiles = Object.entries(files).map(([name, bytes]) => ({
    name,
    bytes: bytes.length,
    mimeType: readHeader(bytes)?.mimeType ?? 'image/png',
    uri: `cordon://files/run/${name}`,
  }));
  return showImages(outcomeFiles, ({ name }) => Promise.resolve(files[name] ?? null), roomBytes);
}

async function showOne(bytes: Uint8Array, roomBytes = ROOM_BYTES): Promise<ImageView> {
  const [view] = await show({ 'one.png': bytes }, roomBytes);
  assert.ok(view !== undefined);
  return view;
}

/** Nothing to compress: the same for every run. */
function noise(width: number, height: number): Uint8Array {
  const rgba = new Uint8Array(width * height * 4);
  let state = 1;
  for (let at = 0; at < rgba.length; at += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    rgba[at] = at % 4 === 3 ? 255 : state >>> 24;
  }
  return encodePng(rgba, width, height);
}

/** A drawing: lines on white. */
function drawing(width: number, height: number): Uint8Array {
  const rgba = new Uint8Array(width * height * 4).fill(255);
  for (let x = 0; x < width; x += 1) {
    const y = Math.floor(((Math.sin((x / width) * 20) + 1) / 2) * (height - 20)) + 10;
    for (let dy = -4; dy <= 4; dy += 1) rgba.set([0, 60, 200], ((y + dy) * width + x) * 4);
  }
  return encodePng(rgba, width, height);
}

/** A PNG of one bit a pixel whose header says one size and whose data are of another. */
function bitPng(width: number, height: number, data: Uint8Array): Uint8Array {
  const png = Buffer.from(encodePng(new Uint8Array(4), 1, 1));
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header[8] = 1;
  return Buffer.concat([png.subarray(0, 8), chunk('IHDR', header), chunk('IDAT', data), png.subarray(-12)]);
}

function chunk(type: string, data: Uint8Array): Buffer {
  const whole = Buffer.concat([Buffer.alloc(4), Buffer.from(type, 'latin1'), data, Buffer.alloc(4)]);
  whole.writeUInt32BE(data.length, 0);
  whole.writeUInt32BE(crc(whole.subarray(4, -4)), whole.length - 4);
  return whole;
}

/** CRC-32 the slow way (PNG, annex D), so that not everything here rests on zlib's. */
function crc(bytes: Uint8Array): number {
  let value = 0xffffffff;
  for (const byte of bytes) {
    value ^= byte;
    for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  }
  return (value ^ 0xffffffff) >>> 0;
}

for (const name of readdirSync(new URL('images/', FIXTURES)).filter((name) => !name.endsWith('.md'))) {
  test(`an image that fits is shown byte for byte: ${name}`, async () => {
    const bytes = readFileSync(new URL(`images/${name}`, FIXTURES));
    const { size, shown, whyNot } = await showOne(bytes);
    assert.deepEqual([size, whyNot], [{ width: 16, height: 12 }, null]);
    assert.equal(shown?.base64, bytes.toString('base64'));
    assert.equal(shown.mimeType, readHeader(bytes)?.mimeType);
  });

  test(`half of an image is not shown, and told as damaged: ${name}`, async () => {
    const bytes = readFileSync(new URL(`images/${name}`, FIXTURES));
    // Of some kinds half is still a picture to a decoder, and that is as good as one.
    const { shown, whyNot } = await showOne(bytes.subarray(0, 40));
    assert.equal(shown, null);
    assert.match(whyNot ?? '', /it is (damaged|not the image it begins as)/);
  });
}

test('a drawing with too many pixels is scaled down, stays a PNG, and is not blank', async () => {
  const { size, shown } = await showOne(drawing(3000, 2000));
  assert.deepEqual(size, { width: 3000, height: 2000 });
  assert.deepEqual([shown?.mimeType, shown?.width, shown?.height], ['image/png', 1568, 1045]);
  const pixels = decodePng(Buffer.from(shown?.base64 ?? '', 'base64'));
  assert.deepEqual([pixels.width, pixels.height], [1568, 1045]);
  assert.ok(colours(pixels) > 5);
});

test('an image with too many bytes is made to fit, as a photograph where it must be', async () => {
  const { size, shown } = await showOne(noise(900, 600), 200_000);
  assert.deepEqual(size, { width: 900, height: 600 });
  assert.equal(shown?.mimeType, 'image/jpeg');
  assert.ok(shown.base64.length <= 200_000);
  const header = readHeader(Buffer.from(shown.base64, 'base64'));
  assert.deepEqual([header?.width, header?.height], [shown.width, shown.height]);
});

test('what can be seen through is put on white where it becomes a photograph', async () => {
  const rgba = new Uint8Array(600 * 600 * 4);
  let state = 7;
  for (let at = 0; at < rgba.length; at += 4) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    rgba.set([state >>> 24, (state >>> 16) & 255, (state >>> 8) & 255, 0], at); // invisible noise
  }
  const { shown } = await showOne(encodePng(rgba, 600, 600), 30_000);
  // Noise of that size would not fit; white does.
  assert.deepEqual([shown?.mimeType, shown?.width], ['image/jpeg', 600]);
});

test('300 megapixels are not decoded: the answer says how many there are and what to do', async () => {
  const bomb = bitPng(20_000, 15_000, deflateSync(Buffer.alloc((2500 + 1) * 15_000)));
  assert.ok(bomb.length < 100_000);
  const { size, shown, whyNot } = await showOne(bomb);
  assert.equal(shown, null);
  assert.deepEqual(size, { width: 20_000, height: 15_000 });
  assert.match(whyNot ?? '', /16 megapixels.*save it smaller/);
});

test('a header that promises more than there is, and data that are more than the header says, do no harm', async () => {
  const short = await showOne(bitPng(4000, 4000, deflateSync(Buffer.alloc(10))));
  assert.match(short.whyNot ?? '', /damaged/);
  const long = await showOne(bitPng(8, 8, deflateSync(Buffer.alloc(64 << 20))), 20_000);
  // Shown or not, but never larger than it was let be.
  assert.ok(long.shown === null || (long.shown.width === 8 && long.shown.base64.length <= 20_000));
});

test('after one that breaks the decoder the next are decoded as if nothing had happened', async () => {
  const good = drawing(40, 30);
  const views = await show({ 'bad.png': good.subarray(0, 60), 'good.png': good });
  assert.deepEqual(
    views.map(({ shown }) => shown !== null),
    [false, true],
  );
});

test('several share the room: small ones are left alone, large ones get the same each', async () => {
  const small = drawing(300, 200);
  const large = noise(700, 500);
  const views = await show({ 'a.png': large, 'b.png': small, 'c.png': large }, 400_000);
  const bytes = views.map(({ shown }) => shown?.base64.length ?? 0);
  assert.ok(bytes.reduce((sum, one) => sum + one) <= 400_000, bytes.join());
  assert.equal(views[1]?.shown?.base64, Buffer.from(small).toString('base64'));
  assert.ok(views.every(({ shown }) => shown !== null && shown.width >= 150));
});

test('of many only the first eight are shown, and the rest say so', async () => {
  const one = drawing(20, 30);
  const views = await show(Object.fromEntries(Array.from({ length: 11 }, (_, n) => [`${n}.png`, one])));
  assert.equal(views.filter(({ shown }) => shown !== null).length, 8);
  assert.equal(views[10]?.whyNot, 'only the first 8 are');
});

test('no thread is started where nothing can be shown, and none is left', async () => {
  const threads = () => readdirSync('/proc/self/task').length;
  if (process.platform === 'linux') {
    await showOne(drawing(10, 30));
    const before = threads();
    for (let n = 0; n < 3; n += 1) await showOne(drawing(10, 30));
    assert.ok(threads() <= before);
  }
  assert.deepEqual(await showImages([], () => Promise.reject(new Error('read')), ROOM_BYTES), []);
  const gone = { name: 'gone.png', bytes: 10, mimeType: 'image/png', uri: 'cordon://files/run/gone.png' };
  const [view] = await showImages([gone], () => Promise.reject(new Error('gone')), ROOM_BYTES);
  assert.equal(view?.whyNot, 'it could not be read');
  const huge = { ...gone, bytes: 2 ** 40 };
  const [unread] = await showImages([huge], () => assert.fail('it was read'), ROOM_BYTES);
  assert.match(unread?.whyNot ?? '', /1099511627776 bytes/);
});

test('an SVG or HTML is never one of them, whatever its name says', async () => {
  const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>');
  const file = { name: 'x.svg', bytes: svg.length, mimeType: 'image/svg+xml', uri: 'u' };
  assert.deepEqual(await showImages([file], () => Promise.resolve(svg), ROOM_BYTES), []);
  assert.match((await showOne(svg)).whyNot ?? '', /not the image/); // even when its type were wrong
});
