"""Find the layouts of a training run on a pool of accelerators, and say what each takes and why the best is best.

Every layout that the devices, the heads, the layers and the batch allow is a row of one table; the memory model drops
what does not fit and the cost model times the rest, so a search is a few dozen array operations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ayllu.fleet.catalogue import Pool, find_accelerator, find_fleet
from ayllu.fleet.experts import ExpertModel
from ayllu.fleet.own_constants import in_use
from ayllu.fleet.planner.choice import Choice, Prices, power
from ayllu.fleet.planner.constants import OWN_SOFTWARE, Constants, shipped
from ayllu.fleet.planner.cost import Breakdown, mfu, step_time
from ayllu.fleet.planner.layouts import LAYOUT_COLUMNS, layouts
from ayllu.fleet.planner.memory import USABLE_SHARE, footprint
from ayllu.fleet.planner.queries import (
    ATTENTION,
    KERNELS,
    LOSS,
    RECOMPUTE,
    SHARDING,
    Queries,
    model_columns,
    pool_columns,
    queries,
)
from ayllu.fleet.planner.training_job import TrainingJob
from ayllu.fleet.planner.uncertainty import interval, log_spread, unseen_variance
from ayllu.lab.error import UserError
from ayllu.lab.progress import track
from ayllu.train.distributed.layout import Layout

OUR_SOFTWARE = {
    "attention": ATTENTION["tuned"],
    "kernels": KERNELS["fused"],
    "overlap": 1.0,
    "loss": LOSS["chunked"],
    "sequence_parallel": 1.0,
}
"""Habits of what `ayllu.train` runs: fused attention, compiled blocks, sequence parallel, overlapped collectives, and a
loss that never holds all logits."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The best layouts of a job on a pool."""

    job: TrainingJob
    pool: Pool
    layouts_considered: int
    layouts_that_fit: int
    choices: tuple[Choice, ...]
    """Fastest first; they differ in their degrees of parallelism, not only in micro-batch or recomputation."""
    why: tuple[str, ...]
    frontier: tuple[Choice, ...]
    """Fastest for its memory: no other layout is both faster and smaller."""
    cloud: tuple[np.ndarray, np.ndarray]
    """Step seconds and memory share of every layout that fits, for the picture."""
    own_runs: int = 0
    """Runs of the user's own by which it was timed."""

    @property
    def best(self) -> Choice:
        return self.choices[0]


def plan(
    job: TrainingJob, pool: Pool, *, constants: Constants | None = None, prices: Prices | None = None, top: int = 5
) -> Plan:
    """The best layouts of `job` on `pool`. Raises UserError when none fits, with what is missing."""
    # Timed steps of a calibrated machine say how far the shipped constants are off on it.
    constants = constants or (shipped() if pool.accelerator.training else in_use())
    table = _layout_table(job, pool)
    memory = footprint(table).total
    fitting = memory <= USABLE_SHARE * table.memory
    if not fitting.any():
        raise UserError(
            f"plan: {job.name} fits no layout on {pool.count} {pool.accelerator.id}: the smallest needs "
            f"{memory.min() / 2**30:,.0f} GiB on each, which has {pool.accelerator.memory_gb or 0:.0f}; "
            "take more accelerators or larger ones"
        )
    considered, table, memory = len(memory), table.take(fitting), memory[fitting]
    parts, factor = _step_parts(job, pool, table, constants)
    search = _Search(
        job=job,
        pool=pool,
        table=table,
        memory=memory,
        seconds=parts.total * factor,
        parts=parts,
        factor=factor,
        constants=constants,
        prices=prices or Prices(),
    )
    chosen = [search.choice(index) for index in search.distinct(top)]
    return Plan(
        job=job,
        pool=pool,
        layouts_considered=considered,
        layouts_that_fit=int(fitting.sum()),
        choices=tuple(chosen),
        why=tuple(search.reasons(chosen[0])),
        frontier=tuple(search.choice(index) for index in search.frontier()),
        cloud=(search.seconds, memory / table.memory),
        own_runs=constants.own_runs,
    )


def _layout_table(job: TrainingJob, pool: Pool) -> Queries:
    """Every layout as a query. Raises UserError where there is none."""
    rows = list(layouts(job.model, pool, sequence=job.sequence, global_batch=job.global_batch))
    if not rows:
        raise UserError(
            f"plan: no layout of {job.name} splits {pool.count} accelerators "
            f"and a batch of {job.global_batch} sequences; change one of them"
        )
    return queries(
        **dict(zip(LAYOUT_COLUMNS, np.array(rows, dtype=float).T, strict=True)),
        **model_columns(job.model, job.sequence),
        **pool_columns(pool, job.precision),
        **OUR_SOFTWARE,
        adapter_rank=job.adapter_rank,
        global_batch=job.global_batch,
    )


def _step_parts(job: TrainingJob, pool: Pool, table: Queries, constants: Constants) -> tuple[Breakdown, float]:
    """Seconds of a step by cause, and the factor of the part itself on all of them."""
    parts, factor = step_time(table, constants), _factor(job, pool, constants)
    if pool.accelerator.training:  # What a step takes whatever its batch was measured here.
        trained = np.where(table.frozen, table.trained_parameters, job.model.parameters)
        measured = pool.accelerator.optimizer_s_per_parameter * trained / (table.tp * table.pp)
        parts = replace(parts, optimizer=measured / factor)
    return parts, factor


