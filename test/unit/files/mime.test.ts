import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isTextType, mimeType } from '../../../src/files/mime.js';

const bytes = (text: string) => Buffer.from(text, 'latin1');

const told: [name: string, content: Uint8Array, type: string][] = [
  ['plot.png', bytes('\x89PNG\r\n\x1a\n....'), 'image/png'],
  ['photo.jpg', bytes('\xff\xd8\xff\xe0'), 'image/jpeg'],
  ['a.gif', bytes('GIF89a'), 'image/gif'],
  ['a.webp', bytes('RIFF\x10\0\0\0WEBPVP8 '), 'image/webp'],
  ['no-extension', bytes('\x89PNG\r\n\x1a\n'), 'image/png'],
  ['a.txt', bytes('\x89PNG\r\n\x1a\n'), 'image/png'],
  ['a.png', bytes('<script>alert(1)</script>'), 'application/octet-stream'],
  ['a.jpeg', bytes('GIF8'), 'application/octet-stream'],
  ['a.webp', bytes('RIFF\x10\0\0\0WAVE'), 'application/octet-stream'],
  ['a.csv', bytes('a,b\n'), 'text/csv'],
  ['A.CSV', bytes('a,b\n'), 'text/csv'],
  ['in/data.json', bytes('{}'), 'application/json'],
  ['a.svg', bytes('<svg/>'), 'image/svg+xml'],
  ['a.html', bytes('<b>'), 'text/html'],
  ['Makefile', bytes('all:\n'), 'text/plain'],
  ['a.unknown', Buffer.from('grüße'), 'text/plain'],
  ['cut', Buffer.from('grü').subarray(0, 3), 'text/plain'],
  ['binary', bytes('\x00\x01\x02'), 'application/octet-stream'],
  ['latin1', bytes('gr\xfc\xdfe'), 'application/octet-stream'],
  ['empty', bytes(''), 'text/plain'],
  ['dir.csv/file', bytes('\xff'), 'application/octet-stream'],
  ['.png', bytes('x'), 'text/plain'],
  ['a.constructor', bytes('x'), 'text/plain'],
];
for (const [name, content, type] of told) {
  test(`${name} that begins with ${JSON.stringify(Buffer.from(content).toString('latin1').slice(0, 12))} is ${type}`, () => {
    assert.equal(mimeType(name, content), type);
  });
}

test('text, JSON, XML and SVG are read as text; images and archives are not', () => {
  for (const type of ['text/csv', 'application/json', 'application/x-ipynb+json', 'image/svg+xml', 'application/xml']) {
    assert.ok(isTextType(type), type);
  }
  for (const type of ['image/png', 'application/zip', 'application/octet-stream']) assert.ok(!isTextType(type), type);
});
