"""Failures of nodes: when one strikes a job, whether its node leaves for repair, and when that comes back."""

from __future__ import annotations

import heapq
import math

import numpy as np

from ayllu.fleet.simulate.cluster.config import Cluster
from ayllu.fleet.simulate.job_trace import DAY

DRAWN_AT_ONCE = 65_536


class NodeFailures:
    """Failures that come at a constant rate for each accelerator, and the nodes in repair."""

    def __init__(self, cluster: Cluster, rng: np.random.Generator) -> None:
        self.cluster, self.rng = cluster, rng
        self.per_accelerator_second = cluster.failures_per_1000_node_days / 1000 / DAY / cluster.accelerators_per_node
        self._drawn: list[float] = []
        self._repairs: list[tuple[float, int]] = []

    def after(self, accelerators: int) -> float:
        """Seconds until a job of that size fails, drawn anew; infinity where nothing fails."""
        # Drawn where nothing fails too: the same seed then draws the same start times with and without failures.
        if not self._drawn:
            self._drawn = self.rng.standard_exponential(DRAWN_AT_ONCE).tolist()
        if not self.per_accelerator_second:
            return math.inf
        return self._drawn.pop() / (self.per_accelerator_second * accelerators)

    def drains(self) -> bool:
        """Whether the node of a failure leaves for repair."""
        return bool(self.rng.random() < self.cluster.drain_share)

    def repaired_at(self, now: float) -> float:
        """When a node that leaves now is back: log-normal with a factor of e."""
        return now + self.cluster.repair_days * DAY * float(self.rng.lognormal(0, 1))

    def repair(self, until: float, pod: int) -> None:
        """A node of the pod is away until then."""
        heapq.heappush(self._repairs, (until, pod))

    def repaired(self, now: float) -> list[int]:
        """The pods to which a node has come back since the last time."""
        pods = []
        while self._repairs and self._repairs[0][0] <= now:
            pods.append(heapq.heappop(self._repairs)[1])
        return pods

    @property
    def nodes_in_repair(self) -> int:
        return len(self._repairs)
