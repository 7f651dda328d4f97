"""A year of a whole fleet: 600,000 H100 equivalents, 5,000 jobs a day, research and production side by side."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ayllu.fleet.simulate.cluster.accounts import ClusterOutcome
from ayllu.fleet.simulate.cluster.config import Cluster, Queue
from ayllu.fleet.simulate.cluster.simulation import simulate_cluster
from ayllu.fleet.simulate.job_trace import DAY, HOUR, JobStream, JobTrace
from ayllu.fleet.simulate.prediction_interval import PredictionInterval
from ayllu.fleet.simulate.scenario import Input, Result, Scenario
from ayllu.lab import progress

ACCELERATORS = 600_000
"""Meta, 18 January 2024: "almost 600k H100s equivalents". All are treated as H100s; the real mix is not public."""

JOBS_PER_DAY = 5_000
"""Between the 4,400 and 7,200 jobs a day of Meta's two research clusters (Kokolis et al., arXiv:2410.21680)."""

JOBS_PER_ACCELERATOR = 0.45
"""A day, at RSC-1: 7,200 on 16,000; a small fleet has no more jobs than that."""


def year_cluster(accelerators: int = ACCELERATORS, research_quota: float = 0.4) -> Cluster:
    """The machines and the two queues. Production goes first, and takes its quota back from research that borrowed."""
    full_load = accelerators * 1225 / 1e6
    return Cluster(
        accelerators=accelerators,
        queues=(
            Queue(name="research", priority=0, quota=research_quota),
            Queue(name="production", priority=1, quota=1 - research_quota, preempts=True),
        ),
        power_cap_mw=full_load,
        power_cap_swing=0.05,
    )


def year_jobs(days: float, seed: int, accelerators: int = ACCELERATORS, *, load: float = 1.0) -> JobTrace:
    """Jobs that ask for 84 % of the fleet (times `load`): many small ones of research, few large ones of production."""
    rng = np.random.default_rng(seed)
    share = accelerators / ACCELERATORS
    per_day = min(JOBS_PER_DAY, JOBS_PER_ACCELERATOR * accelerators)
    research = JobStream(
        per_day=0.98 * per_day * load,
        mean_accelerators=max(64 * share, 3),
        largest=max(int(8192 * share), 8),
        median_seconds=0.25 * HOUR,
        mean_seconds=4 * HOUR,
        mean_accelerator_seconds=0.36 * accelerators * DAY / (0.98 * per_day),
        batch=4,
    )
    production = JobStream(
        per_day=0.02 * per_day * load,
        mean_accelerators=max(2048 * share, 8),
        largest=max(int(32_768 * share), 16),
        median_seconds=4 * HOUR,
        mean_seconds=20 * HOUR,
        longest_seconds=60 * DAY,
        mean_accelerator_seconds=0.48 * accelerators * DAY / (0.02 * per_day),
        daily_swing=0.1,
        weekend=0.9,
    )
    return JobTrace.merge([research.jobs(days, 0, rng), production.jobs(days, 1, rng)])


def simulate_year(days: float = 365, seed: int = 0, fleet: Cluster | None = None) -> ClusterOutcome:
    """The hours of the first `days` days."""
    fleet = year_cluster() if fleet is None else fleet
    jobs = year_jobs(days, seed, fleet.accelerators)
    with progress.bar("simulate the fleet", total=days, unit="days") as bar:
        return simulate_cluster(fleet, jobs, days=days, seed=seed, progress=bar)


LEAD_DAYS = 28
"""Days before those that count, in which the empty fleet fills: until as many of the long jobs end as begin. Whole
weeks, so that the days that count begin on the same day of one."""


def settled_year(days: float, seed: int = 0) -> ClusterOutcome:
    """The hours of `days` days of a fleet that has been at work before."""
    return simulate_year(days + LEAD_DAYS, seed).after(LEAD_DAYS)


