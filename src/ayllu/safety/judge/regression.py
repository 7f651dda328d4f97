"""Logistic regression on few rows with many columns: solved for the rows, by Newton's method, the same every time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
STEPS = 30
"""Newton steps at most; a dozen are usual."""


def fit_logistic(kernel: Array, right: NDArray[np.bool_], *, penalty: float) -> Array:
    """One weight a row, so that `kernel @ weights` are the log-odds of `right`.

    `kernel` (rows, rows) has the products of the rows, plus one for the intercept. The minimum of
    sum(log loss) + penalty/2 |w|^2, found in the space of the rows: algorithm 3.1 of Rasmussen and Williams, Gaussian
    Processes for Machine Learning (2006), with the covariance kernel / penalty; its system by conjugate gradients,
    which need some dozens of products where a decomposition needs as many as there are rows.
    """
    covariance = kernel / penalty
    target = right.astype(np.float64)
    f = np.zeros(len(right))
    a = np.zeros(len(right))
    last = np.inf
    for _ in range(STEPS):
        p = sigmoid(f)
        weight = np.maximum(p * (1 - p), 1e-12)
        root = np.sqrt(weight)
        b = weight * f + target - p
        a = b - root * _solved(covariance, root, root * (covariance @ b))
        f = covariance @ a
        loss = float(np.logaddexp(0, np.where(right, -f, f)).sum() + a @ f / 2)
        if abs(last - loss) < 1e-8 * max(1.0, abs(loss)):
            break
        last = loss
    return a / penalty


def _solved(covariance: Array, root: Array, right: Array) -> Array:
    """The x for which x + root * (covariance @ (root * x)) is `right`, to ten digits."""
    x, residual = np.zeros_like(right), right.copy()
    direction, square = residual.copy(), float(right @ right)
    enough = square * 1e-20
    for _ in range(len(right)):
        if square <= enough:
            break
        image = direction + root * (covariance @ (root * direction))
        step = square / float(direction @ image)
        x += step * direction
        residual -= step * image
        square, before = float(residual @ residual), square
        direction = residual + square / before * direction
    return x


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    return np.exp(-np.logaddexp(0, -x))


def auroc(scores: Array, right: NDArray[np.bool_]) -> float:
    """The chance that a right one scores above a wrong one, ties counting half (Mann and Whitney)."""
    _values, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    positives = int(right.sum())
    negatives = len(right) - positives
    if not positives or not negatives:
        raise ValueError("an AUROC needs some of either kind")
    total = float(ranks[inverse][right].sum())
    return (total - positives * (positives + 1) / 2) / (positives * negatives)


def auroc_interval(
    scores: Array, right: NDArray[np.bool_], groups: NDArray[np.int64], *, seed: int = 0, resamples: int = 1000
) -> tuple[float, float, float]:
    """AUROC with its percentile bootstrap of 95 %, drawn by group."""
    names, number = np.unique(groups, return_inverse=True)
    members = [np.flatnonzero(number == i) for i in range(len(names))]
    draw = np.random.default_rng(seed)
    found: list[float] = []
    while len(found) < resamples:
        rows = np.concatenate([members[i] for i in draw.integers(0, len(names), len(names))])
        if 0 < right[rows].sum() < len(rows):
            found.append(auroc(scores[rows], right[rows]))
    low, high = np.quantile(found, [0.025, 0.975])
    return auroc(scores, right), float(low), float(high)
