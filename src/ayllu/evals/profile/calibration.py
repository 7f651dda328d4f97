"""Whether a subject knows what it does not know: its confidence in ranked choices against how often it is right.

Confidence is the probability of the likeliest choice among the choices. Figures have bootstrap intervals over items.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ayllu.evals.statistics import CONFIDENCE, ConfidenceInterval

BINS = 10
RESAMPLES = 500
Array = NDArray[np.float64]


def calibration_error(confidence: Array, right: Array) -> float:
    """The mean gap between confidence and accuracy over ten bins of as many items each (Nguyen and O'Connor 2015)."""
    order = np.argsort(confidence, kind="stable")
    bins = [part for part in np.array_split(order, BINS) if len(part)]
    return float(sum(len(part) * abs(confidence[part].mean() - right[part].mean()) for part in bins) / len(order))


def brier(confidence: Array, right: Array) -> float:
    """The mean squared gap between confidence and being right (Brier 1950)."""
    return float(((confidence - right) ** 2).mean())


def discrimination(confidence: Array, right: Array) -> float:
    """How often a right answer has more confidence than a wrong one, ties half (the area under the ROC curve).

    0.5, as by chance, where all are right or all wrong.
    """
    yes, no = confidence[right > 0.5], confidence[right <= 0.5]
    if not len(yes) or not len(no):
        return 0.5
    ordered = np.sort(no)
    below = np.searchsorted(ordered, yes, side="left")
    upto = np.searchsorted(ordered, yes, side="right")
    return float((below + upto).sum() / 2 / len(yes) / len(no))


def risk_coverage(confidence: Array, right: Array) -> Array:
    """The share of wrong ones among the k surest answers, for k from 1 to all (El-Yaniv and Wiener 2010)."""
    order = np.argsort(-confidence, kind="stable")
    return np.cumsum(1 - right[order]) / np.arange(1, len(order) + 1)


def risk_area(confidence: Array, right: Array) -> float:
    """The mean of `risk_coverage`: low where the wrong answers are those of little confidence."""
    return float(risk_coverage(confidence, right).mean())


def risk_at_half(confidence: Array, right: Array) -> float:
    """The share of wrong ones if it answers only the half of which it is surer."""
    return float(risk_coverage(confidence, right)[max(0, len(right) // 2 - 1)])


FIGURES: Mapping[str, Callable[[Array, Array], float]] = {
    "calibration_error": calibration_error,
    "brier": brier,
    "discrimination": discrimination,
    "risk_coverage_area": risk_area,
    "risk_at_half_coverage": risk_at_half,
}


def calibrate(confidence: Sequence[float], right: Sequence[bool], *, seed: int = 0) -> dict[str, ConfidenceInterval]:
    """Each figure with the percentile bootstrap's interval over items."""
    c, r = np.asarray(confidence, np.float64), np.asarray(right, np.float64)
    drawn = np.random.default_rng(seed).integers(0, len(c), size=(RESAMPLES, len(c)))
    found = {}
    for name, figure in FIGURES.items():
        values = [figure(c[rows], r[rows]) for rows in drawn]
        low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        found[name] = ConfidenceInterval(value=figure(c, r), low=float(low), high=float(high))
    return found
