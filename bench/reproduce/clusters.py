"""What is known of Seren, Kalos, Helios and Philly: their size, their kinds of jobs, their virtual clusters and users.

Everything is published but what `Unknown` draws for each run; see `data/` for the tables.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from job_curves import Parts, curves, read_table

from ayllu.fleet.simulate.job_trace import DAY

START_SIGMA = 0.5
"""Log-normal sigma of the time that the start itself takes where nothing is published of it (assumption)."""

Start = tuple[float, float]
"""Median seconds and log-normal sigma of what a start takes."""


@dataclass(frozen=True, kw_only=True)
class PublishedCluster:
    """What is known of a cluster beside the summary of its jobs."""

    name: str
    accelerators: int
    days: float
    source: str
    retry_seconds: float = 0.0
    """Median time in which a gang is put together, timed out and tried again."""


CLUSTERS = (
    PublishedCluster(
        name="Seren",
        accelerators=2288,
        days=184,
        source="286 nodes of 8 A100, Slurm, March to August 2023 (Acme, NSDI 2024)",
    ),
    PublishedCluster(
        name="Kalos",
        accelerators=2416,
        days=107,
        source="302 nodes of 8 A100, Kubernetes, mid May to August 2023 (Acme, NSDI 2024)",
    ),
    PublishedCluster(
        name="Helios",
        accelerators=6218,
        days=183,
        source="Venus, Earth, Saturn, Uranus, Slurm, April to September 2020 (Helios, SC 2021)",
    ),
    PublishedCluster(
        name="Philly",
        accelerators=2490,
        days=83,
        retry_seconds=150.0,
        source="2,490 GPUs, gangs that wait 2 to 3 minutes and try again, 83 days of 2017 (Jeon et al., ATC 2019)",
    ),
)

KINDS = {
    "Seren": {
        "Eval": (64.9, 6.2),
        "Pretrain": (0.9, 69.5),
        "SFT": (14.9, 6.4),
        "MLLM": (2.9, 8.6),
        "Debug": (1.9, 1.7),
        "Other": (14.6, 7.6),
    },
    "Kalos": {"Eval": (92.8, 0.4), "Pretrain": (3.2, 95.5), "Debug": (2.7, 1.6), "Other": (1.3, 2.5)},
}
"""Per cent of the jobs and of the accelerator time (AcmeTrace figure/treemap_job_dist.pdf @6d6ac9cd, CC BY 4.0)."""

HOLDERS = ("users", "teams", "everybody", "users, everybody", "users, teams")
"""Who submits no other batch while one of theirs waits; after a comma, for jobs of whole nodes (assumption).

