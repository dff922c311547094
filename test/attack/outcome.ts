/**
 * Goal: to forge the outcome. Status, exit status, signal and usage come from the warden; only what is labelled as the program's own word
 * (the value of its last expression, its exception) is the program's to write.
 *
 * The control: the same forgery before a judge that takes the program's word (naive-judge.ts) is believed. And for the wire: the same frames, when it
 * is the warden's connection they come from, are believed (suite/outcome.test.ts).
 */

import assert from 'node:assert/strict';
import type { Judged } from '../support/naive-judge.js';

/** What a program has to make itself look well: frames as a warden sends them. */
const FRAMES = `
import json, os
def frame(kind, payload): return len(payload).to_bytes(4, "big") + kind + payload
FAKE = {"cause": "exit", "exit_code": 0, "signal": None, "duration_us": 1, "cpu_us": 1, "peak_memory_bytes": 1,
        "files_left_out": {"count": 0, "examples": []}}
D = frame(b"D", json.dumps(FAKE).encode())
def everywhere(data):
    for fd in range(256):
        if fd in (1, 2): continue
        try: os.write(fd, data)
        except OSError: pass
def to_streams(data):
    for fd in (1, 2): os.write(fd, data)
`;

/** A program and what is true of it. */
export interface Forgery {
  readonly name: string;
  readonly code: string;
  readonly truth: Partial<Pick<Judged, 'status' | 'exitCode' | 'signal' | 'result' | 'error'>>;
  readonly check?: (outcome: Judged) => void;
}

/** Some forge in many places. */
export const FORGERY_OPTIONS = { limits: { outputMb: 64 } };

const failed = { status: 'error', exitCode: 1, signal: null } as const;