def year_title(days: float) -> str:
    """What was simulated, in a line."""
    span = "one year" if round(days) in (365, 366) else "one day" if days == 1 else f"{days:g} days"
    return f"600,000 H100 equivalents, {JOBS_PER_DAY:,} jobs a day, {span}"


def year_figures(year: ClusterOutcome) -> dict[str, float]:
    """The figures of a year that one would put on its title page."""
    waits = {
        f"{name}_wait_hours_{label}": value / HOUR
        for index, name in enumerate(("research", "production"))
        for label, value in _waits(year, index).items()
    }
    return {
        "utilisation": float(year.hours["utilisation"].mean()),
        "goodput": float(year.hours["goodput"].mean()),
        "failures_per_day": float(year.hours["failures"].sum()) / (len(year.hours["failures"]) / 24),
        "power_mw_mean": float(year.hours["power_mw"].mean()),
        "power_mw_peak": float(year.hours["power_mw"].max()),
        "energy_gwh": float(year.hours["power_mw"].sum()) / 1000,
        "throttled_share_of_hours": float((year.hours["speed"] < 0.985).mean()),
        **waits,
    }


def _waits(year: ClusterOutcome, queue: int) -> dict[str, float]:
    wait = year.wait[(year.jobs.queue == queue) & ~np.isnan(year.wait)]
    if not len(wait):
        return {}
    return {"median": float(np.median(wait)), "mean": float(wait.mean()), "p99": float(np.quantile(wait, 0.99))}


def _details(year: ClusterOutcome) -> dict[str, Any]:
    return {
        "jobs": len(year.jobs),
        "finished": year.finished,
        "failures": year.failures,
        "preemptions": year.preemptions,
        "jobs_across_more_pods_than_needed": year.across_pods,
    }


def _run(seeds: int) -> Result:
    years = [settled_year(365, seed) for seed in range(seeds)]
    return _result(years)


def _result(years: list[ClusterOutcome]) -> Result:
    figures = [year_figures(year) for year in years]
    return Result(
        figures={name: PredictionInterval.of([figure[name] for figure in figures]) for name in figures[0]},
        notes=[
            f"The {LEAD_DAYS} days in which an empty fleet fills come before, and count in no figure.",
            *(["With one seed the interval is a point."] if len(years) == 1 else []),
        ],
        details=_details(years[0]),
    )


def result_of(year: ClusterOutcome) -> Result:
    """The result of one year that was simulated already."""
    return _result([year])


_FLEET = year_cluster()

SCENARIOS = (
    Scenario(
        name="meta-2024-year",
        title=year_title(365),
        inputs=(
            Input(name="accelerators", value="600,000 H100e in pods of 3,072", source="announcement; pods: Llama 3"),
            Input(
                name="jobs",
                value="5,000 a day, 2 % of them production",
                source="RSC-1 and RSC-2: 7,200 and 4,400; assumption",
            ),
            Input(name="asked for", value="84 % of the fleet", source="RSC: 83 and 85 % utilisation"),
            Input(
                name="failures",
                value=f"{_FLEET.failures_per_1000_node_days} per 1,000 node-days",
                source="pooled fleets",
            ),
            Input(name="quotas", value="research 40 %, production 60 %", source="assumption"),
            Input(name="preemption", value="after 2 hours", source="Kokolis et al., arXiv:2410.21680"),
            Input(
                name="power cap", value=f"{_FLEET.power_cap_mw:.0f} MW, 5 % less in the evening", source="assumption"
            ),
            Input(name="speed", value="1 % less by day", source="Llama 3: 1 to 2 %"),
        ),
        run=_run,
        seeds=1,
        year=settled_year,
    ),
)


def smaller(accelerators: int, research_quota: float) -> Cluster:
    """The same rules on another number of accelerators: pods shrink with the fleet, so that there are still some."""
    fleet = year_cluster(accelerators, research_quota)
    return replace(fleet, nodes_per_pod=max(4, fleet.nodes_per_pod * accelerators // ACCELERATORS))
