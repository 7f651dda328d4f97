"""How far a measured value can be trusted: intervals, paired tests, and what a set of items could show at all.

Everything is plain Python and numpy, and whatever draws random numbers takes a seed, so that a figure in a card can be
computed again to the last digit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

NORMAL = NormalDist()
CONFIDENCE = 0.95
"""Coverage of every interval that is not asked for otherwise."""
DISCORDANT = 0.2
"""The share of items that exactly one of two models gets right, assumed for what can be shown before they are asked."""
RESAMPLES = 2000
CHUNK = 1 << 22
"""Random indices drawn at a time by the bootstrap, which bounds its memory (32 MiB)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfidenceInterval:
    """A value with its confidence bounds; the bounds are None where a single observation allows none."""

    value: float
    low: float | None
    high: float | None

    def contains(self, value: float) -> bool:
        """Whether `value` cannot be ruled out."""
        return self.low is None or self.high is None or self.low <= value <= self.high

    def as_json(self) -> dict[str, float | None]:
        """The three numbers by name."""
        return {"value": self.value, "low": self.low, "high": self.high}


def wilson(
    successes: float, total: float, *, confidence: float = CONFIDENCE, z: float | None = None
) -> ConfidenceInterval:
    """The Wilson score interval of a proportion (E. B. Wilson 1927, JASA 22:209).

    It stays inside [0, 1] and keeps a width when all observations agree. `z` overrides the normal quantile.
    """
    if not 0 <= successes <= total or total < 1:
        raise ValueError(f"{successes} successes of {total}: a proportion needs at least one observation")
    z = NORMAL.inv_cdf((1 + confidence) / 2) if z is None else z
    share = successes / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == total else min(1.0, centre + half)
    return ConfidenceInterval(value=share, low=low, high=high)


def share_interval(
    verdicts: Sequence[bool], *, clusters: Sequence[Hashable] | None = None, confidence: float = CONFIDENCE
) -> ConfidenceInterval:
    """The share of right ones with Wilson's interval, for as many independent items as those in `clusters` amount to.

    That many is p(1 - p) over the variance between clusters, times the squared ratio of Student's t with n - 1 to that
    with k - 1 degrees of freedom (n items, k clusters), at most n: Korn and Graubard, "Confidence intervals for
    proportions with small expected number of positive counts", Survey Methodology 24 (1998). Where all or none are
    right nothing varies between clusters, and k is taken.
    """
    n, right = len(verdicts), sum(verdicts)
    if clusters is None:
        return wilson(right, n, confidence=confidence)
    k, share = len(set(clusters)), right / n
    if k < 2:
        return ConfidenceInterval(value=share, low=None, high=None)
    spread = ratio_interval(list(verdicts), [1] * n, clusters=clusters, confidence=confidence)
    t_n, t_k = (student_t_quantile((1 + confidence) / 2, count - 1) for count in (n, k))
    error = ((spread.high or 0.0) - share) / t_k
    independent = k if not error else min(max(share * (1 - share) / error**2 * (t_n / t_k) ** 2, 1.0), n)
    return wilson(share * independent, independent, confidence=confidence)


def attrition_interval(
    successes: int, answered: int, planned: int, *, confidence: float = CONFIDENCE
) -> ConfidenceInterval:
    """The success rate over all `planned` items when only `answered` of them could be graded.

    What the missing ones would have given is unknown, so the rate is only known to lie between "all wrong" and "all
    right". The bounds cover the rate itself, not the whole range, with `confidence` (Imbens and Manski 2004,
    Econometrica 72:1845), on Wilson's interval of the graded items. With nothing missing this is `wilson`. `value`
    counts a missing item as wrong.
    """
    if not successes <= answered <= planned or planned < 1:
        raise ValueError(f"{successes} right of {answered} answered of {planned} planned: the counts do not nest")
    missing = (planned - answered) / planned
    if answered == 0:
        return ConfidenceInterval(value=0.0, low=0.0, high=1.0)
    two_sided = NORMAL.inv_cdf((1 + confidence) / 2)
    # Agresti and Coull's shifted share keeps the standard error above zero when all graded items agree.
    shifted = (successes + two_sided**2 / 2) / (answered + two_sided**2)
    error = (1 - missing) * math.sqrt(shifted * (1 - shifted) / (answered + two_sided**2))
    z = _solve(
        lambda c: NORMAL.cdf(c + missing / error) - NORMAL.cdf(-c) - confidence, NORMAL.inv_cdf(confidence), two_sided
    )
    graded = wilson(successes, answered, z=z)
    assert graded.low is not None and graded.high is not None
    return ConfidenceInterval(
        value=successes / planned,
        low=(1 - missing) * graded.low,
        high=(1 - missing) * graded.high + missing,
    )


