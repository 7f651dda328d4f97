"""One training job over several kinds of accelerators, and several jobs over the parts of a fleet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any

from ayllu.fleet.catalogue import Accelerator, Fleet, Pool
from ayllu.fleet.planner.choice import Prices, power
from ayllu.fleet.planner.plan import Plan, TrainingJob, plan
from ayllu.lab.error import UserError

GRADIENT_BYTES = 4
"""Bytes of a gradient when it is summed across kinds, each way."""
LIBRARIES = {
    "NVIDIA": "NVIDIA's NCCL",
    "AMD": "AMD's RCCL",
    "Google": "Google's libtpu",
    "AWS": "AWS's Neuron collectives",
    "Intel": "Intel's HCCL",
    "Huawei": "Huawei's HCCL",
}
"""What sums gradients, by vendor."""
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
    tokens_per_s: float
    days: float
    energy_mwh: float | None
    carbon_t: float | None
    cost: float | None
    """Of all kinds together, None where one's is not known: each is there, and paid for, until the last step."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What keeps the kinds from being one job as they are."""
        libraries = {library_of(share.pool.accelerator) for share in self.shares} - {None}
        if len(libraries) < 2:
            return ()
        told = " and ".join(sorted(str(library) for library in libraries))
        return (
            f"{told} do not exchange gradients with each other: such a job needs a library over the memory of the "
            "hosts, such as Gloo, which is slower than what is counted here",
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "step_s": self.step_s,
            "exchange_s": self.exchange_s,
            "tokens_per_s": self.tokens_per_s,
            "days": self.days,
            "energy_mwh": self.energy_mwh,
            "carbon_t": self.carbon_t,
            "cost": self.cost,
            "warnings": list(self.warnings),
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


def library_of(accelerator: Accelerator) -> str | None:
    """The library that sums gradients between accelerators of that vendor; None where it is not known."""
    return LIBRARIES.get(accelerator.vendor.partition("/")[0])


def across(job: TrainingJob, fleet: Fleet, *, prices: Prices | None = None) -> MultiPoolPlan:
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
    days = job.steps * step / 86_400
    return MultiPoolPlan(
        tokens_per_s=job.global_batch * job.sequence / step,
        days=days,
        **_totals(shares, days, prices or Prices()),
        shares=tuple(shares),
        step_s=step,
        exchange_s=exchange,
        gain=fastest.best.step_s / step - 1,
        alone=f"{fastest.pool.count} {fastest.pool.accelerator.id}",
    )


def _totals(shares: Sequence[Share], days: float, prices: Prices) -> dict[str, float | None]:
    """Energy, carbon and cost of all shares over the days of the joint run."""
    watts = [power(share.pool, share.plan.best.devices) for share in shares]
    each = [None if watt is None else watt * days * 24 / 1e6 for watt in watts]
    costs = [
        prices.cost(share.pool.accelerator.id, share.plan.best.devices * days * 24, energy)
        for share, energy in zip(shares, each, strict=True)
    ]
    energy = _sum(each)
    return {"energy_mwh": energy, "carbon_t": prices.carbon(energy), "cost": _sum(costs)}


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def assign(jobs: Sequence[TrainingJob], fleet: Fleet, *, prices: Prices | None = None) -> list[Plan]:
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
                known[place, number] = plan(job, pool, prices=prices, top=1)
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
