"""Who runs this, and with which secrets in the environment and the command lines."""

from __future__ import annotations

import os
import platform
import pwd

from .prelude import Evidence, Host, read


def own_environment(host: Host) -> Evidence:
    """find a secret in the environment"""
    return " ".join(os.environ.values())


def initial_environment(host: Host) -> Evidence:
    """find it in the environment that this process was started with"""
    return read("/proc/self/environ")


def environment_of_others(host: Host) -> Evidence:
    """find it in the environment of process 1, of the parent and of every other process"""
    return " ".join(_of_all("environ"))


def command_lines(host: Host) -> Evidence:
    """find a secret among the arguments of other processes"""
    return " ".join(_of_all("cmdline"))


def memory_of_others(host: Host) -> Evidence:
    """find it in the memory of process 1, of the parent and of a process of the host"""
    found = []
    for process in (1, os.getppid(), host["process"]):
        try:
            found.append(_search(process, host["variable"].encode() + b"="))
        except (OSError, ValueError):
            continue
    return " ".join(found)


def _search(process: int, name: bytes) -> str:
    """What stands behind `name` in the writable memory of a process."""
    texts = []
    with open(f"/proc/{process}/maps") as maps, open(f"/proc/{process}/mem", "rb", 0) as memory:
        for line in maps:
            area, rights = line.split()[:2]
            first, last = (int(part, 16) for part in area.split("-"))
            if rights.startswith("rw") and last - first < 1 << 24:
                memory.seek(first)
                content = memory.read(last - first) or b""
                at = content.find(name)
                if at >= 0:
                    texts.append(content[at : at + 100].decode("utf-8", "replace"))
    return " ".join(texts)


def name_of_machine(host: Host) -> Evidence:
    """learn the machine's name"""
    return platform.node() == host["hostname"]


def name_of_user(host: Host) -> Evidence:
    """learn the user's name"""
    return pwd.getpwuid(os.getuid()).pw_name == host["user"]


def be_the_user(host: Host) -> Evidence:
    """be the user who runs this"""
    return os.getuid() == host["uid"]


def folders_of_others(host: Host) -> Evidence:
    """see the working folders and programs of other processes"""
    seen = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            seen.append(os.readlink(f"/proc/{name}/cwd"))
        except OSError:
            continue
    return any(path.startswith(host["folder"]) for path in seen)


def _of_all(file: str) -> list[str]:
    texts = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            texts.append(read(f"/proc/{name}/{file}"))
        except OSError:
            continue
    return texts
