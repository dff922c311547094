"""seccomp: the filter as a program (run by a small BPF machine, for both architectures), and in the kernel.

What the kernel says is shown with a control: the same call before the filter is installed doesn't give the filter's
errno, so that it is the filter that refuses.
"""

import ctypes
import errno
import mmap
import os
import platform
import re
import signal
import struct
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

from confine import kernel, seccomp, shared, syscalls
from forked import forked

X86_64, AARCH64, I386, ARM = 0xC000003E, 0xC00000B7, 0x40000003, 0x40000028
ARCH = {"x86_64": X86_64, "aarch64": AARCH64}
MACHINE = platform.machine()
ALLOW = "allow"
PRIVILEGED = bool(kernel.effective_capabilities() >> kernel.CAPABILITIES["CAP_SYS_ADMIN"] & 1)
MAX_FILTER_INSTRUCTIONS = 4096  # BPF_MAXINSNS


def instructions(program):
    return list(struct.iter_unpack("=HBBI", program))


def run(program, arch, number, arguments=()):
    """(what the filter answers: ALLOW or the name of an errno, how many instructions it took)"""
    words = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=IIQ6Q", number & 0xFFFFFFFF, arch, 0, *(word & 2**64 - 1 for word in words))
    code, accumulator, position, steps = instructions(program), 0, 0, 0
    while True:
        operation, jump_true, jump_false, k = code[position]
        position += 1
        steps += 1
        if operation == 0x20:  # BPF_LD | BPF_W | BPF_ABS
            (accumulator,) = struct.unpack_from("=I", data, k)
        elif operation == 0x54:  # BPF_ALU | BPF_AND | BPF_K
            accumulator &= k
        elif operation == 0x05:  # BPF_JMP | BPF_JA
            position += k
        elif operation == 0x15:  # BPF_JMP | BPF_JEQ | BPF_K
            position += jump_true if accumulator == k else jump_false
        elif operation == 0x35:  # BPF_JMP | BPF_JGE | BPF_K
            position += jump_true if accumulator >= k else jump_false
        elif operation == 0x45:  # BPF_JMP | BPF_JSET | BPF_K
            position += jump_true if accumulator & k else jump_false
        elif operation == 0x06:  # BPF_RET | BPF_K
            if k == 0x7FFF0000:
                return ALLOW, steps
            assert k & 0xFFFF0000 == 0x00050000, hex(k)
            return errno.errorcode[k & 0xFFFF], steps
        else:
            raise AssertionError(f"unknown instruction {operation:#x}")


class OnX86_64:
    machine = "x86_64"


class OnAarch64:
    machine = "aarch64"


class TheCompiler(unittest.TestCase):
    def test_every_allowed_name_is_a_call_somewhere_and_the_groups_do_not_overlap(self):
        known = set().union(*syscalls.NUMBERS.values())
        self.assertEqual((seccomp.ALLOWED | seccomp.ABSENT) - known, set())
        self.assertEqual(seccomp.ALLOWED & seccomp.ABSENT, set())
        self.assertLessEqual(seccomp.CHECKED | seccomp.METADATA, seccomp.ALLOWED)

    def test_x32_calls_do_not_exist(self):
        program = seccomp.build("x86_64", inet=True)
        for number in range(600):
            self.assertEqual(run(program, X86_64, 0x40000000 | number)[0], "ENOSYS", number)

    def test_far_jumps_are_taken_right(self):
        far = [(0x54, 0, 0, 0xFFFFFFFF)] * 300
        yes, no = [(0x06, 0, 0, 0x7FFF0000)], [(0x06, 0, 0, 0x00050001)]
        for then, otherwise in ((far + yes, far + no), (far + far + yes, far + no), (far + yes, no), (yes, far + no)):
            code = [(0x20, 0, 0, 0), *seccomp._when(0x15, 7, then, otherwise)]
            program = b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
            self.assertEqual([run(program, X86_64, 7)[0], run(program, X86_64, 8)[0]], [ALLOW, "EPERM"])

    def test_with_files_of_the_host_there_are_no_unix_sockets_but_pairs_and_no_set_uid(self):
        for machine, arch in (("x86_64", X86_64), ("aarch64", AARCH64)):
            numbers = syscalls.NUMBERS[machine]
            with_files, without = (seccomp.build(machine, inet=True, host_files=there) for there in (True, False))

            def answers(name, *arguments):
                return [run(program, arch, numbers[name], arguments)[0] for program in (with_files, without)]

            for kind in (1, 2, 5):
                self.assertEqual(answers("socket", 1, kind), ["EAFNOSUPPORT", ALLOW])
                self.assertEqual(answers("socketpair", 1, kind | 0o2000000), ["ESOCKTNOSUPPORT" if kind == 2 else ALLOW, ALLOW])
            self.assertEqual(answers("socket", 2, 1), [ALLOW, ALLOW])
            for name, mode in (("chmod", 1), ("fchmod", 1), ("fchmodat", 2), ("fchmodat2", 2)):
                if name not in numbers:
                    continue
                for bits, refused in ((0o777, False), (0o1777, False), (0o4755, True), (0o2755, True), (0o6000, True)):
                    self.assertEqual(answers(name, *([0] * mode), bits), ["EPERM" if refused else ALLOW, ALLOW])

    def test_names_come_from_the_right_table(self):
        self.assertEqual(run(seccomp.build("x86_64", inet=False), X86_64, 0)[0], ALLOW)  # read
        self.assertEqual(run(seccomp.build("aarch64", inet=False), AARCH64, 0)[0], "EPERM")  # io_setup
        self.assertEqual(run(seccomp.build("aarch64", inet=False), AARCH64, 63)[0], ALLOW)  # read
        self.assertEqual(run(seccomp.build("aarch64", inet=False), AARCH64, 117)[0], "EPERM")  # ptrace


