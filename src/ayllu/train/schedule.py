"""How the learning rate moves over a run."""

from __future__ import annotations


def lr_scale(step: int, *, steps: int, warmup: int) -> float:
    """Share of the peak learning rate at `step` (from 0): linear warm-up, then linear decay that ends at zero.

    Decay to zero: "Straight to Zero" (arXiv:2502.15938).
    """
    up = (step + 1) / warmup if step < warmup else 1.0
    return up * (1 - step / steps)
