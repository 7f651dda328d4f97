"""How honest the interval is that a plan prints: how often it holds what was measured, and at what width."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ayllu.fleet.planner.constants import Constants
from ayllu.fleet.planner.uncertainty import interval

NOMINAL = 0.8
"""Share of runs that the interval should hold."""
TAILS = np.arange(0.1, 0.0, -0.0025)
"""Shares of runs beyond each end that are tried for it."""


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Of the runs of a table, one of each."""

    seconds: np.ndarray
    spread: np.ndarray
    """Standard deviation of the logarithm of measured over predicted time, as told before the run was looked at."""

    def take(self, rows: np.ndarray) -> Predictions:
        """Those that a mask selects."""
        return Predictions(seconds=self.seconds[rows], spread=self.spread[rows])

    def off(self, measured: np.ndarray) -> np.ndarray:
        """Logarithms of measured over predicted time."""
        return np.log(measured / self.seconds)


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Of some runs under some predictions."""

    coverage_pct: float
    """Runs whose measured time lies in the shipped interval around its prediction, percent."""
    winkler: float
    """Mean interval score of the logarithm of the step time (Gneiting and Raftery, JASA 2007, eq. 43): the width, and
    ten times what lies outside. Less is better."""


def coverage(predicted: Predictions, measured: np.ndarray, constants: Constants) -> Coverage | None:
    """How the interval that plans print with `constants` does on these runs; None without any."""
    if not len(measured):
        return None
    low, high = np.log(interval(predicted.spread, constants))
    off = predicted.off(measured)
    outside = np.maximum(low - off, 0) + np.maximum(off - high, 0)
    score = (high - low) + 2 / (1 - NOMINAL) * outside
    return Coverage(coverage_pct=round(100 * float(np.mean(outside == 0)), 1), winkler=round(float(np.mean(score)), 3))


def interval_ends(predicted: Predictions, measured: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """The ends, in standard deviations, of an interval that holds `NOMINAL` of the runs of groups that it is not taken
    from: a little wider than what holds as many of all these runs, for there are few groups."""
    off = predicted.off(measured) / predicted.spread

    def ends(rows: np.ndarray, tail: float) -> np.ndarray:
        return np.quantile(off[rows], [tail, 1 - tail])

    for tail in TAILS:
        held = np.zeros(len(off), dtype=bool)
        for group in np.unique(groups):
            own = groups == group
            low, high = ends(~own, tail)
            held[own] = (low <= off[own]) & (off[own] <= high)
        if held.mean() >= NOMINAL:
            break
    low, high = ends(np.full(len(off), True), tail)
    return round(float(low), 4), round(float(high), 4)
