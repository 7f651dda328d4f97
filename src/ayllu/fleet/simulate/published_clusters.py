"""Scenarios of shared clusters: how long jobs queued at Seren, Kalos, Helios and Philly, and what their A100s drew.

A cluster starts from its size, the number of its jobs, and the mean, median and largest of their sizes and times
(`data/queues.csv`), never from the queue time of a job with accelerators. What the traces' summaries do not say is
assumed, once for all of them.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np

from ayllu.fleet.simulate.cluster import Fleet, Queue, simulate_fleet
from ayllu.fleet.simulate.interval import Interval
from ayllu.fleet.simulate.power import PowerModel
from ayllu.fleet.simulate.scenario import Input, Result, Row, Scenario
from ayllu.fleet.simulate.workload import DAY, Stream

DAYS = 14.0
"""Days that are simulated; the traces are longer, their means are over all of it."""

EARTH = (
    (208, 0.903), (96, 0.674), (64, 0.872), (64, 0.627), (64, 0.513), (64, 0.411), (56, 0.910), (48, 0.730),
    (48, 0.499), (32, 0.476), (32, 0.447), (24, 0.021), (16, 0.722), (16, 0.279), (16, 0.008), (8, 0.910),
)  # fmt: skip
"""Accelerators and mean utilisation of the virtual clusters of Earth in May 2020, from the minute-by-minute counts of
HeliosArtifact: how a shared cluster is cut up, and how unevenly it is used. Earth is one of the four of Helios."""

START_SIGMA = 0.5
"""Log-normal sigma of the time that the start itself takes (assumption)."""

BATCH = 5.0
"""Mean number of jobs submitted at once (assumption)."""


@dataclass(frozen=True, kw_only=True)
class PublishedCluster:
    """What is known of a cluster beside the summary of its jobs."""

    name: str
    accelerators: int
    days: float
    partitions: tuple[int, ...] | None
    """Relative sizes of its virtual clusters; None: one pool."""
    source: str
    retry_seconds: float = 0.0
    """Median time in which a gang is put together, timed out and tried again."""


CLUSTERS = (
    PublishedCluster(
        name="Seren",
        accelerators=2288,
        days=184,
        partitions=None,
        source="286 nodes of 8 A100, Slurm, March to August 2023 (Acme, NSDI 2024)",
    ),
    PublishedCluster(
        name="Kalos",
        accelerators=2416,
        days=107,
        partitions=None,
        source="302 nodes of 8 A100, Kubernetes, mid May to August 2023 (Acme, NSDI 2024)",
    ),
    PublishedCluster(
        name="Helios",
        accelerators=6220,
        days=183,
        partitions=tuple(size for size, _ in EARTH),
        source="Venus, Earth, Saturn, Uranus with 6,220 GPUs, Slurm, April to September 2020 (Helios, SC 2021)",
    ),
    PublishedCluster(
        name="Philly",
        accelerators=2490,
        days=83,
        partitions=(64, 64, 64, 32, 32, 32, 16, 16, 16, 8, 8),
        retry_seconds=150.0,
        source="2,490 GPUs, gangs that wait 2 to 3 minutes and try again, 83 days of 2017 (Jeon et al., ATC 2019)",
    ),
)


@cache
def _summaries() -> dict[str, dict[str, str]]:
    text = resources.files("ayllu.fleet").joinpath("data", "queues.csv").read_text(encoding="utf-8")
    return {row["id"]: row for row in csv.DictReader(text.splitlines())}


def _partition_sizes(cluster: PublishedCluster) -> list[int]:
    if cluster.partitions is None:
        return [cluster.accelerators]
    scale = cluster.accelerators / sum(cluster.partitions)
    # A larger cluster has more virtual clusters, not larger ones.
    copies = max(1, round(scale))
    sizes = [max(8, 8 * round(scale / copies * size / 8)) for size in cluster.partitions]
    return sorted(sizes * copies, reverse=True)


def _loads(sizes: np.ndarray, load: float, rng: np.random.Generator) -> np.ndarray:
    """Load of every virtual cluster: `load` on average, as uneven as at Earth, and none above Earth's fullest."""
    measured = np.array([used for _, used in EARTH])
    loads = rng.permutation(np.resize(rng.permutation(measured), len(sizes)))
    for _ in range(200):
        loads = np.minimum(loads * load * sizes.sum() / (loads * sizes).sum(), measured.max())
    return loads


