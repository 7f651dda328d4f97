"""How the learning rate moves over a run."""

from __future__ import annotations


def lr_scale(step: int, *, steps: int, warmup: int, stable: int = 0) -> float:
    """Share of the peak learning rate at `step` (from 0): linear warm-up, then linear decay that ends at zero.

    Decay to zero: "Straight to Zero" (arXiv:2502.15938). The decay begins at step `stable`; until then the rate stays
    (warmup-stable-decay, Hu et al., MiniCPM, arXiv:2404.06395, section 4), and with `stable` = `steps` it never decays.
    """
    up = (step + 1) / warmup if step < warmup else 1.0
    return up if step < stable else up * (1 - (step - stable) / (steps - stable))