def mean_interval(values: ArrayLike, *, confidence: float = CONFIDENCE) -> ConfidenceInterval:
    """The mean of independent values with Student's t interval."""
    array = np.asarray(values, dtype=np.float64)
    return ratio_interval(array, np.ones_like(array), confidence=confidence)


def ratio_interval(
    numerators: ArrayLike,
    denominators: ArrayLike,
    *,
    clusters: Sequence[Hashable] | None = None,
    confidence: float = CONFIDENCE,
) -> ConfidenceInterval:
    """sum(numerators) / sum(denominators) over independent units, with the delta method's interval.

    The variance is n/(n-1) * sum((x - ratio * y)^2) / sum(y)^2 (Cochran, Sampling Techniques, 3rd ed., section 6.3;
    no correction for a finite population), the quantile Student's t with n - 1 degrees of freedom. Units that share a
    label in `clusters` are added up first: documents of one book are not independent.
    """
    x, y = _by_cluster(numerators, denominators, clusters)
    ratio, count = float(x.sum() / y.sum()), len(x)
    if count < 2:
        return ConfidenceInterval(value=ratio, low=None, high=None)
    residuals = x - ratio * y
    error = math.sqrt(count / (count - 1) * float(residuals @ residuals)) / float(y.sum())
    half = student_t_quantile((1 + confidence) / 2, count - 1) * error
    return ConfidenceInterval(value=ratio, low=ratio - half, high=ratio + half)