def queue_times(cluster: PublishedCluster, seed: int, days: float = DAYS) -> np.ndarray:
    """Seconds that each job of `days` days waited."""
    row = {key: float(value) for key, value in _summaries()[cluster.name].items() if key != "id" and value}
    rng = np.random.default_rng(seed)
    sizes = np.array(_partition_sizes(cluster))
    per_day = row["gpu_job_num"] / cluster.days
    accelerator_seconds = row["complete_gpu_time"] + row["cancel_gpu_time"] + row["fail_gpu_time"]
    load = accelerator_seconds / (cluster.accelerators * cluster.days * DAY)
    loads = _loads(sizes, load, rng)
    parts = loads * sizes / (loads * sizes).sum()
    # Jobs without accelerators wait for the scheduler and the container only, as any job of the cluster must.
    start = row.get("med_que_time_cpu", 0.0) + cluster.retry_seconds
    stream = Stream(
        per_day=per_day,
        mean_accelerators=row["avg_gpu_num"],
        largest=min(int(row["max_gpu"]), int(sizes.max())),
        median_seconds=row["med_run_time_gpu"],
        mean_seconds=row["avg_run_time_gpu"],
        longest_seconds=row["max_run_time_gpu"],
        mean_accelerator_seconds=accelerator_seconds / row["gpu_job_num"],
        batch=BATCH,
    )
    jobs = stream.jobs(days, 0, rng)
    # Jobs go to the virtual clusters that can hold them, by load.
    home = np.zeros(len(jobs), dtype=int)
    for asked in np.unique(jobs.accelerators):
        able = np.where(sizes >= asked, parts, 0.0)
        here = jobs.accelerators == asked
        home[here] = rng.choice(len(sizes), int(here.sum()), p=able / able.sum())
    waits = []
    for index, size in enumerate(sizes):
        mine = home == index
        if not mine.any():
            continue
        chosen = jobs.select(mine)
        fleet = Fleet(
            accelerators=int(size),
            queues=(Queue(name="all", priority=0, quota=1.0),),
            start_seconds=(start, START_SIGMA),
            failures_per_1000_node_days=0.0,
        )
        waits.append(simulate_fleet(fleet, chosen, days=days, seed=seed).started)
    return np.concatenate(waits)


def _shape_rows(cluster: PublishedCluster, waits: list[np.ndarray]) -> list[Row]:
    summary = _summaries()[cluster.name]
    source = f"data/queues.csv, {cluster.name}"
    mean = Interval.of([float(wait.mean()) for wait in waits])
    median = Interval.of([float(np.median(wait)) for wait in waits])
    return [
        Row(
            figure=f"{cluster.name}: mean queue time, s",
            published=float(summary["avg_que_time_gpu"]),
            simulated=mean,
            source=source,
        ),
        Row(
            figure=f"{cluster.name}: median queue time, s",
            published=float(summary["med_que_time_gpu"]),
            simulated=median,
            source=source,
        ),
    ]


def _queues(seeds: int) -> Result:
    rows: list[Row] = []
    figures: dict[str, Interval] = {}
    for cluster in CLUSTERS:
        waits = [queue_times(cluster, seed) for seed in range(seeds)]
        rows += _shape_rows(cluster, waits)
        short = Interval.of([float((wait < 60).mean()) for wait in waits])
        figures[f"{cluster.name.lower()}_started_within_a_minute"] = short
    return Result(
        figures=figures,
        rows=rows,
        notes=[
            "The median job starts at once and the mean is made by a few per cent that wait for hours: that shape is "
            "reproduced. The means are not, and those of two weeks vary by a factor of several from seed to seed, as "
            "they do by month in the traces.",
            "Seren and Kalos keep most of their machines for pretraining, so that small jobs wait for the rest; our "
            "one pool has room for them at once, and its means come out too low.",
            "Users who see a full virtual cluster submit less; ours do not. That is why the mean of Helios, whose "
            "virtual clusters are small and nearly full, comes out many times too high.",
        ],
    )


