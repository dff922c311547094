/** Why a test of CPython's suite ends differently in a sandbox: by the test's name, with what the sandbox does on purpose. */

interface Difference {
  readonly test: RegExp;
  readonly reason: string;
}

const NO_TERMINALS = 'there are no pseudo-terminals in a sandbox';
const NO_NEW_IDS = 'a program can not change its ids, not even to those it has';
const READ_ONLY =
  'the library is read-only, also for who asks to remove what is not there (EROFS, where others get ENOENT)';
const FILE_SIZE = 'the file is larger than this run may write';

const DIFFERENCES: readonly Difference[] = [
  { test: /test_pty\.|pty|PtyTests/i, reason: NO_TERMINALS },
  { test: /test_tcsetpgrpt$/, reason: `${NO_TERMINALS}: the call is refused before its descriptor is looked at` },
  { test: /test_setres[ug]id|resetids|test_setre[ug]id_neg1/, reason: NO_NEW_IDS },
  {
    test: /test_chown_without_permission$/,
    reason: 'the id it gives the file to does not exist in the sandbox, which has one: EINVAL, not EPERM',
  },
  {
    test: /ExtendedAttributeTests/,
    reason:
      'extended attributes can not be set: the file system in memory has none for users, and seccomp refuses the call',
  },
  {
    test: /test_memfd_create$/,
    reason: 'memory outside of any file system is refused (seccomp): it would escape the cap on the disk',
  },
  {
    test: /Pep383Tests\.test_listdir$/,
    reason: 'the root directory can not be listed: a landlock rule for it would hold for all below it',
  },
  { test: /test_unpickle_module_race$|test_import\.|test_importlib\./, reason: READ_ONLY },
  { test: /LargeMmapTests|test_large_file_ops$/, reason: FILE_SIZE },
  { test: /test_fsize_ismax$/, reason: 'the size of files is limited' },
  {
    test: /test_resource\..*test_prlimit$/,
    reason: 'the limits of a process by its number are refused (seccomp), also of its own; number 0 works',
  },
  { test: /test_setrusage_refcount$/, reason: 'the CPU time is limited, and a limit can not be raised' },
  { test: /test_(ifconfig|ip)_getnode$/, reason: 'there is no network interface with an address to make an id of' },
  {
    test: /test_subprocess\..*test_no_leaking$/,
    reason: 'it is skipped outside, where more descriptors may be open than it wants to try',
  },
  {
    test: /test_socket\..*(CAN|ISOTP|J1939|RDS|VSOCK|Vsock|QIPCRTR|Bluetooth|Crypto|Alg|SCTP|TIPC|HyperV)/i,
    reason: 'no sockets but TCP, UDP and Unix ones can be made (seccomp)',
  },
  {
    test: /testInterfaceNameIndex$|scopeid_symbolic$/,
    reason: 'interfaces are listed by netlink, which is refused (seccomp)',
  },
  { test: /test_faulthandler\./, reason: 'it counts on the time between two lines, and fails now and then outside' },
];

/** The reason for a difference, or null where none is known. */
export function reasonFor(test: string, inside: string, outside: string): string | null {
  if (inside === 'not run' || outside === 'not run') return null; // a module that broke off is no difference of a test
  return DIFFERENCES.find((difference) => difference.test.test(test))?.reason ?? null;
}
