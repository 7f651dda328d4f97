"""Many jobs on one fleet: queues with quotas, gangs, backfill, preemption, pods, failures and a power cap.

A job starts when all its accelerators are free at once (gang). Within a queue jobs start in order of arrival; when the
first does not fit, its start is reserved, and a later one may go before it only if that does not delay it (EASY
backfill). A queue may use what another leaves idle; when the owner wants it back, the youngest of the borrowed jobs
are preempted. Jobs move in *progress time*, which runs slower than the wall clock while the fleet is throttled.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from ayllu.fleet.simulate.cluster.placement import Held, Placement
from ayllu.fleet.simulate.cluster.power import PowerModel
from ayllu.fleet.simulate.job_trace import DAY, HOUR, Jobs
from ayllu.fleet.simulate.run import restart_seconds
from ayllu.lab.error import UserError
from ayllu.lab.progress import Bar


@dataclass(frozen=True, kw_only=True)
class Queue:
    """Who may use how much."""

    name: str
    priority: int
    """Higher goes first."""
    quota: float
    """Part of the fleet that is the queue's own."""
    borrows: bool = True
    """Whether it may use what others leave idle."""
    preempts: bool = False
    """Whether it takes its quota back from those who borrowed."""


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """The machines and the rules. Raises UserError on figures that cannot be."""

    accelerators: int
    queues: tuple[Queue, ...]
    accelerators_per_node: int = 8
    nodes_per_pod: int = 384
    """Nodes with full bandwidth between them (Llama 3: 3,072 GPUs)."""
    failures_per_1000_node_days: float = 3.8
    drain_share: float = 0.37
    """Failures after which the node leaves for repair (Unicron)."""
    repair_days: float = 3.0
    find_seconds: float = 330.0
    """Mean time to find a failure (see run.Recovery)."""
    checkpoint_interval: float = 600.0
    """A failed or preempted job loses half of it on average."""
    preempt_after: float = 2 * HOUR
    """A job is preempted only after so long (Meta's research clusters: 2 hours)."""
    across_pods_slowdown: float = 0.03
    """Longer times of a job that spans more pods than it must (assumption)."""
    start_seconds: tuple[float, float] = (0.0, 0.0)
    """Median and log-normal sigma of the time between the decision to start a job and its start."""
    power: PowerModel = field(default_factory=PowerModel)
    power_cap_mw: float | None = None
    power_cap_swing: float = 0.0
    """Part by which the cap falls in the evening, when the grid is short."""
    diurnal_swing: float = 0.01
    """Part by which the speed changes over a day (Llama 3: 1 to 2 % from noon to night)."""

    def __post_init__(self) -> None:
        if self.accelerators < self.accelerators_per_node or self.nodes_per_pod < 1:
            raise UserError(
                f"fleet: {self.accelerators} accelerators are less than one node of {self.accelerators_per_node}"
            )
        if not self.queues or sum(queue.quota for queue in self.queues) > 1 + 1e-9:
            raise UserError("fleet: the quotas of the queues must add up to at most 1")
        if any(queue.quota < 0 for queue in self.queues) or self.failures_per_1000_node_days < 0:
            raise UserError("fleet: quotas and failure rates must not be negative")


@dataclass(frozen=True, kw_only=True)
class Year:
    """What happened, hour by hour and job by job."""

    hours: dict[str, np.ndarray]
    """Means over each hour: utilisation, goodput, waiting (jobs), failures, power_mw, speed, and busy_<queue>."""
    wait: np.ndarray
    """Seconds from submission to the first start, one for each job; NaN when it never started."""
    jobs: Jobs
    finished: int
    failures: int
    preemptions: int
    across_pods: int
    """Jobs that span more pods than they must."""

    @property
    def started(self) -> np.ndarray:
        """The waits of the jobs that started."""
        return self.wait[~np.isnan(self.wait)]


