"""processes: telling processes to end, and waiting for those that do."""

import os
import signal
import unittest

import processes


def child(handler):
    """A child that has ``handler`` for SIGTERM, and waits."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, handler)
        os.write(writing, b"+")
        while True:
            signal.pause()
    os.close(writing)
    os.read(reading, 1)
    os.close(reading)
    return pid


class LetEnd(unittest.TestCase):
    def test_waits_for_those_that_end_and_stops_nobody(self):
        obeys = child(lambda *_: os._exit(7))
        ignores = child(signal.SIG_IGN)
        try:
            before = len(os.listdir("/proc/self/fd"))
            processes.let_end([obeys, ignores, 2**22 - 1], 0.2)
            self.assertEqual(len(os.listdir("/proc/self/fd")), before)
            self.assertEqual(os.WEXITSTATUS(os.waitpid(obeys, os.WNOHANG)[1]), 7)
            with open(f"/proc/{ignores}/stat", "rb") as file:
                self.assertEqual(file.read().rsplit(b") ")[1][:1], b"S")
        finally:
            os.kill(ignores, signal.SIGKILL)
            os.waitpid(ignores, 0)

    def test_does_not_wait_once_all_have_ended(self):
        pids = [child(signal.SIG_DFL) for _ in range(3)]
        processes.let_end(pids, 600)
        self.assertEqual(sorted(os.wait()[0] for _ in pids), sorted(pids))


if __name__ == "__main__":
    unittest.main()