That somebody does is seen at Earth, where 1.7 jobs waited on average in the fullest virtual cluster in May 2020, and
not the 85 to 185 of a simulation in which nobody holds back. Who, is published nowhere.
"""

RESERVED = ("Pretrain", "Debug")
"""Kinds on the machines that Acme keeps for pretraining: the runs, and the search for what is wrong with them."""


@dataclass(frozen=True, kw_only=True)
class Unknown:
    """What is published of no cluster and decides how long jobs wait: drawn for each run, so that intervals hold it."""

    holders: str
    """Of `HOLDERS`."""
    kept: float
    """What Acme keeps for pretraining: from 0 (what that needs) to 1 (all but what the others need)."""
    fullest: float
    """How busy a virtual cluster may be: from 0 (Earth's fullest, the only cluster published by parts) to 1 (full)."""

    @classmethod
    def draw(cls, seed: int) -> Unknown:
        """Of run `seed`: each rule in turn, the rest uniform."""
        kept, fullest = np.random.default_rng([seed, 2]).random(2)
        return cls(holders=HOLDERS[seed % len(HOLDERS)], kept=float(kept), fullest=float(fullest))


def cluster_named(name: str) -> PublishedCluster:
    return next(cluster for cluster in CLUSTERS if cluster.name == name)


@cache
def summaries() -> dict[str, dict[str, str]]:
    return {row["id"]: row for row in read_table("queues.csv")}


def summary(name: str) -> dict[str, float]:
    return {key: float(value) for key, value in summaries()[name].items() if key != "id" and value}


def accelerator_seconds(row: dict[str, float]) -> float:
    """Of the mean job."""
    return (row["complete_gpu_time"] + row["cancel_gpu_time"] + row["fail_gpu_time"]) / row["gpu_job_num"]


@cache
def earth() -> dict[str, np.ndarray]:
    """The virtual clusters of Earth, one of the four clusters of Helios: a column for each figure."""
    rows = read_table("virtual_clusters.csv")
    names = ("accelerators", "mean_busy", "mean_running_jobs", "jobs_per_day", "mean_batch")
    return {name: np.array([float(row[name]) for row in rows]) for name in names}


def fullest_of_earth() -> float:
    """How busy the fullest virtual cluster of Earth was in May 2020, the month that is published by parts."""
    return float((earth()["mean_busy"] / earth()["accelerators"]).max())


def parts_like_earth(accelerators: np.ndarray, load: float, like: np.ndarray, fullest: float = 0.0) -> Parts:
    """Virtual clusters of these sizes, as unlike each other as those of Earth whose numbers are in `like`."""
    habits = {name: column[like] for name, column in earth().items()}
    sizes = np.maximum(8, 8 * np.round(accelerators / 8)).astype(int)
    most = fullest_of_earth() + (1 - fullest_of_earth()) * fullest
    loads = habits["mean_busy"] / habits["accelerators"]
    for _ in range(200):
        # Where one would be too full, the others take what it cannot.
        loads = np.minimum(loads * load * sizes.sum() / (loads * sizes).sum(), most)
    return Parts(
        accelerators=sizes,
        load=loads,
        jobs=habits["jobs_per_day"],
        usual_size=habits["mean_busy"] / habits["mean_running_jobs"],
        batch=habits["mean_batch"],
    )


def users_of_parts(names: list[str], count: int, load: np.ndarray) -> list[np.ndarray]:
    """Parts of the users of each virtual cluster in its jobs: as uneven as the clusters in `names`, heaviest first.

    A user belongs to the virtual cluster that still lacks most of its load.
    """
    at = curves()[names[0], "all", "users"][0]
    share = np.mean([curves()[name, "all", "users"][1] for name in names], axis=0)
    heavy = np.sort(np.diff(np.interp(np.linspace(0, 100, count), at, share), prepend=0.0))[::-1]
    lacking = load / load.sum()
    members: list[list[float]] = [[] for _ in load]
    for part in heavy.tolist():
        chosen = int(lacking.argmax())
        members[chosen].append(part)
        lacking[chosen] -= part
    return [np.array(each) / np.sum(each) if each else np.ones(1) for each in members]


def users_like_helios(accelerators: int, load: np.ndarray) -> list[np.ndarray]:
    """The users of a cluster of which nothing is published about them: as many for its size and as uneven."""
    helios = read_table("helios_clusters.csv")
    count = sum(int(each["users"]) for each in helios) * accelerators / cluster_named("Helios").accelerators
    return users_of_parts([each["name"] for each in helios], max(1, round(count)), load)


def kept_for_pretraining(cluster: PublishedCluster, unknown: Unknown) -> float:
    """The part of a cluster that is kept for pretraining.

    Either side has room for its largest job, and is no busier than the fullest virtual cluster of Earth.
    """
    row, kinds = summary(cluster.name), KINDS[cluster.name]
    load = row["gpu_job_num"] * accelerator_seconds(row) / (cluster.accelerators * cluster.days * DAY)
    needs = []
    for on_reserved in (True, False):
        mine = [kind for kind in kinds if (kind in RESERVED) == on_reserved]
        time = sum(kinds[kind][1] for kind in mine) / sum(each[1] for each in kinds.values())
        largest = max(curves()[cluster.name, kind, "accelerators"][0][-1] for kind in mine)
        needs.append(max(load * time / fullest_of_earth(), largest / cluster.accelerators))
    return needs[0] + (1 - needs[1] - needs[0]) * unknown.kept


def start_of(cluster: PublishedCluster) -> Start:
    """How long a start takes when nothing is waited for.

    Jobs without accelerators wait for the scheduler and the container only, as any job of the cluster must; their
    median and mean are those of a log-normal time.
    """
    row = summary(cluster.name)
    median, mean = row.get("med_que_time_cpu", 0.0), row.get("avg_que_time_cpu", 0.0)
    if median and mean > median:
        return median, math.sqrt(2 * math.log(mean / median))
    return median + cluster.retry_seconds, START_SIGMA
