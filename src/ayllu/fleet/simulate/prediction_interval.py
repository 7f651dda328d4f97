"""A figure over many seeds: its mean and the interval in which 95 % of the runs lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class PredictionInterval:
    """What a simulation says about one figure. The interval is of single runs (a prediction), not of the mean."""

    mean: float
    low: float
    """2.5 % of the runs lie below."""
    high: float
    """2.5 % of the runs lie above."""
    runs: int

    @classmethod
    def of(cls, values: Sequence[float]) -> PredictionInterval:
        """The interval of `values`, one for each seed. Raises ValueError when there are none."""
        if not len(values):
            raise ValueError("an interval needs at least one value")
        low, high = np.quantile(np.asarray(values, dtype=float), [0.025, 0.975])
        return cls(mean=float(np.mean(values)), low=float(low), high=float(high), runs=len(values))

    def as_json(self, digits: int = 4) -> dict[str, Any]:
        """`{"mean": …, "interval": [low, high], "runs": …}`."""
        return {
            "mean": round(self.mean, digits),
            "interval": [round(self.low, digits), round(self.high, digits)],
            "runs": self.runs,
        }
