"""Landlock: the table of ABI versions without a kernel, and real restrictions in forked children."""

import errno
import fcntl
import os
import shutil
import signal
import socket
import sys
import tempfile
import termios
import unittest
from unittest import mock

from confine import kernel, landlock
from confine.landlock import EXECUTE, READ, WRITE
from forked import forked

ABI, REASON = landlock.probe()
SYSTEM = [(path, READ | EXECUTE) for path in ("/usr", "/bin", "/lib", "/lib64", "/etc", sys.base_prefix)]


def needs(version):
    return unittest.skipIf(ABI < version, f"needs Landlock ABI {version}, this kernel has {ABI} {REASON}")


def outcome(function, *arguments):
    """The name of the errno a call fails with, or None."""
    try:
        function(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return None


def read(path):
    with open(path, "rb") as file:
        return file.read()


def write(path):
    with open(path, "wb") as file:
        file.write(b"x")


def connect(family, address):
    with socket.socket(family) as client:
        client.connect(address)


def bind(family, address):
    with socket.socket(family) as server:
        server.bind(address)


class TheTableOfVersions(unittest.TestCase):
    # From the documentation of the kernel (userspace-api/landlock.rst), not from the code under test.
    FS_BITS = {0: 0, 1: 13, 2: 14, 3: 15, 4: 15, 5: 16, 6: 16, 7: 16, 8: 16, 9: 17, 10: 17, 99: 17}

    def test_each_version_handles_the_file_accesses_it_knows_and_no_more(self):
        for abi, bits in self.FS_BITS.items():
            with self.subTest(abi=abi):
                self.assertEqual(landlock.handled(abi)[0], (1 << bits) - 1)

    def test_tcp_is_handled_from_version_4_and_scopes_from_version_6(self):
        for abi in range(100):
            with self.subTest(abi=abi):
                _, net, scoped = landlock.handled(abi)
                self.assertEqual(net, 3 if abi >= 4 else 0)
                self.assertEqual(scoped, 3 if abi >= 6 else 0)

    def test_a_newer_version_never_handles_less(self):
        for abi in range(1, 20):
            for older, newer in zip(landlock.handled(abi - 1), landlock.handled(abi)):
                self.assertEqual(older & ~newer, 0)

    def test_a_rule_never_names_what_the_version_does_not_handle(self):
        for abi in range(20):
            for directory in (True, False):
                rights = landlock.granted(READ | WRITE | EXECUTE, abi, directory)
                self.assertEqual(rights & ~landlock.handled(abi)[0], 0)

    def test_a_rule_for_a_file_has_no_rights_that_only_directories_have(self):
        self.assertEqual(landlock.granted(READ, 7, False), landlock.FS_READ_FILE)
        self.assertEqual(landlock.granted(WRITE, 7, False), landlock.FS_WRITE_FILE | landlock.FS_TRUNCATE)
        self.assertEqual(landlock.granted(WRITE, 2, False), landlock.FS_WRITE_FILE)
        self.assertEqual(landlock.granted(READ, 7, True), READ)

    def test_no_rule_allows_device_nodes_ioctls_on_devices_or_sockets_outside(self):
        # so that READ, WRITE, EXECUTE and these are together all there is, and no word has any of these
        never = landlock.FS_MAKE_CHAR | landlock.FS_MAKE_BLOCK | landlock.FS_IOCTL_DEV | landlock.FS_RESOLVE_UNIX
        self.assertEqual((READ | WRITE | EXECUTE) ^ never, landlock.handled(99)[0])


class WhatAPersonIsTold(unittest.TestCase):
    def test_what_a_version_does_not_handle_is_said_to_be_left_to_others_and_what_it_handles_is_not(self):
        handled = (
            ("truncating files", 0, landlock.FS_TRUNCATE),
            ("TCP", 1, landlock.NET_BIND_TCP | landlock.NET_CONNECT_TCP),
            ("ioctl on devices", 0, landlock.FS_IOCTL_DEV),
            ("signals and abstract Unix sockets", 2, landlock.SCOPE_SIGNAL | landlock.SCOPE_ABSTRACT_UNIX_SOCKET),
            ("Unix sockets by path", 0, landlock.FS_RESOLVE_UNIX),
        )
        for abi in range(1, 12):
            guarded, _, left = landlock.describe(abi).partition("leaves to other layers")
            for words, kind, bits in handled:
                with self.subTest(abi=abi, words=words):
                    does = landlock.handled(abi)[kind] & bits == bits
                    self.assertEqual(words in guarded, does)
                    self.assertEqual(words in left, not does)

    def test_the_version_is_named(self):
        self.assertTrue(landlock.describe(2).startswith("ABI 2: "))


class WithoutLandlock(unittest.TestCase):
    def test_each_reason_is_told_apart(self):
        for code, words in (
            (errno.ENOSYS, "the kernel has no Landlock"),
            (errno.EOPNOTSUPP, "not enabled"),
            (errno.EPERM, "seccomp filter around"),
        ):
            with mock.patch.object(kernel, "syscall", side_effect=kernel.failure("landlock_create_ruleset", code)):
                abi, reason = landlock.probe()
                self.assertEqual(abi, 0)
                self.assertIn(words, reason)
                self.assertEqual(landlock.abi(), 0)
                with self.assertRaisesRegex(OSError, words):
                    landlock.restrict([("/", READ)], tcp=True)


@needs(1)
class ARestrictedProcess(unittest.TestCase):
    def setUp(self):
        self.top = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.top)
        for name in ("inside", "inside/below", "outside", "readable"):
            os.mkdir(os.path.join(self.top, name))
            write(self.at(name, "file"))
        os.symlink(self.at("outside", "file"), self.at("inside", "way-out"))

    def at(self, *parts):
        return os.path.join(self.top, *parts)

    def rules(self):
        return [
            *SYSTEM,
            (self.at("inside"), READ | WRITE),
            (self.at("readable"), READ),
            ("/dev/null", READ | WRITE),
        ]

    def restricted(self, function, rules=None, tcp=True, version=ABI):
        """What `function` returns in a child restricted to `rules`."""

        def child():
            kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
            with mock.patch.object(landlock, "probe", return_value=(version, "")):
                landlock.restrict(self.rules() if rules is None else rules, tcp=tcp, missing_ok=True)
            return function()

        return forked(child)

    def both(self, function, **options):
        """(unrestricted, restricted)"""
        return [forked(function), self.restricted(function, **options)]

    def test_it_reads_and_lists_nothing_outside_its_rules(self):
        for path in (self.at("outside", "file"), self.at("inside", "way-out"), "/proc/self/environ"):
            self.assertEqual(self.both(lambda path=path: outcome(read, path)), [None, "EACCES"], path)
        for path in (self.at("outside"), self.top, "/", "/proc"):
            self.assertEqual(self.both(lambda path=path: outcome(os.listdir, path)), [None, "EACCES"], path)

    def test_rules_looked_up_before_a_fork_hold_as_others_do_and_take_no_descriptor_of_a_programs(self):
        rules = landlock.look_up([(path, access) for path, access in self.rules() if os.path.exists(path)])
        kept = [int.from_bytes(rule[8:], sys.byteorder) for rule in rules]
        self.addCleanup(lambda: [os.close(fd) for fd in kept])
        self.assertGreaterEqual(min(kept), 10)
        self.assertFalse(any(os.get_inheritable(fd) for fd in kept))

        def child():
            kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
            landlock.restrict([], tcp=True, looked_up=rules)
            return [outcome(read, self.at(*parts)) for parts in (("inside", "file"), ("readable", "file"), ("outside", "file"))]

        self.assertEqual(forked(child), [None, None, "EACCES"])

    def test_it_reads_and_writes_inside_its_rules(self):
        def work():
            write(self.at("inside", "new"))
            os.truncate(self.at("inside", "new"), 0)
            os.mkdir(self.at("inside", "directory"))
            os.rmdir(self.at("inside", "directory"))
            os.symlink("new", self.at("inside", "link"))
            os.mkfifo(self.at("inside", "pipe"))
            bind(socket.AF_UNIX, self.at("inside", "socket"))
            read(self.at("readable", "file"))
            os.listdir(self.at("readable"))
            for name in ("new", "link", "pipe", "socket"):
                os.unlink(self.at("inside", name))

        self.assertEqual(self.both(lambda: outcome(work)), [None, None])

    def test_it_changes_nothing_where_it_may_only_read(self):
        file, below = self.at("readable", "file"), self.at("readable", "new")
        changes = [
            lambda: outcome(write, file),
            lambda: outcome(write, below),
            lambda: outcome(os.mkdir, below),
            lambda: outcome(os.symlink, "file", below),
            lambda: outcome(os.mkfifo, below),
            lambda: outcome(os.unlink, file),
            lambda: outcome(os.rename, file, below),
        ]
        for change in changes:
            self.assertEqual(self.restricted(change), "EACCES")
        self.assertEqual(forked(lambda: [outcome(os.rename, file, below), outcome(os.unlink, below)]), [None, None])

    @needs(3)
    def test_it_truncates_nothing_where_it_may_only_read(self):
        truncate = lambda: outcome(os.truncate, self.at("readable", "file"), 0)
        self.assertEqual(self.both(truncate), [None, "EACCES"])

    @needs(2)
    def test_it_renames_between_directories_inside_its_rules(self):
        rename = lambda: outcome(os.rename, self.at("inside", "file"), self.at("inside", "below", "moved"))
        self.assertIsNone(self.restricted(rename))

    def test_it_moves_nothing_in_or_out(self):
        for source, target in (("inside", "outside"), ("outside", "inside"), ("readable", "inside")):
            link = lambda s=source, t=target: outcome(os.link, self.at(s, "file"), self.at(t, "linked"))
            self.assertIn(self.restricted(link), ("EACCES", "EXDEV"))
            self.assertIsNone(forked(link))
            os.unlink(self.at(target, "linked"))

    def test_it_executes_only_where_the_rules_say_so(self):
        program = self.at("inside", "program")
        shutil.copy("/bin/true", program)
        # execve must fail in the child of spawn; posix_spawn reports that.
        run = lambda path: outcome(lambda: os.waitpid(os.posix_spawn(path, [path], {}), 0))
        self.assertEqual(self.both(lambda: [run(program), run("/bin/true")]), [[None, None], ["EACCES", None]])

    def test_it_makes_no_device_nodes(self):
        make = lambda: outcome(os.mknod, self.at("inside", "null"), 0o20666, 0x103)
        self.assertEqual(self.restricted(make), "EACCES")

    def test_a_device_with_a_rule_is_read_and_written(self):
        self.assertEqual(self.restricted(lambda: [outcome(read, "/dev/null"), outcome(write, "/dev/null")]), [None] * 2)
        self.assertEqual(self.both(lambda: outcome(os.open, "/dev/zero", os.O_RDONLY)), [None, "EACCES"])

    @needs(5)
    def test_it_makes_no_ioctl_on_devices(self):
        def ask():
            with open("/dev/null", "rb") as null:
                return outcome(fcntl.ioctl, null, termios.TCGETS, bytes(64))

        self.assertEqual(self.both(ask), ["ENOTTY", "EACCES"])

    @needs(4)
    def test_tcp_is_denied_unless_it_is_left_alone(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = server.getsockname()
            attempts = lambda: [
                outcome(connect, socket.AF_INET, address),
                outcome(bind, socket.AF_INET, ("127.0.0.1", 0)),
            ]
            self.assertEqual(self.both(attempts, tcp=False), [[None, None], ["EACCES", "EACCES"]])
            self.assertEqual(self.restricted(attempts, tcp=True), [None, None])

    @needs(6)
    def test_its_signals_reach_no_process_outside(self):
        parent = os.getpid()
        self.assertEqual(self.both(lambda: outcome(os.kill, parent, 0)), [None, "EPERM"])

        def kill_own_child():
            pid = os.fork()
            if pid == 0:
                signal.pause()
            os.kill(pid, signal.SIGKILL)
            return os.waitpid(pid, 0)[1]

        self.assertEqual(self.restricted(kill_own_child), signal.SIGKILL)

    @needs(6)
    def test_it_connects_to_no_abstract_socket_outside(self):
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("")  # the kernel picks an abstract name
            server.listen()
            name = server.getsockname()
            self.assertEqual(self.both(lambda: outcome(connect, socket.AF_UNIX, name)), [None, "EPERM"])

    @needs(9)
    def test_it_connects_to_no_path_socket_outside(self):
        path = self.at("inside", "server")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
            server.listen()
            self.assertEqual(self.both(lambda: outcome(connect, socket.AF_UNIX, path)), [None, "EACCES"])

    def test_every_version_up_to_this_kernels_can_be_enforced(self):
        probe = lambda: [outcome(read, self.at("outside", "file")), outcome(read, self.at("inside", "file"))]
        for version in range(1, ABI + 1):
            with self.subTest(abi=version):
                self.assertEqual(self.restricted(probe, version=version), ["EACCES", None])

    def test_a_second_ruleset_only_takes_away(self):
        def again():
            landlock.restrict([("/", READ | WRITE | EXECUTE)], tcp=True)
            return outcome(read, self.at("outside", "file"))

        self.assertEqual(self.restricted(again), "EACCES")

    def test_children_are_confined_too_and_exec_does_not_help(self):
        def run_cat():
            path = self.at("outside", "file")
            pid = os.posix_spawn("/bin/cat", ["cat", path], {}, file_actions=[(os.POSIX_SPAWN_CLOSE, 2)])
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

        self.assertEqual(self.restricted(run_cat), 1)

    def test_a_missing_path_is_an_error_unless_the_caller_says_otherwise_and_then_nothing_is_confined(self):
        missing = [(self.at("nowhere"), READ)]

        def child():
            kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
            refused = outcome(lambda: landlock.restrict(missing, tcp=True))
            before = outcome(read, self.at("outside", "file"))
            landlock.restrict(missing, tcp=True, missing_ok=True)
            return [refused, before, outcome(read, self.at("outside", "file"))]

        self.assertEqual(forked(child), ["ENOENT", None, "EACCES"])

    def test_a_rule_that_grants_nothing_is_an_error(self):
        with self.assertRaisesRegex(ValueError, "grants nothing"):
            landlock.restrict([("/dev/null", landlock.FS_MAKE_DIR)], tcp=True)

    def test_without_no_new_privs_and_privileges_it_says_what_is_missing(self):
        def child():
            kernel.drop_all_capabilities()
            try:
                landlock.restrict([("/", READ)], tcp=True)
            except OSError as error:
                return [errno.errorcode[error.errno or 0], error.strerror]
            return None

        code, message = forked(child)
        self.assertEqual(code, "EPERM")
        self.assertIn("no_new_privs", message)

    def test_no_descriptor_is_left_open(self):
        def child():
            kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
            before = os.listdir("/proc/self/fd")
            landlock.restrict([*self.rules(), ("/proc", READ)], tcp=True, missing_ok=True)
            return [before, os.listdir("/proc/self/fd")]

        before, after = forked(child)
        self.assertEqual(before, after)


if __name__ == "__main__":
    unittest.main()
