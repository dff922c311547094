/**
 * Goal: to reach parts of the kernel that have had holes: each system call that Docker's default profile refuses, and newer ones of the
 * same kind, other entries (32-bit, x32), and arguments whose upper half a filter might overlook.
 *
 * A call is closed when the sandbox answers EPERM or ENOSYS whatever the arguments. The control makes the same call without a sandbox and has
 * to get another answer (most often EFAULT, EBADF or EINVAL, as the arguments are nonsense, so that nothing happens to the machine): it shows
 * that the answer inside is the filter's. For calls marked `root` the kernel itself answers EPERM to an ordinary user; calls
 * the kernel does not have at all can't have a control. Both are skipped, and say so.
 */

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { PYTHON } from '../support/sandbox.js';
import { py, type Attack } from './attack.js';

const SANDBOX = fileURLToPath(new URL('../../../sandbox', import.meta.url));
const asked = spawnSync(
  PYTHON,
  [
    '-I',
    '-B',
    '-c',
    `import sys, json; sys.path.insert(0, ${JSON.stringify(SANDBOX)}); from confine import syscalls; print(json.dumps(syscalls.NUMBERS[syscalls.machine()]))`,
  ],
  { encoding: 'utf8' },
);
/** Numbers of system calls by name, for this architecture. */
export const numbers = JSON.parse(asked.stdout) as Record<string, number>;

/** A pointer that is none. */
const BAD = -4096;

