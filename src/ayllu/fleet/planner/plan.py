"""Find the layouts of a training run on a pool of accelerators, and say what each takes and why the best is best.

Every layout that the devices, the heads, the layers and the batch allow is a row of one table; the memory model drops
what does not fit and the cost model times the rest, so a search is a few dozen array operations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ayllu.fleet.catalogue import Pool, Precision, find_accelerator, find_fleet
from ayllu.fleet.experts import ExpertModel, expert_models, read_expert_config
from ayllu.fleet.planner.constants import Constants, shipped
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
from ayllu.lab.error import UserError
from ayllu.lab.progress import track
from ayllu.model.config import ModelConfig
from ayllu.model.presets import PRESETS
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

BOARD_SHARE, HOST_SHARE = 0.71, 0.20
"""Mean power in training over the TDP: of the accelerator's board, and of its share of host, network and fans.

MultiPoolPlan 637 W to an H100, where OLMo 3 reports 624 and 649 W (146 MWh in 234,000 hours, 681 MWh in 1.05 million).
Charging the TDP alone over-counts what fleets draw on average 2.1 to 2.4 times (AcmeTrace), because much of a fleet
waits. """


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """What is to be trained."""

    name: str
    model: ModelConfig
    sequence: int
    """Tokens per sequence."""
    global_batch: int
    """Sequences per optimizer step."""
    tokens: float
    """Tokens of the whole run."""
    precision: Precision = "bf16"

    def __post_init__(self) -> None:
        if not 0 < self.tokens < math.inf or self.global_batch < 1 or self.sequence < 1:
            raise UserError(
                f"plan: {self.tokens:g} tokens in batches of {self.global_batch} sequences of {self.sequence}; "
                "all three must be above 0 and finite"
            )
        if self.sequence > self.model.context:
            raise UserError(
                f"plan: sequences of {self.sequence} are longer than {self.name}'s context of {self.model.context}"
            )

    @property
    def steps(self) -> float:
        return self.tokens / (self.global_batch * self.sequence)


@dataclass(frozen=True, kw_only=True)
class Prices:
    """What the user pays and burns; None leaves that figure out."""

    per_hour: float | None = None
    """Per accelerator and hour, in the user's currency."""
    per_kwh: float | None = None
    grid_g_per_kwh: float | None = None
    """Grams of CO2 equivalent per kWh of the grid."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and not 0 <= value < math.inf:
                raise UserError(f"prices: {name} is {value:g}; it must be 0 or more")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One layout that fits, and what it takes. Seconds, bytes, MWh, tonnes, and the user's currency."""

    layout: Layout
    sharding: str
    """`replicated`, `optimizer` (gathered once a step) or `full` (gathered for every micro-batch)."""
    devices: int
    step_s: float
    interval_s: tuple[float, float]
    """Between these lay 80 of 100 held-out runs, relative to their prediction (more where no run on the part was
    seen)."""
    tokens_per_s: float
    mfu: float
    memory_bytes: float
    memory_share: float
    breakdown_s: dict[str, float]
    days: float
    energy_mwh: float | None
    carbon_t: float | None
    cost: float | None

    def as_json(self) -> dict[str, Any]:
        plain = dict(self.__dict__)
        plain["layout"] = dict(self.layout.__dict__)
        return plain


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

    @property
    def best(self) -> Choice:
        return self.choices[0]


def plan(
    job: TrainingJob, pool: Pool, *, constants: Constants | None = None, prices: Prices | None = None, top: int = 5
) -> Plan:
    """The best layouts of `job` on `pool`. Raises UserError when none fits, with what is missing."""
    constants, prices = constants or shipped(), prices or Prices()
    rows = list(layouts(job.model, pool, sequence=job.sequence, global_batch=job.global_batch))
    if not rows:
        raise UserError(
            f"plan: no layout of {job.name} splits {pool.count} accelerators "
            f"and a batch of {job.global_batch} sequences; change one of them"
        )
    columns = dict(zip(LAYOUT_COLUMNS, np.array(rows, dtype=float).T, strict=True))
    table = queries(
        **columns,
        **model_columns(job.model, job.sequence),
        **pool_columns(pool, job.precision),
        **OUR_SOFTWARE,
        global_batch=job.global_batch,
    )
    memory = footprint(table).total
    fitting = memory <= USABLE_SHARE * table.memory
    if not fitting.any():
        least = memory.min()
        raise UserError(
            f"plan: {job.name} fits no layout on {pool.count} {pool.accelerator.id}: the smallest needs "
            f"{least / 2**30:,.0f} GiB on each, which has {pool.accelerator.memory_gb or 0:.0f}; "
            "take more accelerators or larger ones"
        )
    table, memory = table.take(fitting), memory[fitting]
    parts = step_time(table, constants)
    factor = _factor(job, pool, constants)
    if pool.accelerator.training:  # What a step takes whatever its batch was measured here.
        measured = pool.accelerator.optimizer_s_per_parameter * job.model.parameters / (table.tp * table.pp)
        parts = replace(parts, optimizer=measured / factor)
    seconds = parts.total * factor
    order = np.argsort(seconds)
    chosen = [
        _choice(index, job, pool, table, memory, seconds, parts, factor, constants, prices)
        for index in _distinct(table, order, top)
    ]
    frontier = [
        _choice(index, job, pool, table, memory, seconds, parts, factor, constants, prices)
        for index in _frontier(seconds, memory)
    ]
    return Plan(
        job=job,
        pool=pool,
        layouts_considered=len(rows),
        layouts_that_fit=int(fitting.sum()),
        choices=tuple(chosen),
        why=_why(chosen[0], job, pool, table, seconds, int(order[0])),
        frontier=tuple(frontier),
        cloud=(seconds, memory / table.memory),
    )


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


