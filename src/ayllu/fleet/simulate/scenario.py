"""What a scenario is: a situation with a name, the inputs it may know, and what was measured there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ayllu.fleet.simulate.cluster.accounts import ClusterOutcome
from ayllu.fleet.simulate.prediction_interval import PredictionInterval
from ayllu.fleet.simulate.run_simulation import RunOutcome
from ayllu.fleet.simulate.training_run import HOUR


@dataclass(frozen=True, kw_only=True)
class Input:
    """One figure that a scenario starts from."""

    name: str
    value: str
    source: str
    """Where it was read, or "assumption". Never the row of the source that holds the scenario's own target."""
    unsourced: bool = False
    """Whether a part of it is from memory and was not read again."""


@dataclass(frozen=True, kw_only=True)
class ReproducedFigure:
    """One published figure beside the simulated one."""

    figure: str
    published: float
    simulated: PredictionInterval
    source: str
    at_least: bool = False
    """Whether the source only says "more than"."""

    @property
    def error_pct(self) -> float | None:
        """Simulated over published, minus one, in percent; None where the source only gives a bound."""
        return None if self.at_least or not self.published else 100 * (self.simulated.mean / self.published - 1)

    @property
    def inside(self) -> bool:
        """Whether the published figure lies in the simulated interval, or is exceeded where it is a bound."""
        if self.at_least:
            return self.simulated.mean >= self.published
        return self.simulated.low <= self.published <= self.simulated.high

    def as_json(self) -> dict[str, Any]:
        """The figure as plain values."""
        error = self.error_pct
        return {
            "figure": self.figure,
            "expected": self.published,
            "expected_is_lower_bound": self.at_least,
            "simulated": round(self.simulated.mean, 4),
            "interval": [round(self.simulated.low, 4), round(self.simulated.high, 4)],
            "error_pct": None if error is None else round(error, 1),
            "inside": self.inside,
            "source": self.source,
        }


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a scenario found."""

    figures: dict[str, PredictionInterval]
    reproduced: list[ReproducedFigure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A situation with a name. `run` takes the number of seeds."""

    name: str
    title: str
    inputs: tuple[Input, ...]
    run: Callable[[int], Result]
    seeds: int = 20
    """Seeds when the user names none."""
    year: Callable[[float, int], ClusterOutcome] | None = None
    """For a cluster of many jobs: the hours of that many days with that seed, to be drawn."""

    def as_json(self, result: Result, seconds: float) -> dict[str, Any]:
        """One object with the figures on top, each with mean and interval."""
        return {
            "scenario": self.name,
            "title": self.title,
            **{name: interval.as_json() for name, interval in result.figures.items()},
            "reproduction": [each.as_json() for each in result.reproduced],
            "inputs": [asdict(each) for each in self.inputs],
            "notes": result.notes,
            **result.details,
            "seconds": round(seconds, 3),
        }


def run_figures(outcomes: Sequence[RunOutcome]) -> dict[str, PredictionInterval]:
    """What is asked of every training run, one outcome for each seed."""
    return {
        "unexpected_interruptions": PredictionInterval.of([o.unexpected_interruptions for o in outcomes]),
        "effective_training_time": PredictionInterval.of([o.effective_training_time for o in outcomes]),
        "goodput": PredictionInterval.of([o.goodput for o in outcomes]),
        "mean_time_to_failure_hours": PredictionInterval.of([o.mean_time_to_failure / HOUR for o in outcomes]),
    }
