"""One training job over several kinds of accelerators, and several jobs over the parts of a fleet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any

from ayllu.fleet.catalogue import Fleet, Pool
from ayllu.fleet.planner.plan import Plan, TrainingJob, plan
from ayllu.lab.error import UserError

GRADIENT_BYTES = 4
"""Bytes of a gradient when it is summed across kinds, each way."""
MOST_JOBS = 6
"""Every assignment is tried: more jobs than this would be too many."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one kind does of a common job."""

    pool: Pool
    plan: Plan
    sequences: int
    """Sequences of each step."""


@dataclass(frozen=True, kw_only=True)
class MultiPoolPlan:
    """One job over all kinds of a fleet."""

    shares: tuple[Share, ...]
    step_s: float
    exchange_s: float
    """Part of the step that sums gradients across kinds over the slower network."""
    gain: float
    """Tokens/s over those of the fastest kind alone, less 1."""
    alone: str
    """The fastest kind alone."""

    def as_json(self) -> dict[str, Any]:
        return {
            "step_s": self.step_s,
            "exchange_s": self.exchange_s,
            "gain": f"{100 * self.gain:+.0f} % tokens/s over {self.alone} alone",
            "gain_pct": 100 * self.gain,
            "shares": [
                {
                    "accelerator": share.pool.accelerator.id,
                    "count": share.pool.count,
                    "sequences": share.sequences,
                    "layout": dict(share.plan.best.layout.__dict__),
                    "step_s": share.plan.best.step_s,
                }
                for share in self.shares
            ],
        }


def across(job: TrainingJob, fleet: Fleet) -> MultiPoolPlan:
    """Give each kind replicas of its own, and of every step's batch what its speed earns.

    The step waits for the slower kind, and for the gradients to be summed over the slower network. Raises UserError
    when the job fits no kind."""
    alone = _plans(job, fleet)
    if not alone:
        raise UserError(f"plan: {job.name} fits none of the parts of fleet {fleet.name}")
    fastest = max(alone, key=lambda each: each.best.tokens_per_s)
    total = sum(each.best.tokens_per_s for each in alone)
    shares, left = [], job.global_batch
    for each in sorted(alone, key=lambda each: each.best.tokens_per_s):
        # Whole rounds of micro-batches for the slower kinds, what is left of the batch for the fastest.
        granule = each.best.layout.data_parallel * each.best.layout.micro_batch
        sequences = granule * round(job.global_batch * each.best.tokens_per_s / total / granule)
        sequences = left if each is fastest else min(sequences, left)
        left -= sequences
        if sequences:
            own = plan(replace(job, global_batch=sequences), each.pool, top=1)
            shares.append(Share(pool=each.pool, plan=own, sequences=sequences))
    network = min(share.pool.network_gb_s * 1e9 for share in shares)
    ranks = min(share.plan.best.devices for share in shares)
    exchange = 2 * GRADIENT_BYTES * job.model.parameters / (ranks * network) if len(shares) > 1 else 0.0
    step = max(share.plan.best.step_s for share in shares) + exchange
    return MultiPoolPlan(
        shares=tuple(shares),
        step_s=step,
        exchange_s=exchange,
        gain=fastest.best.step_s / step - 1,
        alone=f"{fastest.pool.count} {fastest.pool.accelerator.id}",
    )


def assign(jobs: Sequence[TrainingJob], fleet: Fleet) -> list[Plan]:
    """Which job on which part: one part each, so that the last one ends soonest. Plans come in the order of `jobs`.

    Raises UserError when there are more jobs than parts, or no assignment in which all fit.
    """
    if len(jobs) > min(len(fleet.pools), MOST_JOBS):
        raise UserError(
            f"plan: {len(jobs)} jobs on the {len(fleet.pools)} parts of fleet {fleet.name}; "
            "give each job a part of its own"
        )
    known: dict[tuple[int, int], Plan | None] = {}
    for place, job in enumerate(jobs):
        for number, pool in enumerate(fleet.pools):
            try:
                known[place, number] = plan(job, pool, top=1)
            except UserError:
                known[place, number] = None
    best: list[Plan] = []
    for order in permutations(range(len(fleet.pools)), len(jobs)):
        chosen = [known[place, number] for place, number in enumerate(order)]
        plans = [each for each in chosen if each is not None]
        if len(plans) == len(jobs) and (not best or _last(plans) < _last(best)):
            best = plans
    if not best:
        raise UserError(f"plan: no assignment of the jobs to the parts of fleet {fleet.name} lets all of them fit")
    return best


def _last(plans: Sequence[Plan]) -> float:
    return max(each.best.days for each in plans)


def _plans(job: TrainingJob, fleet: Fleet) -> list[Plan]:
    found = []
    for pool in fleet.pools:
        try:
            found.append(plan(job, pool, top=1))
        except UserError:
            continue
    return found
