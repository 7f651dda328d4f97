"""The filter of system calls, as a program for the kernel's classic BPF: what `syscalls.csv` does not allow is refused.

A call on the list with the rule `deny` is refused with EPERM; what is not on the list does not exist (ENOSYS), so that
libraries fall back to older calls, such as from clone3 to clone, whose flags can be looked at. A program of another
architecture than the filter's ends at once. Sources: seccomp(2), and bpf_common.h, seccomp.h and audit.h of
Linux's include/uapi/linux.
"""

from __future__ import annotations

import csv
import errno
import functools
import platform
import struct
from collections.abc import Iterable
from importlib.resources import files

LOAD, JUMP_EQUAL, JUMP_AT_LEAST, JUMP_ANY_BIT, AND, RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
"""BPF_LD|W|ABS, BPF_JMP|{JEQ,JGE,JSET}|K, BPF_ALU|AND|K, BPF_RET|K."""
ALLOW, KILL, ERROR = 0x7FFF0000, 0x80000000, 0x00050000
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16
"""Offsets in `struct seccomp_data`; arguments have 64 bits each, the lower half first on both machines."""
MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""AUDIT_ARCH_ of the machines that the list is for."""
X32 = 0x40000000
"""Bit of the calls of x86_64's third ABI."""

NEW_NAMESPACES = 0x7E020080
"""CLONE_NEW{TIME,NS,CGROUP,UTS,IPC,USER,PID,NET}."""
AF_UNIX = 1
PUSHES_INPUT = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX, which type into a terminal."""
FILE_KIND, FIFO = 0o170000, 0o010000
SHARED_WITHOUT_A_FILE = 0x21
"""MAP_SHARED and MAP_ANONYMOUS."""

Instruction = tuple[int, int, int, int]


def machine() -> str | None:
    """This machine's name where the list is for it."""
    return name if (name := platform.machine()) in MACHINES else None


@functools.cache
def program(name: str, *, counted: bool = True) -> bytes:
    """The filter for a machine of `MACHINES`, as `struct sock_filter`s.

    Where the kernel has not `counted` memory, none may be shared without a file: process limits do not see such
    memory (getrlimit(2): RLIMIT_DATA), and a look now and then may come too late.
    """
    code: list[Instruction] = [
        (LOAD, 0, 0, ARCHITECTURE),
        (JUMP_EQUAL, 1, 0, MACHINES[name]),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER),
    ]
    if name == "x86_64":
        code += [(JUMP_AT_LEAST, 0, 1, X32), (RETURN, 0, 0, KILL)]
    refused = _error(errno.EPERM)
    for call, rule, number in _rules(name):
        then = {"allow": [(RETURN, 0, 0, ALLOW)], "deny": [refused]}.get(rule) or _checks()[call]
        if call == "mmap" and not counted:
            then = _no_memory_without_a_file()
        code += [(JUMP_EQUAL, 0, len(then), number), *then]
    code.append(_error(errno.ENOSYS))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def _rules(name: str) -> Iterable[tuple[str, str, int]]:
    text = files(__package__).joinpath("syscalls.csv").read_text(encoding="utf-8")
    for row in csv.DictReader(text.splitlines()):
        if row[name]:
            yield row["name"], row["rule"], int(row[name])


def _checks() -> dict[str, list[Instruction]]:
    """The calls that are allowed with some arguments only."""
    allowed, refused = (RETURN, 0, 0, ALLOW), _error(errno.EPERM)
    return {
        "clone": [(LOAD, 0, 0, _argument(0)), (JUMP_ANY_BIT, 0, 1, NEW_NAMESPACES), refused, allowed],
        "socket": [(LOAD, 0, 0, _argument(0)), (JUMP_EQUAL, 0, 1, AF_UNIX), allowed, _error(errno.EAFNOSUPPORT)],
        "ioctl": [
            (LOAD, 0, 0, _argument(1)),
            (JUMP_EQUAL, 1, 0, PUSHES_INPUT[0]),
            (JUMP_EQUAL, 0, 1, PUSHES_INPUT[1]),
            refused,
            allowed,
        ],
        "mknod": _only_fifo(1),
        "mknodat": _only_fifo(2),
    }


def _only_fifo(argument: int) -> list[Instruction]:
    mode = (LOAD, 0, 0, _argument(argument))
    allowed, refused = (RETURN, 0, 0, ALLOW), _error(errno.EPERM)
    return [mode, (AND, 0, 0, FILE_KIND), (JUMP_EQUAL, 0, 1, FIFO), allowed, refused]


def _no_memory_without_a_file() -> list[Instruction]:
    flags, both = (LOAD, 0, 0, _argument(3)), (AND, 0, 0, SHARED_WITHOUT_A_FILE)
    return [flags, both, (JUMP_EQUAL, 0, 1, SHARED_WITHOUT_A_FILE), _error(errno.ENOMEM), (RETURN, 0, 0, ALLOW)]


def _argument(number: int) -> int:
    return ARGUMENTS + 8 * number


def _error(number: int) -> Instruction:
    return (RETURN, 0, 0, ERROR | number)
