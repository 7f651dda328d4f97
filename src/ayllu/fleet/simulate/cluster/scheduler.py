"""Which job starts next: queues by priority, within a queue by arrival, with EASY backfill and preemption.

When the first job of a queue does not fit, its start is reserved, and a later one may go before it only if that does
not delay it. A queue that may preempt takes its quota back from the youngest of the jobs that borrowed.
"""

from __future__ import annotations

import heapq
from typing import NamedTuple

from ayllu.fleet.simulate.cluster.clock import Clock
from ayllu.fleet.simulate.cluster.config import Cluster
from ayllu.fleet.simulate.cluster.gangs import Gangs
from ayllu.fleet.simulate.cluster.job_states import JobStates
from ayllu.fleet.simulate.cluster.queues import WaitingLines
from ayllu.fleet.simulate.job_trace import DAY
from ayllu.fleet.simulate.training_run import restart_seconds


class Reservation(NamedTuple):
    """The start that a gang was promised."""

    job: int
    start: float
    """By the wall clock, if nothing ends before its time."""
    spare_nodes: int
    """Nodes that it leaves free then."""


class GangScheduler:
    """Starts jobs that wait, one reservation at a time."""

    def __init__(self, cluster: Cluster, jobs: JobStates, clock: Clock, gangs: Gangs, waiting: WaitingLines) -> None:
        self.jobs, self.clock, self.gangs, self.waiting = jobs, clock, gangs, waiting
        self.machines, self.quotas = gangs.machines, gangs.quotas
        self.per_node, self.preempt_after = cluster.accelerators_per_node, cluster.preempt_after
        self.preempts = [queue.preempts for queue in cluster.queues]
        self.order = sorted(range(len(cluster.queues)), key=lambda queue: -cluster.queues[queue].priority)
        self.reservation: Reservation | None = None
        self._free_at_last_look = 0

    def submit(self, job: int) -> None:
        """Start the job, or let it wait."""
        queue, size = self.jobs.queue[job], self.jobs.size[job]
        # Whoever stands behind others of his size waits for their turn. For the first of a size it is decided now, and
        # for him alone: nothing became free, so the others wait on.
        if size in self.waiting.lines[queue] or not self._try(job, queue, size):
            self.waiting.append(job)

    def freed(self, accelerators: int) -> None:
        """A job of that size has ended: start what waits for its place."""
        if self.waiting.count and self._worth_a_look(accelerators):
            self.schedule()

    def schedule(self) -> None:
        """Start all that may start."""
        reserved = self.reservation
        if reserved is not None and (self.jobs.held[reserved.job] is not None or self.clock.now >= reserved.start):
            self.reservation = None
        for queue in self.order:
            if self.waiting.lines[queue]:
                self._serve(queue)
        self._free_at_last_look = self.machines.free_nodes

    def _worth_a_look(self, freed: int) -> bool:
        """Whether the end of a job can let another start: nodes became free, or parts that a small job waits for."""
        if self.machines.free_nodes > self._free_at_last_look or self.quotas.strict:
            return True
        if self.reservation is not None and self.clock.now >= self.reservation.start:
            return True
        return freed < self.per_node and self.waiting.any_below(self.per_node)

    def _serve(self, queue: int) -> None:
        """Start jobs of a queue; a size whose first job cannot start is done for this time."""
        submitted, lines = self.jobs.submitted, self.waiting.lines[queue]
        heads = [(submitted[line[0]], size) for size, line in lines.items()]
        heapq.heapify(heads)
        while heads:
            size = heads[0][1]
            if self._hopeless(queue, size) or not self._try(lines[size][0], queue, size):
                heapq.heappop(heads)
            elif (behind := self.waiting.pop(queue, size)) is not None:
                heapq.heapreplace(heads, (submitted[behind], size))
            else:
                heapq.heappop(heads)

    def _hopeless(self, queue: int, size: int) -> bool:
        """Whether a job of whole nodes can neither start nor preempt nor be promised a start."""
        return (
            size > self.machines.free_nodes * self.per_node
            and size >= self.per_node
            and not self.preempts[queue]
            and self.reservation is not None
        )

    def _try(self, job: int, queue: int, size: int) -> bool:
        """Start the job if the quota, the reservation and the free accelerators allow it; else reserve or preempt."""
        if not self.quotas.allows(queue, size):
            return False
        nodes, reserved = self.machines.nodes_for(size), self.reservation
        if reserved is not None and reserved.job != job and nodes:
            if nodes > self.machines.free_nodes and not self.preempts[queue]:
                return False
            if self.clock.now + self.jobs.work[job] + self.jobs.warm_up[job] > reserved.start:
                if nodes > reserved.spare_nodes:
                    return False
                reserved = reserved._replace(spare_nodes=reserved.spare_nodes - nodes)
        if self.gangs.start(job) or (self._make_room(queue, size, nodes) and self.gangs.start(job)):
            self.reservation = None if reserved is not None and reserved.job == job else reserved
            return True
        if self.reservation is None and nodes:
            self.reservation = self._reserve(job, nodes)
        return False

    def _reserve(self, job: int, nodes: int) -> Reservation:
        """The soonest start that the present endings allow, or in a day."""
        room = self.gangs.endings.room_for(nodes, self.machines.free_nodes, self.per_node)
        return Reservation(job, *(room or (self.clock.now + DAY, 0)))

    def _make_room(self, queue: int, size: int, nodes: int) -> bool:
        """Preempt for a gang of the queue; says whether it has room now."""
        if not self.preempts[queue] or not nodes or not self.quotas.owns(queue, size):
            return False
        need = nodes - self.machines.free_nodes
        borrowed = sum(max(self.quotas.borrowed(other), 0) for other in self.order if other != queue)
        if need > borrowed // self.per_node:
            return False
        chosen = self._youngest_borrowers(queue, need)
        for job in chosen or ():
            self.gangs.interrupt(job)
            self.gangs.release(job)
            self.jobs.epoch[job] += 1
            self.jobs.warm_up[job] = restart_seconds(self.jobs.size[job])
            self.waiting.put_back(job)
            self.gangs.accounts.preemptions += 1
        return chosen is not None

    def _youngest_borrowers(self, queue: int, need: int) -> list[int] | None:
        """Jobs of queues above their quota that hold `need` nodes, the youngest first; None where there are too few."""
        jobs, chosen = self.jobs, list[int]()
        for other in reversed(self.order):
            surplus = self.quotas.borrowed(other)
            if other == queue or surplus <= 0:
                continue
            for job in reversed(self.gangs.by_start[other]):
                if need <= 0 or surplus <= 0:
                    break
                if jobs.held[job] is None or job in chosen:
                    continue
                if self.clock.progress - jobs.begun[job] < self.preempt_after:
                    continue
                chosen.append(job)
                surplus -= jobs.size[job]
                need -= self.machines.nodes_for(jobs.size[job])
        return None if need > 0 else chosen
