"""Calls of the kernel that programs do not need, and in which most of its holes were found; and the clock."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import time

from .prelude import Evidence, Host, call, raw

CLOCK = "it would set this machine's clock"
UNSHOWN = {
    "set_clock": CLOCK,
    "set_clock_of_day": CLOCK,
    "adjust_clock": CLOCK,
    "load_module": "it would ask this machine's kernel for code",
    "load_kernel": "it would ask this machine for another kernel",
    "restart": "it would ask this machine to restart",
    "set_host_name": "it would rename this machine",
    "become_root": "whoever runs this may be root already",
}


def load_filter(host: Host) -> Evidence:
    """load a program into the kernel (bpf)"""
    attributes = (ctypes.c_uint32 * 16)(1, 4, 4, 1)
    return call("bpf", 0, attributes, ctypes.sizeof(attributes)) >= 0


def count_events(host: Host) -> Evidence:
    """watch the processor's counters (perf_event_open)"""
    attributes = (ctypes.c_uint32 * 32)(1, 128)
    return call("perf_event_open", attributes, 0, -1, -1, 0) >= 0


def handle_faults(host: Host) -> Evidence:
    """handle the kernel's page faults (userfaultfd)"""
    return call("userfaultfd", 0) >= 0


def ring(host: Host) -> Evidence:
    """set up a ring of calls that no filter sees (io_uring)"""
    return call("io_uring_setup", 1, ctypes.create_string_buffer(120)) >= 0


def keyring(host: Host) -> Evidence:
    """read the kernel's keys of the session"""
    return call("keyctl", 0, -3, 0) >= 0


def add_key(host: Host) -> Evidence:
    """put a key into the kernel"""
    return call("add_key", b"user", b"ayllu-escape", b"x", 1, -1) >= 0


def load_module(host: Host) -> Evidence:
    """load a module of the kernel"""
    return _permitted("init_module", 0, 0, b"")


def load_kernel(host: Host) -> Evidence:
    """load another kernel"""
    return _permitted("kexec_load", 0, 99, 0, 0)


def restart(host: Host) -> Evidence:
    """restart the machine (with a number that would be refused)"""
    try:
        raw(142 if platform.machine() == "aarch64" else 169, 0, 0, 0, 0)
    except OSError as error:
        if error.errno != 22:
            raise
    return True


def set_host_name(host: Host) -> Evidence:
    """rename the machine"""
    import socket

    socket.sethostname("escaped")
    return True


def become_root(host: Host) -> Evidence:
    """become root"""
    os.setuid(0)
    return os.getuid() == 0


def capabilities(host: Host) -> Evidence:
    """hold any capability"""
    with open("/proc/self/status") as file:
        return any(int(line.split()[1], 16) for line in file if line.startswith(("CapEff", "CapPrm", "CapAmb")))


def change_personality(host: Host) -> Evidence:
    """switch off that addresses are drawn at random"""
    call("personality", 0x0040000)
    return True


def third_interface(host: Host) -> Evidence:
    """call the kernel by x86-64's third interface, with other numbers"""
    return raw(0x40000000 | 39) > 0


def old_interface(host: Host) -> Evidence:
    """call the kernel by 32-bit x86's interface, with other numbers"""
    if platform.machine() != "x86_64":
        raise OSError("this processor has none")
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # mov eax, 20 (getpid); int 0x80; ret
    function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    return function() > 0


def set_clock(host: Host) -> Evidence:
    """set the clock"""
    time.clock_settime(time.CLOCK_REALTIME, time.clock_gettime(time.CLOCK_REALTIME))
    return True


def set_clock_of_day(host: Host) -> Evidence:
    """set the clock by the older call"""
    now = (ctypes.c_long * 2)(int(time.time()), 0)
    return raw(170 if platform.machine() == "aarch64" else 164, now, 0) == 0


def adjust_clock(host: Host) -> Evidence:
    """change how fast the clock goes"""
    settings = (ctypes.c_long * 32)(0x4000, 0, 10000)
    return raw(171 if platform.machine() == "aarch64" else 159, settings) >= 0


def _permitted(name: str, *arguments: object) -> bool:
    """Whether the call got as far as looking at its arguments."""
    try:
        call(name, *arguments)
    except OSError as error:
        if error.errno in (1, 38):
            raise
    return True
