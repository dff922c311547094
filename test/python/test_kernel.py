"""The bindings: errors in words, capabilities, descriptors."""

import errno
import os
import signal
import time
import unittest
from unittest import mock

from confine import kernel
from forked import forked

CAPABLE = bool(kernel.effective_capabilities() >> kernel.CAPABILITIES["CAP_SETPCAP"] & 1)


def capabilities():
    """The five sets of this thread, by the kernel's own words."""
    with open("/proc/thread-self/status", encoding="ascii") as file:
        return {line[3:6]: int(line.split()[1], 16) for line in file if line.startswith("Cap")}


class Bindings(unittest.TestCase):
    def test_a_failed_call_says_which_and_on_what(self):
        with self.assertRaisesRegex(FileNotFoundError, "mount proc on /nowhere: No such file"):
            kernel.mount(None, "/nowhere", "proc")
        with self.assertRaisesRegex(OSError, "setns 0x0: Bad file descriptor"):
            kernel.setns(-1, 0)

    def test_words_of_64_bits_are_passed_whole(self):
        # lseek takes a 64-bit offset: cut to 32 bits it would succeed elsewhere
        with open(__file__, "rb") as file:
            self.assertEqual(kernel.syscall("lseek", file.fileno(), 2**40, os.SEEK_SET), 2**40)

    def test_of_repeated_calls_the_first_that_fails_is_named(self):
        missing = [(os.fsencode(path), 0o700) for path in ("/nowhere/a", "/nowhere/b")]
        with self.assertRaisesRegex(FileNotFoundError, "mkdirat b'/nowhere/a': No such file"):
            kernel.repeat("mkdirat", [(-100, *arguments, 0) for arguments in missing])
        kernel.repeat("getpid", [(), ()])

    def test_what_the_kernel_does_with_a_signal_is_changed_and_given_back_behind_pythons_back(self):
        def child():
            usual = signal.getsignal(signal.SIGINT)
            before = kernel.handle_signal(signal.SIGINT, kernel.IGNORE)
            os.kill(os.getpid(), signal.SIGINT)
            ignored, unchanged = kernel.handle_signal(signal.SIGINT, before), signal.getsignal(signal.SIGINT) is usual
            try:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(10)
            except KeyboardInterrupt:
                return [ignored, unchanged, "interrupted"]
            return None

        self.assertEqual(forked(child), [kernel.IGNORE, True, "interrupted"])

    def test_a_process_without_capabilities_has_none_in_any_set(self):
        def child():
            kernel.drop_all_capabilities()
            return [capabilities(), kernel.effective_capabilities()]

        sets, effective = forked(child)
        bounding = sets.pop("Bnd")
        self.assertEqual([sets, effective], [{"Inh": 0, "Prm": 0, "Eff": 0, "Amb": 0}, 0])
        self.assertEqual(bounding, 0 if CAPABLE else capabilities()["Bnd"])

    @unittest.skipUnless(CAPABLE, "needs CAP_SETPCAP")
    def test_only_the_named_capabilities_are_kept(self):
        def child():
            kernel.empty_bounding_set()
            kernel.keep_capabilities(["CAP_KILL", "CAP_SETFCAP"])
            return capabilities()

        kept = 1 << 5 | 1 << 31
        self.assertEqual(forked(child), {"Inh": 0, "Prm": kept, "Eff": kept, "Bnd": 0, "Amb": 0})

    def test_a_capability_that_is_not_held_cannot_be_kept(self):
        def child():
            kernel.drop_all_capabilities()
            try:
                kernel.keep_capabilities(["CAP_KILL"])
            except PermissionError as error:
                return error.strerror
            return None

        self.assertIn("capset", forked(child) or "")

    def test_descriptors_are_closed_on_new_kernels_and_old(self):
        def is_open(fd):
            try:
                os.fstat(fd)
            except OSError:
                return False
            return True

        def child():
            for fd in (100, 101, 102, 5000):
                os.dup2(0, fd)
            kernel.close_range(101, 101)
            one = [is_open(fd) for fd in (100, 101, 102, 5000)]
            kernel.close_range(101)
            return [one, [is_open(fd) for fd in (100, 101, 102, 5000)]]

        expected = [[True, False, True, True], [True, False, False, False]]
        self.assertEqual(forked(child), expected)
        real = kernel._call

        def old(name, details, arguments):
            if name == "close_range":
                raise kernel.failure(name, errno.ENOSYS)
            return real(name, details, arguments)

        with mock.patch.object(kernel, "_call", old):
            self.assertEqual(forked(child), expected)


if __name__ == "__main__":
    unittest.main()