ACTIVITY = {
    "Seren": (0.0, 0.0, 0.5016, 0.7303, 0.8087, 0.922),
    "Kalos": (0.0, 0.0, 0.3326, 0.7284, 0.9135, 0.9905),
}
"""Quantiles (10, 25, 50, 75, 90 and 99 %) of the share of active multiprocessors, by DCGM, of the same A100s (AcmeTrace
util_gpu_seren.pkl and util_gpu_kalos_full.pkl @6d6ac9cd, CC BY 4.0)."""

A100 = PowerModel(idle=60.0, limit=400.0, around=412.5)
"""A100 SXM: 400 W limit (data sheet), idle at the lowest ventile of Acme's samples, 6.5 kW for a server of eight."""


def _accelerator_power(name: str, seed: int, accelerators: int = 2048) -> float:
    """Mean watts over accelerators whose activity is drawn from the published quantiles."""
    rng = np.random.default_rng(seed)
    levels = (0.10, 0.25, 0.50, 0.75, 0.90, 0.99, 1.0)
    activity = np.interp(rng.random(accelerators), (0.0, *levels), (0.0, *ACTIVITY[name], 1.0))
    return float(np.mean([A100.accelerator(value) for value in activity]))


def _power(seeds: int) -> Result:
    text = resources.files("ayllu.fleet").joinpath("data", "power.csv").read_text(encoding="utf-8")
    published = {
        row["what"].split()[0]: float(row["mean_w"])
        for row in csv.DictReader(text.splitlines())
        if "A100" in row["what"]
    }
    figures = {
        f"{name.lower()}_a100_watts": Interval.of([_accelerator_power(name, seed) for seed in range(seeds)])
        for name in ACTIVITY
    }
    rows = [
        Row(
            figure=f"{name}: mean power of an A100, W",
            published=published[name],
            simulated=figures[f"{name.lower()}_a100_watts"],
            source="data/power.csv (DCGM, August 2023)",
        )
        for name in ACTIVITY
    ]
    return Result(
        figures=figures,
        rows=rows,
        notes=["Charging 400 W for every A100 would give 2.1 to 2.4 times the measured energy."],
    )


SCENARIOS = (
    Scenario(
        name="queues",
        title="Queue times of Seren, Kalos, Helios and Philly",
        inputs=(
            *(Input(name=c.name, value=f"{c.accelerators:,} GPUs, {c.days:g} days", source=c.source) for c in CLUSTERS),
            Input(
                name="jobs", value="number, sizes and run times", source="data/queues.csv; no queue time of such a job"
            ),
            Input(name="virtual clusters", value="16 at Earth, 11 at Philly", source="HeliosArtifact"),
            Input(name="load between them", value="0.01 to 0.91", source="Earth's utilisation, HeliosArtifact"),
            Input(name="submitted at once", value="5 jobs on average", source="assumption, one for all"),
            Input(
                name="start",
                value="1 s, 9 s, 0 s; 150 s at Philly",
                source="median wait of jobs without accelerators; Jeon et al. 2019",
            ),
        ),
        run=_queues,
        seeds=5,
    ),
    Scenario(
        name="a100-power",
        title="Mean power of the A100s of Seren and Kalos",
        inputs=(
            Input(name="activity", value="6 quantiles each", source="AcmeTrace, active multiprocessors by DCGM"),
            Input(name="A100", value="60 W idle, 400 W limit", source="lowest ventile of power.csv; NVIDIA data sheet"),
        ),
        run=_power,
    ),
)
