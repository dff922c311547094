/** Goal: to reach anything outside by any family of sockets. */

import { py, type Attack } from './attack.js';

/** Families beside Unix, IPv4 and IPv6 (linux/socket.h), with a type each takes. */
const FAMILIES: readonly (readonly [name: string, family: number, type: number, protocol: number, root: boolean])[] = [
  ['AF_NETLINK route', 16, 3, 0, false],
  ['AF_NETLINK sock_diag', 16, 3, 4, false],
  ['AF_NETLINK kobject_uevent', 16, 3, 15, false],
  ['AF_NETLINK generic', 16, 3, 16, false],
  ['AF_NETLINK audit', 16, 3, 9, false],
  ['AF_NETLINK netfilter', 16, 3, 12, false],
  ['AF_NETLINK xfrm', 16, 3, 6, false],
  ['AF_NETLINK crypto', 16, 3, 21, false],
  ['AF_PACKET', 17, 3, 0x300, true],
  ['AF_VSOCK stream', 40, 1, 0, false],
  ['AF_VSOCK datagram', 40, 2, 0, false],
  ['AF_ALG', 38, 5, 0, false],
  ['AF_KEY', 15, 3, 2, false],
  ['AF_XDP', 44, 3, 0, true],
  ['AF_TIPC', 30, 1, 0, false],
  ['AF_CAN', 29, 3, 1, false],
  ['AF_BLUETOOTH', 31, 3, 1, false],
  ['AF_RDS', 21, 5, 0, false],
  ['AF_PPPOX', 24, 1, 0, false],
  ['AF_QIPCRTR', 42, 2, 0, false],
  ['AF_SMC', 43, 1, 0, false],
  ['AF_AX25', 3, 2, 0, false],
  ['AF_IPX', 4, 2, 0, false],
  ['AF_APPLETALK', 5, 2, 0, false],
  ['AF_X25', 9, 5, 0, false],
  ['AF_LLC', 26, 1, 0, false],
  ['AF_KCM', 41, 5, 0, false],
  ['AF_MCTP', 45, 2, 0, false],
  ['AF_NFC', 39, 5, 0, false],
  ['AF_PHONET', 35, 2, 0, false],
  ['AF_IUCV', 32, 1, 0, false],
];

/** Ask a listener for what it has. */
const ASK_TCP = (family: string, host: string, port: string): string => py`
with socket.socket(socket.${family}) as s:
    s.settimeout(5); s.connect((${host}, ${port}))
    return s.recv(100).decode()`;

