"""Devices of the machine."""

from __future__ import annotations

import array
import fcntl
import os
import stat

from .prelude import Evidence, Host, read

TIOCSTI = 0x5412


def physical_memory(host: Host) -> Evidence:
    """open the machine's memory"""
    return os.open("/dev/mem", os.O_RDONLY) >= 0


def kernel_log(host: Host) -> Evidence:
    """open the kernel's log"""
    return os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK) >= 0


def disks(host: Host) -> Evidence:
    """find a disk"""
    return any(stat.S_ISBLK(os.lstat(f"/dev/{name}").st_mode) for name in os.listdir("/dev"))


def make_device(host: Host) -> Evidence:
    """make a device file of the machine's memory"""
    os.mknod("memory", stat.S_IFCHR | 0o600, os.makedev(1, 1))
    return True


def make_disk(host: Host) -> Evidence:
    """make a device file of a disk"""
    os.mknod("disk", stat.S_IFBLK | 0o600, os.makedev(259, 0))
    return True


def virtual_machines(host: Host) -> Evidence:
    """open what makes virtual machines, tunnels or file systems"""
    for name in ("kvm", "net/tun", "fuse", "vhost-net", "loop-control", "mapper/control", "uinput"):
        try:
            os.open(f"/dev/{name}", os.O_RDWR)
        except OSError:
            continue
        return True
    return False


def type_into_terminal(host: Host) -> Evidence:
    """type into a terminal"""
    _, line = os.openpty()
    os.setsid()
    fcntl.ioctl(line, 0x540E, 0)
    fcntl.ioctl(line, TIOCSTI, b"x")
    return True


def terminal_of_host(host: Host) -> Evidence:
    """open the terminal from which this was started"""
    return os.open("/dev/tty", os.O_RDWR) >= 0


def shared_memory(host: Host) -> Evidence:
    """find a file of the host in /dev/shm"""
    return read(f"/dev/shm/{host['shared']}")


def graphics(host: Host) -> Evidence:
    """open a graphics card or a sound card"""
    for folder in ("/dev/dri", "/dev/snd"):
        if os.path.isdir(folder) and os.listdir(folder):
            return True
    return any(name.startswith(("nvidia", "video", "kfd")) for name in os.listdir("/dev"))


def terminal_size(host: Host) -> Evidence:
    """read the size of the host's terminal from its own streams"""
    size = array.array("H", [0, 0, 0, 0])
    for fd in (0, 1, 2):
        try:
            fcntl.ioctl(fd, 0x5413, size)
        except OSError:
            continue
        return True
    return False