class Asking:
    """Tests that are run once for each machine."""

    def asking(self, inet=False, metadata=True):
        """A function that tells what the filter answers to a call by name; None where the machine has no such call."""
        program = seccomp.build(self.machine, inet=inet, metadata=metadata)
        numbers = syscalls.NUMBERS[self.machine]

        def ask(name, *arguments):
            return run(program, ARCH[self.machine], numbers[name], arguments)[0] if name in numbers else None

        return ask


class TheFilterAsAProgram(Asking):
    def test_it_is_a_program_the_kernel_takes(self):
        for inet in (False, True):
            code = instructions(seccomp.build(self.machine, inet=inet))
            self.assertLessEqual(len(code), MAX_FILTER_INSTRUCTIONS)
            for position, (operation, jump_true, jump_false, k) in enumerate(code):
                if operation & 7 == 5:  # BPF_JMP: forward, to an instruction
                    farthest = k if operation == 0x05 else max(jump_true, jump_false)
                    self.assertLess(position + 1 + farthest, len(code))
                if operation == 0x20:
                    self.assertTrue(k % 4 == 0 and k < 64, k)
            self.assertEqual(code[-1][0], 0x06)

    def test_every_known_call_is_answered_as_its_group_says(self):
        ask = self.asking()
        for name in set().union(*syscalls.NUMBERS.values()) - seccomp.CHECKED:
            expected = ALLOW if name in seccomp.ALLOWED else "ENOSYS" if name in seccomp.ABSENT else "EPERM"
            # whatever the arguments are
            for arguments in ((), (2**64 - 1,) * 6):
                self.assertIn(ask(name, *arguments), (expected, None), name)

    def test_numbers_nobody_has_heard_of_do_not_exist(self):
        program, known = seccomp.build(self.machine, inet=True), set(syscalls.NUMBERS[self.machine].values())
        for number in [*range(0, 2048), 4096, 2**30 - 1, 2**31, 2**32 - 1]:
            if number not in known:
                self.assertEqual(run(program, ARCH[self.machine], number)[0], "ENOSYS", number)

    def test_calls_of_another_architecture_do_not_exist(self):
        program = seccomp.build(self.machine, inet=True)
        for arch in (X86_64, AARCH64, I386, ARM, 0, 2**32 - 1):
            if arch != ARCH[self.machine]:
                for number in range(600):
                    self.assertEqual(run(program, arch, number)[0], "ENOSYS", (hex(arch), number))

    def test_an_allowed_call_costs_a_dozen_instructions(self):
        program, numbers = seccomp.build(self.machine, inet=True), syscalls.NUMBERS[self.machine]
        for name in seccomp.ALLOWED - seccomp.CHECKED:
            if name in numbers:
                self.assertLessEqual(run(program, ARCH[self.machine], numbers[name])[1], 13, name)

    def test_the_calls_that_break_sandboxes_are_not_allowed(self):
        refused = """
            mount umount2 pivot_root chroot open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr unshare
            setns bpf add_key request_key keyctl io_uring_setup io_uring_enter io_uring_register userfaultfd ptrace
            process_vm_readv process_vm_writev process_madvise pidfd_getfd perf_event_open kexec_load kexec_file_load
            init_module finit_module delete_module clock_settime clock_adjtime adjtimex settimeofday memfd_create
            memfd_secret shmget shmat shmctl shmdt semget semop semtimedop semctl msgget msgsnd msgrcv msgctl mq_open
            mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr fanotify_init fanotify_mark quotactl
            quotactl_fd acct swapon swapoff reboot syslog sethostname setdomainname iopl ioperm modify_ldt
            name_to_handle_at open_by_handle_at lookup_dcookie vhangup mbind migrate_pages move_pages set_mempolicy
            kcmp nfsservctl vmsplice seccomp capset setuid setgid setgroups setresuid clone3 open_tree_attr
            """.split()
        ask = self.asking(inet=True)
        for name in refused:
            self.assertIn(ask(name), ("EPERM", "ENOSYS", None), name)

    def test_metadata_of_files_can_be_refused(self):
        ask = self.asking(metadata=False)
        for name in seccomp.METADATA:
            self.assertIn(ask(name), ("EPERM", None), name)
        self.assertEqual(ask("openat"), ALLOW)


