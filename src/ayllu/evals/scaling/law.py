"""L(N, D) = E + A / N^alpha + B / D^beta, fitted by variable projection, and the intervals of what it predicts.

For given exponents the three other constants are a linear least-squares problem, so that only the plane of the two
exponents is searched: without the bias of parabolas through runs of equal compute, and without a start that a search in
five dimensions would depend on ("Problems with Chinchilla Approach 2", arXiv:2603.22339; the form: Hoffmann et al.,
arXiv:2203.15556, approach 3).

Shapes: R draws, G pairs of exponents, n points.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

EXPONENTS = (0.05, 1.5)
"""Range of alpha and beta; published fits lie between 0.2 and 0.8."""
GRIDS, SHRINK = (15, 7, 7, 7, 7, 7, 7, 7, 7), 0.4
"""Exponents on each axis of a grid, each drawn anew around the best pair so far, and the factor by which it shrinks."""
CONSTANTS = 5
"""E, A, alpha, B, beta: the degrees of freedom that a fit takes."""
SHARED = 0.5
"""Share of the noise's variance that the points of one rung have in common: their first weights and their data."""
LEAST_NOISE = 0.004
"""Standard deviation of a loss over seeds, relative to it, that is assumed at least: few points may fit by luck."""
LEVEL = 0.8
"""Coverage of intervals: that of all forecasts of the lab."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """What one training came to."""

    rung: int
    parameters: float
    """N."""
    tokens: float
    """D."""
    loss: float
    """Any loss that falls towards a floor: nats per token or bits per byte."""


@dataclass(frozen=True, kw_only=True)
class Law:
    """The five constants."""

    floor: float
    """E: the loss that neither size nor data removes."""
    a: float
    alpha: float
    b: float
    beta: float

    def loss(self, parameters: float, tokens: float) -> float:
        """L(N, D)."""
        return float(self.floor + self.a * parameters**-self.alpha + self.b * tokens**-self.beta)

    @property
    def size_exponent(self) -> float:
        """How the best N grows with compute C = 6 N D: N ~ C^(beta / (alpha + beta))."""
        return self.beta / (self.alpha + self.beta)

    def as_json(self) -> dict[str, float]:
        return {**asdict(self), "size_exponent": self.size_exponent}


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A law, how far it is from its points, and laws that the same points with other noise would have given."""

    law: Law
    points: tuple[Point, ...]
    residual: float
    """Root of the squared relative residuals' sum over the degrees of freedom that are left."""
    laws: tuple[Law, ...]
    """Of the bootstrap."""
    noises: tuple[float, ...]
    """The relative standard deviation of a single loss in each draw."""

    def interval(self, parameters: float, tokens: float, *, seed: int = 0) -> tuple[float, float]:
        """Ends of the 80 % interval of a loss that has not been measured: of the law and of one run's noise."""
        noise = np.random.default_rng([seed, 1]).standard_normal(len(self.laws))
        found = [
            law.loss(parameters, tokens) * (1 + s * e) for law, s, e in zip(self.laws, self.noises, noise, strict=True)
        ]
        low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return float(low), float(high)

    def as_json(self) -> dict[str, Any]:
        """Constants with the ends of their 80 % intervals, and the residual in per cent."""
        value = self.law.as_json()
        drawn = [law.as_json() for law in self.laws]
        ends = {
            name: [float(x) for x in np.quantile([row[name] for row in drawn], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])]
            for name in value
        }
        return {
            **value,
            "intervals": ends,
            "residual_pct": round(100 * self.residual, 3),
            "points": len(self.points),
            "draws": len(self.laws),
            "method": "variable projection",
        }


