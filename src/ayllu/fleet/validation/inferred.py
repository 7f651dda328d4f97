"""What a row of a table of runs leaves out and its other figures tell: recomputation, and the sequences' length."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ayllu.fleet.planner.memory import footprint
from ayllu.fleet.planner.queries import RECOMPUTE, stack

LENGTH_STEP = 64
"""Sequences are a multiple of so many tokens long."""
LENGTH_SLACK = 0.02
"""Rounding of tokens per second and step time, relative."""
MARGIN = 1.2
"""Predicted memory over the part's beyond which a run cannot have been as it is told: predictions are 10 % off in the
median and 20 % in the mean."""
COUNTED_TWICE = (1.25, 1.42)
"""FLOPs that were counted over those of the model where the forward pass is counted once more: 4/3."""


def sequence_length(rate: float | None, step: float | None, batch: float | None) -> float | None:
    """Tokens of a sequence from tokens/s × seconds of a step ÷ sequences of a batch; None where one of them is missing
    or what comes out is no multiple of 64, within rounding."""
    if rate is None or step is None or batch is None:
        return None
    length = rate * step / batch
    whole = LENGTH_STEP * round(length / LENGTH_STEP)
    return float(whole) if whole and abs(length / whole - 1) <= LENGTH_SLACK else None


def recomputation(columns: Mapping[str, float], counted_flops: float | None) -> tuple[float, str] | None:
    """What a run must have recomputed of which nothing is said, and how that is known; None where nothing tells.

    `columns` are the run's query with nothing recomputed, `counted_flops` the FLOPs of its step by its own rate. A run
    that is said to have run fitted its memory: the least recomputation with which it does is taken.
    """
    choices = [stack([{**columns, "recompute": value}]) for value in RECOMPUTE.values()]
    if counted_flops is not None:
        low, high = COUNTED_TWICE
        if low <= counted_flops / float(choices[0].model_flops[0]) <= high:
            return RECOMPUTE["full"], "recomputation, by FLOP/s and step time"
    memory = MARGIN * columns["memory"]
    fits = np.array([float(footprint(choice).total[0]) <= memory for choice in choices])
    if not memory or fits[0]:
        return None
    least = int(np.argmax(fits)) if fits.any() else len(choices) - 1
    return list(RECOMPUTE.values())[least], "recomputation, for it could not fit without"
