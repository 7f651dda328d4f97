"""What /proc and /sys let a program see and change of the kernel."""

from __future__ import annotations

import os

from .prelude import Evidence, Host, read

UNSHOWN = {
    "change_core_pattern": "a mistake there would change what this machine does with crashes",
    "request_key": "it would press a key of this machine's kernel",
    "drop_caches": "it would open a switch of this machine's kernel",
    "leave_by_cgroup": "it would make a control group of this machine",
}


def see_process(host: Host) -> Evidence:
    """see a process of the host in /proc"""
    return host["mark"] in read(f"/proc/{host['process']}/cmdline")


def change_host_name(host: Host) -> Evidence:
    """open the machine's name for writing"""
    return _opens("/proc/sys/kernel/hostname")


def change_core_pattern(host: Host) -> Evidence:
    """open the program that the kernel starts at a crash for writing"""
    return _opens("/proc/sys/kernel/core_pattern")


def request_key(host: Host) -> Evidence:
    """open the kernel's emergency keys for writing"""
    return _opens("/proc/sysrq-trigger")


def drop_caches(host: Host) -> Evidence:
    """open a switch of the kernel's memory for writing"""
    return _opens("/proc/sys/vm/drop_caches")


def kernel_messages(host: Host) -> Evidence:
    """read the kernel's messages"""
    return os.open("/proc/kmsg", os.O_RDONLY | os.O_NONBLOCK) >= 0


def kernel_addresses(host: Host) -> Evidence:
    """read where the kernel's functions lie"""
    return any(int(line.split()[0], 16) for line in read("/proc/kallsyms").splitlines()[:50])


def kernel_image(host: Host) -> Evidence:
    """read the machine's memory as a file"""
    return len(read("/proc/kcore")) > 0


def system_tree(host: Host) -> Evidence:
    """list what the kernel shows of the machine in /sys"""
    return bool(os.listdir("/sys/class"))


def leave_by_cgroup(host: Host) -> Evidence:
    """make a control group of one's own"""
    for folder in ("/sys/fs/cgroup/memory/ayllu-escape", "/sys/fs/cgroup/ayllu-escape"):
        try:
            os.mkdir(folder)
        except OSError:
            continue
        return True
    return False


def map_user(host: Host) -> Evidence:
    """map another user into the namespace"""
    with open("/proc/self/uid_map", "w") as file:
        file.write("0 0 1")
    return True


def spare_oneself(host: Host) -> Evidence:
    """be spared when memory runs out"""
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("-1000")
    return True


def _opens(path: str) -> bool:
    with open(path, "w"):
        return True
