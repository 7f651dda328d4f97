"""What is booked: accelerators in use over time, work that is lost, and what happens to jobs, hour by hour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ayllu.fleet.simulate.cluster.config import Queue
from ayllu.fleet.simulate.cluster.job_states import JobStates
from ayllu.fleet.simulate.job_trace import DAY, HOUR, JobTrace

COUNTED = ("failures", "finished", "preemptions", "across_pods")
"""What is counted in each hour."""


@dataclass(frozen=True, kw_only=True)
class ClusterOutcome:
    """What happened, hour by hour and job by job."""

    hours: dict[str, np.ndarray]
    """Of each hour, the means of utilisation, goodput, waiting (jobs), power_mw, speed and busy_<queue>, and the counts
    of failures, finished, preemptions and across_pods."""
    wait: np.ndarray
    """Seconds from submission to the first start, one for each job; NaN when it never started."""
    jobs: JobTrace
    finished: int
    failures: int
    preemptions: int
    across_pods: int
    """Jobs that span more pods than they must."""

    def after(self, days: int) -> ClusterOutcome:
        """What happened from then on, to the jobs that were submitted then."""
        hours = {name: values[24 * days :] for name, values in self.hours.items()}
        later = self.jobs.arrive >= days * DAY
        return ClusterOutcome(
            hours=hours,
            wait=self.wait[later],
            jobs=self.jobs.select(later),
            **{name: round(float(hours[name].sum())) for name in COUNTED},
        )

    @property
    def started(self) -> np.ndarray:
        """The waits of the jobs that started."""
        return self.wait[~np.isnan(self.wait)]


class Accounts:
    """The books of a cluster while it is simulated."""

    def __init__(self) -> None:
        self.busy = 0
        """Accelerators that jobs hold."""
        self.lost = 0.0
        """Accelerator-seconds that were computed and not kept, or spent on starting again."""
        self.finished = self.failures = self.preemptions = self.across_pods = 0
        self._area, self._since = 0.0, 0.0
        self._rows: list[tuple[float, ...]] = []

    def changed(self, by: int, now: float) -> None:
        """The number of busy accelerators changes now."""
        self._area += self.busy * (now - self._since)
        self._since = now
        self.busy += by

    def mean_busy(self, now: float) -> float:
        """Accelerators in use on average since the last call, an hour ago."""
        self.changed(0, now)
        busy, self._area = self._area / HOUR, 0.0
        return busy

    def close_hour(self, *, busy: float, waiting: int, power_mw: float, speed: float, used: Sequence[int]) -> None:
        """Write the hour down; `used` are the accelerators of each queue."""
        counted = (float(getattr(self, name)) for name in COUNTED)
        self._rows.append((busy, self.lost, float(waiting), power_mw, speed, *counted, *used))

    def outcome(self, trace: JobTrace, jobs: JobStates, queues: Sequence[Queue], total: int) -> ClusterOutcome:
        """The books as arrays; `total` are the accelerators of the cluster."""
        table = np.array(self._rows)
        busy, lost, waiting, power, speed = table[:, :5].T
        lost = np.diff(lost, prepend=0.0) / HOUR
        hours = {
            "utilisation": busy / total,
            "goodput": np.maximum(busy - lost, 0) * speed / total,
            "waiting": waiting,
            "power_mw": power,
            "speed": speed,
        }
        for index, name in enumerate(COUNTED):
            hours[name] = np.diff(table[:, 5 + index], prepend=0.0)
        for index, queue in enumerate(queues):
            hours[f"busy_{queue.name}"] = table[:, 5 + len(COUNTED) + index] / total
        return ClusterOutcome(
            hours=hours,
            wait=np.array(jobs.first_start) - np.array(jobs.submitted),
            jobs=trace,
            finished=self.finished,
            failures=self.failures,
            preemptions=self.preemptions,
            across_pods=self.across_pods,
        )
