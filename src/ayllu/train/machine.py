"""What this machine can do, measured."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import statistics
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ayllu.lab.run import processor

SMALL, SIZE, GPU_SIZE = 384, 1024, 8192
"""Side of the matrices: the latter two enough to reach the speed of large ones, and over in milliseconds."""


def matmul_speed(precision: str, *, seconds: float = 0.5) -> float:
    """FLOP/s of square matmuls on this process's device, the median of what fits into `seconds`."""
    size = GPU_SIZE if torch.cuda.is_available() else SIZE
    product = _matmul(size, dtype_of("bf16" if precision == "bf16" else "float32"))
    times: list[float] = []
    product()
    while sum(times) < seconds or len(times) < 3:
        times.append(product())
    return 2 * size**3 / statistics.median(times)


def bf16_pays() -> bool:
    """Whether bf16 matmuls are faster than float32 ones here, as they are on processors with instructions for them."""
    # Where bf16 is emulated a large product takes seconds: a small one, slower by far, settles it.
    if _bf16_speedup(SMALL) < 0.5:
        return False
    return _bf16_speedup(GPU_SIZE if torch.cuda.is_available() else SIZE) > 1.2


def _bf16_speedup(size: int, *, seconds: float = 0.2) -> float:
    """How many times as fast bf16 is: both in turns and the best of each, so that other programs slow down neither."""
    products = [_matmul(size, dtype) for dtype in (torch.float32, torch.bfloat16)]
    for product in products:
        product()
    times: list[tuple[float, ...]] = []
    while sum(map(sum, times)) < seconds or len(times) < 3:
        times.append(tuple(product() for product in products))
    full, half = (min(column) for column in zip(*times, strict=True))
    return full / half


def _matmul(size: int, dtype: torch.dtype) -> Callable[[], float]:
    """A matmul of two square matrices, to be called for the seconds that it takes."""
    gpu = torch.cuda.is_available()
    a, b = (torch.randn(size, size, device="cuda" if gpu else "cpu").to(dtype) for _ in range(2))

    def product() -> float:
        if gpu:
            torch.cuda.synchronize()
        began = time.perf_counter()
        a @ b
        if gpu:
            torch.cuda.synchronize()
        return time.perf_counter() - began

    return product


def fastest_precision() -> str:
    """The type of matmuls to train and measure in here: `bf16` where it pays, else `float32`."""
    return "bf16" if bf16_pays() else "float32"


def dtype_of(precision: str) -> torch.dtype:
    """The torch type that a precision of `TrainConfig` names."""
    return {"bf16": torch.bfloat16, "float32": torch.float32}[precision]


def compiler_available() -> bool:
    """Whether `torch.compile` can build for this machine's CPU: it needs a C++ compiler and Python's headers."""
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    return headers.exists() and any(shutil.which(name) for name in ("g++", "clang++"))


def arithmetic() -> dict[str, Any]:
    """What the last bits of a computation depend on: processor, its instructions, threads and the library's version."""
    return {
        "processor": processor(),
        "flags": _processor_flags(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count() or 1,
        "system": platform.system(),
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
    }


def _processor_flags() -> str:
    """Sixteen hexadecimal digits over what the processor says that it can do; empty where nothing says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))), [])
    return hashlib.sha256(" ".join(sorted(flags)).encode()).hexdigest()[:16]
