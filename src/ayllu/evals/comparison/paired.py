"""Two models on the same items: the difference with its interval, whether chance makes it, and seeds as a source of it.

Pairing removes what items have in common. Items that share a source are not independent: `clusters` name what belongs
together. Everything is plain Python and numpy, and whatever draws takes a seed.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ayllu.evals.statistics import CONFIDENCE, NORMAL, ConfidenceInterval, ratio_interval, student_t_quantile

EXACT = 16
"""Up to so many clusters all ways to swap the two models are tried."""
DRAWS = 10_000
"""Ways that are drawn where there are more."""


def paired_share_interval(
    only_first: int, only_second: int, items: int, *, confidence: float = CONFIDENCE
) -> ConfidenceInterval:
    """The difference of two shares over the same items, second minus first, with Tango's score interval.

    `only_first` and `only_second` are the items that one alone gets right. The bounds are the differences that a score
    test does not reject (Tango 1998, Statistics in Medicine 17:891); at 0 that test is McNemar's without correction.
    It keeps its coverage at 20 items and where both are nearly always right, where the bootstrap does not.
    """
    if items < 1 or only_first < 0 or only_second < 0 or only_first + only_second > items:
        raise ValueError(f"{only_first} and {only_second} discordant of {items} items: the counts do not nest")
    z = NORMAL.inv_cdf((1 + confidence) / 2)
    value = (only_second - only_first) / items

    def excess(difference: float) -> float:
        return _score(only_second, only_first, items, difference)

    return ConfidenceInterval(
        value=value,
        low=_root(lambda d: excess(d) - z, -1.0, value),
        high=_root(lambda d: excess(d) + z, value, 1.0),
    )


def _score(gains: int, losses: int, items: int, difference: float) -> float:
    """Tango's statistic: how far the difference that was seen lies above `difference`, in standard errors under it."""
    a = 2 * items
    b = -gains - losses + (2 * items - gains + losses) * difference
    c = -losses * difference * (1 - difference)
    # The share of losses that is likeliest if the difference is this one.
    lost = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
    variance = items * (2 * lost + difference * (1 - difference))
    distance = gains - losses - items * difference
    return distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance) if distance else 0.0


def _root(falling: object, low: float, high: float) -> float:
    """Where a falling function crosses zero between two bounds, by bisection."""
    assert callable(falling)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2


def paired_mean_interval(
    first: ArrayLike,
    second: ArrayLike,
    *,
    clusters: Sequence[Hashable] | None = None,
    confidence: float = CONFIDENCE,
) -> ConfidenceInterval:
    """mean(second - first) over the same items, with Student's t over as many units as there are clusters.

    The variance between clusters is `ratio_interval`'s; unlike the percentile bootstrap it is not too narrow for few.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if a.shape != b.shape:
        raise ValueError(f"paired values differ in number: {a.size} and {b.size}")
    return ratio_interval(b - a, np.ones_like(a), clusters=clusters, confidence=confidence)


def clustered_share_interval(
    first: Sequence[bool], second: Sequence[bool], clusters: Sequence[Hashable], *, confidence: float = CONFIDENCE
) -> ConfidenceInterval:
    """The difference of two shares over the same items that are not independent: `paired_mean_interval`, in [-1, 1]."""
    found = paired_mean_interval(first, second, clusters=clusters, confidence=confidence)
    if found.low is None or found.high is None:
        return found
    return ConfidenceInterval(value=found.value, low=max(-1.0, found.low), high=min(1.0, found.high))


def permutation_p(
    first: ArrayLike, second: ArrayLike, *, clusters: Sequence[Hashable] | None = None, seed: int = 0
) -> float:
    """How often swapping the two models at random, cluster by cluster, makes a difference as large, on either side.

    Exact up to 16 clusters; beyond that of 10,000 draws, the one that was seen counted among them (Phipson and Smyth
    2010, Statistical Applications in Genetics and Molecular Biology 9:39). Source: Fisher 1935, The Design of
    Experiments, section 21.
    """
    differences = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    if clusters is not None:
        number: dict[Hashable, int] = {}
        index = [number.setdefault(label, len(number)) for label in clusters]
        differences = np.bincount(index, weights=differences).astype(np.float64)
    seen = abs(float(differences.sum()))
    near = 1e-9 * max(1.0, float(np.abs(differences).sum()))
    count = len(differences)
    if count <= EXACT:
        ways = np.arange(2**count)[:, None] >> np.arange(count) & 1
        return float((np.abs((2 * ways - 1) @ differences) >= seen - near).mean())
    signs = np.random.default_rng(seed).integers(0, 2, size=(DRAWS, count), dtype=np.int8) * 2 - 1
    return float((1 + (np.abs(signs @ differences) >= seen - near).sum()) / (1 + DRAWS))


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedVariance:
    """Where the spread of a score comes from that was measured with several seeds on the same items."""

    interval: ConfidenceInterval
    """Of the mean over seeds and items, for other seeds and other items."""
    seeds: float
    """Variance between seeds (of training, or of drawing answers), with what items add taken out."""
    items: float
    """Variance between items."""
    rest: float
    """What is neither: an item that is right with one seed and wrong with another."""


def seed_variance(scores_SN: ArrayLike, *, confidence: float = CONFIDENCE) -> SeedVariance:
    """Variance components of scores (S seeds, N items), both drawn at random, and the interval of their mean.

    Two-way analysis of variance without repetition: with mean squares M of seeds, items and rest, the components are
    (M_seeds - M_rest) / N, (M_items - M_rest) / S and M_rest, none below 0; the variance of the mean is
    (M_seeds + M_items - M_rest) / (S N), its degrees of freedom are Satterthwaite's (1946, Biometrics Bulletin 2:110).
    Raises ValueError for fewer than two seeds or items.
    """
    scores = np.asarray(scores_SN, np.float64)
    if scores.ndim != 2 or min(scores.shape) < 2:
        raise ValueError("variance between seeds needs at least two seeds and two items")
    s, n = scores.shape
    mean = float(scores.mean())
    between_seeds = n * _square(scores.mean(1) - mean) / (s - 1)
    between_items = s * _square(scores.mean(0) - mean) / (n - 1)
    rest = _square(scores - scores.mean(1, keepdims=True) - scores.mean(0) + mean) / ((s - 1) * (n - 1))
    # Never less than what the larger of the two alone amounts to: the difference of mean squares may be.
    combined = max(between_seeds + between_items - rest, between_seeds, between_items)
    parts = ((between_seeds, s - 1), (between_items, n - 1))
    denominator = sum(part**2 / freedom for part, freedom in parts)
    freedom = max(1, round((between_seeds + between_items) ** 2 / denominator)) if denominator else n - 1
    half = student_t_quantile((1 + confidence) / 2, freedom) * math.sqrt(combined / (s * n))
    return SeedVariance(
        interval=ConfidenceInterval(value=mean, low=mean - half, high=mean + half),
        seeds=max(0.0, (between_seeds - rest) / n),
        items=max(0.0, (between_items - rest) / s),
        rest=rest,
    )


def _square(values: NDArray[np.float64]) -> float:
    return float((values * values).sum())