class TheArguments(Asking):
    HIGH = 1 << 32  # what the kernel ignores of an int

    def test_clone_makes_threads_and_processes_but_no_namespaces_nor_siblings(self):
        thread = 0x3D0F00  # VM FS FILES SIGHAND THREAD SYSVSEM SETTLS PARENT_SETTID CHILD_CLEARTID: pthread_create
        fork, vfork = 0x1200011, 0x4111
        ask = self.asking()
        for flags in (thread, fork, vfork, 0x11, 0x1000 | 0x11):
            self.assertEqual(ask("clone", flags), ALLOW, hex(flags))
        for name in ("NEWNS", "NEWCGROUP", "NEWUTS", "NEWIPC", "NEWUSER", "NEWPID", "NEWNET"):
            bit = getattr(kernel, f"CLONE_{name}")
            for flags in (bit, bit | fork, bit | thread, bit | self.HIGH):
                self.assertEqual(ask("clone", flags), "EPERM", name)
        self.assertEqual(ask("clone", 0x8011), "EPERM", "CLONE_PARENT")
        self.assertEqual(ask("clone3", 0, 0), "ENOSYS")

    def test_kill_reaches_processes_by_number_or_group_but_not_all_at_once(self):
        ask = self.asking()
        for pid in (1, 12345, 0, 0xFFFFFFFE):  # the last is the group 2
            self.assertEqual(ask("kill", pid, 9), ALLOW, pid)
        for everyone in (0xFFFFFFFF, 0xFFFFFFFF | self.HIGH):
            self.assertEqual(ask("kill", everyone, 9), "EPERM")

    def test_ioctl_asks_about_descriptors_and_does_nothing_else(self):
        ask = self.asking()
        for command in (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451, 0x40049409, 0x802C542A):
            self.assertEqual(ask("ioctl", 0, command), ALLOW, hex(command))
            self.assertEqual(ask("ioctl", 0, command | self.HIGH), ALLOW, hex(command))
        # TIOCSTI, TIOCLINUX, TIOCSETD, TIOCCONS, FS_IOC_SETFLAGS, SIOCSIFFLAGS, NS_GET_USERNS, LOOP_SET_FD
        for command in (0x5412, 0x541C, 0x5423, 0x541D, 0x40086602, 0x8914, 0xB701, 0x4C00):
            self.assertEqual(ask("ioctl", 0, command), "ENOTTY", hex(command))
            self.assertEqual(ask("ioctl", 0, command | self.HIGH), "ENOTTY", hex(command))

    def test_sockets_are_of_unix_alone_without_inet(self):
        ask = self.asking(inet=False)
        for kind in (1, 2, 5, 1 | 0o2000000, 2 | 0o4000, 1 | 0o2004000):
            self.assertEqual(ask("socket", 1, kind, 0), ALLOW)
        for family in [0, *range(2, 64), 2**31, 2**32 - 1]:
            self.assertEqual(ask("socket", family, 1, 0), "EAFNOSUPPORT", family)
        self.assertEqual(ask("socket", self.HIGH | 1, 1, 0), ALLOW)
        self.assertEqual(ask("socket", self.HIGH | 16, 3, 0), "EAFNOSUPPORT")

    def test_with_inet_there_are_tcp_and_udp_and_nothing_raw(self):
        ask = self.asking(inet=True)
        for family in (2, 10):
            for kind, protocol in ((1, 0), (1, 6), (2, 0), (2, 17), (1 | 0o2000000, 6), (2 | 0o4000, 17)):
                self.assertEqual(ask("socket", family, kind, protocol), ALLOW)
            for kind in (0, 3, 4, 5, 6, 10, 3 | 0o2000000, 0x41):
                self.assertEqual(ask("socket", family, kind, 0), "ESOCKTNOSUPPORT", kind)
            # ICMP, SCTP, UDP-Lite, MPTCP, SMC
            for kind, protocol in ((2, 1), (1, 132), (2, 136), (1, 262), (1, 256), (1, 17), (2, 6)):
                self.assertEqual(ask("socket", family, kind, protocol), "EPROTONOSUPPORT", protocol)
        for family in (0, 3, 15, 16, 17, 31, 38, 40, 44):  # AX.25, KEY, NETLINK, PACKET, BLUETOOTH, ALG, VSOCK, XDP
            self.assertEqual(ask("socket", family, 1, 0), "EAFNOSUPPORT", family)

    def test_socket_pairs_are_of_unix(self):
        ask = self.asking(inet=True)
        self.assertEqual(ask("socketpair", 1, 1 | 0o2000000, 0), ALLOW)
        self.assertEqual(ask("socketpair", 1, 3, 0), "ESOCKTNOSUPPORT")
        for family in (0, 2, 10, 16, 40):
            self.assertEqual(ask("socketpair", family, 1, 0), "EAFNOSUPPORT")

    def test_no_bpf_program_goes_onto_a_socket_and_no_protocol_onto_tcp(self):
        ask = self.asking(inet=True)
        for option in (2, 7, 8, 9, 15, 20, 27):
            self.assertEqual(ask("setsockopt", 3, 1, option), ALLOW)
        for option in (26, 50, 51, 52, 26 | self.HIGH):
            self.assertEqual(ask("setsockopt", 3, 1, option), "ENOPROTOOPT")
        self.assertEqual(ask("setsockopt", 3, 6, 31), "ENOPROTOOPT")
        self.assertEqual(ask("setsockopt", 3, 6, 1), ALLOW)
        self.assertEqual(ask("setsockopt", 3, 41, 26), ALLOW)

    def test_mknod_makes_files_pipes_and_sockets_but_no_devices(self):
        ask = self.asking()
        for call in (lambda mode: ask("mknod", 0, mode), lambda mode: ask("mknodat", 0, 0, mode)):
            for kind in (0, 0o100000, 0o010000, 0o140000):
                self.assertIn(call(kind | 0o644), (ALLOW, None))
                self.assertIn(call(kind | 0o644 | 1 << 16), (ALLOW, None))
            for kind in (0o020000, 0o060000, 0o040000, 0o120000, 0o170000, 0o020000 | 1 << 16):
                self.assertIn(call(kind | 0o644), ("EPERM", None))
        self.assertEqual(ask("mknodat", 0, 0, 0o20644), "EPERM")

    def test_nobody_is_told_or_held_up_when_a_file_is_opened(self):
        ask = self.asking()
        for command in (0, 1, 2, 3, 4, 5, 6, 7, 1030, 1031, 1032, 1033):  # duplicating, flags, locks, pipe sizes, seals
            self.assertEqual(ask("fcntl", 3, command), ALLOW)
        for command in (1024, 1026, 1024 | self.HIGH, 1026 | self.HIGH):
            self.assertEqual(ask("fcntl", 3, command), "EPERM")
        for call in ("inotify_init", "inotify_init1", "inotify_add_watch"):
            self.assertIn(ask(call, 0, 0, 0), ("ENOSYS", None))

    def test_personality_is_asked_for_but_not_changed(self):
        ask = self.asking()
        for persona in (0, 0xFFFFFFFF, 2**64 - 1):
            self.assertEqual(ask("personality", persona), ALLOW)
        for persona in (0x0040000, 0x0400000, 8, 0x0040000 | self.HIGH):  # no ASLR, read implies exec, LINUX32
            self.assertEqual(ask("personality", persona), "EPERM")

    def test_prctl_names_a_thread_but_changes_no_rules(self):
        ask = self.asking()
        for option in (1, 3, 15, 16, 21, 38, 39, 0x53564D41):
            self.assertEqual(ask("prctl", option), ALLOW)
        # SECCOMP, CAPBSET_DROP, SECUREBITS, MM, CHILD_SUBREAPER, CAP_AMBIENT, SYSCALL_USER_DISPATCH, SCHED_CORE
        for option in (22, 24, 28, 35, 36, 47, 59, 62, 0x59616D61):
            self.assertEqual(ask("prctl", option), "EPERM")
            self.assertEqual(ask("prctl", option | self.HIGH), "EPERM")

    def test_limits_of_other_processes_are_read_but_not_set(self):
        ask = self.asking()
        self.assertEqual(ask("prlimit64", 0, 7, 0x7FFF12345678, 0), ALLOW)
        self.assertEqual(ask("prlimit64", 1234, 7, 0, 0x7FFF12345678), "EPERM")
        for pointer in (0x7FFF12345678, 0x700000000000, 0x1000):
            self.assertEqual(ask("prlimit64", 1234, 7, pointer, 0), "EPERM")

    def test_the_warden_keeps_its_processor_and_its_turn(self):
        ask = self.asking()
        for name in ("sched_setaffinity", "sched_setparam", "sched_setscheduler"):
            self.assertEqual([ask(name, pid, 0, 0x1000) for pid in (0, 2, 1)], [ALLOW, ALLOW, "EPERM"])
        process, group, user = 0, 1, 2
        self.assertEqual([ask("setpriority", process, pid, 5) for pid in (0, 2, 1)], [ALLOW, ALLOW, "EPERM"])
        self.assertEqual([ask("setpriority", group, 0, 5), ask("setpriority", user, 0, 5)], [ALLOW, "EPERM"])


