"""The difficulty that is solved half the time: an item-response curve, fitted by maximum likelihood on a grid.

P(solved) at level l for a subject of ability d is c + (1 - c - LAPSE) / (1 + exp(-s (d - l))): a logistic curve between
the chance level c of the item and 1 - LAPSE (the three-parameter logistic of Birnbaum 1968, with c known; the lapse
rate is that of Wichmann and Hill 2001, Perception & Psychophysics 63:1293: a slip at a trivial item must not flatten
the curve). d50 = d: there half of the items are solved beyond guessing. The interval is that of the profile likelihood
over the slope s (Venzon and Moolgavkar 1988, Applied Statistics 37:87), with Student's t in place of the normal
quantile: where few items are neither surely solved nor surely missed, the normal one covers 91 % instead of 95 %.

A grid over (d, s) makes one fit a product of matrices, so that a thousand fits for a bootstrap take a moment, and no
optimiser can stop early. Shapes: G grid points (D abilities × S slopes), C cells (a level with a chance), R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ayllu.evals.statistics import CONFIDENCE, NORMAL, student_t_quantile

LAPSE = 0.02
STEP = 0.25
BEYOND = 6.0
"""How far the grid of abilities reaches beyond the levels that were asked."""
SLOPES = tuple(np.geomspace(0.08, 4.0, 24))
FINE = 97
"""Points of the second grid in both directions."""
TIED = 1e-6
"""Likelihoods that differ by less are the same: of a gap between levels where all are as good, the middle counts."""
FEWEST = 5
"""Degrees of freedom at least: with fewer the bounds say nothing any more."""
RESAMPLES = 400
Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Threshold:
    """d50 of one curve; values beyond the levels that were asked are cut to them, and `censored` says so."""

    d50: float
    low: float
    high: float
    censored: Literal["", "below", "above"]
    slope: float
    items: int
    fit_p: float
    """How often a curve like this gives counts as far from it: a small one says that no such curve fits."""


@dataclass(frozen=True, slots=True)
class Cells:
    """Items of the same level and chance, counted. All arrays (C,)."""

    levels: Array
    chances: Array
    solved: Array
    items: Array

    @property
    def ends(self) -> tuple[float, float]:
        """The easiest and the hardest level."""
        return float(self.levels.min()), float(self.levels.max())


def count_cells(levels: ArrayLike, chances: ArrayLike, solved: ArrayLike) -> Cells:
    """Items, one an entry, as cells. `solved` is 1 or 0."""
    pairs = np.stack([np.asarray(levels, np.float64), np.asarray(chances, np.float64)], axis=1)
    cells, where = np.unique(pairs, axis=0, return_inverse=True)
    size = len(cells)
    return Cells(
        cells[:, 0],
        cells[:, 1],
        np.bincount(where.ravel(), weights=np.asarray(solved, np.float64), minlength=size).astype(np.float64),
        np.bincount(where.ravel(), minlength=size).astype(np.float64),
    )


def fit_threshold(
    cells: Cells, *, confidence: float = CONFIDENCE, seed: int = 0, resamples: int = RESAMPLES
) -> Threshold:
    """d50 with its profile-likelihood interval, and from `resamples` draws how well the curve fits."""
    grid = _grid(*cells.ends)
    coarse_GS = _log_likelihood(cells, cells.solved[None], cells.items[None]).reshape(len(grid), len(SLOPES))
    ability, steepness = np.unravel_index(int(coarse_GS.argmax()), coarse_GS.shape)
    freedom = _informative(cells, float(grid[ability]), float(SLOPES[steepness])) - 2
    reach = student_t_quantile((1 + confidence) / 2, max(FEWEST, round(freedom))) ** 2 / 2
    around = _crossings(grid, coarse_GS.max(1), coarse_GS.max() - 2 * reach)
    # The first grid finds the region, a second one reads it: with many items the curve is known to less than a step.
    fine = np.linspace(max(grid[0], around[0] - STEP), min(grid[-1], around[1] + STEP), FINE)
    abilities, slopes = np.meshgrid(fine, np.geomspace(SLOPES[0], SLOPES[-1], FINE), indexing="ij")
    yes_GC, no_GC = _logs(cells.levels, cells.chances, abilities.ravel(), slopes.ravel())
    likelihood_DS = (yes_GC @ cells.solved + no_GC @ (cells.items - cells.solved)).reshape(abilities.shape)
    profile_D = likelihood_DS.max(1)
    low, high = _crossings(fine, profile_D, profile_D.max() - reach)
    first, last = cells.ends
    d50 = float(fine[profile_D >= profile_D.max() - TIED].mean())
    slope = float(slopes.flat[int(likelihood_DS.argmax())])
    return Threshold(
        d50=min(max(d50, first), last),
        low=min(max(low, first), last),
        high=min(max(high, first), last),
        censored="below" if d50 < first else "above" if d50 > last else "",
        slope=slope,
        items=int(cells.items.sum()),
        fit_p=_fit_p(cells, int(coarse_GS.argmax()), seed, resamples),
    )


def thresholds(cells: Cells, solved_RC: ArrayLike, items_RC: ArrayLike) -> Array:
    """d50 (R,) of many counts over the same cells, cut to the levels that were asked."""
    grid, solved, items = _grid(*cells.ends), np.asarray(solved_RC, np.float64), np.asarray(items_RC, np.float64)
    likelihood_RG = _log_likelihood(cells, solved, items)
    profile_RD = likelihood_RG.reshape(len(solved), len(grid), len(SLOPES)).max(2)
    near_RD = profile_RD >= profile_RD.max(1, keepdims=True) - TIED
    return np.clip((near_RD * grid).sum(1) / near_RD.sum(1), *cells.ends)


def probabilities(levels: ArrayLike, chances: ArrayLike, d50: float, slope: float) -> Array:
    """P(solved) on the curve at each level."""
    levels_C, chances_C = np.asarray(levels, np.float64), np.asarray(chances, np.float64)
    return chances_C + (1 - chances_C - LAPSE) / (1 + np.exp(np.clip(slope * (levels_C - d50), -500, 500)))


def detectable_threshold_difference(
    levels: Sequence[int], chances: Sequence[float], *, d50: float, slope: float = 0.5, power: float = 0.8
) -> float:
    """The smallest difference of d50 between two subjects that such items show with `power`, at the given curve.

    From the Fisher information of (d50, slope): z-quantiles of 95 % and `power` times the standard error of a
    difference, which pairing only makes smaller.
    """
    levels_C, chances_C = np.asarray(levels, np.float64), np.asarray(chances, np.float64)
    p = probabilities(levels_C, chances_C, d50, slope)
    logistic = 1 / (1 + np.exp(slope * (levels_C - d50)))
    by_ability = (1 - chances_C - LAPSE) * logistic * (1 - logistic)
    gradients = np.stack([slope * by_ability, (d50 - levels_C) * by_ability])
    information = (gradients / (p * (1 - p))) @ gradients.T
    error = float(np.sqrt(np.linalg.inv(information)[0, 0]))
    return (NORMAL.inv_cdf((1 + CONFIDENCE) / 2) + NORMAL.inv_cdf(power)) * error * 2**0.5


def _informative(cells: Cells, d50: float, slope: float) -> float:
    """How many items the curve is read from: each counts by its variance, 1 where it is solved half the time."""
    logistic = 1 / (1 + np.exp(np.clip(slope * (cells.levels - d50), -500, 500)))
    return float(cells.items @ (4 * logistic * (1 - logistic)))


def _grid(first: float, last: float) -> Array:
    return np.arange(first - BEYOND, last + BEYOND + STEP / 2, STEP)


@lru_cache
def _curves(levels: tuple[float, ...], chances: tuple[float, ...]) -> tuple[Array, Array]:
    """log P and log(1 - P), each (G, C)."""
    grid = _grid(min(levels), max(levels))
    abilities, slopes = (part.ravel() for part in np.meshgrid(grid, np.asarray(SLOPES), indexing="ij"))
    return _logs(np.asarray(levels), np.asarray(chances), abilities, slopes)


def _logs(levels_C: Array, chances_C: Array, abilities_G: Array, slopes_G: Array) -> tuple[Array, Array]:
    exponent_GC = np.clip(slopes_G[:, None] * (levels_C - abilities_G[:, None]), -500, 500)
    p_GC = np.clip(chances_C + (1 - chances_C - LAPSE) / (1 + np.exp(exponent_GC)), 1e-9, 1 - 1e-9)
    return np.log(p_GC), np.log1p(-p_GC)


def _log_likelihood(cells: Cells, solved_RC: Array, items_RC: Array) -> Array:
    yes_GC, no_GC = _curves(tuple(cells.levels.tolist()), tuple(cells.chances.tolist()))
    return solved_RC @ yes_GC.T + (items_RC - solved_RC) @ no_GC.T


def _crossings(grid: Array, profile_D: Array, bar: float) -> tuple[float, float]:
    """Where a profile crosses `bar` on both sides, between grid points by a straight line."""
    above = np.flatnonzero(profile_D >= bar)
    first, last = int(above[0]), int(above[-1])

    def between(inside: int, outside: int) -> float:
        if not 0 <= outside < len(grid):
            return float(grid[inside])
        share = (profile_D[inside] - bar) / (profile_D[inside] - profile_D[outside])
        return float(grid[inside] + share * (grid[outside] - grid[inside]))

    return between(first, first - 1), between(last, last + 1)


def _fit_p(cells: Cells, chosen: int, seed: int, resamples: int) -> float:
    """The share of counts drawn from the fitted curve that lie as far from their own fit, by the deviance: a parametric
    bootstrap."""
    yes_GC, _ = _curves(tuple(cells.levels.tolist()), tuple(cells.chances.tolist()))
    items = cells.items.astype(np.int64)
    drawn_RC = np.random.default_rng(seed).binomial(items, np.exp(yes_GC[chosen]), size=(resamples, len(items)))
    counts_RC = np.concatenate([cells.solved[None], drawn_RC])
    items_RC = np.broadcast_to(cells.items, counts_RC.shape)
    share = counts_RC / items_RC
    with np.errstate(divide="ignore", invalid="ignore"):
        saturated = np.where(share > 0, counts_RC * np.log(share), 0) + np.where(
            share < 1, (items_RC - counts_RC) * np.log1p(-share), 0
        )
    deviance_R = saturated.sum(1) - _log_likelihood(cells, counts_RC, items_RC).max(1)
    return float((1 + (deviance_R[1:] >= deviance_R[0] - 1e-9).sum()) / (1 + resamples))