class ClusterSimulation:
    """One fleet, its jobs, and the state between events."""

    def __init__(self, fleet: Fleet, jobs: Jobs, days: float, seed: int) -> None:
        self.fleet, self.jobs, self.horizon = fleet, jobs, days * DAY
        self.rng = np.random.default_rng(seed)
        self.place = Placement(
            fleet.accelerators // fleet.accelerators_per_node, fleet.nodes_per_pod, fleet.accelerators_per_node
        )
        self.total = self.place.nodes * fleet.accelerators_per_node
        count = len(jobs)
        self.size: list[int] = jobs.accelerators.tolist()
        self.left: list[float] = jobs.work.tolist()
        self.work: list[float] = list(self.left)
        self.arrive: list[float] = jobs.arrive.tolist()
        self.queue_of: list[int] = jobs.queue.tolist()
        self.begun = [0.0] * count
        self.warm = [0.0] * count
        self.epoch = [0] * count
        self.held: list[Held | None] = [None] * count
        self.first = [math.nan] * count
        self.ends: list[tuple[float, int, int, bool]] = []
        self.repairs: list[tuple[float, int]] = []
        self.waiting: list[dict[int, deque[int]]] = [{} for _ in fleet.queues]
        self.waiting_jobs = 0
        self.order = sorted(range(len(fleet.queues)), key=lambda q: -fleet.queues[q].priority)
        self.used = [0] * len(fleet.queues)
        self.quota = [int(queue.quota * self.total) for queue in fleet.queues]
        self.recent: list[list[int]] = [[] for _ in fleet.queues]
        self.busy, self.running = 0, 0
        self.now, self.progress, self.speed = 0.0, 0.0, 1.0
        self.area_since, self.area = 0.0, 0.0
        self.lost = 0.0
        self.finished = self.failures = self.preemptions = self.across = 0
        self.reserved: tuple[int, float, int] | None = None
        self.free_at_last_look = 0
        self.after: list[int] = [-1] * count if jobs.after is None else jobs.after.tolist()
        self.held_back: dict[int, list[int]] = {}
        self.released: deque[int] = deque()
        self.strict_quotas = not all(queue.borrows for queue in fleet.queues)
        self._exponentials: list[float] = []
        per_node = fleet.failures_per_1000_node_days / 1000 / DAY
        self.hazard = per_node / fleet.accelerators_per_node
        self.rows: list[tuple[float, ...]] = []

    def run(self, progress: Bar | None = None) -> Year:
        """Go from event to event until the time is over."""
        arrive, count, upcoming = self.arrive, len(self.arrive), 0
        ends, tick = self.ends, HOUR
        while True:
            next_arrival = arrive[upcoming] if upcoming < count else math.inf
            next_end = self.now + (ends[0][0] - self.progress) / self.speed if ends else math.inf
            if next_arrival <= next_end and next_arrival <= tick:
                self._advance(next_arrival)
                self._arrive(upcoming)
                upcoming += 1
            elif next_end <= tick:
                self._advance(next_end)
                self._end()
                self._submit_released()
            else:
                self._advance(tick)
                self._hour()
                self._submit_released()
                if progress is not None:
                    progress.advance(HOUR / DAY)
                if tick >= self.horizon:
                    break
                tick += HOUR
        return self._year()

    def _advance(self, to: float) -> None:
        if to > self.now:
            self.progress += (to - self.now) * self.speed
            self.now = to

    def _changed(self, by: int, queue: int) -> None:
        """The number of busy accelerators changes: book the area until now."""
        self.area += self.busy * (self.now - self.area_since)
        self.area_since = self.now
        self.busy += by
        self.used[queue] += by

    def _arrive(self, job: int) -> None:
        """Submit the job, or hold it back until the one before it has started."""
        before = self.after[job]
        if before >= 0 and self.first[before] != self.first[before]:
            self.held_back.setdefault(before, []).append(job)
        else:
            self._submit(job)
        self._submit_released()

    def _submit_released(self) -> None:
        while self.released:
            job = self.released.popleft()
            self.arrive[job] = self.now
            self._submit(job)

    def _submit(self, job: int) -> None:
        queue, size = self.queue_of[job], self.size[job]
        line = self.waiting[queue].get(size)
        # Whoever stands behind others of his size waits for their turn. For the first of a size it is decided now, and
        # for him alone: nothing became free, so the others wait on.
        if line is None and self._try(job, queue, size):
            return
        if line is None:
            line = self.waiting[queue][size] = deque()
        line.append(job)
        self.waiting_jobs += 1

    def _allowed(self, queue: int, size: int) -> bool:
        return self.fleet.queues[queue].borrows or self.used[queue] + size <= self.quota[queue]

    def _start(self, job: int) -> bool:
        """Take the accelerators if all are free at once."""
        size, place = self.size[job], self.place
        whole = place.nodes_for(size)
        held = place.take_nodes(whole) if whole else place.take_part(size)
        if held is None:
            return False
        self.held[job] = held
        queue = self.queue_of[job]
        self._changed(size, queue)
        self.running += 1
        if self.first[job] != self.first[job]:
            delay, sigma = self.fleet.start_seconds
            if delay:
                delay *= math.exp(sigma * self.rng.standard_normal())
            self.first[job] = self.now + delay
            self.warm[job] = delay
            if job in self.held_back:
                self.released.extend(self.held_back.pop(job))
        if isinstance(held, list) and len(held) > math.ceil(whole / place.largest):
            self.across += 1
            self.left[job] *= 1 + self.fleet.across_pods_slowdown
        self.begun[job] = self.progress
        if whole:
            recent = self.recent[queue]
            recent.append(job)
            if len(recent) > 2 * self.running + 100:
                self.recent[queue] = [j for j in recent if self.held[j] is not None]
        self._push(job)
        return True

    def _push(self, job: int) -> None:
        """Put the job's next event on the heap: its end, or the failure that comes before."""
        need = self.warm[job] + self.left[job]
        if not self._exponentials:
            self._exponentials = self.rng.standard_exponential(65_536).tolist()
        fails = self._exponentials.pop() / (self.hazard * self.size[job]) if self.hazard else math.inf
        self.epoch[job] += 1
        heapq.heappush(self.ends, (self.progress + min(need, fails), job, self.epoch[job], fails < need))

    def _end(self) -> None:
        _, job, epoch, failed = heapq.heappop(self.ends)
        if epoch != self.epoch[job] or self.held[job] is None:
            return
        if failed:
            self._fail(job)
            return
        self._release(job)
        self.finished += 1
        if self.waiting_jobs and self._worth_a_look(self.size[job]):
            self._schedule()

    def _release(self, job: int) -> None:
        held = self.held[job]
        assert held is not None
        self.place.give_back(held, self.size[job])
        self.held[job] = None
        self.running -= 1
        self._changed(-self.size[job], self.queue_of[job])

    def _lose(self, job: int) -> None:
        """Keep what was safe when the job stopped; book the rest as lost."""
        ran = max(self.progress - self.begun[job] - self.warm[job], 0.0)
        lost = min(ran, self.fleet.checkpoint_interval * float(self.rng.random()))
        overhead = min(self.warm[job], self.progress - self.begun[job])
        self.left[job] -= ran - lost
        self.lost += (lost + overhead) * self.size[job]

    def _fail(self, job: int) -> None:
        self.failures += 1
        self._lose(job)
        held, rng, fleet = self.held[job], self.rng, self.fleet
        in_place = True
        if isinstance(held, (int, list)) and rng.random() < fleet.drain_share:
            pod = held if isinstance(held, int) else held[0][0]
            taken = self.place.lose_node(pod)
            back = self.now + fleet.repair_days * DAY * float(rng.lognormal(0, 1))
            if taken >= 0:
                heapq.heappush(self.repairs, (back, taken))
            else:
                # No healthy node is free: the job gives all back, one goes to repair, and it waits for its turn.
                self._release(job)
                heapq.heappush(self.repairs, (back, self.place.lose_node(pod)))
                in_place = False
        self.warm[job] = fleet.find_seconds + restart_seconds(self.size[job])
        if in_place:
            self.begun[job] = self.progress
            self._push(job)
        else:
            self._requeue(job)
            self._schedule()

    def _requeue(self, job: int) -> None:
        self.waiting[self.queue_of[job]].setdefault(self.size[job], deque()).appendleft(job)
        self.waiting_jobs += 1

    def _worth_a_look(self, freed: int) -> bool:
        """Whether the end of a job can let another start: nodes became free, or parts that a small job waits for."""
        if self.place.free_nodes > self.free_at_last_look or self.strict_quotas:
            return True
        if self.reserved is not None and self.now >= self.reserved[1]:
            return True
        per_node = self.fleet.accelerators_per_node
        return freed < per_node and any(size < per_node for line in self.waiting for size in line)

    def _schedule(self) -> None:
        """Start what may start: queues by priority, within a queue by arrival, with one reservation."""
        if self.reserved is not None and (self.held[self.reserved[0]] is not None or self.now >= self.reserved[1]):
            self.reserved = None
        place, per_node = self.place, self.fleet.accelerators_per_node
        for queue in self.order:
            classes = self.waiting[queue]
            if not classes:
                continue
            preempts = self.fleet.queues[queue].preempts
            heads = [(self.arrive[line[0]], size) for size, line in classes.items()]
            heapq.heapify(heads)
            while heads:
                size = heads[0][1]
                hopeless = size > place.free_nodes * per_node and size >= per_node
                if hopeless and not preempts and self.reserved is not None:
                    heapq.heappop(heads)
                    continue
                line = classes[size]
                if not self._try(line[0], queue, size):
                    heapq.heappop(heads)
                    continue
                line.popleft()
                self.waiting_jobs -= 1
                if line:
                    heapq.heapreplace(heads, (self.arrive[line[0]], size))
                else:
                    del classes[size]
                    heapq.heappop(heads)
        self.free_at_last_look = place.free_nodes

    def _try(self, job: int, queue: int, size: int) -> bool:
        """Start the job if the quota, the reservation and the free accelerators allow it; else reserve or preempt."""
        if not self._allowed(queue, size):
            return False
        whole = self.place.nodes_for(size)
        reserved = self.reserved
        if reserved is not None and reserved[0] != job and whole:
            if whole > self.place.free_nodes and not self.fleet.queues[queue].preempts:
                return False
            _, shadow, extra = reserved
            if self.now + self.work[job] + self.warm[job] > shadow:
                if whole > extra:
                    return False
                reserved = (reserved[0], shadow, extra - whole)
        if self._start(job) or (self._make_room(queue, size, whole) and self._start(job)):
            self.reserved = None if reserved is not None and reserved[0] == job else reserved
            return True
        if self.reserved is None and whole:
            self.reserved = self._reserve(job, whole)
        return False

    def _make_room(self, queue: int, size: int, whole: int) -> bool:
        """Preempt the youngest jobs of queues above their quota, if the owner is within its own."""
        if not self.fleet.queues[queue].preempts or not whole or self.used[queue] + size > self.quota[queue]:
            return False
        need = whole - self.place.free_nodes
        borrowed = sum(max(self.used[q] - self.quota[q], 0) for q in self.order if q != queue)
        if need > borrowed // self.fleet.accelerators_per_node:
            return False
        chosen: list[int] = []
        for other in reversed(self.order):
            surplus = self.used[other] - self.quota[other]
            if other == queue or surplus <= 0:
                continue
            for job in reversed(self.recent[other]):
                if need <= 0 or surplus <= 0:
                    break
                if self.held[job] is None or job in chosen:
                    continue
                if self.progress - self.begun[job] < self.fleet.preempt_after:
                    continue
                chosen.append(job)
                surplus -= self.size[job]
                need -= self.place.nodes_for(self.size[job])
        if need > 0:
            return False
        for job in chosen:
            self._lose(job)
            self._release(job)
            self.epoch[job] += 1
            self.warm[job] = restart_seconds(self.size[job])
            self._requeue(job)
            self.preemptions += 1
        return True

    def _reserve(self, job: int, whole: int) -> tuple[int, float, int]:
        """When the job can start if nothing ends before its time, and how many nodes are left over then."""
        free = self.place.free_nodes
        per_node = self.fleet.accelerators_per_node
        for end, other, epoch, _ in heapq.nsmallest(4096, self.ends):
            if epoch == self.epoch[other] and self.held[other] is not None and self.size[other] >= per_node:
                free += -(-self.size[other] // per_node)
                if free >= whole:
                    return job, self.now + (end - self.progress) / self.speed, free - whole
        return job, self.now + DAY, 0

    def _hour(self) -> None:
        """Once an hour: repairs come back, the power cap is applied, and the hour is written down."""
        while self.repairs and self.repairs[0][0] <= self.now:
            _, pod = heapq.heappop(self.repairs)
            self.place.regain_node(pod)
        self._changed(0, 0)
        busy = self.area / HOUR
        down = len(self.repairs) * self.fleet.accelerators_per_node
        idle = max(self.total - down - busy, 0.0)
        hour = self.now / HOUR
        cap = self._cap(hour)
        power = self.fleet.power.fleet(busy, idle)
        row = (busy, self.lost, float(self.waiting_jobs), float(self.failures), min(power, cap), self.speed, *self.used)
        self.rows.append(row)
        self.area = 0.0
        # Heat slows by day and quickens by night; the cap slows everyone alike.
        heat = 1 - self.fleet.diurnal_swing * (1 + math.sin(2 * math.pi * (hour % 24 - 9) / 24)) / 2
        self.speed = heat * self.fleet.power.speed_under_cap(busy, idle, cap)
        if self.waiting_jobs:
            self._schedule()

    def _cap(self, hour: float) -> float:
        if self.fleet.power_cap_mw is None:
            return math.inf
        evening = max(math.sin(2 * math.pi * (hour % 24 - 13) / 24), 0.0)
        return self.fleet.power_cap_mw * (1 - self.fleet.power_cap_swing * evening)

    def _year(self) -> Year:
        table = np.array(self.rows)
        busy, lost, waiting, failures, power, speed = table[:, :6].T
        lost = np.diff(lost, prepend=0.0) / HOUR
        hours = {
            "utilisation": busy / self.total,
            "goodput": np.maximum(busy - lost, 0) * speed / self.total,
            "waiting": waiting,
            "failures": np.diff(failures, prepend=0.0),
            "power_mw": power,
            "speed": speed,
        }
        for index, queue in enumerate(self.fleet.queues):
            hours[f"busy_{queue.name}"] = table[:, 6 + index] / self.total
        return Year(
            hours=hours,
            wait=np.array(self.first) - np.array(self.arrive),
            jobs=self.jobs,
            finished=self.finished,
            failures=self.failures,
            preemptions=self.preemptions,
            across_pods=self.across,
        )


def simulate_fleet(fleet: Fleet, jobs: Jobs, *, days: float, seed: int = 0, progress: Bar | None = None) -> Year:
    """Let `jobs` run on `fleet` for `days` days. Raises UserError when a job is larger than the fleet."""
    if len(jobs) and int(jobs.accelerators.max()) > fleet.accelerators:
        raise UserError(
            f"a job of {int(jobs.accelerators.max())} accelerators can never start on a fleet of {fleet.accelerators}"
        )
    if any(later < earlier for earlier, later in pairwise(jobs.arrive[:1000])):
        raise UserError("jobs must be in order of arrival")
    return ClusterSimulation(fleet, jobs, days, seed).run(progress)
