"""What to choose: how often to save, how many spare nodes to keep, and how to divide a fleet between two queues.

Each answer is the top of a curve that is simulated, with the same failures and the same jobs at every point of it; for
the interval between checkpoints the formulas of Young and Daly stand beside it as a check.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ayllu.fleet.simulate.cluster.accounts import ClusterOutcome
from ayllu.fleet.simulate.cluster.config import Cluster
from ayllu.fleet.simulate.cluster.simulation import simulate_cluster
from ayllu.fleet.simulate.failures import Hazard, pooled_rate
from ayllu.fleet.simulate.fleet_year import smaller, year_jobs
from ayllu.fleet.simulate.run_file import read_training_run
from ayllu.fleet.simulate.run_simulation import simulate_run
from ayllu.fleet.simulate.training_run import TrainingRun
from ayllu.lab import progress
from ayllu.lab.error import UserError

SLOWDOWN_FLOOR = 600.0
"""Shorter jobs count as if they took so many seconds (bounded slowdown, Feitelson et al., JSSPP 1997)."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One question: what was tried, and how good each choice was."""

    question: str
    unit: str
    tried: list[float]
    value: list[float]
    measure: str
    """What `value` is."""
    best: float
    near: tuple[float, float]
    """The choices that are as good as the best within a thousandth (of 1, for shares; of the best, for slowdowns)."""
    checks: dict[str, float]
    """What formulas or the present setting say."""
    parts: dict[str, list[float]] = field(default_factory=dict)
    """What `value` is made of."""

    @property
    def all_alike(self) -> bool:
        """Whether no choice is better than another."""
        return self.near[0] <= min(self.tried) and self.near[1] >= max(self.tried)

    def as_json(self) -> dict[str, Any]:
        """The curve as plain values."""
        return asdict(self) | {"all_alike": self.all_alike}


def told_number(value: float, figures: int = 3) -> str:
    """A number of so many figures, without an exponent."""
    if not math.isfinite(value):
        return str(value)
    rounded = float(f"{value:.{figures}g}")
    return f"{rounded:,.0f}" if rounded == round(rounded) else f"{rounded:,f}".rstrip("0")


def young(cost: float, mtbf: float) -> float:
    """Best interval in seconds for saves that cost `cost` seconds: sqrt(2 C M) (Young, CACM 1974)."""
    return math.sqrt(2 * cost * mtbf)


def daly(cost: float, mtbf: float) -> float:
    """The same to a higher order (Daly, FGCS 2006, eq. 37); never more than the mean time between failures."""
    if cost >= 2 * mtbf:
        return mtbf
    half = cost / (2 * mtbf)
    return math.sqrt(2 * cost * mtbf) * (1 + math.sqrt(half) / 3 + half / 9) - cost


def _top(tried: Sequence[float], value: Sequence[float], slack: float) -> tuple[int, tuple[float, float]]:
    """The index of the best choice, and the range in which the curve lies at most `slack` below it."""
    top = int(np.argmax(value))
    enough = value[top] - slack

    def edge(step: int) -> float:
        at = top
        while 0 <= at + step < len(tried):
            if value[at + step] < enough:
                part = (value[at] - enough) / (value[at] - value[at + step])
                return float(tried[at] + part * (tried[at + step] - tried[at]))
            at += step
        return float(tried[at])

    return top, (edge(-1), edge(1))


def _between(tried: Sequence[float], value: Sequence[float]) -> float:
    """The top of a parabola through the choices near the best, on a logarithmic axis."""
    top = int(np.argmax(value))
    near = slice(max(top - 3, 0), top + 4)
    if not 0 < top < len(tried) - 1:
        return float(tried[top])
    a, b, _ = np.polyfit(np.log(tried[near]), value[near], 2)
    return math.exp(-b / (2 * a)) if a < 0 else float(tried[top])


def _mean_runs(run: TrainingRun, seeds: int, measure: Callable[[Any], float]) -> float:
    return float(np.mean([measure(simulate_run(run, seed)) for seed in range(seeds)]))


