"""Find out, by trying, what this machine gives a sandbox, and what the interpreter that runs this is.

Prints one JSON object: ``interpreter`` {version, executable, packages} and ``layers``: for each mechanism ``available``, ``detail`` (what was found, or why
not) and ``fix`` (what would bring it, or null). Each mechanism is tried in a child process of its own, so that
nothing sticks to this one. Runs no code of any installed package.
"""

from __future__ import annotations

import json
import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, _HERE)

import outer_ids  # noqa: E402
from confine import cgroup, identity, kernel, landlock, seccomp, syscalls, tree  # noqa: E402
from confine.kernel import (  # noqa: E402
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    MS_NODEV,
    MS_NOSUID,
    MS_PRIVATE,
    MS_REC,
)

sys.path.remove(_HERE)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_USERNS_FIX = (
    "Allow user namespaces: `sysctl -w user.max_user_namespaces=15000`, and on Debian before 11 `sysctl -w kernel.unprivileged_userns_clone=1`; "
    "in a container, run it with a seccomp profile that allows unshare(2), or run Cordon on the host."
)
_MOUNT_FIX = (
    "On Ubuntu 23.10 and later AppArmor takes away what a user namespace gives: `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`, or an AppArmor "
    "profile with `userns,` for node. In a container, mounting must be allowed (in Docker: `--security-opt seccomp=unconfined --security-opt apparmor=unconfined`)."
)
_IDENTITY_FIX = (
    "Only tier `confined` needs it, where there are no user namespaces. Run the server as an ordinary user; or leave root the capabilities SETUID, SETGID, CHOWN and KILL, name an interpreter that everyone may read as sandbox.python "
    "(/usr/bin/python3, a virtual environment outside /root), and set TMPDIR to a directory that everyone may pass through."
)


def main() -> None:
    """Probe and print."""
    if sys.platform != "linux":
        layers = [_report("linux", False, f"this is {sys.platform}", "Run Cordon on Linux; on macOS and Windows in a virtual machine or WSL 2.")]
    else:
        layers = [_user_namespace(), _mounts(), *_other_namespaces(), _landlock(), _seccomp(), _no_new_privs(), _identity(), _cgroup()]
    version = ".".join(str(part) for part in sys.version_info[:3])
    try:
        tree.plan([])
        layers.append(_report("interpreter", True, f"{sys.executable}, {version}"))
    except tree.UnsafePrefix as error:
        layers.append(_report("interpreter", False, str(error), "Name an interpreter in a directory of its own as sandbox.python, a virtual environment for example."))
    interpreter = {"version": version, "executable": sys.executable, "packages": _packages()}
    print(json.dumps({"interpreter": interpreter, "layers": layers}))


def _report(layer: str, available: bool, detail: str, fix: str | None = None) -> dict[str, object]:
    return {"layer": layer, "available": available, "detail": detail, "fix": None if available else fix}