class TheFilterAsAProgramOnX86_64(OnX86_64, TheFilterAsAProgram, unittest.TestCase):
    pass


class TheFilterAsAProgramOnAarch64(OnAarch64, TheFilterAsAProgram, unittest.TestCase):
    pass


class TheArgumentsOnX86_64(OnX86_64, TheArguments, unittest.TestCase):
    pass


class TheArgumentsOnAarch64(OnAarch64, TheArguments, unittest.TestCase):
    pass


class TheFilterOfSharedNamespaces(unittest.TestCase):
    def test_compiled_ahead_it_is_in_each_process_what_it_would_have_been_compiled_there(self):
        for own_id in (True, False):
            for abi in (1, 4, 9):
                ahead = shared.filter_program(own_id, abi)
                there = shared.filter_program(own_id, abi, os.getpid())
                self.assertEqual(shared.for_this_process(ahead), there, (own_id, abi))
                self.assertEqual(ahead == there, own_id)


class TheTables(unittest.TestCase):
    X86_64_HEADER = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"
    GENERIC_HEADER = "/usr/include/asm-generic/unistd.h"

    def agree(self, machine, header):
        """Both ways up to the last number of the header, which may be older or newer than the table."""
        ours = {name: number for name, number in syscalls.NUMBERS[machine].items() if number <= max(header.values())}
        theirs = {name: number for name, number in header.items() if number <= max(syscalls.NUMBERS[machine].values())}
        self.assertEqual({name: number for name, number in ours.items() if number not in (335, 336)}, theirs)

    @unittest.skipUnless(os.path.exists(X86_64_HEADER), f"needs {X86_64_HEADER} (linux-libc-dev)")
    def test_x86_64_is_what_the_kernel_headers_say(self):
        with open(self.X86_64_HEADER, encoding="utf-8") as file:
            found = re.findall(r"^#define __NR_(\w+)\s+(\d+)$", file.read(), re.MULTILINE)
        header = {name: int(number) for name, number in found if number not in ("335", "336")}
        self.assertGreater(len(header), 300)
        self.agree("x86_64", header)

    @unittest.skipUnless(os.path.exists(GENERIC_HEADER), f"needs {GENERIC_HEADER} (linux-libc-dev)")
    def test_aarch64_is_what_the_kernel_headers_say(self):
        with open(self.GENERIC_HEADER, encoding="utf-8") as file:
            found = re.findall(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)$", file.read(), re.MULTILINE)
        # 403 to 423 are for 32-bit machines; these names are, too, or are no calls
        other = {"sync_file_range2", "arch_specific_syscall", "syscalls"}
        header = {name: int(n) for name, n in found if not 403 <= int(n) <= 423 and name not in other}
        header["newfstatat"] = header.pop("fstatat")
        self.assertGreater(len(header), 280)
        self.agree("aarch64", header)

    def test_a_number_has_one_name(self):
        for machine, numbers in syscalls.NUMBERS.items():
            self.assertEqual(len(set(numbers.values())), len(numbers), machine)

    def test_another_architecture_and_a_32_bit_interpreter_are_refused_in_words(self):
        with mock.patch.object(os, "uname", return_value=mock.Mock(machine="riscv64")):
            self.assertRaisesRegex(OSError, "64-bit Python on riscv64", syscalls.machine)
            self.assertIn("riscv64", seccomp.probe())
        with mock.patch.object(sys, "maxsize", 2**31 - 1):
            self.assertRaisesRegex(OSError, "this is a 32-bit Python", syscalls.machine)


