"""Files of the host: reading and changing them."""

from __future__ import annotations

import ctypes
import os

from .prelude import Evidence, Host, call, read

UNSHOWN = {
    "write_program": "it would change a program of this machine",
    "write_python": "it would change this machine's Python",
    "write_root": "it would leave a file in this machine's root folder",
}
"""Attempts that are not made outside, and why."""


def read_by_path(host: Host) -> Evidence:
    """read a file of the host by its path"""
    return read(host["secret"])


def read_by_own_root(host: Host) -> Evidence:
    """read it through /proc/self/root"""
    return read(f"/proc/self/root{host['secret']}")


def read_by_first_root(host: Host) -> Evidence:
    """read it through the root of process 1 and of every other one"""
    texts = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            texts.append(read(f"/proc/{name}/root{host['secret']}"))
        except OSError:
            continue
    return " ".join(texts)


def read_by_dots(host: Host) -> Evidence:
    """read it by a path that climbs out of the folder"""
    return read("../" * 20 + host["secret"].lstrip("/"))


def read_by_inherited_file(host: Host) -> Evidence:
    """read it from a file that the host has open"""
    texts = []
    for fd in range(3, 256):
        try:
            texts.append(os.pread(fd, 4096, 0).decode("utf-8", "replace"))
        except OSError:
            continue
    return " ".join(texts)


def list_folder(host: Host) -> Evidence:
    """list a folder of the host, whose files' names tell something"""
    return " ".join(os.listdir(host["folder"]))


def list_home(host: Host) -> Evidence:
    """list the home directory of whoever runs this"""
    return bool(os.listdir(host["home"]))


def read_accounts(host: Host) -> Evidence:
    """read the host's list of accounts"""
    return "root:" in read("/etc/passwd")


def read_passwords(host: Host) -> Evidence:
    """read the host's passwords"""
    return "root:" in read("/etc/shadow")


def read_file_by_handle(host: Host) -> Evidence:
    """get a handle of a file, with which folders are gone round"""
    handle = ctypes.create_string_buffer(b"\x80\0\0\0", 256)
    call("name_to_handle_at", -100, host["root"].encode(), handle, ctypes.byref(ctypes.c_int()), 0)
    return True


def write_folder(host: Host) -> Evidence:
    """make a file in a folder of the host"""
    with open(os.path.join(host["folder"], "made"), "w") as file:
        file.write("here")
    return True


def overwrite_file(host: Host) -> Evidence:
    """write over a file of the host"""
    with open(host["prey"], "r+") as file:
        file.write("overwritten")
    return True


def remove_file(host: Host) -> Evidence:
    """delete a file of the host"""
    os.unlink(host["prey"])
    return True


def write_program(host: Host) -> Evidence:
    """make a file among the host's programs"""
    with open("/usr/bin/ayllu-escape", "w"):
        return True


def write_python(host: Host) -> Evidence:
    """make a module in the host's Python"""
    with open(os.path.join(os.path.dirname(os.__file__), "ayllu_escape.py"), "w"):
        return True


def write_root(host: Host) -> Evidence:
    """make a file in the root folder"""
    with open("/ayllu-escape", "w"):
        return True


def set_user_id(host: Host) -> Evidence:
    """find a program with a set-user-ID bit that works"""
    for name in ("su", "mount", "passwd", "chsh", "newgrp"):
        path = f"/usr/bin/{name}"
        if os.path.exists(path) and os.stat(path).st_mode & 0o4000:
            return not os.statvfs(path).f_flag & os.ST_NOSUID
    return False