def _try(attempt: Callable[[], str]) -> tuple[bool, str]:
    """Run ``attempt`` in a child; whether it came through, and what it said."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            try:
                said = "+" + attempt()
            except Exception as error:
                said = "-" + str(error)
            os.write(writer, said.encode()[:4096])
        finally:
            os._exit(0)
    os.close(writer)
    said = os.read(reader, 4096).decode(errors="replace")
    os.close(reader)
    os.waitpid(pid, 0)
    return said.startswith("+"), said[1:] or "the attempt ended without a word"


def _own_user_namespace() -> None:
    """What an ordinary user has to enter first; root has the right already."""
    if os.geteuid() == 0:
        return
    uid, gid = os.getuid(), os.getgid()
    kernel.unshare(CLONE_NEWUSER)
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    identity.map_self(proc, 0, uid, gid)


def _user_namespace() -> dict[str, object]:
    def attempt() -> str:
        kernel.unshare(CLONE_NEWUSER)
        return "can be made"

    return _report("user namespace", *_try(attempt), _USERNS_FIX)


def _mounts() -> dict[str, object]:
    def attempt() -> str:
        _own_user_namespace()
        kernel.unshare(CLONE_NEWNS | CLONE_NEWPID)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                kernel.mount(None, "/", None, MS_REC | MS_PRIVATE, None)
                kernel.mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "size=64k")
                status = 2
                os.mkdir("/tmp/proc")
                kernel.mount("proc", "/tmp/proc", "proc", MS_NOSUID | MS_NODEV, None)
                status = 0
            finally:
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status == 0:
            return "a file tree and a /proc of its own can be mounted"
        raise OSError("mounting a tmpfs was refused" if status == 1 else "mounting a new /proc was refused (the one here is partly covered)")

    return _report("mount and pid namespace", *_try(attempt), _MOUNT_FIX)


def _other_namespaces() -> list[dict[str, object]]:
    reports: list[dict[str, object]] = []
    for name, flag in (("network", CLONE_NEWNET), ("ipc", CLONE_NEWIPC), ("uts", CLONE_NEWUTS)):

        def attempt(flag: int = flag) -> str:
            _own_user_namespace()
            kernel.unshare(flag)
            return "can be made"

        reports.append(_report(f"{name} namespace", *_try(attempt), _USERNS_FIX))
    return reports


def _landlock() -> dict[str, object]:
    abi, reason = landlock.probe()
    return _report("landlock", abi > 0, landlock.describe(abi) if abi else reason, "Boot a kernel of 5.13 or later with landlock in its `lsm=` list (see /sys/kernel/security/lsm).")


def _seccomp() -> dict[str, object]:
    def attempt() -> str:
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        seccomp.install(seccomp.build(syscalls.machine(), inet=True))
        return f"filters hold on {syscalls.machine()}"

    return _report("seccomp", *_try(attempt), "A kernel with CONFIG_SECCOMP_FILTER on x86-64 or aarch64 is needed.")


def _no_new_privs() -> dict[str, object]:
    def attempt() -> str:
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        return "set"

    return _report("no_new_privs", *_try(attempt), "A kernel of 3.5 or later is needed.")


def _cgroup() -> dict[str, object]:
    server = os.getppid()

    def attempt() -> str:
        subtree = cgroup.open_subtree(server, None)
        try:
            group = cgroup.Group(subtree.descriptor, os.getpid())
            group.limit(64 << 20, 16)
            pid = os.fork()
            if pid == 0:
                try:
                    subtree.enter()
                    group.enter()
                    os._exit(0)
                finally:
                    os._exit(1)
            entered = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            group.remove()
            if not entered:
                raise OSError("a process could not be moved into a cgroup")
        finally:
            subtree.close()
        return f"{', '.join(subtree.controllers)} of each sandbox, in {subtree.base}"

    return _report("cgroup", *_try(attempt), cgroup.FIX)


def _identity() -> dict[str, object]:
    """Whom programs run as in tier `confined`, which has no user namespaces: they must not be root."""

    def attempt() -> str:
        if os.geteuid() != 0:
            return "the caller's"
        have = kernel.effective_capabilities()
        missing = [name for name in identity.OWN_ID_CAPABILITIES if not have & 1 << kernel.CAPABILITIES[name]]
        if missing:
            raise OSError(f"root, but without {', '.join(missing)}")
        uid = identity.unused_ids(0)[0]
        try:
            outer_ids.check(uid, _temporary(), tree.plan([]))
        except tree.UnsafePrefix:
            pass  # told as the interpreter's
        identity.become(uid)
        return "each run can have a host id of its own"

    return _report("identity", *_try(attempt), _IDENTITY_FIX)


def _temporary() -> str:
    """The system's temporary directory, as Node finds it (os.tmpdir)."""
    return next((value for value in map(os.environ.get, ("TMPDIR", "TMP", "TEMP")) if value), "/tmp")


def _packages() -> list[str]:
    """Distributions installed for this interpreter, by the names of their metadata directories; nothing is imported."""
    import site

    where: set[str] = set()
    prefixes = tree.prefixes()
    configuration = os.path.join(prefixes[0], "pyvenv.cfg")
    if os.path.isfile(configuration):
        with open(configuration, encoding="utf-8") as file:
            shared = any(line.replace(" ", "").lower().startswith("include-system-site-packages=true") for line in file)
        # Not asked of site: Debian's looks at sys.prefix, which -S leaves at the base.
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        where.update(os.path.join(prefixes[0], lib, version, "site-packages") for lib in ("lib", "lib64"))
        prefixes = prefixes[1:] if shared else []
    where.update(site.getsitepackages(prefixes) if prefixes else [])
    names: set[str] = set()
    for directory in where:
        try:
            entries = os.listdir(directory)
        except OSError:
            continue
        for entry in entries:
            if entry.endswith((".dist-info", ".egg-info")):
                names.add(entry.rsplit(".", 1)[0].split("-")[0].replace("_", "-"))
    return sorted(names, key=str.lower)


main()