def checkpoint_interval(run: TrainingRun, *, seeds: int = 10) -> Curve:
    """How many seconds to train between two saves."""
    saving = run.checkpointing
    mtbf = run.hazard.mean_seconds() / run.nodes
    # A save must be over before the next one begins, so the interval cannot be shorter than a save that runs beside.
    shortest = max(saving.save - saving.stall, saving.stall, 5.0)
    guess = max(young(max(saving.stall, 0.05), mtbf), shortest)
    tried = [float(x) for x in np.geomspace(shortest, max(guess * 20, shortest * 50), 17)]
    value = [
        _mean_runs(
            replace(run, checkpointing=replace(saving, interval=interval)), seeds, lambda o: o.effective_training_time
        )
        for interval in progress.track(tried, "checkpoint interval", total=len(tried), unit="choices")
    ]
    _, near = _top(tried, value, 0.001)
    return Curve(
        question="How often to save",
        unit="s",
        tried=tried,
        value=value,
        measure="effective training time",
        best=_between(tried, value),
        near=near,
        checks={
            "young_s": young(saving.stall, mtbf),
            "daly_s": daly(saving.stall, mtbf),
            "shortest_possible_s": shortest,
            "mean_time_between_failures_s": mtbf,
        },
    )


def spare_nodes(run: TrainingRun, *, seeds: int = 10) -> Curve:
    """How many nodes to keep for the job beyond those that it computes on; the value is per node that is paid for."""
    per_day = run.hazard.per_1000_node_days * run.nodes / 1000
    # Repairs last `repair_days` in the median, log-normal with sigma 1, so their mean is exp(1/2) times that.
    in_repair = per_day * 0.6 * run.repair_days * math.exp(0.5)
    most = max(4, math.ceil(3 * in_repair))
    tried = sorted({round(x) for x in np.linspace(0, most, 19)})
    value = []
    for spares in progress.track(tried, "spare nodes", total=len(tried), unit="choices"):
        kept = _mean_runs(replace(run, spares=spares), seeds, lambda o: o.goodput)
        value.append(kept * run.nodes / (run.nodes + spares))
    top, near = _top(tried, value, 0.001)
    return Curve(
        question="How many spare nodes",
        unit="nodes",
        tried=[float(x) for x in tried],
        value=value,
        measure="goodput of all nodes that are paid for",
        best=float(tried[top]),
        near=near,
        checks={"nodes_in_repair_on_average": in_repair, "failures_per_day": per_day},
    )


def _slowdown(year: ClusterOutcome, queue: int) -> float:
    """Mean bounded slowdown of the jobs of a queue that started."""
    mine = (year.jobs.queue == queue) & ~np.isnan(year.wait)
    work = np.maximum(year.jobs.work[mine], SLOWDOWN_FLOOR)
    return float(np.mean((year.wait[mine] + work) / work)) if mine.any() else 1.0


def research_quota(
    fleet: Cluster, *, load: float = 1.25, days: float = 14, seed: int = 0, production_weight: float = 0.5
) -> Curve:
    """Which part of the fleet should be research's own, the rest being production's.

    The best quota has the smallest slowdown, averaged over the two queues with `production_weight`. `load` multiplies
    jobs that ask for 84 % of the fleet: while it is not full, any quota will do. Raises UserError on a weight outside
    0 to 1, or a load that is not positive.
    """
    if not 0 < load <= 3:
        raise UserError(f"load is {load}; it must lie between 0 and 3")
    if not 0 <= production_weight <= 1:
        raise UserError(f"production_weight is {production_weight}; it must lie between 0 and 1")
    jobs = year_jobs(days, seed, fleet.accelerators, load=load)
    tried = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    slowdowns: list[tuple[float, float]] = []
    for quota in progress.track(tried, "quota", total=len(tried), unit="choices"):
        queues = tuple(replace(queue, quota=quota if queue.name == "research" else 1 - quota) for queue in fleet.queues)
        year = simulate_cluster(replace(fleet, queues=queues), jobs, days=days, seed=seed)
        slowdowns.append((_slowdown(year, 0), _slowdown(year, 1)))
    value = [(1 - production_weight) * research + production_weight * production for research, production in slowdowns]
    top, near = _top(tried, [-slowdown for slowdown in value], 0.001 * min(value))
    present = next(queue.quota for queue in fleet.queues if queue.name == "research")
    return Curve(
        question="Which part of the fleet for research",
        unit="of the fleet",
        tried=tried,
        value=value,
        parts={"research": [pair[0] for pair in slowdowns], "production": [pair[1] for pair in slowdowns]},
        measure="mean bounded slowdown",
        best=tried[top],
        near=near,
        checks={"present_quota": present, "load": load},
    )


