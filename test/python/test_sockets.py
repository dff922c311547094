"""sockets: what their buffers can hold, on a machine that allows more than is usual, and where the kernel does not tell."""

import io
import socket
import unittest
from unittest import mock

import sockets

_USUAL = 212_992


def machine(**limits):
    """A /proc that says so."""

    def opened(path, *_, **__):
        name = path.rpartition("/")[2]
        if name not in limits:
            raise FileNotFoundError(path)
        return io.BytesIO(b"%d\n" % limits[name])

    return mock.patch("sockets.open", opened, create=True)


class Limits(unittest.TestCase):
    def test_are_what_the_machine_says_and_never_less_than_usual(self):
        with machine(wmem_max=4 << 20, rmem_max=1000):
            self.assertEqual(sockets.read_limits(), {"wmem_max": 4 << 20, "rmem_max": _USUAL, "wmem_default": _USUAL})
        with mock.patch("sockets.open", lambda *_, **__: io.BytesIO(b"rubbish"), create=True):
            self.assertEqual(set(sockets.read_limits().values()), {_USUAL})

    def test_are_supposed_of_every_socket_where_the_kernel_does_not_tell(self):
        limits = {"wmem_max": 4 << 20, "rmem_max": 6 << 20, "wmem_default": _USUAL}
        silent = mock.patch.object(sockets.socket, "socket", side_effect=OSError)
        with mock.patch.object(sockets, "_limits", limits), mock.patch.object(sockets, "_used", lambda: 40), silent:
            self.assertEqual(sockets.buffered_bytes(), 40 * 2 * (10 << 20))

    def test_of_pairs_are_their_default(self):
        pairs = [socket.socketpair() for _ in range(20)]
        try:
            with mock.patch.object(sockets, "_limits", {"wmem_default": 3 << 20}):
                self.assertGreaterEqual(sockets.most_buffered_bytes(["self"], 1 << 40), 40 * 2 * (3 << 20))
        finally:
            for pair in pairs:
                for one in pair:
                    one.close()

    def test_cover_what_a_socket_takes_here(self):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with ours, theirs:
            ours.setblocking(False)
            sent = 0
            try:
                while True:
                    sent += ours.send(b"x" * 65536)
            except BlockingIOError:
                pass
        self.assertLessEqual(sent, sockets._most_unix_bytes())


if __name__ == "__main__":
    unittest.main()
