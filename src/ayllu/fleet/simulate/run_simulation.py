"""Live through a training run from one event to the next: it computes, saves, breaks, is found broken, starts again."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np

from ayllu.fleet.simulate import libm
from ayllu.fleet.simulate.failures import DAY, Cause, Failure, FailureStream
from ayllu.fleet.simulate.training_run import HOUR, TrainingRun, restart_seconds


@dataclass(frozen=True, kw_only=True)
class RunOutcome:
    """What one run went through. Times in seconds; `hours` says where the wall clock went."""

    unexpected_interruptions: int
    planned_interruptions: int
    effective_training_time: float
    """Part of the wall clock that trained and was kept."""
    goodput: float
    """The same, weighted by speed: stragglers, degraded links, missing replicas and the day's swing."""
    mean_time_to_failure: float
    """Wall clock over unexpected interruptions, seconds."""
    by_cause: dict[str, int]
    hours: dict[str, float]
    """training, checkpoint, lost, detection and diagnosis, restart, waiting for a node, planned."""
    interruptions_at: list[float]
    """When the unexpected interruptions came, in days."""


class _RunSimulation:
    """The state of one run while it is simulated."""

    def __init__(self, run: TrainingRun, seed: int) -> None:
        self.run = run
        # Failures have a source of chance of their own, so that two policies with one seed meet the same failures.
        self.rng = np.random.default_rng([seed, 1])
        self.horizon = run.days * DAY
        self.stream = FailureStream(run.hazard, run.nodes, self.horizon, np.random.default_rng([seed, 0]))
        self.spares = run.spare_nodes
        self.repairs: list[float] = []
        self.missing = 0
        self.missing_seconds = 0.0
        self.manual_share = self.rng.uniform(0, run.recovery.manual_share_at_most)
        self.restart = run.restart
        stops = self.rng.poisson(run.planned_per_day * run.days)
        self.planned = sorted(self.rng.uniform(0, self.horizon, stops).tolist(), reverse=True)
        self.spent: defaultdict[str, float] = defaultdict(float)
        self.by_cause: Counter[str] = Counter()
        self.at: list[float] = []

    def live(self) -> RunOutcome:
        """Go through the whole time, event by event."""
        now, planned = 0.0, 0
        while now < self.horizon:
            due = max(self.planned[-1], now) if self.planned else self.horizon
            until = min(self.stream.peek(), due, self.horizon)
            self._train(until - now)
            if until >= self.horizon:
                break
            if self.stream.peek() <= until:
                failure = self._take()
                self._lose(failure.cause, until - now)
                now = self._recover(until, self._phases(failure))
            else:
                self.planned.pop()
                planned += 1
                # A planned stop saves first, so nothing is lost.
                now = self._recover(until, [("planned", self.run.checkpointing.save + self.restart)])
        return self._outcome(planned)

    def _train(self, running: float) -> None:
        useful = self.run.checkpointing.useful(running)
        self.spent["training"] += useful
        self.spent["checkpoint"] += running - useful
        self.missing_seconds += running * self.missing

    def _take(self) -> Failure:
        failure = self.stream.pop()
        self.by_cause[failure.cause.name] += 1
        self.at.append(failure.time / DAY)
        return failure

    def _recover(self, now: float, phases: list[tuple[str, float]]) -> float:
        """Go through the phases from `now` on; a failure that strikes meanwhile makes them begin again."""
        while True:
            end = now + sum(seconds for _, seconds in phases)
            struck = self.stream.peek()
            stop = min(struck, end, self.horizon)
            for name, seconds in phases:
                booked = min(seconds, stop - now)
                self.spent[name] += booked
                now += booked
            if stop < struck:
                return stop
            phases = self._phases(self._take())

    def _lose(self, cause: Cause, trained: float) -> None:
        """Training since the last good checkpoint is lost, unless other replicas hold it."""
        silent = cause.signal == "silent"
        if self.run.replicas > 1 and not silent:
            return
        lost = self.run.checkpointing.lost(trained, silent, self.rng)
        if silent:
            lost += float(self.rng.exponential(self.run.recovery.silent_latency))
        useful = self.run.checkpointing.useful(lost)
        self.spent["training"] -= useful
        self.spent["lost"] += useful

    def _phases(self, failure: Failure) -> list[tuple[str, float]]:
        """What stands between a failure and training, in order; puts another node in the place when it must."""
        run, recovery = self.run, self.run.recovery
        waiting = self._swap(failure)
        if run.replicas > 1:
            # The replica comes back after a cold recovery of its own size, while the others already train.
            alone = restart_seconds(run.accelerators // run.replicas) + self._finding(failure.cause)
            self.missing_seconds += alone * run.nodes / run.replicas
        if recovery.stall is not None:
            return [("restart", recovery.stall)]
        return [
            ("detection and diagnosis", self._finding(failure.cause)),
            ("waiting for a node", waiting),
            ("restart", self.restart),
        ]

    def _finding(self, cause: Cause) -> float:
        recovery, rng = self.run.recovery, self.rng
        if rng.random() < self.manual_share:
            return recovery.manual
        if recovery.inspected_share and rng.random() < recovery.inspected_share:
            return float(rng.uniform(*recovery.detect))
        diagnosed = float(rng.uniform(0, recovery.diagnose_at_most))
        if cause.signal == "hang":
            return recovery.hang_timeout + diagnosed
        return max(float(rng.uniform(*recovery.detect)), diagnosed)

    def _swap(self, failure: Failure) -> float:
        """Seconds until a healthy node stands in the place."""
        now, slot, cause, run = failure.time, failure.slot, failure.cause, self.run
        self._bring_back_repaired(now)
        lemon = run.lemon_after is not None and self.stream.count[slot] >= run.lemon_after
        if not (cause.drains or lemon):
            return 0.0
        was_lemon = bool(self.stream.lemon[slot]) and not lemon
        back = now + run.repair_days * DAY * float(self.rng.lognormal(0, 1))
        heapq.heappush(self.repairs, back)
        waiting = 0.0
        if self.spares:
            self.spares -= 1
        elif run.elastic or run.replicas > 1:
            self.missing += 1
        else:
            waiting = max(heapq.heappop(self.repairs) - now, 0.0)
        # Lemons pass repair without a finding (that is what makes them lemons), so their share stays as it was.
        stays = was_lemon and run.lemon_after is None
        self.stream.replace(slot, now, lemon=stays)
        return waiting

    def _bring_back_repaired(self, now: float) -> None:
        """Repaired nodes fill the job's gaps, then wait as spares."""
        while self.repairs and self.repairs[0] <= now:
            heapq.heappop(self.repairs)
            if self.missing:
                self.missing -= 1
            else:
                self.spares += 1

    def _outcome(self, planned: int) -> RunOutcome:
        run, wall = self.run, self.horizon
        kept = max(self.spent["training"], 0.0) / wall
        events = self.rng.poisson(run.degraded_per_1000_node_days * run.nodes * run.days / 1000)
        slow = float(self.rng.exponential(run.degraded_hours * HOUR, events).sum()) / wall
        present = 1 - self.missing_seconds / (wall * run.nodes)
        speed = present * (1 - run.straggler_loss) * (1 - run.degraded_loss * min(slow, 1.0))
        if run.diurnal_swing:
            hours = np.arange(0, wall / HOUR)
            speed *= float(np.mean(1 + run.diurnal_swing * libm.sin(2 * np.pi * hours / 24)))
        failures = sum(self.by_cause.values())
        return RunOutcome(
            unexpected_interruptions=failures,
            planned_interruptions=planned,
            effective_training_time=kept,
            goodput=kept * speed,
            mean_time_to_failure=wall / failures if failures else wall,
            by_cause=dict(self.by_cause.most_common()),
            hours={name: round(seconds / HOUR, 2) for name, seconds in self.spent.items()},
            interruptions_at=self.at,
        )


def simulate_run(run: TrainingRun, seed: int) -> RunOutcome:
    """Live through `run` once. The same seed gives the same outcome."""
    return _RunSimulation(run, seed).live()