export const attacks: readonly Attack[] = [
  { name: 'TCP to the host’s loopback', wants: 'secret', code: ASK_TCP('AF_INET', '"127.0.0.1"', 'C["tcpPort"]') },
  {
    name: 'TCP to another address of the host’s loopback',
    wants: 'secret',
    code: ASK_TCP('AF_INET', '"localhost"', 'C["tcpPort"]'),
  },
  { name: 'TCP to 0.0.0.0', wants: 'secret', code: ASK_TCP('AF_INET', '"0.0.0.0"', 'C["tcpPort"]') },
  {
    name: 'TCP over IPv6 to the host’s loopback',
    wants: 'secret',
    needs: 'kernel',
    code: ASK_TCP('AF_INET6', '"::1"', 'C["tcp6Port"]'),
  },
  {
    name: 'TCP over an IPv4-mapped IPv6 address',
    wants: 'secret',
    needs: 'kernel',
    code: ASK_TCP('AF_INET6', '"::ffff:127.0.0.1"', 'C["tcpPort"]'),
  },
  {
    name: 'TCP with fast open',
    wants: 'secret',
    code: py`
with socket.socket() as s:
    s.sendto(b"x", 0x20000000, ("127.0.0.1", C["tcpPort"]))
    return s.recv(100).decode()`,
  },
  {
    name: 'TCP by a child program',
    wants: 'secret',
    code: py`
import subprocess
code = f"import socket; print(socket.create_connection(('127.0.0.1', {C['tcpPort']})).recv(100).decode())"
return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout`,
  },
  {
    name: 'TCP by urllib through a proxy of the environment',
    wants: 'secret',
    code: py`
import http.client
os.environ["http_proxy"] = f"http://127.0.0.1:{C['tcpPort']}"
import urllib.request
try: return urllib.request.urlopen("http://example.invalid/", timeout=5).read()
except http.client.BadStatusLine as e: return str(e)`,
  },
  {
    name: 'TCP by asyncio',
    wants: 'secret',
    code: py`
import asyncio
async def ask():
    reader, _ = await asyncio.open_connection("127.0.0.1", C["tcpPort"])
    return (await reader.read(100)).decode()
return asyncio.run(ask())`,
  },
  {
    name: 'a scan of all ports of loopback',
    code: py`
found = []
for port in [C["tcpPort"], *range(1, 65536, 7)]:
    with socket.socket() as s:
        s.settimeout(0.2)
        # A port that connects to itself is nobody's: TCP lets the two ends be one (simultaneous open).
        if s.connect_ex(("127.0.0.1", port)) == 0 and s.getpeername() != s.getsockname(): found.append(port); break
return found`,
  },
  {
    name: 'UDP to the host’s loopback',
    wants: 'secret',
    code: py`
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    # Connected, so that the kernel tells at once where nobody listens (udp(7)).
    s.settimeout(2); s.connect(("127.0.0.1", C["udpPort"])); s.send(b"?")
    return s.recv(100).decode()`,
  },
  {
    name: 'UDP to the outside',
    needs: 'kernel',
    code: py`
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.connect(("192.0.2.1", 53))
    return s.getsockname()[0]`,
  },
  {
    name: 'multicast and broadcast',
    needs: 'kernel',
    code: py`
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    for address in ("224.0.0.1", "255.255.255.255"):
        try: return s.sendto(b"x", (address, 9))
        except OSError: pass`,
  },
  {
    name: 'ICMP by a raw socket',
    needs: 'root',
    code: py`return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).fileno()`,
  },
  {
    name: 'ICMP by a ping socket',
    needs: 'kernel',
    code: py`return socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP).fileno()`,
  },
  {
    name: 'ICMPv6 by a raw socket',
    needs: 'root',
    code: py`return socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6).fileno()`,
  },
  {
    name: 'a raw IP socket',
    needs: 'root',
    code: py`return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW).fileno()`,
  },
  { name: 'SCTP', needs: 'kernel', code: py`return socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132).fileno()` },
  { name: 'MPTCP', needs: 'kernel', code: py`return socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262).fileno()` },
  {
    name: 'UDP-Lite',
    needs: 'kernel',
    code: py`return socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 136).fileno()`,
  },
  {
    name: 'a Unix socket by its path',
    wants: 'secret',
    code: py`
with socket.socket(socket.AF_UNIX) as s:
    s.connect(C["unixPath"])
    return s.recv(100).decode()`,
  },
  {
    name: 'a Unix socket through /proc/self/root',
    wants: 'secret',
    code: py`
os.chdir("/proc/self/root"); os.chdir("." + C["open"])
with socket.socket(socket.AF_UNIX) as s:
    s.connect("s.sock")
    return s.recv(100).decode()`,
  },
  {
    name: 'an abstract Unix socket',
    wants: 'secret',
    code: py`
with socket.socket(socket.AF_UNIX) as s:
    s.connect("\0" + C["abstractName"])
    return s.recv(100).decode()`,
  },
  {
    name: 'the zygote’s own socket',
    controlPrelude: `
C["tmpdir"] = C["writable"]; directory = f"{C['tmpdir']}/cordon-{C['planted']}"; os.mkdir(directory); os.chdir(directory)
listener = socket.socket(socket.AF_UNIX); listener.bind("z.sock"); listener.listen()`,
    code: py`
import glob
found = []
for path in glob.glob(C["tmpdir"] + "/cordon-*/*.sock"):
    os.chdir(os.path.dirname(path))  # a path may be too long for a socket's name
    with socket.socket(socket.AF_UNIX) as s: s.connect(os.path.basename(path)); found.append(path)
return found`,
  },
  {
    name: 'Unix sockets of services of the machine',
    controlPrelude: 'C["more"] = [C["unixPath"]]',
    code: py`
found = []
for path in C.get("more", []) + ["/run/docker.sock", "/var/run/docker.sock", "/run/dbus/system_bus_socket", "/run/systemd/private", "/run/containerd/containerd.sock", "/tmp/.X11-unix/X0", "/run/user/1000/bus", "/run/systemd/journal/socket"]:
    with socket.socket(socket.AF_UNIX) as s:
        if s.connect_ex(path) == 0: found.append(path)
return found`,
  },
  {
    name: 'names by DNS',
    controlPrelude: 'C["name"] = "localhost"',
    code: py`
return socket.getaddrinfo(C.get("name", "example.com"), 80)`,
  },
  {
    name: 'interfaces other than loopback',
    needs: 'kernel',
    code: py`return [name for _, name in socket.if_nameindex() if name != "lo"]`,
  },
  { name: 'a TUN device', needs: 'kernel', code: py`return os.open("/dev/net/tun", os.O_RDWR)` },
  {
    name: 'an address set on an interface',
    needs: 'root',
    code: py`
import fcntl
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
flags = fcntl.ioctl(s, 0x8913, struct.pack("16sh22x", b"lo", 0))
fcntl.ioctl(s, 0x8914, flags)
return True`,
  },
  {
    name: 'a BPF program on a socket',
    code: py`
program = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0xffff))
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HxxxxxxQ", 1, ctypes.addressof(program)))
return True`,
  },
  {
    name: 'the network namespace of process 1, or of another',
    needs: 'root',
    code: py`
fd = os.open(f"/proc/{1 if C['inside'] else C['victim']}/ns/net", os.O_RDONLY)
call(libc.setns(fd, 0))
return True`,
  },
  {
    name: 'a privileged port',
    needs: 'root',
    code: py`
with socket.socket() as s:
    s.bind(("127.0.0.1", 83))
    return not C["inside"] or None`,
  },
  {
    name: 'the kernel’s TLS',
    needs: 'kernel',
    code: py`
a = socket.create_server(("127.0.0.1", 0)); b = socket.create_connection(a.getsockname())
b.setsockopt(socket.IPPROTO_TCP, 31, b"tls")
return True`,
  },
  ...FAMILIES.map(([name, family, type, protocol, root]): Attack => ({
    name: `a socket of ${name}`,
    needs: root ? 'root' : 'kernel',
    code: `s = socket.socket(${family}, ${type}, ${protocol})\nreturn s.fileno()`,
  })),
  {
    name: 'a socket of any family at all but three',
    code: py`
found = []
for family in range(64):
    for type in (1, 2, 3, 4, 5):
        if family in (1, 2, 10): continue
        try: socket.socket(family, type).close(); found.append((family, type))
        except OSError: pass
return found`,
  },
  {
    name: 'a raw or odd type of the three families',
    code: py`
found = []
for family in (1, 2, 10):
    for type in (4, 6, 10) if family == 1 else (3, 4, 5, 6, 10):
        for flags in (0, 0o2000000, 1 << 33):
            for protocol in (0, 1, 132, 255, 6 if type == 3 else 0):
                try:
                    fd = libc.syscall({"x86_64": 41}.get(os.uname().machine, 198), ctypes.c_long(family), ctypes.c_long(type | flags), ctypes.c_long(protocol))
                    if fd >= 0: found.append((family, type)); os.close(fd)
                except OSError: pass
return found or (not C["inside"] and "an ordinary user gets none either")`,
  },
];