def power(pool: Pool, devices: int) -> float | None:
    """Mean watts of `devices` in training, hosts and building included; None where the part's power is not
    published."""
    if pool.accelerator.tdp_w is None:
        return None
    return devices * pool.accelerator.tdp_w * (BOARD_SHARE + HOST_SHARE) * pool.pue


def _factor(job: TrainingJob, pool: Pool, constants: Constants) -> float:
    """Factor of the generation and of the part itself, where runs on them were seen, or training steps timed on this
    machine."""
    names = (f"generation:{pool.accelerator.generation}:{job.precision}", f"accelerator:{pool.accelerator.id}")
    return float(np.exp(sum(constants.effects.get(name, 0.0) for name in names))) * pool.accelerator.training_factor(
        job.model.width
    )


def _distinct(table: Queries, order: np.ndarray, top: int) -> list[int]:
    """The fastest rows with different tp, cp, pp and sharding."""
    found: dict[tuple, int] = {}
    for index in order:
        key = (table.tp[index], table.cp[index], table.pp[index], table.ep[index], table.sharding[index])
        found.setdefault(key, int(index))
        if len(found) == top:
            break
    return list(found.values())


def _frontier(seconds: np.ndarray, memory: np.ndarray) -> list[int]:
    """Rows that no other beats in both time and memory, fastest first."""
    order = np.lexsort((memory, seconds))
    kept, least = [], np.inf
    for index in order:
        if memory[index] < least * 0.99:
            kept.append(int(index))
            least = memory[index]
    return kept


def _choice(
    index: int,
    job: TrainingJob,
    pool: Pool,
    table: Queries,
    memory: np.ndarray,
    seconds: np.ndarray,
    parts: Breakdown,
    factor: float,
    constants: Constants,
    prices: Prices,
) -> Choice:
    names: dict[float, Any] = {value: name for name, value in RECOMPUTE.items()}
    layout = Layout(
        tp=int(table.tp[index]),
        cp=int(table.cp[index]),
        pp=int(table.pp[index]),
        virtual=int(table.virtual[index]),
        ep=int(table.ep[index]),
        dp_shard=int(table.dp_shard[index]),
        dp_replicate=int(table.dp_replicate[index]),
        micro_batch=int(table.micro_batch[index]),
        recompute=names[table.recompute[index]],
        precision=job.precision if job.precision != "float4" else "float8",
    )
    step = float(seconds[index])
    low, high = constants.interval_on(pool.accelerator.id)
    if isinstance(job.model, ExpertModel):
        (expert_low, expert_high) = constants.interval_experts
        low, high = min(low, expert_low), max(high, expert_high)
    days = job.steps * step / 86_400
    watts = power(pool, layout.devices)
    energy = watts * days * 24 / 1e6 if watts is not None else None
    energy_cost = energy * 1000 * prices.per_kwh if energy is not None and prices.per_kwh is not None else None
    rent = layout.devices * days * 24 * prices.per_hour if prices.per_hour is not None else None
    known_costs = [cost for cost in (rent, energy_cost) if cost is not None]
    row = table.take(np.array([index]))
    share = {
        name: float(np.broadcast_to(getattr(parts, name), seconds.shape)[index]) * factor
        for name in parts.__dataclass_fields__
    }
    return Choice(
        layout=layout,
        sharding=next(name for name, value in SHARDING.items() if value == table.sharding[index]),
        devices=layout.devices,
        step_s=step,
        interval_s=(step * low, step * high),
        tokens_per_s=job.global_batch * job.sequence / step,
        mfu=float(mfu(row, np.array([step]), pool.accelerator.peak(job.precision) * 1e12)[0]),
        memory_bytes=float(memory[index]),
        memory_share=float(memory[index] / table.memory[index]),
        breakdown_s=dict(sorted(share.items(), key=lambda item: -item[1])),
        days=days,
        energy_mwh=energy,
        carbon_t=energy * prices.grid_g_per_kwh / 1000
        if energy is not None and prices.grid_g_per_kwh is not None
        else None,
        cost=sum(known_costs) if known_costs else None,
    )