/** Name, arguments that come to nothing, and whether an ordinary user is refused by the kernel itself. */
export const calls: readonly (readonly [name: string, args: readonly number[], root?: 'root'])[] = [
  // Refused by Docker's default profile
  ['acct', [BAD], 'root'],
  ['add_key', [BAD, BAD, 0, 0, -3]],
  ['bpf', [0, BAD, 200], 'root'],
  ['clock_adjtime', [0, BAD]],
  ['clock_settime', [0, BAD]],
  ['adjtimex', [BAD]],
  ['create_module', [BAD, 0]],
  ['delete_module', [BAD, 0], 'root'],
  ['finit_module', [-1, BAD, 0], 'root'],
  ['get_kernel_syms', [0]],
  ['get_mempolicy', [BAD, BAD, 0, 0, 99]],
  ['init_module', [BAD, 0, BAD], 'root'],
  ['ioperm', [0, 0, 0]],
  ['iopl', [9]],
  ['kcmp', [0, 0, 99, 0, 0]],
  ['kexec_file_load', [-1, -1, 0, BAD, 99], 'root'],
  ['kexec_load', [0, 99, BAD, 99], 'root'],
  ['keyctl', [99]],
  ['lookup_dcookie', [0, BAD, 0]],
  ['mbind', [1, 0, 99, 0, 0, 0]],
  ['migrate_pages', [0, 0, 0, BAD]],
  ['mount', [BAD, BAD, BAD, 0, 0]],
  ['move_pages', [0, 1, BAD, 0, 0, 0]],
  ['nfsservctl', [0, 0, 0]],
  ['open_by_handle_at', [-1, BAD, 0], 'root'],
  ['perf_event_open', [BAD, 0, -1, -1, 0]],
  ['pivot_root', [BAD, BAD], 'root'],
  ['process_vm_readv', [0, BAD, 1, BAD, 1, 0]],
  ['process_vm_writev', [0, BAD, 1, BAD, 1, 0]],
  ['ptrace', [99, -1, 0, 0]],
  ['query_module', [0, 0, 0, 0, 0]],
  ['quotactl', [-1, 0, 0, 0]],
  ['quotactl_fd', [-1, -1, 0, 0]],
  ['reboot', [0, 0, 0, 0], 'root'],
  ['request_key', [BAD, BAD, 0, 0]],
  ['set_mempolicy', [99, 0, 0]],
  ['set_mempolicy_home_node', [1, 0, 99, 99]],
  ['setns', [-1, 0]],
  ['settimeofday', [BAD, 0]],
  ['swapon', [BAD, 0], 'root'],
  ['swapoff', [BAD], 'root'],
  ['sysfs', [99]],
  ['_sysctl', [BAD]],
  ['umount2', [BAD, 99]],
  ['unshare', [1]],
  ['uselib', [BAD]],
  ['userfaultfd', [99]],
  ['ustat', [0, BAD]],
  ['vserver', [0, 0]],
  ['fanotify_init', [0xffffff, 0], 'root'],
  ['fanotify_mark', [-1, 0, 0, -1, 0]],
  ['name_to_handle_at', [-1, BAD, BAD, BAD, 0]],
  ['syslog', [99, 0, 0], 'root'],
  ['sethostname', [BAD, -1], 'root'],
  ['setdomainname', [BAD, -1], 'root'],
  ['chroot', [BAD]],
  ['vhangup', [], 'root'],
  ['process_madvise', [-1, BAD, 1, 99, 0]],
  ['process_mrelease', [-1, 0]],
  ['pidfd_getfd', [-1, 0, 0]],
  ['memfd_create', [BAD, 0]],
  ['memfd_secret', [99]],
  ['modify_ldt', [99, 0, 0]],
  ['remap_file_pages', [1, 0, 0, 0, 0]],
  ['io_setup', [0, BAD]],
  ['io_submit', [0, 1, BAD]],
  ['io_destroy', [0]],
  ['io_cancel', [0, BAD, BAD]],
  ['io_getevents', [0, 0, 0, 0, 0]],
  ['vmsplice', [-1, BAD, 1, 0]],
  ['tee', [-1, -1, 1, 0]],
  ['pkey_alloc', [99, 0]],
  ['pkey_mprotect', [1, 0, 0, 0]],
  ['io_uring_setup', [1, BAD]],
  ['io_uring_enter', [-1, 0, 0, 0, 0, 0]],
  ['io_uring_register', [-1, 0, 0, 0]],
  // New mount calls
  ['fsopen', [BAD, 0], 'root'],
  ['fsconfig', [-1, 99, 0, 0, 0]],
  ['fsmount', [-1, 0, 0], 'root'],
  ['fspick', [-1, BAD, 0], 'root'],
  ['open_tree', [-1, BAD, 99]],
  ['open_tree_attr', [-1, BAD, 99, 0, 0]],
  ['move_mount', [-1, BAD, -1, BAD, 0], 'root'],
  ['mount_setattr', [-1, BAD, 0, 0, 0]],
  ['statmount', [BAD, BAD, 0, 0]],
  ['listmount', [BAD, BAD, 0, 0]],
  // IPC that outlives its maker, and other state of the kernel's
  ['shmget', [0, 0, 0]],
  ['shmat', [-1, 0, 0]],
  ['shmctl', [-1, 0, 0]],
  ['semget', [0, 99999999, 0]],
  ['semop', [-1, BAD, 1]],
  ['msgget', [-1, 0]],
  ['msgsnd', [-1, BAD, 0, 0]],
  ['mq_open', [BAD, 0, 0, 0]],
  ['mq_unlink', [BAD]],
  ['clone3', [BAD, 64]],
  ['landlock_create_ruleset', [BAD, 64, 0]],
  ['seccomp', [99, 0, 0]],
  ['setuid', [-1]],
  ['setgid', [-1]],
  ['setreuid', [-2, -2], 'root'],
  ['setgroups', [99999999, BAD], 'root'],
  ['setfsuid', [-1]],
  ['capset', [BAD, BAD]],
  ['setxattr', [BAD, BAD, BAD, 0, 0]],
  ['removexattr', [BAD, BAD]],
  ['cachestat', [-1, BAD, BAD, 0]],
  ['map_shadow_stack', [1, 0, 99]],
  ['lsm_get_self_attr', [99, BAD, BAD, 0]],
  ['futex_waitv', [BAD, 1, 99, 0, 0]],
  ['rt_sigtimedwait', [BAD, 0, 0, 99]], // allowed on purpose, see below
];

/** Allowed on purpose: in the table to show that the method tells the two apart. */
export const allowedOnPurpose = new Set(['rt_sigtimedwait']);

/** Each call of the table as an attack: it got through if the answer is not the filter's. */
const refused: readonly Attack[] = calls
  .filter(([name]) => numbers[name] !== undefined && !allowedOnPurpose.has(name))
  .map(([name, args, root]) => ({
    name: `the system call ${name}`,
    needs: root === undefined ? 'kernel' : 'root and kernel',
    code: `
result = libc.syscall(ctypes.c_long(${numbers[name] ?? -1}), ${args.map((arg) => `ctypes.c_long(${arg})`).join(', ')})
answer = errno.errorcode.get(ctypes.get_errno(), "?") if result == -1 else "success"
if answer in ("EPERM", "ENOSYS"): raise OSError(answer)
return answer`,
  }));