def call(name, *arguments):
    """The name of the errno of a system call, or None."""
    if name not in syscalls.NUMBERS[MACHINE]:
        return "no such call"
    try:
        kernel.syscall(name, *arguments)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return None


def filtered(function, inet=True):
    """What `function` returns in a child under the filter."""

    def child():
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        seccomp.install(seccomp.build(MACHINE, inet=inet))
        return function()

    return forked(child)


# Calls whose answer without the filter is not the filter's, for anyone: wrong arguments fail in another way first.
BAD = -1
REFUSED_TO_ANYONE = [
    ("mount", b"none", b"/nowhere", b"tmpfs", 0, None),
    ("umount2", b"/nowhere", 0xFF),
    ("chroot", b"/nowhere"),
    ("unshare", 0),
    ("setns", BAD, 0),
    ("add_key", None, None, None, 0, 0),
    ("request_key", None, None, None, 0),
    ("keyctl", 9999),
    ("userfaultfd", 1),
    ("ptrace", 0),
    ("process_vm_readv", os.getpid(), None, 0, None, 0, 0),
    ("process_vm_writev", os.getpid(), None, 0, None, 0, 0),
    ("process_madvise", BAD, None, 0, 0, 0),
    ("pidfd_getfd", BAD, 0, 0),
    ("perf_event_open", None, 0, 0, BAD, 0),
    ("clock_settime", 1, b"\0" * 16),
    ("settimeofday", 1, None),
    ("clock_adjtime", 0, None),
    ("adjtimex", None),
    ("shmget", 1, 0, 0),
    ("shmat", BAD, None, 0),
    ("shmctl", BAD, 0, None),
    ("shmdt", 1),
    ("semget", 1, 0, 0),
    ("msgget", 1, 0),
    ("mq_open", None, 0),
    ("iopl", 4),
    ("ioperm", 2**32, 2**32, 1),
    ("modify_ldt", 0, None, 0),
    ("personality", 0x0040000),
    ("name_to_handle_at", -100, b"/nowhere", None, None, 0),
    ("mbind", None, 0, 0, None, 0, 0),
    ("move_pages", 0, 0, None, None, None, 0),
    ("migrate_pages", 0, 0, None, None),
    ("set_mempolicy", 0, None, 0),
    ("kcmp", os.getpid(), os.getpid(), 1, 0, 0),
    ("vmsplice", BAD, None, 0, 0),
    ("seccomp", 2, 0, b"\0\0\5\0"),
    ("prctl", 22, 99),
    ("prctl", 36, 0),
    ("clone", kernel.CLONE_NEWNS | 0x200, None),
    ("io_setup", 0, None),
]
# Calls that tell the unprivileged EPERM anyway, so that only a privileged control shows who refuses.
REFUSED_TO_THE_PRIVILEGED = [
    ("pivot_root", b"/nowhere", b"/nowhere"),
    ("bpf", 9999, None, 0),
    ("init_module", None, 0, None),
    ("delete_module", b"nothing", 0),
    ("kexec_load", 0, 99, None, 0),
    ("fanotify_init", 0xFFFFFFFF, 0),
    ("acct", b"/nowhere"),
    ("swapon", b"/nowhere", 0),
    ("reboot", 0, 0, 0, None),
    ("sethostname", None, 1),
    ("open_by_handle_at", BAD, None, 0),
    ("mknodat", -100, b"/nowhere/device", 0o20600, 0x103),
    ("setresuid", BAD, BAD, BAD),
]
NOT_IMPLEMENTED = [
    ("clone3", None, 0),
    ("memfd_create", b"x", 0),
    ("io_uring_setup", 0, None),
    ("landlock_create_ruleset", None, 0, 1),
]
# Kernels that lack a call, or keep it from everybody, can't show a control: these may be so.
MAY_BE_OFF = {"userfaultfd", "perf_event_open", "io_uring_setup", "landlock_create_ruleset", "modify_ldt", "kcmp"}