def by_count(job: TrainingJob, pool: Pool, *, prices: Prices | None = None, points: int = 9) -> list[Plan]:
    """The best plan on the whole pool and on halves of it, down to what the model needs: what a shorter run costs."""
    plans: list[Plan] = []
    counts = [pool.count >> halved for halved in range(min(points, pool.count.bit_length()))]
    for count in track(counts, "plan on shares of the fleet", total=len(counts), unit="plans"):
        try:
            plans.append(plan(job, replace(pool, count=count), prices=prices, top=1))
        except UserError:
            break
    return plans


def workload_h100e(accelerator: str, job: TrainingJob, *, count: int = 64) -> float | None:
    """Tokens/s of `job` on `count` of an accelerator over that on as many H100, each with its own best layout.

    None where the job does not fit that many of the accelerator.
    """

    def rate(name: str) -> float:
        part = find_accelerator(name)
        return plan(job, find_fleet(f"{count}x{part.id}").pools[0], top=1).best.tokens_per_s

    try:
        return rate(accelerator) / rate("h100")
    except UserError:
        return None


def _factor(job: TrainingJob, pool: Pool, constants: Constants) -> float:
    """Factor of the generation and of the part itself, where runs on them were seen, or training steps timed on this
    machine."""
    known = (constants.effects.get(name, 0.0) for name in _factors(job, pool))
    return float(np.exp(sum(known))) * pool.accelerator.training_factor(job.model.width)


def _factors(job: TrainingJob, pool: Pool) -> tuple[str, ...]:
    """Names of the factors on a step: of the software that plans are made for, and of the machine."""
    machine = (f"generation:{pool.accelerator.generation}:{job.precision}", f"accelerator:{pool.accelerator.id}")
    return (*OWN_SOFTWARE, *machine)


def fewest_within(job: TrainingJob, pool: Pool, days: float, *, prices: Prices | None = None) -> Plan | None:
    """The plan on the fewest accelerators that ends within `days`, by sixteenths of the pool, or None."""
    node = max(pool.accelerator.node_size, 1)
    counts = sorted({max(1, min(pool.count, round(pool.count * part / 16 / node) * node)) for part in range(1, 17)})
    for count in track(counts, "plan on shares of the fleet", total=len(counts), unit="plans"):
        try:
            found = plan(job, replace(pool, count=count), prices=prices, top=1)
        except UserError:
            continue
        if found.best.days <= days:
            return found
    return None


MOST_DEVICES = 2**17
"""No larger pool is tried for a deadline."""


def fewest_beyond(job: TrainingJob, pool: Pool, days: float, *, prices: Prices | None = None) -> tuple[Plan, bool]:
    """The plan on the fewest more accelerators than `pool` has that ends within `days`, by sixteenths of a power of two
    of it, and True; where no number does, the fastest plan that was found, and False."""
    best = plan(job, pool, prices=prices, top=1)
    count = pool.count
    while 2 * count <= max(MOST_DEVICES, 2 * pool.count):
        larger = replace(pool, count=2 * count, pod_size=max(pool.pod_size, 2 * count))
        try:
            found = plan(job, larger, prices=prices, top=1)
        except UserError:  # the batch can be split over no such number
            break
        if found.best.days <= days:
            return _fewest_between(job, larger, days, prices) or found, True
        if found.best.days > 0.99 * best.best.days:
            break
        best, count = found, 2 * count
    return best, False


def fewest_that_hold(job: TrainingJob, pool: Pool, *, prices: Prices | None = None) -> Plan | None:
    """The plan on the fewest more accelerators than `pool` has on which the job fits, found as in `fewest_beyond`."""
    count = 2 * pool.count
    while count <= MOST_DEVICES:
        larger = replace(pool, count=count, pod_size=max(pool.pod_size, count))
        try:
            found = plan(job, larger, prices=prices, top=1)
        except UserError:
            count *= 2
            continue
        return _fewest_between(job, larger, np.inf, prices) or found
    return None


