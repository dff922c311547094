"""Run a command as a default Docker container would: unshare, mount, setns and clone with namespaces are refused by a filter around it.

Usage: without-namespaces.py SANDBOX_DIRECTORY COMMAND [ARGUMENT]...
"""

import errno
import os
import struct
import sys

sys.path.insert(0, sys.argv[1])

from confine import kernel, seccomp, syscalls

numbers = syscalls.NUMBERS[syscalls.machine()]
refuse = [(0x06, 0, 0, 0x00050000 | errno.EPERM)]
absent = [(0x06, 0, 0, 0x00050000 | errno.ENOSYS)]
code = [(0x06, 0, 0, 0x7FFF0000)]
for name in ("unshare", "setns", "mount", "umount2", "pivot_root", "fsopen", "open_tree", "move_mount", "mount_setattr"):
    code = [(0x15, 0, 1, numbers[name]), *refuse, *code]
flags = 0x7E020000  # CLONE_NEW*
code = [(0x15, 0, 3, numbers["clone"]), (0x20, 0, 0, 16), (0x45, 0, len(code) + 0, flags), *refuse, (0x15, 0, 1, numbers["clone3"]), *absent, *code]
# clone without these flags falls through to the rest, which loads the number again.
code[2] = (0x45, 0, 1, flags)
code.insert(4, (0x20, 0, 0, 0))
code[0] = (0x15, 0, 4, numbers["clone"])
kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
seccomp.install(b"".join(struct.pack("=HBBI", *one) for one in [(0x20, 0, 0, 0), *code]))
os.execvp(sys.argv[2], sys.argv[2:])
