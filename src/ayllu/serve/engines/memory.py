"""How much of this machine an engine may take: memory and threads."""

from __future__ import annotations

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup/memory.max")
UNKNOWN = 4 << 30
"""What a machine is taken to have that does not say."""


def machine_memory(cgroup: Path = CGROUP) -> int:
    """Bytes of memory: the machine's, or what a container may have of it."""
    try:
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        whole = UNKNOWN
    try:
        return min(whole, int(cgroup.read_text()))
    except (OSError, ValueError):  # no such file, or "max"
        return whole


def machine_threads(cores: Path = Path("/sys/devices/system/cpu")) -> int:
    """As many as this process may use of the machine's cores, each counted once, or what OMP_NUM_THREADS says."""
    said = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    if said.isdecimal() and int(said) > 0:
        return int(said)
    try:
        usable = os.sched_getaffinity(0)
        return len({(cores / f"cpu{number}/topology/thread_siblings_list").read_text() for number in usable})
    except (AttributeError, OSError):
        return os.cpu_count() or 1


def parallel_answers(most: int, *, bytes_each: int, memory: int, share: int) -> int:
    """How many answers are computed side by side: `most`, or as many as fit into one part in `share` of `memory`.

    At least 2, so that one user cannot take all.
    """
    return max(2, min(most, memory // share // bytes_each))
