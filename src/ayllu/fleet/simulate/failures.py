"""What breaks, and when: rates of published fleets, causes, and a stream of failures for the nodes of a job."""

from __future__ import annotations

import csv
import heapq
import math
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal, NamedTuple

import numpy as np

from ayllu.fleet.simulate import libm
from ayllu.lab.error import UserError

DAY = 86_400.0

WEIBULL_SHAPE = 0.75
"""Times between failures of one node have a falling hazard: Weibull with shape 0.7 to 0.8 (Schroeder and Gibson, "A
large-scale study of failures in high-performance computing systems", DSN 2006)."""

Signal = Literal["crash", "hang", "silent"]


@dataclass(frozen=True, kw_only=True)
class Cause:
    """One kind of failure."""

    name: str
    share: float
    """Part of all failures that are of this kind."""
    signal: Signal
    """How it shows: an error at once, a collective that never returns, or wrong numbers."""
    drains: bool
    """Whether the node leaves for repair; otherwise the job restarts on the same node."""


@dataclass(frozen=True, kw_only=True)
class FleetRate:
    """Failures of one published fleet."""

    fleet: str
    per_1000_node_days: float
    counts: str
    """What the source counts as a failure; sources differ, and so do their rates."""
    source: str


def _rows(name: str) -> list[dict[str, str]]:
    text = resources.files("ayllu.fleet").joinpath("data", name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


@cache
def causes() -> tuple[Cause, ...]:
    """The causes of interruptions and their shares: 678 events on 32K H100 (FT-HSDP, arXiv:2602.00277)."""
    rows = _rows("failure_causes.csv")
    total = sum(int(row["count"]) for row in rows)
    signals: dict[str, Signal] = {"crash": "crash", "hang": "hang", "silent": "silent"}
    return tuple(
        Cause(
            name=row["cause"],
            share=int(row["count"]) / total,
            signal=signals[row["signal"]],
            drains=row["drains"] == "yes",
        )
        for row in rows
    )


@cache
def fleet_rates() -> tuple[FleetRate, ...]:
    """Every published fleet rate that is kept in the package."""
    return tuple(
        FleetRate(
            fleet=row["fleet"],
            per_1000_node_days=float(row["per_1000_node_days"]),
            counts=row["counts"],
            source=row["source"],
        )
        for row in _rows("failure_rates.csv")
    )


class PooledRate(NamedTuple):
    """Failures per 1,000 node-days of a fleet that we have not seen."""

    per_1000_node_days: float
    log_spread: float
    """Standard deviation between fleets of the natural logarithm of the rate."""


def pooled_rate(*, without: str) -> PooledRate:
    """The geometric mean over the published fleets, leaving out the fleet that is to be predicted.

    Rates of published fleets spread by a factor of three, which is why their logarithms are averaged and why the
    spread is returned: whoever predicts a new fleet does not know which of them it will be like.
    """
    logs = [math.log(rate.per_1000_node_days) for rate in fleet_rates() if rate.fleet != without]
    return PooledRate(math.exp(float(np.mean(logs))), float(np.std(logs, ddof=1)))


@dataclass(frozen=True, kw_only=True)
class Hazard:
    """How often nodes fail. The mean over the fleet is `per_1000_node_days`, whatever the other fields say."""

    per_1000_node_days: float
    shape: float = WEIBULL_SHAPE
    """Weibull shape of the time between failures of one node: 1 is memoryless, below 1 failures come in bunches."""
    lemon_share: float = 0.0
    """Part of the nodes that are lemons."""
    lemon_factor: float = 1.0
    """How many times more often than the other nodes a lemon fails."""
    settled: bool = True
    """Whether the nodes have run for long before the first day; new nodes suffer from infant mortality."""

    def __post_init__(self) -> None:
        if not 0 < self.per_1000_node_days < 1e7:
            raise UserError(
                f"hazard: per_1000_node_days is {self.per_1000_node_days}; it must be a positive number of failures"
            )
        if not 0.2 <= self.shape <= 5:
            raise UserError(f"hazard: shape is {self.shape}; it must lie between 0.2 and 5")
        if not 0 <= self.lemon_share < 1 or self.lemon_factor < 1:
            raise UserError(
                f"hazard: lemon_share {self.lemon_share} must lie in [0, 1) "
                f"and lemon_factor {self.lemon_factor} be at least 1"
            )

    @classmethod
    def from_mtbf(cls, seconds: float, nodes: int, **fields: float) -> Hazard:
        """The hazard of `nodes` nodes that together fail every `seconds`."""
        return cls(per_1000_node_days=1000 * DAY / (seconds * nodes), **fields)  # type: ignore[arg-type]

    def mean_seconds(self, *, lemon: bool = False) -> float:
        """Mean time between failures of one node, in seconds."""
        good = self.per_1000_node_days / (1 + self.lemon_share * (self.lemon_factor - 1))
        return 1000 * DAY / (good * (self.lemon_factor if lemon else 1.0))

    def scale_seconds(self, *, lemon: bool = False) -> float:
        """The Weibull scale that gives that mean."""
        return self.mean_seconds(lemon=lemon) / math.gamma(1 + 1 / self.shape)


class Failure(NamedTuple):
    """One node of the job breaks."""

    time: float
    """Seconds from the start."""
    slot: int
    """Place of the node in the job."""
    cause: Cause


class FailureStream:
    """Failures of the nodes of a job in order of time. A place in the job keeps its number when its node changes."""

    def __init__(self, hazard: Hazard, slots: int, horizon: float, rng: np.random.Generator) -> None:
        self.hazard, self.horizon, self._rng = hazard, horizon, rng
        self._causes = causes()
        self._cumulative = np.cumsum([cause.share for cause in self._causes])
        self.lemon = rng.random(slots) < hazard.lemon_share
        self.count = np.zeros(slots, dtype=int)
        """Failures of the node that is in the place now."""
        first = self._first_times(slots)
        inside = np.flatnonzero(first < horizon)
        self._heap: list[tuple[float, int, int]] = [(float(first[slot]), int(slot), 0) for slot in inside]
        heapq.heapify(self._heap)
        self._epoch = np.zeros(slots, dtype=int)

    def _first_times(self, slots: int) -> np.ndarray:
        shape = self.hazard.shape
        scale = np.where(self.lemon, self.hazard.scale_seconds(lemon=True), self.hazard.scale_seconds())
        if not self.hazard.settled:
            return scale * self._rng.weibull(shape, slots)
        # A node met at a random moment is inside an interval that is longer than most (X^k is Gamma(1 + 1/k)), at a
        # uniform place of it.
        return scale * libm.power(self._rng.gamma(1 + 1 / shape, size=slots), 1 / shape) * self._rng.random(slots)

    def peek(self) -> float:
        """The time of the next failure, or infinity."""
        while self._heap and self._heap[0][2] != self._epoch[self._heap[0][1]]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf

    def pop(self) -> Failure:
        """Take the next failure. The same node runs on, and fails again when its time comes."""
        time, slot, _ = heapq.heappop(self._heap)
        self.count[slot] += 1
        self._draw(slot, time)
        index = int(np.searchsorted(self._cumulative, self._rng.random() * self._cumulative[-1]))
        return Failure(time, slot, self._causes[index])

    def replace(self, slot: int, time: float, *, lemon: bool = False) -> None:
        """Another node takes the place at `time`."""
        self.lemon[slot], self.count[slot] = lemon, 0
        self._draw(slot, time)

    def _draw(self, slot: int, time: float) -> None:
        self._epoch[slot] += 1
        scale = self.hazard.scale_seconds(lemon=bool(self.lemon[slot]))
        due = time + scale * self._rng.weibull(self.hazard.shape)
        if due < self.horizon:
            heapq.heappush(self._heap, (due, slot, int(self._epoch[slot])))
