"""What this machine can do, measured."""

from __future__ import annotations

import shutil
import statistics
import sysconfig
import time
from pathlib import Path

import torch

SIZE, GPU_SIZE = 1024, 8192
"""Side of the matrices: enough to reach the speed of large ones, and over in milliseconds."""


def matmul_speed(precision: str, *, seconds: float = 0.5) -> float:
    """FLOP/s of square matmuls on this process's device, the median of what fits into `seconds`."""
    gpu = torch.cuda.is_available()
    size, where = (GPU_SIZE, "cuda") if gpu else (SIZE, "cpu")
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(size, size, device=where).to(dtype) for _ in range(2))
    times: list[float] = []
    a @ b
    while sum(times) < seconds or len(times) < 3:
        if gpu:
            torch.cuda.synchronize()
        began = time.perf_counter()
        a @ b
        if gpu:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return 2 * size**3 / statistics.median(times)


def bf16_pays() -> bool:
    """Whether bf16 matmuls are faster than float32 ones here, as they are on processors with instructions for them."""
    return matmul_speed("bf16", seconds=0.1) > 1.2 * matmul_speed("float32", seconds=0.1)


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
