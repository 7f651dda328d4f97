"""The filter of system calls, run as the kernel's classic BPF would, for both processors."""

from __future__ import annotations

import errno
import struct

import pytest

from ayllu.sandbox import seccomp
from ayllu.sandbox.escapes.prelude import CALLS
from support.parts import need

ALLOWED, KILLED = "allowed", "killed"


def decide(machine: str, number: int, *arguments: int, architecture: int | None = None, counted: bool = True) -> str:
    """What the filter for a machine does with a call: allowed, killed, or the name of an error."""
    code = list(struct.iter_unpack("=HBBI", seccomp.program(machine, counted=counted)))
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=iIQ6Q", number, architecture or seccomp.MACHINES[machine], 0, *padded)
    at = loaded = 0
    while True:
        what, yes, no, value = code[at]
        at += 1
        if what == 0x20:
            (loaded,) = struct.unpack_from("=I", data, value)
        elif what == 0x54:
            loaded &= value
        elif what == 0x06:
            kinds = {0x7FFF0000: ALLOWED, 0x80000000: KILLED}
            return kinds.get(value & 0xFFFF0000) or errno.errorcode[value & 0xFFFF]
        else:
            passes = {0x15: loaded == value, 0x35: loaded >= value, 0x45: bool(loaded & value)}[what]
            at += yes if passes else no


@pytest.mark.parametrize(("machine", "read", "clone", "socket", "ioctl", "mknodat"), [
    ("x86_64", 0, 56, 41, 16, 259),
    ("aarch64", 63, 220, 198, 29, 33),
])  # fmt: skip
def test_what_programs_need_is_allowed_and_the_rest_is_not(
    machine: str, read: int, clone: int, socket: int, ioctl: int, mknodat: int
) -> None:
    assert decide(machine, read) == ALLOWED
    assert decide(machine, clone, 0x1200011) == ALLOWED and decide(machine, clone, 0x10000011) == "EPERM"
    assert decide(machine, socket, 1) == ALLOWED
    assert {decide(machine, socket, family) for family in (2, 10, 16, 17, 40)} == {"EAFNOSUPPORT"}
    assert decide(machine, ioctl, 1, 0x5413) == ALLOWED
    assert {decide(machine, ioctl, 1, number) for number in (0x5412, 0x541C)} == {"EPERM"}
    assert decide(machine, mknodat, 0, 0, 0o010600) == ALLOWED and decide(machine, mknodat, 0, 0, 0o020600) == "EPERM"
    assert decide(machine, 435) == "ENOSYS"  # clone3
    assert decide(machine, 9999) == "ENOSYS"
    assert decide(machine, read, architecture=0x40000003) == KILLED


@pytest.mark.parametrize(("machine", "mmap"), [("x86_64", 9), ("aarch64", 222)])
def test_memory_is_shared_without_a_file_only_where_the_kernel_counts_it(machine: str, mmap: int) -> None:
    for flags, alone in ((0x21, "ENOMEM"), (0x4023, "ENOMEM"), (0x22, ALLOWED), (0x01, ALLOWED), (0x02, ALLOWED)):
        assert decide(machine, mmap, 0, 4096, 3, flags, counted=False) == alone
        assert decide(machine, mmap, 0, 4096, 3, flags) == ALLOWED


def test_calls_of_the_third_interface_end_the_program() -> None:
    assert decide("x86_64", 0x40000000 | 0) == KILLED


def test_every_call_that_attempts_make_is_refused() -> None:
    need(seccomp.machine(), "the numbers of calls are known of other processors only")
    allowed = {name for name, number in CALLS.items() if decide(str(seccomp.machine()), number) == ALLOWED}
    assert allowed == {"pidfd_open"}
