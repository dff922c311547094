"""Memory in the buffers of a sandbox's sockets, which no other count sees.

What is written to a socket and not read yet is kernel memory: it is in no process's resident set, and a thousand sockets hold gigabytes.
The kernel tells it, for each socket of a network namespace, over netlink (sock_diag(7)); a sandbox has a network namespace of its own. Asking is
only worth it when there are more than a few sockets, which /proc/net/sockstat says cheaply.
"""

from __future__ import annotations

import errno
import os
import socket
import struct

#: So few sockets can't hold much (``shrink_tcp`` sees to the large kind).
_FEW = 16
#: The limits of a socket's buffers, which the kernel doubles, and what they are where nobody changed them (socket(7)).
_LIMITS = ("wmem_max", "rmem_max", "wmem_default")
_USUAL_LIMIT_BYTES = 212_992

# linux/netlink.h, linux/sock_diag.h, linux/unix_diag.h, linux/inet_diag.h
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST_DUMP = 0x301
_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_UDIAG_SHOW_MEMINFO = 0x20
_UNIX_DIAG_MEMINFO = 5
_INET_DIAG_SKMEMINFO = 7
#: Bytes of struct unix_diag_msg and struct inet_diag_msg, after which the attributes come.
_UNIX_MESSAGE_BYTES = 16
_INET_MESSAGE_BYTES = 72
_TIMEOUT_SECONDS = 1.0


def shrink_tcp(proc: int) -> None:
    """Keep TCP from growing its buffers to tens of megabytes each. For a network namespace of one's own.

    ``proc``: a descriptor of a /proc that may be written to. The values are minimum, default and maximum in bytes (tcp(7)).
    """
    for name in ("tcp_rmem", "tcp_wmem"):
        fd = os.open(f"sys/net/ipv4/{name}", os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc)
        try:
            os.write(fd, b"4096 16384 212992")
        finally:
            os.close(fd)


def buffered_bytes() -> int:
    """What all sockets of this network namespace hold, in bytes; 0 when there are only a few."""
    count = _used()
    if count <= _FEW:
        return 0
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as asking:
            asking.settimeout(_TIMEOUT_SECONDS)
            total = _ask(asking, struct.pack("=BBHIIIII", socket.AF_UNIX, 0, 0, 0xFFFFFFFF, 0, _UDIAG_SHOW_MEMINFO, 0, 0), _UNIX_MESSAGE_BYTES, _UNIX_DIAG_MEMINFO)
            for family in (socket.AF_INET, socket.AF_INET6):
                for protocol in (socket.IPPROTO_TCP, socket.IPPROTO_UDP):
                    request = struct.pack("=BBBBI48x", family, protocol, 1 << (_INET_DIAG_SKMEMINFO - 1), 0, 0xFFFFFFFF)
                    total += _ask(asking, request, _INET_MESSAGE_BYTES, _INET_DIAG_SKMEMINFO)
            return total
    except OSError:
        return count * _most_bytes()  # a kernel that can't tell: suppose the worst


def most_buffered_bytes(pids: list[str], enough_bytes: int) -> int:
    """The most that the sockets of these processes can hold, where they share the host's network namespace; 0 when there are only a few.

    Stops counting at ``enough_bytes``: looking at every descriptor takes its time, in which more is opened.

    Only pairs of Unix sockets can be made there. What the processes pass to each other and no one has open just now is not counted; the kernel
    lets as many be under way for each user as one process may open (unix(7), RLIMIT_NOFILE).
    """
    found: set[str] = set()
    most_each = _most_unix_bytes()
    for pid in pids:
        try:
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                link = os.readlink(f"/proc/{pid}/fd/{descriptor}")
                if link.startswith("socket:"):
                    found.add(link)
                    if len(found) * most_each > enough_bytes:
                        return len(found) * most_each
        except OSError:
            continue  # it ended, or closed one
    return len(found) * most_each if len(found) > _FEW else 0


def _most_bytes() -> int:
    """The most that one socket holds: both its buffers at their limit."""
    return 2 * (_limits["wmem_max"] + _limits["rmem_max"])


def _most_unix_bytes() -> int:
    """The same of a Unix socket whose buffer can't be made larger (shared.py): what is sent is the sender's until it is read, the last piece may reach beyond."""
    return 2 * _limits["wmem_default"]


def read_limits() -> dict[str, int]:
    """What the machine allows the buffers of a socket, by the names of socket(7), bytes; never less than is usual."""
    found: dict[str, int] = {}
    for name in _LIMITS:
        try:
            with open(f"/proc/sys/net/core/{name}", "rb", buffering=0) as file:
                found[name] = max(_USUAL_LIMIT_BYTES, int(file.read(64)))
        except (OSError, ValueError):
            found[name] = _USUAL_LIMIT_BYTES
    return found


#: Read before there is a network namespace, which need not show them.
_limits = read_limits()


def _used() -> int:
    with open("/proc/net/sockstat", "rb", buffering=0) as file:
        return int(file.read(64).split()[2])  # "sockets: used N"


def _ask(asking: socket.socket, request: bytes, message_bytes: int, attribute: int) -> int:
    """The sum over the sockets of one kind. Raises OSError when the kernel does not know the kind."""
    asking.send(struct.pack("=IHHII", 16 + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST_DUMP, 1, 0) + request)
    total = 0
    while True:
        data = asking.recv(1 << 16)
        while len(data) >= 16:
            length, kind = struct.unpack_from("=IH", data)
            if kind == _NLMSG_DONE:
                return total
            if kind == _NLMSG_ERROR:
                code = -struct.unpack_from("=i", data, 16)[0]
                if code == errno.ENOENT:
                    return total  # no sockets of this kind can exist: its module is not there
                raise OSError(code, "sock_diag")
            total += _memory(data[16 + message_bytes : length], attribute)
            data = data[(length + 3) & ~3 :]


def _memory(attributes: bytes, wanted: int) -> int:
    """Receive and send memory from the attributes of one socket (SK_MEMINFO_RMEM_ALLOC and WMEM_ALLOC, the words 0 and 2)."""
    while len(attributes) >= 4:
        length, kind = struct.unpack_from("=HH", attributes)
        if length < 4:
            return 0
        if kind == wanted:
            return int.from_bytes(attributes[4:8], "little") + int.from_bytes(attributes[12:16], "little")
        attributes = attributes[(length + 3) & ~3 :]
    return 0