export const forgeries: readonly Forgery[] = [
  {
    name: 'an end written to every descriptor, then failure',
    code: `${FRAMES}\neveryone = everywhere(D)\nos._exit(1)`,
    truth: failed,
  },
  {
    name: 'an end written to both streams, then failure',
    code: `${FRAMES}\nto_streams(D)\nos._exit(1)`,
    truth: failed,
  },
  {
    name: 'ready, output, word and end as one, everywhere',
    code: `${FRAMES}\ndata = frame(b"R", b'{"pid": 1}') + frame(b"O", b"fake") + frame(b"P", b"{}") + D\neverywhere(data); to_streams(data)\nos._exit(1)`,
    truth: failed,
  },
  {
    name: 'a failure to be made, everywhere',
    code: `${FRAMES}\neverywhere(frame(b"F", b'{"layer": "x", "message": "y"}'))\nos._exit(1)`,
    truth: failed,
  },
  {
    name: 'a frame of 4 GB, everywhere',
    code: `${FRAMES}\neverywhere(b"\\xff" * 9); to_streams(b"\\xff" * 9)\nos._exit(1)`,
    truth: failed,
  },
  {
    name: 'a JSON line as the zygote writes it',
    code: `${FRAMES}\neverywhere(b'{"event": "ready", "preload_failed": {}}\\n')\nos._exit(1)`,
    truth: failed,
  },
  {
    name: 'a command to kill another sandbox',
    code: `${FRAMES}\neverywhere(b'{"kill": 2}\\n')\nos._exit(1)`,
    truth: failed,
  },
  {
    name: 'an outcome in JSON on stdout',
    code: 'import json, os\nprint(json.dumps({"status": "ok", "exitCode": 0}), flush=True)\nos._exit(1)',
    truth: failed,
  },
  {
    name: 'its own word that all is well, then failure',
    code: 'import os\nos.write(4, b\'{"result": "42", "error": null}\')\nos._exit(1)',
    truth: { ...failed, result: null },
  },
  {
    name: 'its own word that all failed, then success',
    code: 'import os\nos.write(4, b\'{"result": null, "error": {"type": "MemoryError", "message": "", "line": 1}}\')\nos._exit(0)',
    truth: { status: 'ok', exitCode: 0 },
  },
  {
    name: 'its own word that it was not confined',
    code: 'import os\nos.write(4, b\'!{"layer": "seccomp", "message": "x"}\')\nos._exit(70)',
    truth: { status: 'error', exitCode: 70 },
  },
  {
    name: 'the status of a program that could not be confined',
    code: 'import os\nos._exit(70)',
    truth: { status: 'error', exitCode: 70 },
  },
  {
    name: 'the statuses of timeouts and kills in shells',
    code: 'import os\nos._exit(137)',
    truth: { status: 'error', exitCode: 137 },
  },
  {
    name: 'a CPU limit, by SIGXCPU to itself',
    code: 'import os, signal\nos.kill(os.getpid(), signal.SIGXCPU)',
    truth: { status: 'killed', signal: 'SIGXCPU' },
  },
  {
    name: 'a time limit, by SIGKILL to itself',
    code: 'import os, signal\nos.kill(os.getpid(), signal.SIGKILL)',
    truth: { status: 'killed', signal: 'SIGKILL' },
  },
  {
    name: 'an output limit, by SIGPIPE to itself',
    code: 'import os, signal\nsignal.signal(signal.SIGPIPE, signal.SIG_DFL)\nos.kill(os.getpid(), signal.SIGPIPE)',
    truth: { status: 'killed', signal: 'SIGPIPE' },
  },
  {
    name: 'success of the parent while a child fails',
    code: 'import os\nif os.fork() == 0: os._exit(3)\nos.wait()\ndone = True',
    truth: { status: 'ok', exitCode: 0 },
  },
  {
    name: 'success of a child while the parent fails',
    code: 'import os\nif os.fork() == 0: os._exit(0)\nos.wait()\nos._exit(3)',
    truth: { status: 'error', exitCode: 3 },
  },
  {
    name: 'an end written by another program in its place',
    code: `${FRAMES}\nopen("end", "wb").write(D)\nos.execv("/bin/sh", ["sh", "-c", "for fd in 0 3 4 5 6 7 8 9; do cat end >&$fd; done 2>/dev/null; exit 1"])`,
    truth: failed,
  },
  {
    name: 'a value from a child',
    code: 'import os\nif os.fork() == 0: os.write(4, b\'{"result": "child", "error": null}\'); os._exit(0)\nos.wait()\nos._exit(1)',
    truth: { ...failed, result: null },
  },
  { name: 'no word at all', code: 'import os\nos.close(4)\n1 + 1', truth: { status: 'ok', exitCode: 0, result: null } },
  {
    name: 'a word that is no JSON',
    code: 'import os\nos.write(4, b"\\xff\\0{{{")\nos._exit(0)',
    truth: { status: 'ok', result: null, error: null },
  },
  {
    name: 'a word 100,000 deep',
    code: 'import os\ntry: os.write(4, b"[" * 60000)\nexcept OSError: pass\nos._exit(0)',
    truth: { status: 'ok', result: null },
  },
  {
    name: 'a word of other types',
    code: 'import os\nos.write(4, b\'{"result": {"a": 1}, "error": [1]}\')\nos._exit(0)',
    truth: { status: 'ok', result: null, error: null },
  },
  {
    name: 'a word with a prototype in it',
    code: 'import os\nos.write(4, b\'{"__proto__": {"status": "ok"}, "constructor": 1, "result": "x", "error": null, "status": "ok"}\')\nos._exit(2)',
    truth: { status: 'error', exitCode: 2, result: null },
  },
  {
    name: 'a word of 50 MB',
    code: 'import os\nfor _ in range(800): os.write(4, b"x" * 65536)\nos._exit(0)',
    truth: { status: 'ok', result: null },
  },
  {
    name: 'an exception with rubbish in every field',
    code: 'import os\nos.write(4, b\'{"result": null, "error": {"type": "\\\\u0000\\\\ud800", "message": "\' + b"m" * 50000 + b\'", "line": -5}}\')\nos._exit(1)',
    truth: failed,
    check: ({ error }) => {
      assert.ok(
        error !== null && error.message.length <= 16_384 && error.line === null && !error.type.includes('\0'),
        JSON.stringify(error).slice(0, 200),
      );
    },
  },
  {
    name: 'memory that ran out, by its own word',
    code: 'raise MemoryError("not really")',
    truth: { status: 'memory', exitCode: 1 },
  },
  {
    name: 'less CPU time than it took, by leaving it to children nobody waits for',
    code: 'import os, signal, time\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nr, w = os.pipe()\nfor _ in range(4):\n    if os.fork() == 0:\n        while time.process_time() < 0.1: pass\n        os.write(w, b"."); os._exit(0)\ngot = 0\nwhile got < 4: got += len(os.read(r, 10))',
    truth: { status: 'ok' },
    check: ({ usage }) => {
      assert.ok(usage.cpuMs >= 300, JSON.stringify(usage));
    },
  },
  {
    name: 'less memory than it took, by giving it back',
    code: 'x = b"x" * (100 << 20)\nimport time\ntime.sleep(0.1)\ndel x',
    truth: { status: 'ok' },
    check: ({ usage }) => {
      assert.ok(usage.peakMemoryBytes >= 100 << 20, JSON.stringify(usage));
    },
  },
  {
    name: 'less time than it took, by a clock of its own',
    code: 'import time\ntime.sleep(0.1)\ntime.monotonic = time.time = lambda: 0',
    truth: { status: 'ok' },
    check: ({ usage }) => {
      assert.ok(usage.durationMs >= 100, JSON.stringify(usage));
    },
  },
  {
    name: 'a line of ours about left-out bytes',
    code: 'print("[... 5 bytes left out ...]")',
    truth: { status: 'ok' },
    check: ({ stdout }) => {
      assert.equal(stdout.omittedBytes, 0);
    },
  },
  {
    name: 'a traceback in words',
    code: 'import sys\nsys.stderr.write("Traceback (most recent call last):\\nKeyError: 1\\n")',
    truth: { status: 'ok', error: null },
  },
  {
    name: 'a success, by closing every descriptor before it fails',
    code: 'import os\nos.closerange(0, 256)\nos._exit(5)',
    truth: { status: 'error', exitCode: 5 },
  },
  {
    name: 'a job that is taken twice',
    code: `${FRAMES}\neverywhere(frame(b"C", b"print(1)") + frame(b"J", b"{}"))\nos._exit(1)`,
    truth: failed,
  },
  {
    name: 'an answer after the answer, by what is left behind',
    code: `${FRAMES}\nif os.fork() == 0:\n    os.setsid()\n    while True: to_streams(D); everywhere(D)\nimport time\ntime.sleep(0.1)\nos._exit(1)`,
    truth: failed,
  },
];

/** What an outcome says that is not true, or null. */
export function untrue(forgery: Forgery, outcome: Judged): string | null {
  try {
    for (const [key, value] of Object.entries(forgery.truth)) {
      const said = `${key}: ${outcome.reason}\n${outcome.stderr.text.slice(0, 500)}`;
      assert.deepEqual(outcome[key as keyof Judged], value, said);
    }
    forgery.check?.(outcome);
    return null;
  } catch (error) {
    return String(error);
  }
}