def fit_law(points: Sequence[Point], *, draws: int = 200, seed: int = 0) -> Fit:
    """The law of `points` and `draws` of a parametric bootstrap.

    Each draw takes the noise from what the residuals say of it (scaled inverse chi-squared with the degrees of freedom
    that the fit leaves, at least LEAST_NOISE), adds it to the fitted losses, half of its variance in common to the
    points of a rung, and fits again. Raises ValueError where there are fewer than three rungs, or no more points than
    constants.
    """
    rungs = sorted({point.rung for point in points})
    free = len(points) - CONSTANTS
    if len(rungs) < 3 or free < 1:
        raise ValueError(f"{len(points)} points of {len(rungs)} rungs: a law needs three rungs and six points")
    n, d, losses = (np.array([getattr(p, name) for p in points]) for name in ("parameters", "tokens", "loss"))
    (law,) = _laws(n, d, losses[None], losses)
    fitted = np.array([law.loss(p.parameters, p.tokens) for p in points])
    squares = float(((fitted / losses - 1) ** 2).sum())
    rng = np.random.default_rng(seed)
    noises = np.sqrt(np.maximum(squares / rng.chisquare(free, draws), LEAST_NOISE**2))
    own = rng.standard_normal((draws, len(points)))
    common = rng.standard_normal((draws, len(rungs)))[:, [rungs.index(p.rung) for p in points]]
    error = noises[:, None] * (math.sqrt(SHARED) * common + math.sqrt(1 - SHARED) * own)
    laws = _laws(n, d, fitted * (1 + error), losses)
    return Fit(
        law=law,
        points=tuple(points),
        residual=math.sqrt(squares / free),
        laws=tuple(laws),
        noises=tuple(float(s) for s in noises),
    )


def _laws(n: Array, d: Array, losses_Rn: Array, weights: Array) -> list[Law]:
    """The law of each row of losses: relative residuals (over `weights`) squared, E, A and B not below 0."""
    draws = len(losses_Rn)
    n0, d0 = math.exp(np.log(n).mean()), math.exp(np.log(d).mean())
    centre = np.full((draws, 2), sum(EXPONENTS) / 2)
    half = (EXPONENTS[1] - EXPONENTS[0]) / 2
    constants, best = np.zeros((draws, 3)), centre
    for size in GRIDS:
        steps = np.linspace(-1, 1, size)
        offsets = half * np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
        pairs_RG2 = np.clip(centre[:, None] + offsets, *EXPONENTS)
        found, squares = _project(n / n0, d / d0, pairs_RG2, losses_Rn, weights)
        chosen = squares.argmin(axis=1)
        row = np.arange(draws)
        best, constants = pairs_RG2[row, chosen], found[row, chosen]
        centre, half = best, half * SHRINK
    return [
        Law(
            floor=float(e),
            a=float(a * n0**alpha),
            alpha=float(alpha),
            b=float(b * d0**beta),
            beta=float(beta),
        )
        for (e, a, b), (alpha, beta) in zip(constants, best, strict=True)
    ]


def _project(n: Array, d: Array, pairs_RG2: Array, losses_Rn: Array, weights: Array) -> tuple[Array, Array]:
    """E, A, B of each pair of exponents, (R, G, 3), and the squares that are left, (R, G)."""
    alpha, beta = pairs_RG2[..., 0, None], pairs_RG2[..., 1, None]
    columns = np.stack([np.broadcast_to(1.0, alpha.shape[:2] + n.shape), n**-alpha, d**-beta], axis=-1)
    columns = columns / weights[:, None]
    target_Rn = losses_Rn / weights
    normal = columns.swapaxes(-1, -2) @ columns
    right = np.einsum("rgnc,rn->rgc", columns, target_Rn)
    constants, squares = np.zeros(right.shape), np.full(right.shape[:2], np.inf)
    # Least squares with signs: the best of the supports whose solution has none below 0 (seven, so all are tried).
    for size in (3, 2, 1):
        for support in combinations(range(3), size):
            at = np.array(support)
            solved = np.linalg.solve(normal[..., at[:, None], at] + 1e-13 * np.eye(size), right[..., at, None])[..., 0]
            whole = np.zeros(right.shape)
            whole[..., at] = solved
            left = ((columns @ whole[..., None])[..., 0] - target_Rn[:, None]) ** 2
            total = np.where((solved >= 0).all(axis=-1), left.sum(axis=-1), np.inf)
            better = total < squares
            squares = np.where(better, total, squares)
            constants = np.where(better[..., None], whole, constants)
    return constants, squares
