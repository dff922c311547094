/**
 * The tool that this product replaces, in a few lines: it runs a program in a subprocess, has the interpreter itself report how it went, and takes the
 * program's word wherever it finds one. The control for forging: what is forged here is believed.
 */

import { unconfined } from './sandbox.js';
import { ownDirectory } from './planted.js';
import type { JobOutcome } from '../../src/sandbox.js';

/** What a judge says of a run, this one or ours. */
export type Judged = Pick<
  JobOutcome,
  'status' | 'exitCode' | 'signal' | 'result' | 'error' | 'reason' | 'stdout' | 'stderr' | 'usage'
>;

/** How many of a stream's last characters are handed on. */
const TEXT_KEPT = 4000;

/** Run `code` unconfined, and judge it by what it says. Rejects when the judge itself says nothing. */
export async function judgeNaively(code: string): Promise<Judged> {
  const { stdout, stderr } = await unconfined(JUDGE, { stdin: code, parent: ownDirectory() });
  const said = /^JUDGED (.*)$/m.exec(stdout)?.[1];
  if (said === undefined) throw new Error(`the naive judge said nothing: ${stdout}${stderr}`);
  return JSON.parse(said) as Judged;
}

/** In the program's own interpreter: runs it, and reports on descriptor 3; the value and the exception on descriptor 4. */
const WRAPPER = String.raw`
import ast, json, os, sys, time, traceback
began, really_exit = time.monotonic(), os._exit
def end(code):
    resident = next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmRSS"))
    said = {"exit_code": code, "duration_us": int((time.monotonic() - began) * 1e6), "peak_memory_bytes": resident}
    data = json.dumps(said).encode()
    try: os.write(3, len(data).to_bytes(4, "big") + b"D" + data)
    except OSError: pass
def leave(code):
    end(code)
    really_exit(code)
os._exit = leave
word, code, scope = {"result": None, "error": None}, 0, {"__name__": "__main__"}
try:
    tree = ast.parse(sys.argv[1])
    last = ast.Expression(tree.body.pop().value) if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<program>", "exec"), scope)
    if last is not None: word["result"] = repr(eval(compile(last, "<program>", "eval"), scope))
except SystemExit as error: code = error.code if isinstance(error.code, int) else 1 if error.code else 0
except Exception as error:
    traceback.print_exc()
    word["error"], code = {"type": type(error).__name__, "message": str(error), "line": None}, 1
os.write(4, json.dumps(word).encode())
end(code)
sys.exit(code)
`;

const JUDGE = String.raw`
import ctypes, fcntl, json, os, re, resource, selectors, signal, subprocess, sys, time
WRAPPER = ${JSON.stringify(WRAPPER)}
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: what it leaves comes to us, so that it can be ended
program = sys.stdin.read()
ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (*os.pipe(), *os.pipe())]
os.dup2(ends[1], 3); os.dup2(ends[3], 4)
os.set_inheritable(3, True); os.set_inheritable(4, True)
child = subprocess.Popen([sys.executable, "-I", "-c", WRAPPER, program], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=(3, 4))
for end in (3, 4, ends[1], ends[3]): os.close(end)

def frames(data):
    while len(data) >= 5:
        size, kind = int.from_bytes(data[:4], "big"), bytes(data[4:5])
        if size > 1 << 24 or kind not in b"ROPDF": yield b"?", b""; return
        if len(data) < 5 + size: return
        yield kind, data[5:5 + size]
        data = data[5 + size:]

said = {name: bytearray() for name in ("out", "err", "report", "word")}
selector = selectors.DefaultSelector()
for fd, name in ((child.stdout.fileno(), "out"), (child.stderr.fileno(), "err"), (ends[0], "report"), (ends[2], "word")):
    os.set_blocking(fd, False); selector.register(fd, selectors.EVENT_READ, name)

def take(seconds):
    ready = selector.select(seconds)
    for key, _ in ready:
        piece = os.read(key.fd, 1 << 16)
        said[key.data] += piece
        if not piece: selector.unregister(key.fd)
    return bool(ready)

deadline = time.monotonic() + 10
while child.poll() is None and time.monotonic() < deadline: take(0.02)
took_too_long = child.poll() is None
while True:
    below = [int(pid) for pid in open(f"/proc/self/task/{os.getpid()}/children").read().split()]
    for pid in below:
        try: os.kill(pid, 9)
        except OSError: pass
    if not below: break
    if took_too_long: child.wait(); took_too_long = None
    for pid in below:
        try: os.waitpid(pid, 0)
        except ChildProcessError: pass
while selector.get_map() and take(0): pass

signalled = signal.Signals(-child.returncode).name if child.returncode and child.returncode < 0 else None
outcome = {"status": "ok", "exitCode": 0, "signal": None, "result": None, "error": None, "reason": "it said nothing, so nothing went wrong"}
usage = {"durationMs": 0, "cpuMs": sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) * 1000, "peakMemoryBytes": 0}
text = said["out"].decode(errors="replace")
def become(status, reason, **more): outcome.update(status=status, reason=reason, **more)
def judge():
    if took_too_long is not False: become("timeout", "it took too long"); return
    for source in ("out", "err", "report"):
        for kind, payload in frames(said[source]):
            if kind == b"?":
                if source == "report": become("unavailable", "the wrapper broke the protocol", exitCode=None); return
                break
            if kind == b"F": become("unavailable", "it could not be run", exitCode=None); return
            if kind == b"D":
                end = json.loads(payload)
                usage.update(durationMs=end["duration_us"] / 1000, peakMemoryBytes=end["peak_memory_bytes"])
                code = end["exit_code"]
                become("unavailable" if code == 70 else "timeout" if code == 137 else "error" if code else "ok", "by its report", exitCode=code)
                return
    if signalled: become({"SIGXCPU": "timeout", "SIGKILL": "timeout", "SIGPIPE": "output"}.get(signalled, "killed"), "by its signal", exitCode=None, signal=signalled)
try:
    judge()
    for line in text.splitlines():
        if line.startswith('{"status"'): outcome.update(json.loads(line))
    if said["word"].startswith(b"!"): become("unavailable", "it could not be run", exitCode=None)
    elif said["word"]:
        word = json.loads(said["word"])
        outcome.update(word)
        if outcome["error"]: become("memory" if outcome["error"]["type"] == "MemoryError" else "error", "by its word")
        elif "result" in word and word["result"] is not None: become("ok", "by its word", exitCode=0)
    if b"Traceback" in said["err"] and not outcome["error"]: become("error", "by its traceback", error={"type": said["err"].decode(errors="replace").strip().splitlines()[-1].partition(":")[0], "message": "", "line": None})
except Exception as error: become("unavailable", f"the judge broke: {type(error).__name__}: {error}"[:500], exitCode=None)
left_out = re.search(r"\[\.\.\. (\d+) bytes left out", text)
stream = lambda name, omitted: {"text": said[name].decode(errors="replace")[-${TEXT_KEPT}:], "totalBytes": len(said[name]), "omittedBytes": omitted}
print("JUDGED " + json.dumps({**outcome, "stdout": stream("out", int(left_out[1]) if left_out else 0), "stderr": stream("err", 0), "usage": usage}))
`;
