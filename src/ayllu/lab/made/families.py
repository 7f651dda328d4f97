"""Families of processors, for which code can be compiled before it is known on which machine it runs."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
V3 = frozenset({"avx2", "fma", "f16c", "bmi1", "bmi2", "movbe", "abm"})
V4 = V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
"""What x86-64-v3 and -v4 of the x86-64 psABI have, as /proc/cpuinfo names it."""
TILES = ("-mamx-tile", "-mamx-int8")
"""The code asks the system for tiles before it uses them, so that it also runs where there are none."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """Processors that run the same code."""

    name: str
    machine: str
    """As `platform.machine` says it."""
    needs: frozenset[str]
    """What such a processor has, as /proc/cpuinfo names it."""
    flags: tuple[str, ...]
    """What tells the compiler."""

    def fits(self) -> bool:
        """Whether this machine's processor is one of them."""
        return sys.platform == "linux" and platform.machine() == self.machine and self.needs <= features()


FAMILIES = (
    Family(
        name="avx512bf16",
        machine="x86_64",
        needs=V4 | {"avx512_vnni", "avx512_bf16"},
        flags=("-march=x86-64-v4", "-mavx512vnni", "-mavx512bf16", *TILES),
    ),
    Family(
        name="avx512vnni",
        machine="x86_64",
        needs=V4 | {"avx512_vnni"},
        flags=("-march=x86-64-v4", "-mavx512vnni", *TILES),
    ),
    Family(name="avx2", machine="x86_64", needs=V3, flags=("-march=x86-64-v3",)),
    Family(
        name="dotprod",
        machine="aarch64",
        needs=frozenset({"asimd", "asimddp"}),
        flags=("-march=armv8.2-a+dotprod",),
    ),
)
"""The best first."""


def features() -> frozenset[str]:
    """What this machine's processor has, in Linux's words."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    told = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return frozenset(told.partition(":")[2].split())
