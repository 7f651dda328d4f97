"""Processes of the host: signals to them, and looks into them."""

from __future__ import annotations

import ctypes
import os
import signal

from .prelude import Evidence, Host, call

PTRACE_SEIZE = 0x4206


def signal_process(host: Host) -> Evidence:
    """send a signal to a process of the host"""
    os.kill(host["process"], signal.SIGUSR1)
    return True


def signal_everyone(host: Host) -> Evidence:
    """send a signal to every process"""
    if host["outside"]:  # there that would be this machine's processes
        os.kill(host["process"], signal.SIGUSR1)
    else:
        os.kill(-1, signal.SIGUSR1)
    return False


def signal_group(host: Host) -> Evidence:
    """send a signal to the group of the process that started the sandbox"""
    os.killpg(host["group"], signal.SIGUSR1)
    return True


def signal_by_handle(host: Host) -> Evidence:
    """send a signal through a handle of the process"""
    handle = call("pidfd_open", host["process"], 0)
    signal.pidfd_send_signal(handle, signal.SIGUSR1)
    return True


def end_first_process(host: Host) -> Evidence:
    """end the first process, which is the host's"""
    if host["outside"]:
        return os.getpid() != 1
    os.kill(1, signal.SIGKILL)
    with open("/proc/1/stat"):  # still there
        return False


def attach(host: Host) -> Evidence:
    """attach to a process as a debugger"""
    call("ptrace", PTRACE_SEIZE, host["process"], 0, 0)
    return True


def trace_own_child(host: Host) -> Evidence:
    """trace a child, with which system calls could be changed after they were checked"""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            call("ptrace", 0, 0, 0, 0)
            os.write(writing, b"y")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.set_blocking(reading, False)
    return os.read(reading, 1) == b"y"


def read_memory(host: Host) -> Evidence:
    """read the memory of a process"""
    area = (ctypes.c_size_t * 2)(ctypes.addressof(ctypes.create_string_buffer(8)), 8)
    try:
        call("process_vm_readv", host["process"], area, 1, (ctypes.c_size_t * 2)(4096, 8), 1, 0)
    except OSError as error:
        if error.errno != 14:  # EFAULT: it may read, but nothing is there
            raise
    return True


def take_file(host: Host) -> Evidence:
    """take an open file from a process"""
    call("pidfd_getfd", call("pidfd_open", host["process"], 0), 0, 0)
    return True


def compare_processes(host: Host) -> Evidence:
    """compare the kernel's objects of two processes"""
    call("kcmp", os.getpid(), host["process"], 1, 0, 0)
    return True


def change_priority(host: Host) -> Evidence:
    """slow a process of the host down"""
    os.setpriority(os.PRIO_PROCESS, host["process"], 1)
    return True


def bind_to_core(host: Host) -> Evidence:
    """say on which cores a process of the host runs"""
    os.sched_setaffinity(host["process"], os.sched_getaffinity(host["process"]))
    return True