def quota_cluster(accelerators: int) -> Cluster:
    """The fleet whose quota is sought: the rules of the simulated year on that many accelerators."""
    if accelerators < 64:
        raise UserError(f"a fleet of {accelerators} accelerators is too small to divide; give at least 64")
    return smaller(accelerators, 0.4)


def advise(
    run: Path | None = None,
    *,
    accelerators: int = 16_384,
    days: float = 30,
    seeds: int = 10,
    load: float = 1.25,
    production_weight: float = 0.5,
    picture: Path | None = None,
) -> dict[str, Curve]:
    """All three answers by their names, for the run that a file describes or one of that size and length.

    The curves are drawn into `picture` where it is given. Raises UserError.
    """
    if not 1 <= seeds <= 1000:
        raise UserError(f"seeds is {seeds}; it must lie between 1 and 1,000")
    if picture is not None and picture.suffix not in (".png", ".svg"):
        raise UserError(f"{picture}: the name must end in .png or .svg")
    if run is None:
        rate = pooled_rate(without="").per_1000_node_days
        described = TrainingRun(accelerators=accelerators, days=days, hazard=Hazard(per_1000_node_days=rate))
    else:
        described = read_training_run(run)
    cluster = quota_cluster(described.accelerators)
    curves = {
        "checkpoint_interval": checkpoint_interval(described, seeds=seeds),
        "spare_nodes": spare_nodes(described, seeds=seeds),
        "research_quota": research_quota(cluster, load=load, production_weight=production_weight),
    }
    if picture is not None:
        draw(list(curves.values()), f"Advice for {described.accelerators:,} accelerators", picture)
    return curves


def draw(curves: list[Curve], title: str, path: Path) -> None:
    """Write the curves, one below the other, as PNG or SVG by the ending of the name."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 3 * len(curves) + 0.6), layout="constrained", facecolor="white")
    for axis, curve in zip(np.atleast_1d(figure.subplots(len(curves), 1)), curves, strict=True):
        axis.axvspan(*curve.near, color="#2f855a", alpha=0.12, linewidth=0, label="as good within a thousandth")
        name = "both, weighted" if curve.parts else curve.measure
        axis.plot(curve.tried, curve.value, color="#1d6fa5", marker="o", markersize=4, label=name)
        for (name, values), colour in zip(curve.parts.items(), ("#6b46c1", "#b7791f"), strict=False):
            axis.plot(curve.tried, values, color=colour, linewidth=1, label=name)
        if not curve.all_alike:
            axis.axvline(curve.best, color="#2f855a", label=f"best: {told_number(curve.best)} {curve.unit}")
        for name, style in (("young_s", ":"), ("daly_s", "--")):
            if name in curve.checks:
                axis.axvline(
                    curve.checks[name],
                    color="#b7791f",
                    linestyle=style,
                    label=f"{name[:-2].title()}: {told_number(curve.checks[name])} s",
                )
        if curve.unit == "s":
            axis.set_xscale("log")
        axis.set_title(curve.question, loc="left", fontsize=11, fontweight="bold", color="#1f2933")
        axis.set_xlabel(f"{'seconds' if curve.unit == 's' else curve.unit}", color="#616e7c", fontsize=9)
        axis.set_ylabel(curve.measure, color="#616e7c", fontsize=9)
        axis.grid(color="#e4e7eb")
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.suptitle(title, fontsize=12)
    part = path.with_name(f".{path.name}")
    figure.savefig(part, format=path.suffix[1:], dpi=130)
    part.replace(path)
