"""A task's score against the loss of held-out text, a straight line, and the interval of a score that is not measured.

Bits per byte of a task's right answers fall with the loss; accuracies of small models are close to chance and say
little, so that they are shown and no line is laid through them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ayllu.evals.scaling.law import LEAST_NOISE, LEVEL

Array = NDArray[np.float64]
FEWEST = 3
"""Points of a line: one more than its constants."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """score = level + slope (loss - centre), and lines that the same points with other noise would have given."""

    centre: float
    level: float
    slope: float
    residual: float
    """Root of the squared residuals' sum over the degrees of freedom that are left, in units of the score."""
    drawn_R3: Array
    """Level, slope and the noise of a single score in each draw."""

    def score(self, loss: float) -> float:
        """The score at a loss."""
        return self.level + self.slope * (loss - self.centre)

    def interval(self, loss: float, low: float, high: float, *, seed: int = 0) -> tuple[float, float]:
        """Ends of the 80 % interval of a score that has not been measured, at a loss that itself is only expected.

        `low` and `high` are the ends of the loss's own 80 % interval.
        """
        draw = np.random.default_rng([seed, 2])
        width = (high - low) / (2 * NormalDist().inv_cdf((1 + LEVEL) / 2))
        losses = loss + width * draw.standard_normal(len(self.drawn_R3))
        level, slope, noise = self.drawn_R3.T
        found = level + slope * (losses - self.centre) + noise * draw.standard_normal(len(losses))
        ends = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return float(ends[0]), float(ends[1])

    def as_json(self) -> dict[str, Any]:
        """Constants, the slope with the ends of its 80 % interval."""
        ends = np.quantile(self.drawn_R3[:, 1], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return {
            "centre": self.centre,
            "level": self.level,
            "slope": self.slope,
            "slope_low": float(ends[0]),
            "slope_high": float(ends[1]),
            "residual": self.residual,
        }


def fit_line(losses: Sequence[float], scores: Sequence[float], *, draws: int = 400, seed: int = 0) -> Line:
    """Least squares, and `draws` of a parametric bootstrap as in `fit_law`. ValueError for fewer than three points."""
    x, y = np.asarray(losses, np.float64), np.asarray(scores, np.float64)
    free = len(x) - 2
    if len(x) < FEWEST or np.ptp(x) == 0:
        raise ValueError(f"{len(x)} points: a line needs {FEWEST} at different losses")
    centre = float(x.mean())
    inverse_2n = np.linalg.pinv(np.stack([np.ones_like(x), x - centre], 1))
    level, slope = inverse_2n @ y
    squares = float(((y - level - slope * (x - centre)) ** 2).sum())
    rng = np.random.default_rng(seed)
    noise_R = np.sqrt(np.maximum(squares / rng.chisquare(free, draws), (LEAST_NOISE * y.mean()) ** 2))
    drawn_Rn = level + slope * (x - centre) + noise_R[:, None] * rng.standard_normal((draws, len(x)))
    return Line(
        centre=centre,
        level=float(level),
        slope=float(slope),
        residual=float(np.sqrt(squares / free)),
        drawn_R3=np.column_stack([drawn_Rn @ inverse_2n.T, noise_R]),
    )