def _why(
    best: Choice, job: TrainingJob, pool: Pool, table: Queries, seconds: np.ndarray, index: int
) -> tuple[str, ...]:
    """Sentences on the best layout: what fills its time, and what the nearest change of each degree would cost."""
    layout = best.layout
    largest = [(name, share) for name, share in best.breakdown_s.items() if share > 0.01 * best.step_s][:4]
    told = ", ".join(f"{name.replace('_', ' ')} {100 * share / best.step_s:.0f} %" for name, share in largest)
    reasons = [f"the step goes to {told}"]
    for name in ("tp", "cp", "pp", "ep"):
        here = getattr(table, name)[index]
        others = {}
        for value in np.unique(getattr(table, name)):
            if value != here:
                others[int(value)] = float(seconds[getattr(table, name) == value].min()) / best.step_s - 1
        near = sorted(others.items(), key=lambda item: item[1])[:2]
        if near:
            told = " and ".join(f"{name} {value} is {100 * more:.0f} % slower" for value, more in near)
            reasons.append(f"with {name} {int(here)}: {told} at its best")
    if layout.ep > 1:
        within = "stays within the link's" if layout.ep <= pool.accelerator.link_domain else "goes beyond the link's"
        reasons.append(f"the exchange of tokens between experts {within} {pool.accelerator.link_domain} accelerators")
    if layout.tp * layout.cp <= pool.accelerator.link_domain and layout.tp > 1:
        reasons.append(
            f"tensor and context parallel stay within the link's {pool.accelerator.link_domain} accelerators"
        )
    if layout.recompute == "none":
        reasons.append(f"nothing is recomputed: the activations fit ({100 * best.memory_share:.0f} % of the memory)")
    idle = pool.count - best.devices
    if idle:
        reasons.append(
            f"{idle:,} of {pool.count:,} accelerators stay idle: "
            f"a batch of {job.global_batch} sequences divides no further"
        )
    return tuple(reasons)


def default_batch(model: ModelConfig, sequence: int) -> int:
    """Sequences per step where the user names none: 16M tokens from 100B parameters on, 4M from 3B, 1M below (Llama
    3's practice)."""
    tokens = 2**24 if model.parameters > 1e11 else 2**22 if model.parameters > 3e9 else 2**20
    return max(1, tokens // sequence)


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


def find_model_config(name: str, *, recipes: Sequence[str] = ()) -> ModelConfig:
    """A preset or a published mixture of experts by name, a rung of the small models' ladder (`ladder-4x256`), or the
    configuration in a folder.

    Raises UserError when there is none of them; `recipes` are names that the caller takes too.
    """
    if name.lower() in PRESETS:
        return PRESETS[name.lower()]
    if name.lower() in expert_models():
        return expert_models()[name.lower()]
    if name.startswith("ladder-"):
        from ayllu.train.budget import LADDER

        rungs = {f"ladder-{layers}x{width}": rung for rung in LADDER for layers, width in (rung[:2],)}
        if name not in rungs:
            raise UserError(f"no rung is called {name!r}; the rungs are {', '.join(rungs)}")
        layers, width, heads, kv_heads, feed_forward = rungs[name]
        return ModelConfig(
            vocabulary=4096,
            layers=layers,
            width=width,
            heads=heads,
            kv_heads=kv_heads,
            feed_forward=feed_forward,
            context=1024,
            tied=True,
        )
    folder = Path(name)
    if folder.is_dir():
        from ayllu.model.files.hf import load_config

        try:
            return read_expert_config(folder) or load_config(folder)
        except ValueError as error:
            raise UserError(f"plan: {error}") from error
    told = f"recipes are {', '.join(recipes)}; " if recipes else ""
    raise UserError(
        f"no {'recipe or ' if recipes else ''}model is called {name!r} and no such folder exists; {told}models are "
        f"{', '.join((*PRESETS, *expert_models()))}, and the ladder's rungs, such as ladder-4x256"
    )


def parameters_seen(model: ModelConfig) -> int:
    """Parameters that one token passes: all of a dense model."""
    return model.active_parameters if isinstance(model, ExpertModel) else model.parameters