const NR = (x86: number, arm: number): string => `{"x86_64": ${x86}}.get(os.uname().machine, ${arm})`;

/** Beyond the table of calls. */
export const others: readonly Attack[] = [
  {
    name: 'a 32-bit system call by int 0x80',
    needs: 'kernel',
    ends: ['ok', 'killed'],
    code: py`
import mmap, platform
if platform.machine() != "x86_64": raise OSError("another architecture")
# push rbx; mov eax, 20 (getpid); int 0x80; pop rbx; ret
m = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
m.write(b"\x53\xb8\x14\x00\x00\x00\xcd\x80\x5b\xc3")
result = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()
return result == os.getpid()`,
  },
  {
    name: 'socket by a 32-bit system call',
    needs: 'kernel',
    ends: ['ok', 'killed'],
    code: py`
import mmap, platform
if platform.machine() != "x86_64": raise OSError("another architecture")
# push rbx; mov eax, 359 (socket); mov ebx, 16 (AF_NETLINK); mov ecx, 3; xor edx, edx; int 0x80; pop rbx; ret
m = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
m.write(b"\x53\xb8\x67\x01\x00\x00\xbb\x10\x00\x00\x00\xb9\x03\x00\x00\x00\x31\xd2\xcd\x80\x5b\xc3")
return ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))() >= 0`,
  },
  {
    name: 'an x32 system call',
    needs: 'kernel',
    code: py`return libc.syscall(ctypes.c_long(0x40000000 | 39)) == os.getpid()`,
  },
  {
    name: 'a system call whose number has rubbish in its upper half',
    code: `
r = libc.syscall(ctypes.c_long(${NR(272, 97)} | 1 << 40), ctypes.c_long(0x10000000))
if r == -1 and ctypes.get_errno() in (errno.EPERM, errno.ENOSYS) and C["inside"]: raise OSError(ctypes.get_errno(), "refused")
return r == 0 or not C["inside"]`,
  },
  {
    name: 'clone with a namespace flag beside rubbish in the upper half',
    needs: 'kernel',
    code: `
pid = call(libc.syscall(${NR(56, 220)}, ctypes.c_long(0x10000000 | 17 | 1 << 45), None, None, None, None))
if pid == 0: os._exit(0)
return pid`,
  },
  {
    name: 'a socket family with rubbish in the upper half',
    code: `return call(libc.syscall(${NR(41, 198)}, ctypes.c_long(16 | 1 << 32), ctypes.c_long(3), ctypes.c_long(0))) >= 0`,
  },
  {
    name: 'reading performance counters',
    needs: 'kernel',
    code: py`
attr = ctypes.create_string_buffer(struct.pack("IIQQQQQ", 1, 112, 0, 0, 0, 0, 0x20) + bytes(64))
return call(libc.syscall({"x86_64": 298}.get(os.uname().machine, 241), attr, 0, -1, -1, 0)) >= 0`,
  },
  {
    name: 'io_uring',
    needs: 'kernel',
    code: py`return call(libc.syscall(425, 4, ctypes.create_string_buffer(200))) >= 0`,
  },
  {
    name: 'user faults',
    needs: 'kernel',
    code: py`return call(libc.syscall({"x86_64": 323}.get(os.uname().machine, 282), 1)) >= 0`,
  },
  {
    name: 'a filter of its own that hides what it does',
    needs: 'kernel',
    code: py`
program = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0x7fff0000))
call(libc.prctl(38, 1, 0, 0, 0))
return call(libc.prctl(22, 2, ctypes.create_string_buffer(struct.pack("HxxxxxxQ", 1, ctypes.addressof(program))), 0, 0)) == 0`,
  },
  {
    name: 'no randomization of addresses',
    code: py`
call(libc.personality(0x0040000))
return True`,
  },
  {
    name: 'reading from address 0 after a personality',
    code: py`
call(libc.personality(0x0100000))
return True`,
  },
  {
    name: 'another way into system calls (user dispatch)',
    needs: 'kernel',
    code: py`
call(libc.prctl(59, 0, 0, 0, 0))
return True`,
  },
  {
    name: 'its own process’s memory layout by prctl',
    needs: 'kernel',
    code: py`
call(libc.prctl(35, 14, 0, 0, 0))
return True`,
  },
  {
    name: 'secure bits and kept capabilities',
    code: py`
call(libc.prctl(8, 1, 0, 0, 0))
return True`,
  },
];

/** All of it as attacks. */
export const attacks: readonly Attack[] = [...refused, ...others];
