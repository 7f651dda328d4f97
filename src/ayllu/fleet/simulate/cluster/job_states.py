"""How every job of a trace stands: plain lists, one entry for each job, for they are read at every event."""

from __future__ import annotations

import math

from ayllu.fleet.simulate.cluster.placement import Held
from ayllu.fleet.simulate.job_trace import JobTrace


class JobStates:
    """Jobs by their number in the trace. Times in seconds, `begun` in progress time."""

    def __init__(self, trace: JobTrace) -> None:
        count = len(trace)
        self.size: list[int] = trace.accelerators.tolist()
        self.queue: list[int] = trace.queue.tolist()
        self.work: list[float] = trace.work.tolist()
        self.left: list[float] = list(self.work)
        """Work that is not done and safe."""
        self.submitted: list[float] = trace.arrive.tolist()
        self.first_start = [math.nan] * count
        """By the wall clock; NaN before it."""
        self.begun = [0.0] * count
        """When it last began."""
        self.warm_up = [0.0] * count
        """Before work goes on after the last beginning: to start, to find a failure, to load a checkpoint."""
        self.epoch = [0] * count
        """Counts its beginnings: an ending of an earlier one is out of date."""
        self.held: list[Held | None] = [None] * count
        """What it holds of the machines; None while it does not run."""

    def started(self, job: int) -> bool:
        """Whether the job has started at least once."""
        return self.first_start[job] == self.first_start[job]