class InTheKernel(unittest.TestCase):
    def setUp(self):
        reason = seccomp.probe()
        if reason:
            self.skipTest(reason)

    def refuses(self, cases, expected):
        for case in cases:
            with self.subTest(call=case[0]):
                if case[0] not in syscalls.NUMBERS[MACHINE]:
                    continue
                control = forked(lambda case=case: call(*case))
                if control in (expected, "ENOSYS") and case[0] in MAY_BE_OFF:
                    continue
                self.assertNotEqual(control, expected, "the control, without the filter")
                self.assertEqual(filtered(lambda case=case: call(*case)), expected)

    def test_it_refuses_what_anyone_could_do_without_it(self):
        self.refuses(REFUSED_TO_ANYONE, "EPERM")

    @unittest.skipUnless(PRIVILEGED, "needs CAP_SYS_ADMIN: the unprivileged are refused without a filter, too")
    def test_it_refuses_what_the_privileged_could_do_without_it(self):
        self.refuses(REFUSED_TO_THE_PRIVILEGED, "EPERM")

    def test_calls_that_libraries_can_do_without_do_not_exist(self):
        self.refuses(NOT_IMPLEMENTED, "ENOSYS")

    def test_it_makes_only_the_sockets_of_its_profile(self):
        def sockets():
            wanted = [(1, 1, 0), (2, 1, 0), (10, 2, 0), (2, 2, 17), (16, 3, 0), (2, 1, 262), (38, 5, 0)]
            return [call("socket", *one) for one in wanted]

        self.assertEqual(filtered(sockets), [None] * 4 + ["EAFNOSUPPORT", "EPROTONOSUPPORT", "EAFNOSUPPORT"])
        self.assertEqual(filtered(sockets, inet=False), [None] + ["EAFNOSUPPORT"] * 6)
        control = forked(sockets)
        self.assertEqual(control[:5], [None] * 5)
        self.assertNotEqual(control[5], "EAFNOSUPPORT")

    def test_nothing_is_typed_into_a_terminal(self):
        try:
            master, slave = os.openpty()
        except OSError as error:
            self.skipTest(f"no pseudo-terminals here: {error}")
        self.addCleanup(os.close, master)
        self.addCleanup(os.close, slave)
        set_discipline = lambda: call("ioctl", slave, 0x5423, struct.pack("i", 0))
        type_in = lambda: call("ioctl", slave, 0x5412, b"x")
        self.assertIsNone(forked(set_discipline))
        self.assertNotEqual(forked(type_in), "ENOTTY")
        self.assertEqual(filtered(lambda: [set_discipline(), type_in(), os.isatty(slave)]), ["ENOTTY", "ENOTTY", True])

    @unittest.skipUnless(MACHINE == "x86_64", "int 0x80 is x86's")
    def test_i386_calls_do_not_exist(self):
        def getpid_as_i386():
            code = bytes.fromhex("53 b814000000 cd80 5b c3")  # push rbx; mov eax, 20; int 0x80; pop rbx; ret
            page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
            page.write(code)
            address = ctypes.addressof(ctypes.c_char.from_buffer(page))
            return ctypes.CFUNCTYPE(ctypes.c_int)(address)() == os.getpid()

        try:
            self.assertTrue(forked(getpid_as_i386))
        except AssertionError:
            self.skipTest("this kernel has no i386 calls")
        self.assertFalse(filtered(getpid_as_i386))

    def test_it_stays_on_children_and_through_exec(self):
        text = "import ctypes; libc = ctypes.CDLL(None, use_errno=True); libc.unshare(0); print(ctypes.get_errno())"
        ask = lambda: subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout
        self.assertEqual([forked(ask), filtered(ask)], ["0\n", f"{errno.EPERM}\n"])

    def test_it_covers_threads_that_run_already(self):
        def child():
            import threading

            installed, answers = threading.Event(), []

            def work():
                installed.wait()
                answers.append(call("unshare", 0))

            thread = threading.Thread(target=work)
            thread.start()
            kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
            seccomp.install(seccomp.build(MACHINE, inet=False))
            installed.set()
            thread.join()
            return answers

        self.assertEqual(forked(child), ["EPERM"])

    def test_it_cannot_be_taken_off_or_loosened(self):
        def child():
            everything = struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)
            try:
                seccomp.install(everything)
            except OSError as error:
                return [errno.errorcode[error.errno or 0], call("unshare", 0)]
            return None

        self.assertEqual(filtered(child), ["EPERM", "EPERM"])

    def test_without_no_new_privs_and_privileges_it_says_what_is_missing(self):
        def child():
            kernel.drop_all_capabilities()
            try:
                seccomp.install(seccomp.build(MACHINE, inet=False))
            except OSError as error:
                return [errno.errorcode[error.errno or 0], error.strerror, call("unshare", 0)]
            return None

        code, message, unshared = forked(child)
        self.assertEqual([code, unshared], ["EACCES", None])
        self.assertIn("no_new_privs", message)

    def test_a_malformed_program_is_refused_in_words(self):
        def child():
            kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
            try:
                seccomp.install(struct.pack("=HBBI", 0x15, 200, 200, 0))
            except OSError as error:
                return error.strerror
            return None

        self.assertIn("malformed", forked(child))


