"""What attempts share. It runs inside too: the standard library only, and relative imports among these files.

An attempt is a function that is given what there is to find (`host`) and gives what it found: text, in which a token
that it was not told must stand, or whether what it tried was done. Its docstring says what it tries. What a refusal
raises is what held it.
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Mapping
from typing import Any

Host = Mapping[str, Any]
Evidence = str | bool

_ARM = platform.machine() == "aarch64"
CALLS: Mapping[str, int] = {
    "add_key": 217 if _ARM else 248,
    "bpf": 280 if _ARM else 321,
    "clone3": 435,
    "fsopen": 430,
    "init_module": 105 if _ARM else 175,
    "io_uring_setup": 425,
    "kcmp": 272 if _ARM else 312,
    "kexec_load": 104 if _ARM else 246,
    "keyctl": 219 if _ARM else 250,
    "memfd_create": 279 if _ARM else 319,
    "mount": 40 if _ARM else 165,
    "mlock": 228 if _ARM else 149,
    "name_to_handle_at": 264 if _ARM else 303,
    "perf_event_open": 241 if _ARM else 298,
    "personality": 92 if _ARM else 135,
    "pidfd_getfd": 438,
    "pidfd_open": 434,
    "pivot_root": 41 if _ARM else 155,
    "process_vm_readv": 270 if _ARM else 310,
    "ptrace": 117 if _ARM else 101,
    "setns": 268 if _ARM else 308,
    "shmat": 196 if _ARM else 30,
    "shmctl": 195 if _ARM else 31,
    "shmget": 194 if _ARM else 29,
    "umount2": 39 if _ARM else 166,
    "unshare": 97 if _ARM else 272,
    "userfaultfd": 282 if _ARM else 323,
}
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long


def call(name: str, *arguments: Any) -> int:
    """The system call `name`; raises OSError."""
    return raw(CALLS[name], *arguments)


def raw(number: int, *arguments: Any) -> int:
    """The system call of a number; raises OSError."""
    told = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    result = LIBC.syscall(ctypes.c_long(number), *told)
    if result == -1:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return int(result)


def read(path: str) -> str:
    """The beginning of a file."""
    with open(path, "rb") as file:
        return file.read(65536).decode("utf-8", "replace")