def ratio_bootstrap(
    numerators: ArrayLike,
    denominators: ArrayLike,
    *,
    clusters: Sequence[Hashable] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> ConfidenceInterval:
    """sum(numerators) / sum(denominators) with the percentile bootstrap over units, or over `clusters` of them.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, chapter 13.
    """
    x, y = _by_cluster(numerators, denominators, clusters)
    ratio, count = float(x.sum() / y.sum()), len(x)
    if count < 2:
        return ConfidenceInterval(value=ratio, low=None, high=None)
    generator = np.random.default_rng(seed)
    rows = max(1, CHUNK // count)
    ratios = []
    for start in range(0, resamples, rows):
        drawn = generator.integers(0, count, size=(min(rows, resamples - start), count))
        ratios.append(x[drawn].sum(1) / y[drawn].sum(1))
    low, high = np.quantile(np.concatenate(ratios), [(1 - confidence) / 2, (1 + confidence) / 2])
    return ConfidenceInterval(value=ratio, low=float(low), high=float(high))


def paired_bootstrap(
    first: ArrayLike,
    second: ArrayLike,
    *,
    clusters: Sequence[Hashable] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> ConfidenceInterval:
    """mean(second - first) over the same items in the same order, with the percentile bootstrap over items.

    Pairing removes what the items have in common, which two separate intervals leave in.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"paired values differ in number: {a.size} and {b.size}")
    return ratio_bootstrap(
        b - a, np.ones_like(a), clusters=clusters, seed=seed, resamples=resamples, confidence=confidence
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided exact p-value that two models are right equally often, from the items that only one of them got right.

    The sign test on the discordant pairs: min(1, 2 P(X <= min)) with X ~ Binomial(n, 1/2) (McNemar 1947,
    Psychometrika 12:153). 1 when no item tells them apart.
    """
    return min(1.0, 2 * _binomial_tail(only_first + only_second, min(only_first, only_second)))


def better_p(only_first: int, only_second: int) -> float:
    """One-sided exact p-value that the second model is no better, from the items that only one of them got right.

    P(X <= only_first) with X ~ Binomial(n, 1/2): small where few of the discordant items are the first one's alone.
    1 when no item tells them apart.
    """
    return _binomial_tail(only_first + only_second, only_first)


def _binomial_tail(trials: int, most: int) -> float:
    """P(X <= most) with X ~ Binomial(trials, 1/2), in whole numbers until the end."""
    term, tail = 1, 0
    for i in range(most + 1):
        tail += term
        term = term * (trials - i) // (i + 1)
    return tail / 2**trials


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for being several, in the given order (Holm 1979, Scandinavian Journal of Statistics 6:65)."""
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def detectable_above(items: int, chance: float, *, confidence: float = CONFIDENCE, power: float = 0.8) -> float | None:
    """The smallest accuracy above `chance` that `items` items show with probability `power`, as a difference.

    Two-sided one-sample test of a proportion: d sqrt(n) = z sqrt(p0 q0) + z' sqrt(p1 q1), p1 = p0 + d (Fleiss, Levin
    and Paik, Statistical Methods for Rates and Proportions, section 2.3). None when even 100 % right would not do.
    """
    z, reach = NORMAL.inv_cdf((1 + confidence) / 2), NORMAL.inv_cdf(power)

    def excess(d: float) -> float:
        p1 = min(1.0, chance + d)
        return d * math.sqrt(items) - z * math.sqrt(chance * (1 - chance)) - reach * math.sqrt(p1 * (1 - p1))

    return _solve(excess, 0.0, 1 - chance) if excess(1 - chance) >= 0 else None


def detectable_difference(
    items: int, discordant: float, *, confidence: float = CONFIDENCE, power: float = 0.8
) -> float | None:
    """The smallest difference in accuracy between two models on the same `items` that shows with probability `power`.

    `discordant` is the share of items that exactly one of them gets right. Connor 1987, Biometrics 43:207:
    d sqrt(n) = z sqrt(discordant) + z' sqrt(discordant - d^2), with 1/d items fewer than there are (the correction for
    continuity), since the exact test is used: else it shows 76 to 79 % of such differences where 80 are wanted. None
    when none up to `discordant` would show.
    """
    z, reach = NORMAL.inv_cdf((1 + confidence) / 2), NORMAL.inv_cdf(power)

    def excess(d: float) -> float:
        spared = max(0.0, items - 1 / d) if d else 0.0
        return d * math.sqrt(spared) - z * math.sqrt(discordant) - reach * math.sqrt(max(0.0, discordant - d * d))

    return _solve(excess, 0.0, discordant) if discordant > 0 and excess(discordant) >= 0 else None


def student_t_quantile(probability: float, freedom: int) -> float:
    """The quantile of Student's t for a whole number of degrees of freedom.

    Up to 100 of them by bisecting the exact distribution (Abramowitz and Stegun 26.7.3 and 26.7.4), beyond that by
    their expansion in 1/freedom (26.7.5), which is right to 1e-8 there.
    """
    if freedom < 1:
        raise ValueError(f"Student's t has at least one degree of freedom, not {freedom}")
    if probability < 0.5:
        return -student_t_quantile(1 - probability, freedom)
    x = NORMAL.inv_cdf(probability)
    if freedom > 100:
        terms = (
            (x**3 + x) / 4,
            (5 * x**5 + 16 * x**3 + 3 * x) / 96,
            (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384,
            (79 * x**9 + 776 * x**7 + 1482 * x**5 - 1920 * x**3 - 945 * x) / 92160,
        )
        return x + sum(term / freedom**power for power, term in enumerate(terms, start=1))
    angle = _solve(lambda a: (1 + _t_central(a, freedom)) / 2 - probability, 0.0, math.pi / 2)
    return math.tan(angle) * math.sqrt(freedom)


def _t_central(angle: float, freedom: int) -> float:
    """P(|t| <= sqrt(freedom) tan(angle)), the two finite series of Abramowitz and Stegun 26.7.3 and 26.7.4."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = 0.0 if freedom == 1 else term
    for k in range(3 if odd else 2, freedom - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def _solve(rising: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function crosses zero between `low` and `high`, by bisection to the last bit."""
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return high


def _by_cluster(
    numerators: ArrayLike, denominators: ArrayLike, clusters: Sequence[Hashable] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1 or not y.sum() > 0:
        raise ValueError("a ratio needs as many denominators as numerators, and a positive sum of denominators")
    if clusters is None:
        return x, y
    if len(clusters) != len(x):
        raise ValueError(f"{len(clusters)} cluster labels for {len(x)} values")
    number: dict[Hashable, int] = {}
    index = np.array([number.setdefault(label, len(number)) for label in clusters])
    return np.bincount(index, weights=x).astype(np.float64), np.bincount(index, weights=y).astype(np.float64)