PROGRAMS = {
    "threads": """
        import threading, concurrent.futures
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(lambda n: n * n, range(50))) == 40425
    """,
    "subprocesses": """
        import subprocess, os, sys
        shell = subprocess.run(["sh", "-c", "echo hello | tr a-z A-Z"], capture_output=True, text=True)
        assert shell.stdout == "HELLO\\n"
        assert subprocess.run([sys.executable, "-c", "pass"], close_fds=False, start_new_session=True).returncode == 0
        assert os.popen("echo popen").read() == "popen\\n"
        assert os.system("exit 3") >> 8 == 3
        process = subprocess.Popen(["sleep", "60"]); process.terminate(); assert process.wait() == -15
        pid = os.posix_spawn("/bin/true", ["true"], {}); os.waitid(os.P_PID, pid, os.WEXITED)
    """,
    "multiprocessing by fork": """
        import multiprocessing
        context = multiprocessing.get_context("fork")
        lock, value, queue = context.Lock(), context.Value("i", 1), context.Queue()
        def work():
            with lock: value.value += 1
            queue.put("done")
        process = context.Process(target=work); process.start(); assert queue.get() == "done"; process.join()
        assert value.value == 2
        with context.Pool(2) as pool: assert pool.map(abs, [-1, -2]) == [1, 2]
    """,
    "multiprocessing by spawn": """
        import multiprocessing
        if __name__ == "__main__":
            with multiprocessing.get_context("spawn").Pool(1) as pool: assert pool.map(abs, [-1, -2]) == [1, 2]
            from multiprocessing import shared_memory
            memory = shared_memory.SharedMemory(create=True, size=100); memory.close(); memory.unlink()
    """,
    "asyncio": """
        import asyncio, sys
        async def main():
            server = await asyncio.start_unix_server(lambda r, w: (w.write(b"hi\\n"), w.close()), "socket")
            reader, writer = await asyncio.open_unix_connection("socket")
            assert await reader.readline() == b"hi\\n"
            process = await asyncio.create_subprocess_exec("echo", "x", stdout=asyncio.subprocess.PIPE)
            assert (await process.communicate())[0] == b"x\\n"
            await asyncio.wait_for(asyncio.to_thread(sum, [1, 2]), 30)
            writer.close(); server.close()
        asyncio.run(main())
    """,
    "loopback": """
        import socket
        server = socket.create_server(("127.0.0.1", 0)); client = socket.create_connection(server.getsockname())
        peer, _ = server.accept(); client.sendall(b"x"); assert peer.recv(1) == b"x"
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1); client.setblocking(False)
        socket.getaddrinfo("localhost", 80)
    """,
    "sqlite on disk": """
        import sqlite3
        database = sqlite3.connect("test.db"); database.execute("pragma journal_mode=wal")
        database.execute("create table t (x)")
        database.executemany("insert into t values (?)", [(n,) for n in range(9)])
        database.commit(); assert database.execute("select sum(x) from t").fetchone() == (36,)
        sqlite3.connect("test.db").execute("vacuum")
    """,
    "files": """
        import os, shutil, tempfile, pathlib, mmap, fcntl, zipfile, tarfile, glob
        with tempfile.TemporaryDirectory() as top:
            path = pathlib.Path(top, "a"); path.write_text("hello"); shutil.copy2(path, path.with_name("b"))
            path.chmod(0o600); os.utime(path); os.chown(path, -1, -1); path.with_name("c").symlink_to("a")
            os.mkfifo(f"{top}/pipe"); os.link(path, f"{top}/d"); shutil.move(f"{top}/d", f"{top}/e")
            with open(path, "r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX); fcntl.lockf(file, fcntl.LOCK_EX)
                os.posix_fallocate(file.fileno(), 0, 99)
                with mmap.mmap(file.fileno(), 0) as view: view[0:1] = b"J"; view.flush()
                file.truncate(5); os.fsync(file)
            assert path.read_text() == "Jello"
            with tarfile.open(f"{top}/t.tar", "w") as tar: tar.add(path, "a")
            with zipfile.ZipFile(f"{top}/z.zip", "w") as archive: archive.write(path)
            os.mkdir(f"{top}/x"); tarfile.open(f"{top}/t.tar").extractall(f"{top}/x")
            shutil.copytree(f"{top}/x", f"{top}/y")
            assert len(glob.glob(f"{top}/**", recursive=True)) > 5 and shutil.disk_usage(top)
            source = os.open(path, os.O_RDONLY); target = os.open(f"{top}/f", os.O_WRONLY | os.O_CREAT)
            os.copy_file_range(source, target, 5); os.lseek(source, 0, 0); os.sendfile(target, source, None, 5)
            os.listxattr(path); os.statvfs(top)
    """,
    "signals, timers and descriptors": """
        import os, select, signal, time
        signal.signal(signal.SIGALRM, lambda *_: None); signal.setitimer(signal.ITIMER_REAL, 0.001); signal.pause()
        signal.raise_signal(signal.SIGALRM); signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        os.kill(os.getpid(), signal.SIGUSR1); assert signal.sigwait({signal.SIGUSR1}) == signal.SIGUSR1
        with select.epoll() as poll:
            r, w = os.pipe(); poll.register(r, select.EPOLLIN); os.write(w, b"x"); assert poll.poll(30)
        pid = os.fork()
        if pid == 0: signal.pause()
        descriptor = os.pidfd_open(pid); signal.pidfd_send_signal(descriptor, signal.SIGKILL); os.waitpid(pid, 0)
        if hasattr(os, "eventfd"): os.eventfd_write(os.eventfd(0), 1)
        if hasattr(os, "timerfd_create"): os.timerfd_create(time.CLOCK_MONOTONIC)
        os.sched_setaffinity(0, os.sched_getaffinity(0)); os.nice(1); os.cpu_count(); os.urandom(8); time.sleep(0.001)
        os.set_inheritable(r, True); os.isatty(0); os.get_blocking(r)
    """,
    "resources": """
        import os, platform, resource, sys, faulthandler
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); resource.getrlimit(resource.RLIMIT_DATA); platform.platform()
        resource.prlimit(0, resource.RLIMIT_NOFILE); os.times(); os.getloadavg(); faulthandler.enable()
    """,
    "numpy": """
        import numpy
        a = numpy.random.default_rng(1).random((300, 300))
        assert numpy.allclose(a @ numpy.linalg.inv(a), numpy.eye(300))
        b = numpy.memmap("array", dtype="f8", mode="w+", shape=(10,)); b[:] = 1; b.flush(); assert b.sum() == 10
    """,
}


class OrdinaryPrograms(unittest.TestCase):
    """Each runs without the filter first: where that fails, something else is missing here."""

    def runs(self, name):
        text = "\n".join(line[8:] for line in PROGRAMS[name].splitlines())
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "main.py")

            def child():
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
                done = subprocess.run(
                    [sys.executable, path], cwd=directory, capture_output=True, text=True, timeout=120, check=False
                )
                for left in ("socket", "test.db"):
                    if os.path.exists(os.path.join(directory, left)):
                        os.unlink(os.path.join(directory, left))
                return [done.returncode, done.stderr]

            control = forked(child)
            if "ModuleNotFoundError" in control[1]:
                self.skipTest(control[1].splitlines()[-1])
            self.assertEqual(control, [0, ""], "without the filter")
            self.assertEqual(filtered(child), [0, ""])


def _promise(name):
    return lambda self: self.runs(name)


for _name in PROGRAMS:
    setattr(OrdinaryPrograms, "test_" + re.sub(r"\W+", "_", _name) + "_work_under_the_filter", _promise(_name))


if __name__ == "__main__":
    unittest.main()
