/** The ordinary programs that don't work in tier `confined`, by name, with what they lack there (SECURITY.md). */

const SEMAPHORES = 'semaphores and shared memory, which lie in /dev/shm';
const SOCKETS = 'sockets other than pairs';

export const NOT_IN_CONFINED: Readonly<Record<string, string>> = {
  'concurrent.futures processes': SEMAPHORES,
  'multiprocessing.Pool': SEMAPHORES,
  'multiprocessing.Process with a Queue': SEMAPHORES,
  'multiprocessing.Pipe, Value, Array, Lock, Event': SEMAPHORES,
  'multiprocessing.shared_memory': SEMAPHORES,
  'multiprocessing.Manager': SOCKETS,
  'multiprocessing with spawn': SEMAPHORES,
  'multiprocessing with forkserver': SOCKETS,
  'numpy with multiprocessing': SEMAPHORES,
  'asyncio: a TCP server and its client on loopback': SOCKETS,
  'an http server on its own loopback, asked with urllib': SOCKETS,
  'localhost by name, and IPv6 loopback': SOCKETS,
  'UDP on its own loopback': SOCKETS,
  'Unix sockets: by path, abstract, pair, passing a descriptor': SOCKETS,
  'socketserver and xmlrpc': SOCKETS,
  'getpass.getuser, pwd, grp, os.getlogin or its absence': 'the list of users in /etc/passwd',
};

const MODES = 'changing modes and times, which does nothing for an ordinary user';

/** Where the server runs as an ordinary user, these, too. */
export const NOT_IN_CONFINED_AS_USER: Readonly<Record<string, string>> = {
  'a pseudo-shell script file, made executable and run': MODES,
  'links, FIFOs, permissions, times': MODES,
};
