"""How honest the interval is that a plan prints: how often it holds what was measured, and at what width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ayllu.fleet.planner.constants import Constants, shipped
from ayllu.fleet.validation.measured_run import MeasuredRun

NOMINAL = 0.8
"""Share of runs that the interval should hold."""


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Of some runs under some predictions."""

    coverage_pct: float
    """Runs whose measured time lies in the shipped interval around its prediction, percent."""
    winkler: float
    """Mean interval score of the logarithm of the step time (Gneiting and Raftery, JASA 2007, eq. 43): the width, and
    ten times what lies outside. Less is better."""


def coverage(
    runs: Sequence[MeasuredRun], predicted: np.ndarray, measured: np.ndarray, constants: Constants | None = None
) -> Coverage | None:
    """How the interval that is shipped with `constants` does on these runs; None without any."""
    if not len(runs):
        return None
    low, high = np.log(np.array([_interval(run, constants or shipped()) for run in runs])).T
    off = np.log(measured / predicted)
    outside = np.maximum(low - off, 0) + np.maximum(off - high, 0)
    score = (high - low) + 2 / (1 - NOMINAL) * outside
    return Coverage(coverage_pct=round(100 * float(np.mean(outside == 0)), 1), winkler=round(float(np.mean(score)), 3))


def _interval(run: MeasuredRun, constants: Constants) -> tuple[float, float]:
    """The factors that a plan on the run's parts would print: the widest of them."""
    each = [constants.interval_on(kind) for kind in run.kinds]
    return min(low for low, _ in each), max(high for _, high in each)
