/** Files and pictures in a soak: what comes back has to be what was written, byte for byte, and nothing else comes. */

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { decodePng } from '../support/png.js';
import type { Answered, Caller } from './caller.js';

/** Directories of this machine that the policy opens: one to read, and one to write to. */
export interface Opened {
  readonly readable: string;
  /** What lies in `readable`, by name. */
  readonly content: Readonly<Record<string, string>>;
  readonly writable: string;
}

interface LeftFile {
  readonly name: string;
  readonly bytes: number;
  readonly uri: string;
}

const NAMES = ['a.bin', 'data/b.csv', 'data/deep/er/c', 'ü – 数.txt', 'with space.json', 'd'.repeat(200)];
/** Now and then one that is read back in two parts. */
const [SMALL_BYTES, LARGE_BYTES, LARGE_SHARE] = [40_000, 900_000, 0.01];

const expected = (answer: Answered, what: string): string =>
  `expected ${what}, got ${answer.status}: ${answer.text.slice(0, 600)}`;
const filesOf = ({ structured }: Answered): LeftFile[] => structured.files as LeftFile[];
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** Some files go in, the program turns each around into another one, and those come out; what it did not change does not. */
export async function passFiles(caller: Caller, random: () => number): Promise<void> {
  const sent = NAMES.filter(() => random() < 0.4).map((name) => {
    const bytes = Math.floor(random() * (random() < LARGE_SHARE ? LARGE_BYTES : SMALL_BYTES));
    return { name, content: randomBytes(bytes) };
  });
  const wanted = new Map(sent.map(({ name, content }) => [`out/${name}`, Buffer.from(content).reverse()]));
  const kills = caller.kills;
  const answer = await caller.call(
    {
      args: {
        code: `
import hashlib, os
for name in ${JSON.stringify(sent.map(({ name }) => name))}:
    content = open(name, "rb").read()
    print(hashlib.sha256(content).hexdigest())
    os.makedirs(os.path.dirname("out/" + name), exist_ok=True)
    open("out/" + name, "wb").write(content[::-1])`,
        files: sent.map(({ name, content }) => ({ name, base64: content.toString('base64') })),
      },
      wrong(got) {
        if (got.status !== 'ok') return expected(got, 'ok');
        if (got.stdout !== sent.map(({ content }) => `${sha256(content)}\n`).join(''))
          return expected(got, 'the files as sent');
        const came = filesOf(got).map(({ name, bytes }) => `${name} ${bytes}`);
        const right = [...wanted].map(([name, content]) => `${name} ${content.length}`);
        return came.sort().join() === right.sort().join() ? null : expected(got, right.join());
      },
    },
    'files in and out',
  );
  if (answer === null) return;
  for (const { name, uri } of filesOf(answer)) {
    const content = await caller.read(uri, 'files in and out');
    if (content === null) return;
    if (wanted.get(name)?.equals(content) !== true) {
      caller.fault(`files in and out: ${uri} came back with ${content.length} other bytes`, kills);
    }
  }
}

/** One file comes out, and what is none does not. */
export async function hostileFiles(caller: Caller): Promise<void> {
  await caller.call(
    {
      args: {
        code: `
import os
os.symlink("/etc/passwd", "link"); os.mkfifo("fifo"); open("two\\nlines", "w").close(); open(b"\\xff", "w").close()
open("hard", "w").close(); os.link("hard", "link of it")
os.makedirs("/".join(["d"] * 60))
with open("sparse", "wb") as file: file.truncate(20 << 20)
open("good.txt", "w").write("good")`,
      },
      wrong(answer) {
        const out = answer.structured.filesLeftOut as { count: number };
        const names = filesOf(answer).map(({ name }) => name);
        // Both names of the hard link, the one file that is larger than all that is kept, and five others.
        return answer.status === 'ok' && names.join() === 'good.txt' && out.count === 8
          ? null
          : expected(answer, 'good.txt alone, and 8 left out');
      },
    },
    'files that can not come out',
  );
}

/** A picture is shown: its pixels are the ones that the program drew. */
export async function picture(caller: Caller): Promise<void> {
  const [red = 0, green = 0, blue = 0] = randomBytes(3);
  await caller.call(
    {
      args: {
        code: `
import struct, zlib
def chunk(kind, data): return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
row = b"\\0" + bytes((${red}, ${green}, ${blue})) * 16
with open("picture.png", "wb") as file:
    file.write(b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(row * 16)) + chunk(b"IEND", b""))`,
      },
      wrong(answer) {
        const [shown] = answer.images;
        if (answer.status !== 'ok' || shown === undefined) return expected(answer, 'a picture');
        try {
          const { bytes, channels } = decodePng(shown);
          assert.deepEqual([...bytes.subarray(0, 3)], [red, green, blue]);
          assert.equal(bytes.length, 16 * 16 * channels);
          return null;
        } catch (error) {
          return `expected a picture of ${red}, ${green}, ${blue}: ${String(error)}`;
        }
      },
    },
    'a picture',
  );
}

/** A file of the owner's is read, one of the program's is written and found on the machine; where nothing is opened, nothing is there. */
export async function useMounts(caller: Caller, random: () => number, opened: Opened): Promise<void> {
  const token = randomBytes(8).toString('hex');
  const names = Object.keys(opened.content);
  const name = names[Math.floor(random() * names.length)] ?? '';
  const code = `
import os
print(open("/mnt/data/${name}").read())
for way in ("w", "a"):
    try: open("/mnt/data/${name}", way)
    except OSError as error: print(type(error).__name__, error.errno)
open("/mnt/results/${token}", "w").write("${token}")`;
  const kills = caller.kills;
  const answer = await caller.call(
    {
      args: { code },
      wrong(got) {
        if (!caller.hasMounts)
          return got.status === 'error' && got.text.includes('FileNotFoundError')
            ? null
            : expected(got, 'no such file');
        const right = `${opened.content[name] ?? ''}\nOSError 30\nOSError 30\n`;
        return got.status === 'ok' && got.stdout === right ? null : expected(got, right);
      },
    },
    'a mount',
  );
  if (answer === null || !caller.hasMounts) return;
  const path = join(opened.writable, token);
  const written = existsSync(path) ? readFileSync(path, 'utf8') : null;
  if (written !== token) caller.fault(`a mount: ${token} was not written`, kills);
  rmSync(path, { force: true });
}
