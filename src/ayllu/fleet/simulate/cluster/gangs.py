"""Jobs on the machines: all accelerators of a job are taken at once, and given back at once (gang scheduling)."""

from __future__ import annotations

import math

import numpy as np

from ayllu.fleet.simulate.cluster.accounts import Accounts
from ayllu.fleet.simulate.cluster.clock import Clock
from ayllu.fleet.simulate.cluster.config import Cluster
from ayllu.fleet.simulate.cluster.endings import Endings
from ayllu.fleet.simulate.cluster.job_states import JobStates
from ayllu.fleet.simulate.cluster.placement import Placement
from ayllu.fleet.simulate.cluster.queues import HeldBackJobs, Quotas


class Gangs:
    """Starts and stops jobs, and keeps every part's figures in step with what runs."""

    def __init__(
        self,
        cluster: Cluster,
        jobs: JobStates,
        clock: Clock,
        rng: np.random.Generator,
        *,
        machines: Placement,
        endings: Endings,
        quotas: Quotas,
        held_back: HeldBackJobs,
        accounts: Accounts,
    ) -> None:
        self.cluster, self.jobs, self.clock, self.rng = cluster, jobs, clock, rng
        self.machines, self.endings, self.quotas = machines, endings, quotas
        self.held_back, self.accounts = held_back, accounts
        self.by_start: list[list[int]] = [[] for _ in cluster.queues]
        """Jobs of whole nodes of each queue in order of their last start; some have ended since."""
        self._running = 0

    def start(self, job: int) -> bool:
        """Take the accelerators if all are free at once; says whether they were."""
        jobs, machines = self.jobs, self.machines
        size = jobs.size[job]
        nodes = machines.nodes_for(size)
        held = machines.take_nodes(nodes) if nodes else machines.take_part(size)
        if held is None:
            return False
        jobs.held[job] = held
        self._changed(size, jobs.queue[job])
        self._running += 1
        if not jobs.started(job):
            self._first_start(job)
        if isinstance(held, list) and len(held) > math.ceil(nodes / machines.largest):
            self.accounts.across_pods += 1
            jobs.left[job] *= 1 + self.cluster.across_pods_slowdown
        if nodes:
            self._remember(job, jobs.queue[job])
        self.begin(job)
        return True

    def begin(self, job: int) -> None:
        """The job, whose accelerators are taken, begins now."""
        self.jobs.begun[job] = self.clock.progress
        self.endings.push(job)

    def release(self, job: int) -> None:
        """Give the job's accelerators back."""
        held = self.jobs.held[job]
        assert held is not None
        self.machines.give_back(held, self.jobs.size[job])
        self.jobs.held[job] = None
        self._running -= 1
        self._changed(-self.jobs.size[job], self.jobs.queue[job])

    def interrupt(self, job: int) -> None:
        """Keep what was safe when the job stopped; book the rest as lost."""
        jobs, since = self.jobs, self.clock.progress - self.jobs.begun[job]
        ran = max(since - jobs.warm_up[job], 0.0)
        lost = min(ran, self.cluster.checkpoint_interval * float(self.rng.random()))
        overhead = min(jobs.warm_up[job], since)
        jobs.left[job] -= ran - lost
        self.accounts.lost += (lost + overhead) * jobs.size[job]

    def _first_start(self, job: int) -> None:
        delay, sigma = self.cluster.start_seconds
        if delay:
            delay *= math.exp(sigma * self.rng.standard_normal())
        self.jobs.first_start[job] = self.clock.now + delay
        self.jobs.warm_up[job] = delay
        self.held_back.release(job)

    def _changed(self, by: int, queue: int) -> None:
        self.accounts.changed(by, self.clock.now)
        self.quotas.used[queue] += by

    def _remember(self, job: int, queue: int) -> None:
        started = self.by_start[queue]
        started.append(job)
        if len(started) > 2 * self._running + 100:
            held = self.jobs.held
            self.by_start[queue] = [each for each in started if held[each] is not None]
