"""Many jobs on one cluster: from event to event, until the time is over.

A job starts when all its accelerators are free at once (`gangs`), in the order that `scheduler` finds, and runs in
*progress time* (`clock`), which is slower than the wall clock while the cluster is throttled (`power`).
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from ayllu.fleet.simulate.cluster.accounts import Accounts, ClusterOutcome
from ayllu.fleet.simulate.cluster.clock import Clock
from ayllu.fleet.simulate.cluster.config import Cluster
from ayllu.fleet.simulate.cluster.endings import Endings
from ayllu.fleet.simulate.cluster.failures import NodeFailures
from ayllu.fleet.simulate.cluster.gangs import Gangs
from ayllu.fleet.simulate.cluster.job_states import JobStates
from ayllu.fleet.simulate.cluster.placement import Placement
from ayllu.fleet.simulate.cluster.power import Throttle
from ayllu.fleet.simulate.cluster.queues import HeldBackJobs, Quotas, WaitingLines
from ayllu.fleet.simulate.cluster.scheduler import GangScheduler
from ayllu.fleet.simulate.job_trace import DAY, HOUR, JobTrace
from ayllu.fleet.simulate.training_run import restart_seconds
from ayllu.lab.error import UserError
from ayllu.lab.progress import Bar


class ClusterSimulation:
    """A cluster, its jobs, and the parts that decide what happens to them."""

    def __init__(self, cluster: Cluster, trace: JobTrace, days: float, seed: int) -> None:
        rng = np.random.default_rng(seed)
        nodes = cluster.accelerators // cluster.accelerators_per_node
        self.cluster, self.trace, self.horizon = cluster, trace, days * DAY
        self.total = nodes * cluster.accelerators_per_node
        self.clock, self.accounts, self.jobs = Clock(), Accounts(), JobStates(trace)
        self.machines = Placement(nodes, cluster.nodes_per_pod, cluster.accelerators_per_node)
        self.throttle = Throttle(
            cluster.power, cap_mw=cluster.power_cap_mw, cap_swing=cluster.power_cap_swing, heat=cluster.diurnal_swing
        )
        self.failures = NodeFailures(cluster, rng)
        self.endings = Endings(self.jobs, self.clock, self.failures)
        self.quotas = Quotas(cluster.queues, self.total)
        self.held_back = HeldBackJobs(trace, self.jobs)
        self.waiting = WaitingLines(len(cluster.queues), self.jobs)
        self.gangs = Gangs(
            cluster,
            self.jobs,
            self.clock,
            rng,
            machines=self.machines,
            endings=self.endings,
            quotas=self.quotas,
            held_back=self.held_back,
            accounts=self.accounts,
        )
        self.scheduler = GangScheduler(cluster, self.jobs, self.clock, self.gangs, self.waiting)

    def run(self, progress: Bar | None = None) -> ClusterOutcome:
        """Go from event to event: jobs arrive and end, and once an hour the books are closed."""
        arrivals, upcoming, tick = self.jobs.submitted, 0, HOUR
        clock, endings = self.clock, self.endings
        while True:
            arrival = arrivals[upcoming] if upcoming < len(arrivals) else math.inf
            end = endings.next()
            if arrival <= end and arrival <= tick:
                clock.advance(arrival)
                self._arrive(upcoming)
                upcoming += 1
            elif end <= tick:
                clock.advance(end)
                self._end()
                self._submit_released()
            else:
                clock.advance(tick)
                self._hour()
                self._submit_released()
                if progress is not None:
                    progress.advance(HOUR / DAY)
                if tick >= self.horizon:
                    break
                tick += HOUR
        return self.accounts.outcome(self.trace, self.jobs, self.cluster.queues, self.total)

    def _arrive(self, job: int) -> None:
        """Submit the job, or hold it back until the one before it has started."""
        if not self.held_back.hold(job):
            self.scheduler.submit(job)
        self._submit_released()

    def _submit_released(self) -> None:
        released = self.held_back.released
        while released:
            job = released.popleft()
            self.jobs.submitted[job] = self.clock.now
            self.scheduler.submit(job)

    def _end(self) -> None:
        ended = self.endings.pop()
        if ended is None:
            return
        job, failed = ended
        if failed:
            self._fail(job)
            return
        self.gangs.release(job)
        self.accounts.finished += 1
        self.scheduler.freed(self.jobs.size[job])

    def _fail(self, job: int) -> None:
        """A node of the job breaks: the job goes on in its place, or waits where no healthy node can replace it."""
        self.accounts.failures += 1
        self.gangs.interrupt(job)
        in_place = self._replace_node(job)
        self.jobs.warm_up[job] = self.cluster.find_seconds + restart_seconds(self.jobs.size[job])
        if in_place:
            self.gangs.begin(job)
        else:
            self.waiting.put_back(job)
            self.scheduler.schedule()

    def _replace_node(self, job: int) -> bool:
        """Send the broken node to repair where it must; says whether the job keeps its place."""
        held = self.jobs.held[job]
        if not isinstance(held, (int, list)) or not self.failures.drains():
            return True
        pod = held if isinstance(held, int) else held[0][0]
        taken = self.machines.lose_node(pod)
        back = self.failures.repaired_at(self.clock.now)
        if taken >= 0:
            self.failures.repair(back, taken)
            return True
        # No healthy node is free: the job gives all back, one goes to repair, and it waits for its turn.
        self.gangs.release(job)
        self.failures.repair(back, self.machines.lose_node(pod))
        return False

    def _hour(self) -> None:
        """Once an hour: repairs come back, the hour is written down, and the power cap is applied to the next."""
        for pod in self.failures.repaired(self.clock.now):
            self.machines.regain_node(pod)
        busy = self.accounts.mean_busy(self.clock.now)
        down = self.failures.nodes_in_repair * self.cluster.accelerators_per_node
        idle = max(self.total - down - busy, 0.0)
        hour = self.clock.now / HOUR
        self.accounts.close_hour(
            busy=busy,
            waiting=self.waiting.count,
            power_mw=self.throttle.power(hour, busy, idle),
            speed=self.clock.speed,
            used=self.quotas.used,
        )
        self.clock.speed = self.throttle.speed(hour, busy, idle)
        if self.waiting.count:
            self.scheduler.schedule()


def simulate_cluster(
    cluster: Cluster, trace: JobTrace, *, days: float, seed: int = 0, progress: Bar | None = None
) -> ClusterOutcome:
    """Let the jobs of `trace` run on `cluster` for `days` days. Raises UserError when a job is larger than that."""
    if len(trace) and int(trace.accelerators.max()) > cluster.accelerators:
        raise UserError(
            f"a job of {int(trace.accelerators.max())} accelerators can never start on a cluster of "
            f"{cluster.accelerators}"
        )
    if any(later < earlier for earlier, later in pairwise(trace.arrive[:1000])):
        raise UserError("jobs must be in order of arrival")
    return ClusterSimulation(cluster, trace, days, seed).run(progress)
