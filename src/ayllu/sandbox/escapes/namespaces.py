"""Namespaces, mounts and roots: leaving those that the sandbox has made."""

from __future__ import annotations

import ctypes
import os

from .prelude import LIBC, Evidence, Host, call, read

NEW_USER, NEW_MOUNTS, NEW_NETWORK, BIND, REMOUNT, READ_ONLY = 0x10000000, 0x20000, 0x40000000, 0x1000, 0x20, 0x1
UNSHOWN = {
    "remount_writable": "it would change a mount of this machine",
    "unmount": "it would take a mount of this machine away",
    "unmount_cover": "it would take a mount of this machine away",
}


def new_user(host: Host) -> Evidence:
    """become root in a namespace of users of one's own"""
    call("unshare", NEW_USER)
    return True


def new_mounts(host: Host) -> Evidence:
    """make a namespace of mounts"""
    call("unshare", NEW_USER | NEW_MOUNTS)
    return True


def new_network(host: Host) -> Evidence:
    """make a namespace of networks"""
    call("unshare", NEW_USER | NEW_NETWORK)
    return True


def clone_user(host: Host) -> Evidence:
    """start a child as root of its own namespace, by clone"""
    number = 220 if os.uname().machine == "aarch64" else 56
    child = LIBC.syscall(ctypes.c_long(number), ctypes.c_long(NEW_USER | 17), *[ctypes.c_long(0)] * 4)
    if child == 0:
        os._exit(0)
    if child < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    os.waitpid(child, 0)
    return True


def clone3_user(host: Host) -> Evidence:
    """start a child as root of its own namespace, by clone3, whose flags no filter can see"""
    arguments = (ctypes.c_uint64 * 11)(NEW_USER, 0, 0, 0, 17)
    child = call("clone3", arguments, ctypes.sizeof(arguments))
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return True


def enter_namespace(host: Host) -> Evidence:
    """enter the namespace of another process"""
    call("setns", os.open(f"/proc/{os.getppid()}/ns/net", os.O_RDONLY), 0)
    return True


def mount_memory(host: Host) -> Evidence:
    """mount a file system"""
    os.mkdir("mounted")
    call("mount", b"none", b"mounted", b"tmpfs", 0, 0)
    call("umount2", b"mounted", 0)
    return True


def bind_mount(host: Host) -> Evidence:
    """mount a folder a second time"""
    os.mkdir("bound")
    call("mount", b"/usr", b"bound", 0, BIND, 0)
    call("umount2", b"bound", 0)
    return True


def new_mount_calls(host: Host) -> Evidence:
    """mount by the newer calls"""
    return call("fsopen", b"tmpfs", 0) >= 0


def remount_writable(host: Host) -> Evidence:
    """make the system's folder writable"""
    call("mount", b"none", b"/usr", 0, REMOUNT | BIND, 0)
    return True


def unmount(host: Host) -> Evidence:
    """take /proc away, under which the host's might lie"""
    call("umount2", b"/proc", 2)
    return True


def unmount_cover(host: Host) -> Evidence:
    """take away the covers over files of /proc"""
    call("umount2", b"/proc/sys", 2)
    return True


def change_root(host: Host) -> Evidence:
    """change the root folder"""
    os.mkdir("root")
    os.chroot("root")
    return True


def pivot(host: Host) -> Evidence:
    """put another root in the place of this one"""
    os.mkdir("new")
    try:
        call("pivot_root", b"new", b"new")
    except OSError as error:
        if error.errno not in (16, 22):  # EBUSY, EINVAL: allowed, and refused for what was asked
            raise
    return True


def see_mounts(host: Host) -> Evidence:
    """see the host's mounts of disks"""
    return any(
        line.split()[0].startswith("/dev/") and line.split()[1] == "/" for line in read("/proc/mounts").splitlines()
    )
