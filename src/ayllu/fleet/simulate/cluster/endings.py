"""What comes next to the jobs that run: each ends, or fails before, at a moment of progress time."""

from __future__ import annotations

import heapq
import math

from ayllu.fleet.simulate.cluster.clock import Clock
from ayllu.fleet.simulate.cluster.failures import NodeFailures
from ayllu.fleet.simulate.cluster.job_states import JobStates

LOOKED_AT = 4096
"""Endings that are looked through to find when a gang has room."""


class Endings:
    """The endings of running jobs in order; those of an earlier beginning are skipped."""

    def __init__(self, jobs: JobStates, clock: Clock, failures: NodeFailures) -> None:
        self.jobs, self.clock, self.failures = jobs, clock, failures
        self._heap: list[tuple[float, int, int, bool]] = []

    def push(self, job: int) -> None:
        """Foresee the end of a job that begins now, or the failure that comes before."""
        jobs = self.jobs
        need = jobs.warm_up[job] + jobs.left[job]
        fails = self.failures.after(jobs.size[job])
        jobs.epoch[job] += 1
        heapq.heappush(self._heap, (self.clock.progress + min(need, fails), job, jobs.epoch[job], fails < need))

    def next(self) -> float:
        """When the next one comes by the wall clock, or infinity."""
        if not self._heap:
            return math.inf
        clock = self.clock
        return clock.now + (self._heap[0][0] - clock.progress) / clock.speed  # `clock.when`, asked at every event

    def pop(self) -> tuple[int, bool] | None:
        """The job of the next one, and whether it fails; None where it is out of date."""
        _, job, epoch, failed = heapq.heappop(self._heap)
        if epoch != self.jobs.epoch[job] or self.jobs.held[job] is None:
            return None
        return job, failed

    def room_for(self, nodes: int, free: int, per_node: int) -> tuple[float, int] | None:
        """When so many nodes are free if nothing ends before its time, and how many are left over then.

        None where the soonest `LOOKED_AT` endings do not suffice.
        """
        jobs = self.jobs
        for end, job, epoch, _ in heapq.nsmallest(LOOKED_AT, self._heap):
            if epoch == jobs.epoch[job] and jobs.held[job] is not None and jobs.size[job] >= per_node:
                free += -(-jobs.size[job] // per_node)
                if free >= nodes:
                    return self.clock.when(end), free - nodes
        return None