def _fewest_between(job: TrainingJob, pool: Pool, days: float, prices: Prices | None) -> Plan | None:
    """On the fewest of the upper half of `pool`."""
    node = max(pool.accelerator.node_size, 1)
    for part in range(9, 17):
        fewer = replace(pool, count=-(-pool.count * part // (16 * node)) * node)
        try:
            found = plan(job, fewer, prices=prices, top=1)
        except UserError:
            continue
        if found.best.days <= days:
            return found
    return None


@dataclass(frozen=True, kw_only=True)
class _Search:
    """The layouts that fit, one row each, and what a step of each takes."""

    job: TrainingJob
    pool: Pool
    table: Queries
    memory: np.ndarray
    """Bytes on the fullest accelerator."""
    seconds: np.ndarray
    parts: Breakdown
    factor: float
    constants: Constants
    prices: Prices

    @cached_property
    def order(self) -> np.ndarray:
        """Rows, fastest first."""
        return np.argsort(self.seconds)

    def distinct(self, top: int) -> list[int]:
        """The fastest rows with different tp, cp, pp, ep and sharding."""
        table, found = self.table, dict[tuple, int]()
        for index in self.order:
            key = (table.tp[index], table.cp[index], table.pp[index], table.ep[index], table.sharding[index])
            found.setdefault(key, int(index))
            if len(found) == top:
                break
        return list(found.values())

    def frontier(self) -> list[int]:
        """Rows that no other beats in both time and memory, fastest first."""
        kept, least = [], np.inf
        for index in np.lexsort((self.memory, self.seconds)):
            if self.memory[index] < least * 0.99:
                kept.append(int(index))
                least = self.memory[index]
        return kept

    def choice(self, index: int) -> Choice:
        """One row with its days, energy, carbon and cost."""
        job, layout, step = self.job, self._layout(index), float(self.seconds[index])
        low, high = self._interval(index)
        days = job.steps * step / 86_400
        watts = power(self.pool, layout.devices)
        energy = watts * days * 24 / 1e6 if watts is not None else None
        peak = self.pool.accelerator.peak(job.precision) * 1e12
        return Choice(
            layout=layout,
            sharding=next(name for name, value in SHARDING.items() if value == self.table.sharding[index]),
            devices=layout.devices,
            step_s=step,
            interval_s=(step * low, step * high),
            tokens_per_s=job.global_batch * job.sequence / step,
            mfu=float(mfu(self.table.take(np.array([index])), np.array([step]), peak)[0]),
            memory_bytes=float(self.memory[index]),
            memory_share=float(self.memory[index] / self.table.memory[index]),
            breakdown_s=self._breakdown(index),
            days=days,
            energy_mwh=energy,
            carbon_t=self.prices.carbon(energy),
            cost=self.prices.cost(self.pool.accelerator.id, layout.devices * days * 24, energy),
        )

    def reasons(self, best: Choice) -> Iterator[str]:
        """Sentences on the best layout: what fills its time, and what the nearest change of each degree would cost."""
        layout, domain = best.layout, self.pool.accelerator.link_domain
        largest = [(name, share) for name, share in best.breakdown_s.items() if share > 0.01 * best.step_s][:4]
        told = ", ".join(f"{name.replace('_', ' ')} {100 * share / best.step_s:.0f} %" for name, share in largest)
        yield f"the step goes to {told}"
        yield from self._alternatives(best)
        if layout.ep > 1:
            within = "stays within the link's" if layout.ep <= domain else "goes beyond the link's"
            yield f"the exchange of tokens between experts {within} {domain} accelerators"
        if layout.tp * layout.cp <= domain and layout.tp > 1:
            yield f"tensor and context parallel stay within the link's {domain} accelerators"
        if layout.recompute == "none":
            yield f"nothing is recomputed: the activations fit ({100 * best.memory_share:.0f} % of the memory)"
        idle = self.pool.count - best.devices
        if idle:
            yield (
                f"{idle:,} of {self.pool.count:,} accelerators stay idle: "
                f"a batch of {self.job.global_batch} sequences divides no further"
            )

    def _alternatives(self, best: Choice) -> Iterator[str]:
        """For each degree the two nearest other values, each at its best."""
        for name in ("tp", "cp", "pp", "ep"):
            column = getattr(self.table, name)
            here = column[self.order[0]]
            others = {
                int(value): float(self.seconds[column == value].min()) / best.step_s - 1
                for value in np.unique(column)
                if value != here
            }
            near = sorted(others.items(), key=lambda item: item[1])[:2]
            if near:
                told = " and ".join(f"{name} {value} is {100 * more:.0f} % slower" for value, more in near)
                yield f"with {name} {int(here)}: {told} at its best"

    def _layout(self, index: int) -> Layout:
        names: dict[float, Any] = {value: name for name, value in RECOMPUTE.items()}
        degrees = ("tp", "cp", "pp", "virtual", "ep", "dp_shard", "dp_replicate", "micro_batch")
        precision = self.job.precision
        return Layout(
            **{name: int(getattr(self.table, name)[index]) for name in degrees},
            recompute=names[self.table.recompute[index]],
            precision=precision if precision != "float4" else "float8",
        )

    def _interval(self, index: int) -> tuple[float, float]:
        """Factors on a predicted time between which a measured one will lie."""
        unseen = unseen_variance(_factors(self.job, self.pool), self.constants)
        spread = log_spread(self.table.take(np.array([index])), self.constants, unseen)
        low, high = (float(end[0]) for end in interval(spread, self.constants))
        if not isinstance(self.job.model, ExpertModel):
            return low, high
        expert_low, expert_high = self.constants.interval_experts
        return min(low, expert_low), max(high, expert_high)

    def _breakdown(self, index: int) -> dict[str, float]:
        share = {
            name: float(np.broadcast_to(getattr(self.parts, name), self.seconds.shape)[index]) * self.factor
            for name in self.parts.__dataclass_fields__
        }
        return dict(sorted(share.items(), key=lambda item: -item[1]))
