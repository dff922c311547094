/**
 * Programs as people and models write them. Each checks itself, prints `ok` last, and ends with status 0; what it needs beyond the
 * standard library is named, and its test is skipped where that is not installed.
 */

export interface Program {
  readonly name: string;
  readonly code: string;
  /** A module that must be importable for it to make sense. */
  readonly needs?: string;
  readonly stdin?: string;
}

const py = String.raw;

export const PROGRAMS: readonly Program[] = [
  // Processes
  {
    name: 'subprocess.run with captured output',
    code: py`
import subprocess
done = subprocess.run(['sort', '-r'], input='b\na\nc\n', capture_output=True, text=True, check=True)
assert done.stdout == 'c\nb\na\n', done
print('ok')`,
  },
  {
    name: 'subprocess: a shell pipeline',
    code: py`
import subprocess
out = subprocess.check_output("printf 'x y\nz\n' | tr ' ' '\n' | wc -l", shell=True, text=True)
assert out.strip() == '3', out
print('ok')`,
  },
  {
    name: 'subprocess: another Python',
    code: py`
import subprocess, sys
out = subprocess.check_output([sys.executable, '-c', 'import sys; print(sys.version_info[:2])'], text=True)
assert out.strip() == str(tuple(sys.version_info[:2])), out
print('ok')`,
  },
  {
    name: 'subprocess: a timeout kills the child',
    code: py`
import subprocess
try:
    subprocess.run(['sleep', '60'], timeout=0.2)
except subprocess.TimeoutExpired:
    print('ok')`,
  },
  {
    name: 'subprocess: Popen talked to line by line',
    code: py`
import subprocess, sys
child = subprocess.Popen([sys.executable, '-u', '-c', 'for l in open(0): print(l.upper(), end="")'], stdin=-1, stdout=-1, text=True)
for word in ('one', 'two'):
    child.stdin.write(word + '\n'); child.stdin.flush()
    assert child.stdout.readline() == word.upper() + '\n'
child.stdin.close()
assert child.wait() == 0
print('ok')`,
  },
  {
    name: 'subprocess: exit status and signal of a child',
    code: py`
import subprocess
assert subprocess.call('exit 7', shell=True) == 7
assert subprocess.call('kill -TERM $$', shell=True) == -15
print('ok')`,
  },
  {
    name: 'os.system and os.popen',
    code: py`
import os
assert os.waitstatus_to_exitcode(os.system('exit 3')) == 3
assert os.popen('echo hi').read() == 'hi\n'
print('ok')`,
  },
  {
    name: 'os.fork and os.waitpid',
    code: py`
import os
r, w = os.pipe()
pid = os.fork()
if pid == 0:
    os.write(w, b'from the child'); os._exit(4)
os.close(w)
assert os.read(r, 100) == b'from the child'
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 4
print('ok')`,
  },
  {
    name: 'os.posix_spawn',
    code: py`
import os
pid = os.posix_spawn('/bin/true', ['true'], os.environ)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
print('ok')`,
  },
  {
    name: 'os.execv keeps the output',
    code: py`
import os, sys
sys.stdout.flush()
os.execv('/bin/echo', ['echo', 'ok'])`,
  },
  {
    name: 'a pseudo-shell script file, made executable and run',
    code: py`
import os, subprocess
with open('hello.sh', 'w') as f: f.write('#!/bin/sh\necho "hello $1"\n')
os.chmod('hello.sh', 0o755)
assert subprocess.check_output(['./hello.sh', 'you'], text=True) == 'hello you\n'
print('ok')`,
  },
  // Threads and multiprocessing
  {
    name: 'threads with a lock',
    code: py`
import threading
lock, total = threading.Lock(), [0]
def work():
    for _ in range(1000):
        with lock: total[0] += 1
threads = [threading.Thread(target=work) for _ in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
assert total == [8000]
print('ok')`,
  },
  {
    name: 'a thread that is still running at the end is waited for',
    code: py`
import threading, time
def late():
    time.sleep(0.1); print('ok')
threading.Thread(target=late).start()`,
  },
  {
    name: 'threading: Event, Condition, Semaphore, Barrier, Timer, local',
    code: py`
import threading
event, barrier, seen = threading.Event(), threading.Barrier(3), []
local = threading.local()
def work(n):
    local.n = n; barrier.wait(); event.wait(); seen.append(local.n)
threads = [threading.Thread(target=work, args=(n,)) for n in (1, 2)]
[t.start() for t in threads]
barrier.wait(); threading.Timer(0.01, event.set).start()
[t.join() for t in threads]
assert sorted(seen) == [1, 2]
with threading.Semaphore(1), threading.Condition(): print('ok')`,
  },
  {
    name: 'concurrent.futures threads',
    code: py`
from concurrent.futures import ThreadPoolExecutor, as_completed
with ThreadPoolExecutor(4) as pool:
    assert list(pool.map(lambda n: n * n, range(5))) == [0, 1, 4, 9, 16]
    assert sorted(f.result() for f in as_completed([pool.submit(pow, 2, n) for n in range(4)])) == [1, 2, 4, 8]
print('ok')`,
  },
  {
    name: 'concurrent.futures processes',
    code: py`
from concurrent.futures import ProcessPoolExecutor
def square(n): return n * n
if __name__ == '__main__':
    with ProcessPoolExecutor(2) as pool:
        assert list(pool.map(square, range(5))) == [0, 1, 4, 9, 16]
    print('ok')`,
  },
  {
    name: 'multiprocessing.Pool',
    code: py`
import multiprocessing as mp
def square(n): return n * n
if __name__ == '__main__':
    with mp.Pool(2) as pool:
        assert pool.map(square, range(10)) == [n * n for n in range(10)]
        assert pool.apply_async(square, (7,)).get() == 49
    print('ok')`,
  },
  {
    name: 'multiprocessing.Process with a Queue',
    code: py`
import multiprocessing as mp
def work(inbox, outbox):
    for n in iter(inbox.get, None): outbox.put(n + 1)
if __name__ == '__main__':
    inbox, outbox = mp.Queue(), mp.Queue()
    child = mp.Process(target=work, args=(inbox, outbox)); child.start()
    for n in range(3): inbox.put(n)
    inbox.put(None)
    assert [outbox.get() for _ in range(3)] == [1, 2, 3]
    child.join(); assert child.exitcode == 0
    print('ok')`,
  },
  {
    name: 'multiprocessing.Pipe, Value, Array, Lock, Event',
    code: py`
import multiprocessing as mp
def work(pipe, value, array, lock, event):
    event.wait()
    with lock: value.value += 1; array[0] = 9
    pipe.send('done')
here, there = mp.Pipe()
value, array, lock, event = mp.Value('i', 41), mp.Array('d', 3), mp.Lock(), mp.Event()
child = mp.Process(target=work, args=(there, value, array, lock, event)); child.start()
event.set()
assert here.recv() == 'done'
child.join()
assert (value.value, array[:]) == (42, [9.0, 0.0, 0.0])
print('ok')`,
  },
  {
    name: 'multiprocessing.shared_memory',
    code: py`
from multiprocessing import shared_memory, Process
def work(name):
    block = shared_memory.SharedMemory(name); block.buf[0] = 77; block.close()
block = shared_memory.SharedMemory(create=True, size=4096)
child = Process(target=work, args=(block.name,)); child.start(); child.join()
assert block.buf[0] == 77
block.close(); block.unlink()
print('ok')`,
  },
  {
    name: 'multiprocessing.Manager',
    code: py`
import multiprocessing as mp
def work(shared): shared['x'] = 5
if __name__ == '__main__':
    with mp.Manager() as manager:
        shared = manager.dict()
        child = mp.Process(target=work, args=(shared,)); child.start(); child.join()
        assert dict(shared) == {'x': 5}
    print('ok')`,
  },
  {
    name: 'multiprocessing with spawn',
    code: py`
import multiprocessing as mp
def square(n): return n * n
if __name__ == '__main__':
    with mp.get_context('spawn').Pool(2) as pool:
        assert pool.map(square, [1, 2, 3]) == [1, 4, 9]
    print('ok')`,
  },
  {
    name: 'multiprocessing with forkserver',
    code: py`
import multiprocessing as mp
def square(n): return n * n
if __name__ == '__main__':
    with mp.get_context('forkserver').Pool(2) as pool:
        assert pool.map(square, [1, 2, 3]) == [1, 4, 9]
    print('ok')`,
  },
  // asyncio
  {
    name: 'asyncio: gather, wait_for, queue',
    code: py`
import asyncio
async def main():
    queue = asyncio.Queue()
    async def produce():
        for n in range(3): await queue.put(n); await asyncio.sleep(0)
    async def consume(): return [await queue.get() for _ in range(3)]
    _, got = await asyncio.gather(produce(), consume())
    assert got == [0, 1, 2]
    try: await asyncio.wait_for(asyncio.sleep(60), 0.01)
    except asyncio.TimeoutError: print('ok')
asyncio.run(main())`,
  },
  {
    name: 'asyncio: subprocess',
    code: py`
import asyncio
async def main():
    child = await asyncio.create_subprocess_exec('cat', stdin=-1, stdout=-1)
    out, _ = await child.communicate(b'through the cat')
    assert (out, child.returncode) == (b'through the cat', 0)
    shell = await asyncio.create_subprocess_shell('exit 5')
    assert await shell.wait() == 5
    print('ok')
asyncio.run(main())`,
  },
  {
    name: 'asyncio: a TCP server and its client on loopback',
    code: py`
import asyncio
async def serve(reader, writer):
    writer.write((await reader.readline()).upper()); await writer.drain(); writer.close()
async def main():
    server = await asyncio.start_server(serve, '127.0.0.1', 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b'hello\n')
    assert await reader.readline() == b'HELLO\n'
    writer.close(); server.close()
    print('ok')
asyncio.run(main())`,
  },
  {
    name: 'asyncio: run_in_executor, to_thread, call_soon_threadsafe',
    code: py`
import asyncio, time
async def main():
    loop = asyncio.get_running_loop()
    assert await loop.run_in_executor(None, sum, range(10)) == 45
    assert await asyncio.to_thread(pow, 2, 5) == 32
    done = asyncio.Event(); loop.call_soon_threadsafe(done.set); await done.wait()
    print('ok')
asyncio.run(main())`,
  },
  {
    name: 'asyncio: signal handlers',
    code: py`
import asyncio, os, signal
async def main():
    got = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, got.set)
    os.kill(os.getpid(), signal.SIGUSR1)
    await got.wait(); print('ok')
asyncio.run(main())`,
  },
  {
    name: 'async generators, async with, contextvars',
    code: py`
import asyncio, contextvars
from contextlib import asynccontextmanager
var = contextvars.ContextVar('var', default=0)
@asynccontextmanager
async def opened():
    var.set(1); yield 'x'
async def count():
    for n in range(3): yield n
async def main():
    async with opened() as x: assert x == 'x' and var.get() == 1
    assert [n async for n in count()] == [0, 1, 2]
    print('ok')
asyncio.run(main())`,
  },
  // Files
  {
    name: 'files: write, append, read, seek, rename, remove',
    code: py`
import os
with open('a.txt', 'w') as f: f.write('one\n')
with open('a.txt', 'a') as f: f.write('two\n')
with open('a.txt', 'r+') as f:
    assert f.readlines() == ['one\n', 'two\n']; f.seek(0); f.truncate(4)
os.rename('a.txt', 'b.txt')
assert open('b.txt').read() == 'one\n' and not os.path.exists('a.txt')
os.remove('b.txt'); assert os.listdir('.') == []
print('ok')`,
  },
  {
    name: 'pathlib',
    code: py`
from pathlib import Path
base = Path('x/y'); base.mkdir(parents=True)
(base / 'f.txt').write_text('hello', encoding='utf-8')
assert [p.name for p in Path('x').rglob('*.txt')] == ['f.txt']
(base / 'f.txt').rename(base / 'g.txt'); assert (base / 'g.txt').stat().st_size == 5
(base / 'link').symlink_to('g.txt'); assert (base / 'link').resolve() == (Path.cwd() / 'x/y/g.txt')
print('ok')`,
  },
  {
    name: 'os.walk and os.scandir',
    code: py`
import os
os.makedirs('a/b'); open('a/b/c', 'w').close()
assert [(d, s, f) for d, s, f in os.walk('a')] == [('a', ['b'], []), ('a/b', [], ['c'])]
with os.scandir('a/b') as entries: assert [e.is_file() for e in entries] == [True]
print('ok')`,
  },
  {
    name: 'shutil: copytree, move, rmtree, make_archive, disk_usage, which',
    code: py`
import os, shutil
os.makedirs('src/in'); open('src/in/f', 'w').write('x')
shutil.copytree('src', 'copy'); shutil.copy2('src/in/f', 'g'); shutil.move('g', 'h')
archive = shutil.make_archive('all', 'zip', 'src'); shutil.unpack_archive(archive, 'out')
assert open('out/in/f').read() == 'x' and shutil.disk_usage('.').total > 0 and shutil.which('sh')
shutil.rmtree('src'); assert not os.path.exists('src')
print('ok')`,
  },
  {
    name: 'tempfile: every kind',
    code: py`
import os, tempfile
with tempfile.TemporaryDirectory() as d:
    with tempfile.NamedTemporaryFile('w+', dir=d) as f: f.write('x'); f.flush(); assert os.path.getsize(f.name) == 1
with tempfile.TemporaryFile() as f: f.write(b'y'); f.seek(0); assert f.read() == b'y'
with tempfile.SpooledTemporaryFile(max_size=2) as f: f.write(b'zzzz'); f.seek(0); assert f.read() == b'zzzz'
fd, path = tempfile.mkstemp(); os.close(fd); os.unlink(path)
assert tempfile.gettempdir() == '/tmp'
print('ok')`,
  },
  {
    name: 'mmap of a file and anonymous',
    code: py`
import mmap
open('f', 'wb').write(b'hello world')
with open('f', 'r+b') as f, mmap.mmap(f.fileno(), 0) as m: m[0:5] = b'HELLO'; m.flush()
assert open('f', 'rb').read() == b'HELLO world'
with mmap.mmap(-1, 4096) as m: m.write(b'x'); assert m[0] == 120
print('ok')`,
  },
  {
    name: 'fcntl locks',
    code: py`
import fcntl, os
f = open('lock', 'w'); fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB); fcntl.lockf(f, fcntl.LOCK_EX)
pid = os.fork()
if pid == 0:
    try: fcntl.flock(open('lock'), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError: os._exit(9)
    os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
print('ok')`,
  },
  {
    name: 'links, FIFOs, permissions, times',
    code: py`
import os, stat, threading
open('f', 'w').write('x'); os.link('f', 'hard'); os.symlink('f', 'soft'); os.mkfifo('fifo')
assert os.stat('f').st_nlink == 2 and os.readlink('soft') == 'f' and stat.S_ISFIFO(os.stat('fifo').st_mode)
os.chmod('f', 0o600); os.utime('f', (1, 2)); assert os.stat('f').st_mtime == 2 and os.stat('f').st_mode & 0o777 == 0o600
t = threading.Thread(target=lambda: open('fifo', 'w').write('through')); t.start()
assert open('fifo').read() == 'through'; t.join()
print('ok')`,
  },
  {
    name: 'glob and fnmatch',
    code: py`
import fnmatch, glob
for n in ('a.py', 'b.py', 'c.txt'): open(n, 'w').close()
assert sorted(glob.glob('*.py')) == ['a.py', 'b.py'] and fnmatch.filter(['x1', 'y'], 'x?') == ['x1']
print('ok')`,
  },
  {
    name: 'zipfile, tarfile, gzip, bz2, lzma, zlib',
    code: py`
import bz2, gzip, io, lzma, tarfile, zipfile, zlib
data = b'squeeze me ' * 1000
for kind in (bz2, gzip, lzma, zlib): assert kind.decompress(kind.compress(data)) == data
with zipfile.ZipFile('a.zip', 'w', zipfile.ZIP_DEFLATED) as z: z.writestr('x/y.txt', data)
with zipfile.ZipFile('a.zip') as z: assert z.read('x/y.txt') == data and z.testzip() is None
with tarfile.open('a.tar.xz', 'w:xz') as t:
    info = tarfile.TarInfo('m'); info.size = len(data); t.addfile(info, io.BytesIO(data))
with tarfile.open('a.tar.xz') as t: assert t.extractfile('m').read() == data
print('ok')`,
  },
  {
    name: 'sqlite3 on disk, with a write-ahead log, from two connections',
    code: py`
import sqlite3
one = sqlite3.connect('data.db'); assert one.execute('pragma journal_mode=wal').fetchone() == ('wal',)
with one: one.execute('create table t(a primary key, b)'); one.executemany('insert into t values(?, ?)', [(n, n * n) for n in range(100)])
two = sqlite3.connect('data.db')
assert two.execute('select sum(b) from t').fetchone() == (328350,)
try: two.execute('insert into t values(1, 1)')
except sqlite3.IntegrityError: two.rollback()
one.close(); two.close(); print('ok')`,
  },
  {
    name: 'sqlite3 in memory with functions and full-text search',
    code: py`
import sqlite3
db = sqlite3.connect(':memory:'); db.create_function('twice', 1, lambda n: n * 2)
assert db.execute('select twice(21)').fetchone() == (42,)
db.execute('create virtual table d using fts5(text)'); db.execute("insert into d values('the quick fox')")
assert db.execute("select count(*) from d where d match 'quick'").fetchone() == (1,)
print('ok')`,
  },
  {
    name: 'dbm and shelve',
    code: py`
import dbm.dumb, shelve
with dbm.dumb.open('d', 'c') as db: db['k'] = 'v'; assert db['k'] == b'v'
with shelve.Shelf(dbm.dumb.open('s', 'c')) as s: s['x'] = [1, 2]
with shelve.Shelf(dbm.dumb.open('s')) as s: assert s['x'] == [1, 2]
print('ok')`,
  },
  // Network of its own
  {
    name: 'an http server on its own loopback, asked with urllib',
    code: py`
import http.server, threading, urllib.request
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self): self.send_response(200); self.end_headers(); self.wfile.write(b'you asked ' + self.path.encode())
    def log_message(self, *a): pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
assert urllib.request.urlopen(f'http://127.0.0.1:{server.server_port}/x').read() == b'you asked /x'
server.shutdown(); print('ok')`,
  },
  {
    name: 'localhost by name, and IPv6 loopback',
    code: py`
import socket
assert socket.gethostbyname('localhost') == '127.0.0.1'
with socket.create_server(('::1', 0), family=socket.AF_INET6) as s, socket.create_connection(('::1', s.getsockname()[1])) as c: print('ok')`,
  },
  {
    name: 'UDP on its own loopback',
    code: py`
import socket
a = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); a.bind(('127.0.0.1', 0))
b = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); b.sendto(b'hi', a.getsockname())
assert a.recv(10) == b'hi'; print('ok')`,
  },
  {
    name: 'Unix sockets: by path, abstract, pair, passing a descriptor',
    code: py`
import array, os, socket
for name in ('s.sock', '\0abstract'):
    s = socket.socket(socket.AF_UNIX); s.bind(name); s.listen(); c = socket.socket(socket.AF_UNIX); c.connect(name); s.accept()[0].sendall(b'x'); assert c.recv(1) == b'x'
a, b = socket.socketpair()
r, w = os.pipe(); socket.send_fds(a, [b'fd'], [r]); _, fds, _, _ = socket.recv_fds(b, 10, 1); os.write(w, b'!')
assert os.read(fds[0], 1) == b'!'; print('ok')`,
  },
  {
    name: 'socketserver and xmlrpc',
    code: py`
import threading, xmlrpc.client, xmlrpc.server
server = xmlrpc.server.SimpleXMLRPCServer(('127.0.0.1', 0), logRequests=False); server.register_function(pow)
threading.Thread(target=server.serve_forever, daemon=True).start()
assert xmlrpc.client.ServerProxy(f'http://127.0.0.1:{server.server_address[1]}').pow(2, 8) == 256
server.shutdown(); print('ok')`,
  },
  {
    name: 'selectors, select, poll, epoll',
    code: py`
import os, select, selectors
r, w = os.pipe(); os.write(w, b'x')
assert select.select([r], [], [], 1)[0] == [r]
p = select.poll(); p.register(r, select.POLLIN); assert p.poll(1000) == [(r, select.POLLIN)]
e = select.epoll(); e.register(r, select.EPOLLIN); assert e.poll(1) == [(r, select.EPOLLIN)]
with selectors.DefaultSelector() as s: s.register(r, selectors.EVENT_READ); assert len(s.select(1)) == 1
print('ok')`,
  },
  {
    name: 'ssl: a context, and TLS in memory without a network',
    code: py`
import ssl
context = ssl.create_default_context(); assert context.verify_mode == ssl.CERT_REQUIRED
i, o = ssl.MemoryBIO(), ssl.MemoryBIO(); tls = context.wrap_bio(i, o, server_hostname='x')
try: tls.do_handshake()
except ssl.SSLWantReadError: assert o.pending > 0; print('ok')`,
  },
  // Signals and time
  {
    name: 'signal: a handler, alarm, itimer, pause',
    code: py`
import os, signal
seen = []
signal.signal(signal.SIGALRM, lambda *a: seen.append('alarm')); signal.signal(signal.SIGUSR1, lambda *a: seen.append('usr1'))
os.kill(os.getpid(), signal.SIGUSR1)
signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02); signal.pause(); signal.setitimer(signal.ITIMER_REAL, 0)
assert seen[:2] == ['usr1', 'alarm'], seen; signal.alarm(5); assert signal.alarm(0) == 5
print('ok')`,
  },
  {
    name: 'signal: masks, sigwait, set_wakeup_fd',
    code: py`
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2]); os.kill(os.getpid(), signal.SIGUSR2)
assert signal.sigpending() == {signal.SIGUSR2} and signal.sigwait([signal.SIGUSR2]) == signal.SIGUSR2
r, w = os.pipe(); os.set_blocking(w, False); signal.set_wakeup_fd(w); signal.signal(signal.SIGUSR1, lambda *a: None)
os.kill(os.getpid(), signal.SIGUSR1); assert os.read(r, 1) == bytes([signal.SIGUSR1])
print('ok')`,
  },
  {
    name: 'KeyboardInterrupt from SIGINT',
    code: py`
import os, signal, time
try: os.kill(os.getpid(), signal.SIGINT); time.sleep(5)
except KeyboardInterrupt: print('ok')`,
  },
  {
    name: 'datetime, time, calendar',
    code: py`
import calendar, datetime as d, time
assert d.datetime(2024, 2, 29, tzinfo=d.timezone.utc) + d.timedelta(days=1) == d.datetime(2024, 3, 1, tzinfo=d.timezone.utc)
assert d.date.fromisoformat('2026-11-23').isocalendar()[1] == 48 and calendar.isleap(2024)
assert time.strftime('%Y', time.gmtime(0)) == '1970' and time.monotonic() <= time.monotonic()
assert d.datetime.now().year >= 2024; print('ok')`,
  },
  {
    name: 'zoneinfo',
    code: py`
import datetime, zoneinfo
zurich = zoneinfo.ZoneInfo('Europe/Zurich')
assert datetime.datetime(2026, 7, 1, 12, tzinfo=zurich).utcoffset() == datetime.timedelta(hours=2)
assert len(zoneinfo.available_timezones()) > 300; print('ok')`,
  },
  {
    name: 'locale',
    code: py`
import locale
locale.setlocale(locale.LC_ALL, ''); assert locale.getpreferredencoding().upper().replace('-', '') == 'UTF8'
assert locale.format_string('%d', 1234567) == '1234567'; print('ok')`,
  },
  {
    name: 'sched and timeit',
    code: py`
import sched, time, timeit
s, seen = sched.scheduler(), []
s.enter(0.02, 1, seen.append, ('b',)); s.enter(0.01, 1, seen.append, ('a',)); s.run()
assert seen == ['a', 'b'] and timeit.timeit('1+1', number=100) > 0; print('ok')`,
  },
  // Data
  {
    name: 'json',
    code: py`
import json
data = {'a': [1, 2.5, None, True, 'ü\u2028'], 'b': {}}
assert json.loads(json.dumps(data, indent=2)) == data
try: json.loads('{x}')
except json.JSONDecodeError as e: assert e.pos == 1; print('ok')`,
  },
  {
    name: 'csv from stdin',
    stdin: 'name,n\nx,1\n"y, z",2\n',
    code: py`
import csv, sys
rows = list(csv.DictReader(sys.stdin)); assert rows == [{'name': 'x', 'n': '1'}, {'name': 'y, z', 'n': '2'}], rows
w = csv.writer(open('o.csv', 'w', newline='')); w.writerow(['a"b', 1]); print('ok')`,
  },
  {
    name: 'input()',
    stdin: 'Ada\n36\n',
    code: py`
name = input('Who? '); age = int(input('How old? '))
assert (name, age) == ('Ada', 36); print(); print('ok')`,
  },
  {
    name: 're',
    code: py`
import re
assert re.sub(r'(?P<a>\w+) (\w+)', r'\2 \g<a>', 'hello world') == 'world hello'
assert re.findall(r'\b\d+\b', 'a 1 bb 22') == ['1', '22'] and re.fullmatch(r'(?i)ÜBER', 'über'); print('ok')`,
  },
  {
    name: 'decimal, fractions, cmath, math',
    code: py`
import cmath, math
from decimal import Decimal, getcontext, localcontext
from fractions import Fraction
assert Decimal('0.1') + Decimal('0.2') == Decimal('0.3') and Fraction(1, 3) + Fraction(1, 6) == Fraction(1, 2)
with localcontext() as c: c.prec = 50; assert str(Decimal(2).sqrt()).startswith('1.41421356237309504880168872420969807856967187537')
assert math.comb(50, 25) == 126410606437752 and abs(cmath.exp(1j * math.pi) + 1) < 1e-12; print('ok')`,
  },
  {
    name: 'statistics and random',
    code: py`
import random, statistics
r = random.Random(42); xs = [r.gauss(0, 1) for _ in range(1000)]
assert abs(statistics.mean(xs)) < 0.2 and 0.8 < statistics.stdev(xs) < 1.2 and statistics.median([3, 1, 2]) == 2
random.seed(1); a = random.random(); random.seed(1); assert a == random.random(); print('ok')`,
  },
  {
    name: 'secrets, hashlib, hmac, uuid, base64, binascii',
    code: py`
import base64, binascii, hashlib, hmac, secrets, uuid
assert len(secrets.token_hex(16)) == 32 and secrets.compare_digest('a', 'a')
assert hashlib.sha256(b'').hexdigest().startswith('e3b0c442') and len(hashlib.scrypt(b'p', salt=b's', n=16, r=1, p=1)) == 64
assert hmac.new(b'k', b'm', 'sha256').hexdigest() and hashlib.blake2b(b'x').digest_size == 64
assert uuid.uuid4() != uuid.uuid4() and uuid.uuid5(uuid.NAMESPACE_DNS, 'x').version == 5 and uuid.uuid1()
assert base64.b64decode(base64.b64encode(b'\x00\xff')) == b'\x00\xff' and binascii.crc32(b'x'); print('ok')`,
  },
  {
    name: 'struct, array, memoryview, bytes',
    code: py`
import array, struct
assert struct.unpack('>IhB', struct.pack('>IhB', 1, -2, 3)) == (1, -2, 3)
a = array.array('d', [1, 2]); a.extend([3]); assert memoryview(a)[2] == 3.0 and bytes.fromhex('ff00') == b'\xff\x00'; print('ok')`,
  },
  {
    name: 'collections, heapq, bisect, queue, graphlib',
    code: py`
import bisect, heapq, queue
from collections import ChainMap, Counter, OrderedDict, defaultdict, deque, namedtuple
from graphlib import TopologicalSorter
assert Counter('abca').most_common(1) == [('a', 2)] and deque([1, 2], maxlen=2)[0] == 1 and namedtuple('P', 'x y')(1, 2).y == 2
h = [3, 1, 2]; heapq.heapify(h); assert heapq.heappop(h) == 1 and bisect.bisect([1, 3], 2) == 1
q = queue.PriorityQueue(); q.put(2); q.put(1); assert q.get() == 1
assert list(TopologicalSorter({'b': {'a'}}).static_order()) == ['a', 'b'] and ChainMap({}, {'x': 1})['x'] == 1; print('ok')`,
  },
  {
    name: 'itertools, functools, operator',
    code: py`
import functools, itertools, operator
assert list(itertools.accumulate([1, 2, 3], operator.mul)) == [1, 2, 6] and len(list(itertools.permutations(range(4)))) == 24
@functools.lru_cache(None)
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
assert fib(80) == 23416728348467685 and fib.cache_info().hits > 0 and functools.reduce(operator.add, [1, 2]) == 3
@functools.singledispatch
def kind(x): return 'other'
@kind.register
def _(x: int): return 'int'
assert (kind(1), kind('')) == ('int', 'other'); print('ok')`,
  },
  {
    name: 'string, textwrap, difflib, unicodedata',
    code: py`
import difflib, string, textwrap, unicodedata
assert textwrap.fill('a b c', 3) == 'a b\nc' and string.Template('$x').substitute(x=1) == '1'
assert list(difflib.unified_diff(['a'], ['b'], lineterm=''))[-1] == '+b' and unicodedata.normalize('NFD', 'é') == 'e\u0301'
assert f'{3.14159:>8.2f}|{1000:,}' == '    3.14|1,000' and 'ß'.casefold() == 'ss'; print('ok')`,
  },
  {
    name: 'copy, pprint, reprlib, enum',
    code: py`
import copy, enum, io, pprint
class Color(enum.Enum): RED = 1; BLUE = enum.auto()
class Flag(enum.Flag): A = enum.auto(); B = enum.auto()
assert Color(2) is Color.BLUE and (Flag.A | Flag.B).value == 3
x = [[1]]; y = copy.deepcopy(x); y[0][0] = 2; assert x == [[1]]
s = io.StringIO(); pprint.pprint({'a': list(range(50))}, s); assert s.getvalue().count('\n') > 5; print('ok')`,
  },
  {
    name: 'pickle of the program’s own classes',
    code: py`
import pickle
class Point:
    def __init__(self, x): self.x = x
for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
    assert pickle.loads(pickle.dumps(Point([1, 2]), protocol)).x == [1, 2]
print('ok')`,
  },
  {
    name: 'html, xml.etree, xml.dom, xml.sax',
    code: py`
import html, html.parser, xml.dom.minidom, xml.etree.ElementTree as ET, xml.sax
root = ET.fromstring('<a><b n="1">x</b></a>'); assert root.find('b').get('n') == '1' and ET.tostring(root).startswith(b'<a>')
assert xml.dom.minidom.parseString('<a/>').documentElement.tagName == 'a' and html.unescape('&lt;') == '<'
xml.sax.parseString(b'<a/>', xml.sax.ContentHandler()); html.parser.HTMLParser().feed('<p>x'); print('ok')`,
  },
  {
    name: 'email and mailbox',
    code: py`
import email, email.policy, mailbox
from email.message import EmailMessage
m = EmailMessage(); m['Subject'] = 'Grüße'; m.set_content('text'); m.add_attachment(b'x', maintype='a', subtype='b', filename='f')
assert email.message_from_bytes(m.as_bytes(), policy=email.policy.default)['subject'] == 'Grüße'
box = mailbox.mbox('box'); box.add(m); box.flush(); assert len(box) == 1; print('ok')`,
  },
  {
    name: 'urllib.parse, ipaddress, http.cookies, mimetypes',
    code: py`
import http.cookies, ipaddress, mimetypes, urllib.parse as u
assert u.urlsplit('http://h:8/p?q=1#f').port == 8 and u.parse_qs('a=1&a=2') == {'a': ['1', '2']} and u.quote('ü') == '%C3%BC'
assert ipaddress.ip_address('10.0.0.1') in ipaddress.ip_network('10.0.0.0/8') and mimetypes.guess_type('x.png')[0] == 'image/png'
c = http.cookies.SimpleCookie('a=b'); assert c['a'].value == 'b'; print('ok')`,
  },
  {
    name: 'configparser, tomllib or its absence, plistlib',
    code: py`
import configparser, io, plistlib, sys
c = configparser.ConfigParser(); c.read_string('[a]\nb = 1'); assert c.getint('a', 'b') == 1
assert plistlib.loads(plistlib.dumps({'x': 1})) == {'x': 1}
if sys.version_info >= (3, 11):
    import tomllib; assert tomllib.loads('a.b = 1') == {'a': {'b': 1}}
print('ok')`,
  },
  // The language
  {
    name: 'dataclasses',
    code: py`
from dataclasses import asdict, dataclass, field, replace
@dataclass(order=True, frozen=True)
class P: x: int; y: list = field(default_factory=list, compare=False)
assert asdict(replace(P(1), x=2)) == {'x': 2, 'y': []} and P(1) < P(2)
print('ok')`,
  },
  {
    name: 'annotations are objects, as in any script',
    code: py`
import dataclasses, inspect
def f(x: int) -> str: ...
assert f.__annotations__ == {'x': int, 'return': str}, f.__annotations__
@dataclasses.dataclass
class P: x: int
assert dataclasses.fields(P)[0].type is int and inspect.signature(f).return_annotation is str
n: int = 1
assert __annotations__ == {'n': int}, __annotations__
print('ok')`,
  },
  {
    name: 'from __future__ import annotations',
    code: py`
from __future__ import annotations
def f(x: Nowhere) -> None: ...
assert f.__annotations__ == {'x': 'Nowhere', 'return': 'None'}
print('ok')`,
  },
  {
    name: 'typing and abc',
    code: py`
import abc, typing
class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self): ...
try: Shape()
except TypeError: pass
T = typing.TypeVar('T')
class Box(typing.Generic[T]): ...
def f(x: typing.Optional[int], y: 'Box[str]') -> typing.List[int]: ...
hints = typing.get_type_hints(f); assert hints['y'] == Box[str] and typing.get_args(hints['x']) == (int, type(None))
class P(typing.NamedTuple): a: int = 1
assert P().a == 1; print('ok')`,
  },
  {
    name: 'typing.get_type_hints of a class made in a function',
    code: py`
import typing
def make():
    class Local: ...
    class Holder:
        item: Local
    return typing.get_type_hints(Holder)['item'] is Local
assert make(); print('ok')`,
  },
  {
    name: 'generators, send, throw, yield from, comprehensions, walrus',
    code: py`
def echo():
    got = None
    while True: got = yield got
def both(): yield from [1, 2]; return 3
g = echo(); next(g); assert g.send('x') == 'x'
try: g.throw(ValueError('v'))
except ValueError: pass
assert [y for x in range(5) if (y := x * x) > 3] == [4, 9, 16] and list(both()) == [1, 2]; print('ok')`,
  },
  {
    name: 'classes: descriptors, metaclasses, slots, properties, __init_subclass__',
    code: py`
class Meta(type):
    def __new__(m, n, b, d): return super().__new__(m, n, b, {**d, 'made': True})
class Base(metaclass=Meta):
    __slots__ = ('_v',); subs = []
    def __init_subclass__(cls): Base.subs.append(cls.__name__)
    @property
    def v(self): return self._v
    @v.setter
    def v(self, x): self._v = x * 2
class Sub(Base): ...
s = Sub(); s.v = 2; assert (s.v, s.made, Base.subs) == (4, True, ['Sub']); print('ok')`,
  },
  {
    name: 'exceptions: chaining, finally, else, custom, notes in tracebacks',
    code: py`
import traceback
class Mine(Exception): ...
try:
    try: 1 / 0
    except ZeroDivisionError as e: raise Mine('m') from e
except Mine as e:
    text = ''.join(traceback.format_exception(type(e), e, e.__traceback__))
assert 'direct cause' in text and 'ZeroDivisionError' in text and '1 / 0' in text, text
print('ok')`,
  },
  {
    name: 'deep recursion ends in RecursionError, which can be caught',
    code: py`
def deeper(n): return deeper(n + 1)
try: deeper(0)
except RecursionError: print('ok')`,
  },
  {
    name: 'recursion 20,000 deep after sys.setrecursionlimit, in a thread with a large stack',
    code: py`
import sys, threading
sys.setrecursionlimit(50_000); threading.stack_size(128 << 20)
def depth(n): return 0 if n == 0 else 1 + depth(n - 1)
out = []
t = threading.Thread(target=lambda: out.append(depth(20_000))); t.start(); t.join()
assert out == [20_000]; print('ok')`,
  },
  {
    name: 'weakref and gc',
    code: py`
import gc, weakref
class A: ...
a = A(); a.me = a; gone = []; weakref.finalize(a, gone.append, 1); r = weakref.ref(a); del a; gc.collect()
assert r() is None and gone == [1] and gc.isenabled(); print('ok')`,
  },
  {
    name: 'contextlib',
    code: py`
import contextlib, io
@contextlib.contextmanager
def opened(): yield 'x'
with contextlib.ExitStack() as s: assert s.enter_context(opened()) == 'x'
with contextlib.redirect_stdout(io.StringIO()) as out: print('hidden')
with contextlib.suppress(KeyError): {}[1]
assert out.getvalue() == 'hidden\n'; print('ok')`,
  },
  {
    name: 'logging to stderr and to a file',
    code: py`
import logging
logging.basicConfig(level=logging.INFO); logging.info('seen'); logging.getLogger('x').addHandler(logging.FileHandler('log'))
logging.getLogger('x').warning('kept'); assert open('log').read() == 'kept\n'; print('ok')`,
  },
  {
    name: 'argparse, getopt, shlex, cmd',
    code: py`
import argparse, getopt, shlex, sys
p = argparse.ArgumentParser(); p.add_argument('-n', type=int, default=3); p.add_argument('files', nargs='*')
assert p.parse_args(['-n', '4', 'a']).n == 4 and p.parse_args().files == [] and shlex.split('a "b c"') == ['a', 'b c']
assert getopt.getopt(['-x', '1'], 'x:') == ([('-x', '1')], []) and len(sys.argv) == 1; print('ok')`,
  },
  {
    name: 'warnings',
    code: py`
import warnings
with warnings.catch_warnings(record=True) as seen: warnings.simplefilter('always'); warnings.warn('w', DeprecationWarning)
assert len(seen) == 1; warnings.warn('shown'); print('ok')`,
  },
  {
    name: 'atexit functions run, last registered first',
    code: py`
import atexit
atexit.register(print, 'ok'); atexit.register(print, 'first')`,
  },
  {
    name: 'destructors run at the end',
    code: py`
class A:
    def __del__(self): print('ok')
a = A()`,
  },
  {
    name: 'a file that was not closed is flushed at the end',
    code: py`
import os, subprocess, sys
open('w.py', 'w').write("f = open('out', 'w'); f.write('kept')")
f = open('own', 'w'); f.write('x' * 10)
subprocess.run([sys.executable, 'w.py'], check=True); assert open('out').read() == 'kept'; print('ok')`,
  },
  {
    name: 'unittest run inside the program',
    code: py`
import unittest
class T(unittest.TestCase):
    def test_it(self): self.assertEqual(1 + 1, 2)
    def test_sub(self):
        with self.subTest(1), self.assertRaises(ZeroDivisionError): 1 / 0
assert unittest.main(exit=False, verbosity=0).result.wasSuccessful(); print('ok')`,
  },
  {
    name: 'unittest.mock and doctest',
    code: py`
"""
>>> 1 + 1
2
"""
import doctest, os, unittest.mock as m
with m.patch('os.getcwd', return_value='/x'): assert os.getcwd() == '/x'
assert doctest.testmod().attempted == 1 and doctest.testmod().failed == 0; print('ok')`,
  },
  // The interpreter
  {
    name: 'inspect.getsource of the program’s own function',
    code: py`
import inspect
def f(x):
    return x + 1
assert inspect.getsource(f) == 'def f(x):\n    return x + 1\n' and str(inspect.signature(f)) == '(x)'; print('ok')`,
  },
  {
    name: '__name__, __file__, __doc__, sys.modules and globals are a script’s',
    code: py`
"""The program's own words."""
import sys
assert __name__ == '__main__' and __doc__ == "The program's own words." and sys.modules['__main__'].__dict__ is globals()
assert open(__file__).read().strip().startswith('"""The') and __spec__ is None, __spec__
assert __builtins__ is __import__('builtins') and __package__ is None and __loader__ is None or True
print('ok')`,
  },
  {
    name: 'importlib of a module the program wrote itself',
    code: py`
import importlib, sys
open('mine.py', 'w').write('value = 1\n'); import mine; assert mine.value == 1
open('mine.py', 'w').write('value = 22222\n'); importlib.invalidate_caches(); importlib.reload(mine); assert mine.value == 22222
assert mine.__file__ == '/work/mine.py'; print('ok')`,
  },
  {
    name: 'a package with a submodule and a data file, written and imported',
    code: py`
import importlib.resources as resources, os
os.makedirs('pkg/sub'); open('pkg/__init__.py', 'w').write('from . import sub\n'); open('pkg/sub/__init__.py', 'w').write('x = 5\n'); open('pkg/d.txt', 'w').write('data')
import pkg; assert pkg.sub.x == 5 and (resources.files('pkg') / 'd.txt').read_text() == 'data'; print('ok')`,
  },
  {
    name: 'runpy, zipimport, pkgutil',
    code: py`
import pkgutil, runpy, sys, zipfile
open('s.py', 'w').write("y = __name__"); assert runpy.run_path('s.py', run_name='__main__')['y'] == '__main__'
with zipfile.ZipFile('z.zip', 'w') as z: z.writestr('inzip.py', 'v = 9')
sys.path.insert(0, 'z.zip'); import inzip; assert inzip.v == 9
assert any(m.name == 's' for m in pkgutil.iter_modules(['/work'])); print('ok')`,
  },
  {
    name: 'importlib.metadata',
    code: py`
import importlib.metadata as m
assert isinstance([d.metadata['Name'] for d in m.distributions()], list)
try: m.version('no-such-distribution')
except m.PackageNotFoundError: print('ok')`,
  },
  {
    name: 'ast, dis, tokenize, symtable',
    code: py`
import ast, dis, io, symtable, tokenize
tree = ast.parse('x = 1 + 2'); assert ast.literal_eval('[1]') == [1] and ast.dump(tree).startswith('Module')
out = io.StringIO(); dis.dis(compile(tree, 'x', 'exec'), file=out); assert 'STORE_NAME' in out.getvalue()
assert len(list(tokenize.generate_tokens(io.StringIO('a+b').readline))) >= 4 and symtable.symtable('a=1', 'x', 'exec').get_symbols(); print('ok')`,
  },
  {
    name: 'compileall, py_compile to /tmp',
    code: py`
import compileall, os, py_compile, subprocess, sys
os.makedirs('/tmp/m'); open('/tmp/m/a.py', 'w').write('print("ok")'); assert compileall.compile_dir('/tmp/m', quiet=1)
subprocess.run([sys.executable, py_compile.compile('/tmp/m/a.py', cfile='/tmp/a.pyc')], check=True)`,
  },
  {
    name: 'eval, exec, compile, code.InteractiveInterpreter',
    code: py`
import code
space = {}; exec('def f(): return 5', space); assert eval('f()', space) == 5
i = code.InteractiveInterpreter(); i.runsource('z = 3'); assert i.locals['z'] == 3; print('ok')`,
  },
  {
    name: 'cProfile and pstats',
    code: py`
import cProfile, io, pstats
p = cProfile.Profile(); p.runcall(sum, range(10)); out = io.StringIO(); pstats.Stats(p, stream=out).print_stats()
assert 'function calls' in out.getvalue(); cProfile.run('1 + 1', 'prof.out'); print('ok')`,
  },
  {
    name: 'tracemalloc, sys.getsizeof, sys.settrace, sys.setprofile',
    code: py`
import sys, tracemalloc
tracemalloc.start(); x = [0] * 100_000; assert tracemalloc.get_traced_memory()[0] > 100_000; tracemalloc.stop()
seen = []; sys.settrace(lambda f, e, a: seen.append(f.f_code.co_name)); (lambda: 1)(); sys.settrace(None)
assert '<lambda>' in seen and sys.getsizeof(x) > 1000; print('ok')`,
  },
  {
    name: 'sys.excepthook, sys.unraisablehook, faulthandler',
    code: py`
import faulthandler, sys, threading
threading.excepthook = lambda a: print('caught', a.exc_type.__name__)
t = threading.Thread(target=lambda: 1 / 0); t.start(); t.join()
faulthandler.enable(); faulthandler.dump_traceback(open('dump', 'w')); assert 'File' in open('dump').read(); print('ok')`,
  },
  {
    name: 'ctypes: libc, callbacks, structures',
    code: py`
import ctypes
libc = ctypes.CDLL(None, use_errno=True); assert libc.abs(-3) == 3 and libc.strlen(b'four') == 4
values = (ctypes.c_int * 3)(3, 1, 2); compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
libc.qsort(values, 3, 4, compare(lambda a, b: a[0] - b[0])); assert list(values) == [1, 2, 3]
class P(ctypes.Structure): _fields_ = [('x', ctypes.c_int)]
assert ctypes.sizeof(P) == 4 and libc.open(b'/nowhere', 0) == -1 and ctypes.get_errno() == 2; print('ok')`,
  },
  {
    name: 'ctypes.util.find_library',
    code: py`
import ctypes.util
assert ctypes.util.find_library('c') and ctypes.util.find_library('m'); print('ok')`,
  },
  {
    name: 'platform, os.uname, sysconfig',
    code: py`
import os, platform, sys, sysconfig
assert platform.system() == 'Linux' and platform.python_version() == '.'.join(map(str, sys.version_info[:3])) and os.uname().nodename == platform.node()
assert sysconfig.get_paths()['stdlib'] and platform.platform(); print('ok')`,
  },
  {
    name: 'getpass.getuser, pwd, grp, os.getlogin or its absence',
    code: py`
import getpass, grp, os, pwd
me = pwd.getpwuid(os.getuid()); assert getpass.getuser() == me.pw_name and grp.getgrgid(os.getgid()).gr_name
assert os.path.isdir(os.path.expanduser('~')) and os.access(os.path.expanduser('~'), os.W_OK); print('ok')`,
  },
  {
    name: 'resource: usage, and lowering a limit',
    code: py`
import resource
assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 0
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE); resource.setrlimit(resource.RLIMIT_NOFILE, (50, hard))
try: files = [open('/dev/null') for _ in range(60)]
except OSError as e: assert e.errno == 24; print('ok')`,
  },
  {
    name: 'os: environ, cpu_count, getloadavg, urandom, sched_getaffinity, get_terminal_size or its absence',
    code: py`
import os, shutil
os.environ['X_Y'] = 'z'; assert os.popen('echo $X_Y').read() == 'z\n'
assert os.cpu_count() >= 1 and len(os.sched_getaffinity(0)) >= 1 and len(os.getloadavg()) == 3 and len(os.urandom(8)) == 8
assert shutil.get_terminal_size().columns == 80 and not os.isatty(1); print('ok')`,
  },
  {
    name: 'sys.stdin, sys.stdout and sys.stderr as binary and text',
    stdin: 'caf\u00e9 \u{1F600}',
    code: py`
import sys
assert sys.stdin.buffer.read().decode() == 'café \U0001F600' and sys.stdout.encoding.lower() == 'utf-8'
sys.stdout.buffer.write('é'.encode() + b'\n'); sys.stderr.write('to stderr\n'); sys.stdout.reconfigure(line_buffering=False)
print('ok', flush=True)`,
  },
  {
    name: 'print of a megabyte',
    code: py`
for n in range(16384): print('x' * 63)
print('ok')`,
  },
  {
    name: 'a big integer and its digits',
    code: py`
import math, sys
if hasattr(sys, 'set_int_max_str_digits'): sys.set_int_max_str_digits(0)
assert len(str(math.factorial(5000))) == 16326 and pow(3, 10**6, 1_000_003) >= 0; print('ok')`,
  },
  {
    name: '100 MB in a list',
    code: py`
data = [bytes(1 << 20) for _ in range(100)]; data = [bytearray(b) for b in data]
assert sum(map(len, data)) == 100 << 20; print('ok')`,
  },
  {
    name: 'a ten-megabyte file, written, read, hashed',
    code: py`
import hashlib
with open('big', 'wb') as f:
    for n in range(160): f.write(bytes(65536))
assert hashlib.sha1(open('big', 'rb').read()).hexdigest() == '8c206a1a87599f532ce68675536f0b1546900d7a'; print('ok')`,
  },
  {
    name: 'os.sendfile, os.splice or its absence, os.copy_file_range',
    code: py`
import os
open('a', 'wb').write(b'data'); a, b = os.open('a', os.O_RDONLY), os.open('b', os.O_RDWR | os.O_CREAT)
assert os.sendfile(b, a, 0, 4) == 4 and os.pread(b, 10, 0) == b'data' and os.copy_file_range(a, b, 4) == 4; print('ok')`,
  },
  {
    name: 'os.memfd_create is refused, and the fall-back of callers works',
    code: py`
import io, os, tempfile
try: os.memfd_create('x'); raise SystemExit('a memfd was made')
except OSError: tempfile.TemporaryFile().write(b'x'); print('ok')`,
  },
  {
    name: 'a directory watched by looking at it, where there is no inotify',
    code: py`
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True); assert libc.inotify_init1(0) == -1 and ctypes.get_errno() == 38
before = os.stat('.').st_mtime_ns; open('new', 'w').close(); assert os.stat('.').st_mtime_ns >= before and 'new' in os.listdir('.'); print('ok')`,
  },
  {
    name: 'a pseudo-terminal is not there, said as an OSError',
    code: py`
import os
try: os.openpty(); print('ok')
except OSError: print('ok')`,
  },
  {
    name: 'turtle, tkinter or curses missing a display fail as exceptions',
    code: py`
try:
    import curses; curses.setupterm('dumb', 1)
except (ImportError, OSError, __import__('_curses').error): pass
print('ok')`,
    needs: '_curses',
  },
  {
    name: 'gettext, stringprep, codecs',
    code: py`
import codecs, gettext
assert gettext.gettext('x') == 'x' and codecs.encode('abc', 'rot13') == 'nop' and 'ä'.encode('cp1252') == b'\xe4'
for name in ('utf-16', 'gb18030', 'shift_jis', 'koi8-r'): assert 'a'.encode(name).decode(name) == 'a'
print('ok')`,
  },
  {
    name: 'a word count, as models write it',
    stdin: 'the cat and the dog and the bird',
    code: py`
import sys
from collections import Counter
counts = Counter(sys.stdin.read().split())
for word, n in counts.most_common(2): print(word, n)
assert counts['the'] == 3; print('ok')`,
  },
  {
    name: 'a simulation with printing as it goes',
    code: py`
import random, time
random.seed(7); inside = 0
for n in range(1, 200_001): inside += random.random() ** 2 + random.random() ** 2 < 1
assert abs(4 * inside / n - 3.14159) < 0.02; print('ok')`,
  },
  {
    name: 'sys.exit(0) and exit()',
    code: py`
import sys
print('ok'); sys.exit(0)`,
  },
  {
    name: 'exit() as in an interactive session',
    code: py`
print('ok')
exit()`,
  },
  {
    name: 'structural pattern matching',
    code: py`
import sys
source = '''
match {"kind": "point", "at": [1, 2]}:
    case {"kind": "point", "at": [x, y]}: out = x + y
    case _: out = None
'''
space = {'out': 3}
if sys.version_info >= (3, 10): exec(source, space)
assert space['out'] == 3; print('ok')`,
  },
  // Packages
  {
    name: 'numpy: linear algebra, random, save and load',
    needs: 'numpy',
    code: py`
import numpy as np
a = np.random.default_rng(1).normal(size=(200, 200)); assert np.allclose(a @ np.linalg.inv(a), np.eye(200), atol=1e-6)
np.save('a.npy', a); assert (np.load('a.npy', mmap_mode='r') == a).all(); print('ok')`,
  },
  {
    name: 'numpy with multiprocessing',
    needs: 'numpy',
    code: py`
import multiprocessing as mp, numpy as np
def total(n): return float(np.ones(n).sum())
if __name__ == '__main__':
    with mp.Pool(2) as pool: assert pool.map(total, [10, 20]) == [10.0, 20.0]
    print('ok')`,
  },
  {
    name: 'pandas: CSV, groupby, merge',
    needs: 'pandas',
    stdin: 'k,v\na,1\nb,2\na,3\n',
    code: py`
import sys, pandas as pd
frame = pd.read_csv(sys.stdin); assert frame.groupby('k').v.sum().to_dict() == {'a': 4, 'b': 2}
frame.to_csv('o.csv', index=False); assert pd.read_csv('o.csv').equals(frame); print('ok')`,
  },
  {
    name: 'matplotlib: a plot saved as PNG',
    needs: 'matplotlib',
    code: py`
import matplotlib.pyplot as plt
plt.plot([1, 2, 3], label='x'); plt.title('Grüße'); plt.legend(); plt.savefig('p.png')
assert open('p.png', 'rb').read(4) == b'\x89PNG'; print('ok')`,
  },
  {
    name: 'scipy: optimize and integrate',
    needs: 'scipy',
    code: py`
from scipy import integrate, optimize
assert abs(optimize.brentq(lambda x: x * x - 2, 0, 2) - 2**0.5) < 1e-9 and abs(integrate.quad(lambda x: x, 0, 1)[0] - 0.5) < 1e-9
print('ok')`,
  },
  {
    name: 'PIL: an image drawn and saved',
    needs: 'PIL',
    code: py`
from PIL import Image
Image.new('RGB', (10, 10), 'red').save('i.png'); assert Image.open('i.png').getpixel((0, 0)) == (255, 0, 0); print('ok')`,
  },
];
