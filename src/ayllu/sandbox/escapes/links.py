"""Links and other odd files in the work folder: what the host copies out must not be what they point to."""

from __future__ import annotations

import os

from .prelude import Evidence, Host, read

UNSHOWN = dict.fromkeys(
    ("leave_link", "leave_link_to_folder", "leave_pipe", "leave_sparse_file"),
    "it is about what the host copies out of the sandbox",
)


def follow_link(host: Host) -> Evidence:
    """read a file of the host through a symbolic link"""
    os.symlink(host["secret"], "link")
    return read("link")


def hard_link(host: Host) -> Evidence:
    """make a second name for a file of the host"""
    os.link(host["secret"], "second")
    return read("second")


def leave_link(host: Host) -> Evidence:
    """leave a symbolic link to a file of the host, to be copied out"""
    os.symlink(host["secret"], "link")
    os.symlink("/proc/self/environ", "environment")
    return False


def leave_link_to_folder(host: Host) -> Evidence:
    """leave a link to a folder of the host, to be copied out"""
    os.symlink(host["folder"], "folder")
    return False


def leave_pipe(host: Host) -> Evidence:
    """leave a named pipe, at which whoever copies would wait"""
    os.mkfifo("pipe")
    return False


def leave_sparse_file(host: Host) -> Evidence:
    """leave a file that says it is larger than what may come back"""
    with open("large", "wb") as file:
        file.truncate(host["returned_mib"] * 2 << 20)
    return False


def rename_over_work(host: Host) -> Evidence:
    """put a link in the place of the work folder"""
    os.chdir("/")
    os.rename(host["work"], host["work"] + ".old")
    os.symlink(host["folder"], host["work"])
    return True
