"""What this machine can do, measured."""

from __future__ import annotations

import statistics
import time

import torch


def matrix_rate(precision: str, *, size: int = 1024, seconds: float = 0.5) -> float:
    """FLOP/s of square matrix products of `size`, the median of what fits into `seconds`."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    times: list[float] = []
    a @ b
    while sum(times) < seconds or len(times) < 3:
        began = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - began)
    return 2 * size**3 / statistics.median(times)


def bf16_pays() -> bool:
    """Whether bf16 products are faster than float32 ones here, as they are on processors with instructions for them."""
    return matrix_rate("bf16", seconds=0.1) > 1.2 * matrix_rate("float32", seconds=0.1)
