"""Scenarios of shared clusters: how long jobs queued at Seren, Kalos, Helios and Philly, and what their A100s drew.

A cluster starts from its size, the number of its jobs, and the published curves of their sizes and times
(`measured.py`), never from the queue time of a job with accelerators. What is not published is drawn for each run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from job_curves import KindMix, Parts, SharedMix, curves, read_curve, read_table, shared_mix

from ayllu.fleet.simulate.cluster.config import Cluster, Queue
from ayllu.fleet.simulate.cluster.simulation import simulate_cluster
from ayllu.fleet.simulate.job_trace import DAY, JobTrace, arrivals, hold_back
from ayllu.fleet.simulate.prediction_interval import PredictionInterval
from ayllu.fleet.simulate.scenario import Input, Result, Row, Scenario

JOBS = 200_000
"""Jobs after which a simulation ends where the trace goes on: 55 days of Seren, 23 of Helios, all of Kalos."""

BEFORE = 50.0
"""Days before the first, whose jobs still run when it begins: jobs last up to 50 days, and hold much of a cluster."""

START_SIGMA = 0.5
"""Log-normal sigma of the time that the start itself takes where nothing is published of it (assumption)."""

BATCH = 5.0
"""Mean number of jobs submitted at once at Acme, but for pretraining (1) and evaluation (assumption)."""

DATASETS = 63
"""Evaluation jobs submitted at once: each checkpoint runs on that many data sets (Acme, section 6; from memory)."""


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

PHILLY_NODES = (64, 64, 64, 32, 32, 32, 16, 16, 16, 8, 8)
"""Nodes of the virtual clusters of Philly (HeliosArtifact philly_vc.csv); they are scaled to its 2,490 GPUs."""

PHILLY_LOAD = 312.988 / 423.459
"""Nodes of Philly that held a job over all nodes, mean of each minute from October 2017 (HeliosArtifact
philly_node_sequence.csv). The jobs of the trace, a part of all, would fill only 39 % of the GPUs: more come, alike."""


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


@cache
def _summaries() -> dict[str, dict[str, str]]:
    return {row["id"]: row for row in read_table("queues.csv")}


def _summary(name: str) -> dict[str, float]:
    return {key: float(value) for key, value in _summaries()[name].items() if key != "id" and value}


def _accelerator_seconds(row: dict[str, float]) -> float:
    """Of the mean job."""
    return (row["complete_gpu_time"] + row["cancel_gpu_time"] + row["fail_gpu_time"]) / row["gpu_job_num"]


@cache
def _earth() -> dict[str, np.ndarray]:
    """The virtual clusters of Earth, one of the four clusters of Helios: a column for each figure."""
    rows = read_table("virtual_clusters.csv")
    names = ("accelerators", "mean_busy", "mean_running_jobs", "jobs_per_day", "mean_batch")
    return {name: np.array([float(row[name]) for row in rows]) for name in names}


def _fullest_of_earth() -> float:
    """How busy the fullest virtual cluster of Earth was in May 2020, the month that is published by parts."""
    return float((_earth()["mean_busy"] / _earth()["accelerators"]).max())


def _parts(accelerators: np.ndarray, load: float, like: np.ndarray, fullest: float = 0.0) -> Parts:
    """Virtual clusters of these sizes, as unlike each other as those of Earth whose numbers are in `like`."""
    earth = {name: column[like] for name, column in _earth().items()}
    sizes = np.maximum(8, 8 * np.round(accelerators / 8)).astype(int)
    most = _fullest_of_earth() + (1 - _fullest_of_earth()) * fullest
    loads = earth["mean_busy"] / earth["accelerators"]
    for _ in range(200):
        # Where one would be too full, the others take what it cannot.
        loads = np.minimum(loads * load * sizes.sum() / (loads * sizes).sum(), most)
    return Parts(
        accelerators=sizes,
        load=loads,
        jobs=earth["jobs_per_day"],
        usual_size=earth["mean_busy"] / earth["mean_running_jobs"],
        batch=earth["mean_batch"],
    )


def _users(names: list[str], count: int, load: np.ndarray) -> list[np.ndarray]:
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


def _users_like_helios(accelerators: int, load: np.ndarray) -> list[np.ndarray]:
    """The users of a cluster of which nothing is published about them: as many for its size and as uneven."""
    helios = read_table("helios_clusters.csv")
    count = sum(int(each["users"]) for each in helios) * accelerators / _cluster("Helios").accelerators
    return _users([each["name"] for each in helios], max(1, round(count)), load)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Load:
    """Jobs that are about to be simulated on machines of their own, in order of arrival."""

    arrive: np.ndarray
    """Seconds from the first day; below zero for those that may still run when it begins."""
    accelerators: np.ndarray
    seconds: np.ndarray
    user: np.ndarray
    batch: np.ndarray


def _waits(load: _Load, accelerators: int, holders: str, start: Start, days: float, seed: int) -> np.ndarray:
    """Seconds that each job of the days waited; NaN for those that did not start.

    A team has as many accelerators as the mean virtual cluster of Earth.
    """
    left = np.where(load.arrive < 0, load.arrive + load.seconds, load.seconds)
    kept = np.flatnonzero(left > 0)
    sizes = np.minimum(load.accelerators[kept], accelerators)
    later = np.flatnonzero(load.arrive[kept] >= 0)
    teams = max(1, round(accelerators / float(_earth()["accelerators"].mean())))
    by = {"users": load.user[kept], "teams": load.user[kept] % teams, "everybody": np.zeros(len(kept), dtype=int)}
    small, _, whole_nodes = holders.partition(", ")
    who = np.where(sizes >= 8, -1 - by[whole_nodes or small], by[small]) if whole_nodes else by[small]
    held = hold_back(who[later], load.batch[kept][later])
    after = np.full(len(kept), -1)
    after[later] = np.where(held >= 0, later[held], -1)
    jobs = JobTrace(
        arrive=np.maximum(load.arrive[kept], 0.0),
        accelerators=sizes,
        work=left[kept],
        queue=np.zeros(len(kept), dtype=int),
        after=after,
    )
    fleet = Cluster(
        accelerators=accelerators,
        queues=(Queue(name="all", priority=0, quota=1.0),),
        start_seconds=start,
        failures_per_1000_node_days=0.0,
    )
    return simulate_cluster(fleet, jobs, days=days, seed=seed).wait[later]


def _shared_waits(
    mix: SharedMix,
    parts: Parts,
    users: list[np.ndarray],
    holders: str,
    per_day: float,
    start: Start,
    days: float,
    seed: int,
) -> np.ndarray:
    """Waits in a cluster that is cut into virtual clusters."""
    rng = np.random.default_rng(seed)
    waits = []
    for part, share in enumerate(parts.jobs / parts.jobs.sum()):
        begin, batch = arrivals(per_day * share, BEFORE + days, rng, batch=parts.batch[part])
        sizes, seconds = mix.draw(part, batch, rng)
        load = _Load(
            arrive=begin[batch] - BEFORE * DAY,
            accelerators=sizes,
            seconds=seconds,
            user=rng.choice(len(users[part]), len(begin), p=users[part])[batch],
            batch=batch,
        )
        waits.append(_waits(load, int(parts.accelerators[part]), holders, start, days, seed))
    return np.concatenate(waits)


def _helios(fullest: float) -> list[tuple[str, float, SharedMix, Parts, list[np.ndarray]]]:
    found = []
    longest = _summary("Helios")["max_run_time_gpu"]
    for row in read_table("helios_clusters.csv"):
        total, jobs = float(row["accelerators"]), float(row["jobs"])
        earth = _earth()["accelerators"]
        load = float(row["accelerator_seconds"]) / (total * _cluster("Helios").days * DAY)
        most = 0.0 if row["name"] == "Earth" else fullest
        parts = _parts(earth * total / earth.sum(), load, np.arange(len(earth)), most)
        mix = shared_mix(row["name"], parts, float(row["accelerator_seconds"]) / jobs, longest)
        users = _users([row["name"]], int(row["users"]), parts.load * parts.accelerators)
        found.append((row["name"], jobs / _cluster("Helios").days, mix, parts, users))
    return found


def _cluster(name: str) -> PublishedCluster:
    return next(cluster for cluster in CLUSTERS if cluster.name == name)


def _philly_waits(cluster: PublishedCluster, unknown: Unknown, start: Start, days: float, seed: int) -> np.ndarray:
    row = _summary("Philly")
    # Nothing is published of what the virtual clusters of Philly do: they get the habits of Earth's by lot.
    like = np.random.default_rng([seed, 1]).permutation(len(_earth()["accelerators"]))[: len(PHILLY_NODES)]
    nodes = np.array(PHILLY_NODES)
    parts = _parts(nodes * cluster.accelerators / nodes.sum(), PHILLY_LOAD, like, unknown.fullest)
    mix = shared_mix("Philly", parts, _accelerator_seconds(row), row["max_run_time_gpu"])
    users = _users_like_helios(cluster.accelerators, parts.load * parts.accelerators)
    per_day = PHILLY_LOAD * cluster.accelerators * DAY / _accelerator_seconds(row)
    return _shared_waits(mix, parts, users, unknown.holders, per_day, start, days, seed)


def _kept(cluster: PublishedCluster, unknown: Unknown) -> float:
    """The part of a cluster that is kept for pretraining.

    Either side has room for its largest job, and is no busier than the fullest virtual cluster of Earth.
    """
    row, kinds = _summary(cluster.name), KINDS[cluster.name]
    load = row["gpu_job_num"] * _accelerator_seconds(row) / (cluster.accelerators * cluster.days * DAY)
    needs = []
    for on_reserved in (True, False):
        mine = [kind for kind in kinds if (kind in RESERVED) == on_reserved]
        time = sum(kinds[kind][1] for kind in mine) / sum(each[1] for each in kinds.values())
        largest = max(curves()[cluster.name, kind, "accelerators"][0][-1] for kind in mine)
        needs.append(max(load * time / _fullest_of_earth(), largest / cluster.accelerators))
    return needs[0] + (1 - needs[1] - needs[0]) * unknown.kept


def _acme_waits(cluster: PublishedCluster, unknown: Unknown, start: Start, days: float, seed: int) -> np.ndarray:
    """Waits at Seren or Kalos: pretraining has machines of its own."""
    row, kinds = _summary(cluster.name), KINDS[cluster.name]
    rng = np.random.default_rng(seed)
    total = [sum(each[column] for each in kinds.values()) for column in (0, 1)]
    reserved = _kept(cluster, unknown)
    waits = []
    for on_reserved, part in ((True, reserved), (False, 1 - reserved)):
        accelerators = 8 * round(part * cluster.accelerators / 8)
        streams = [
            _kind_stream(cluster, kind, row, (jobs / total[0], time / total[1]), days, rng)
            for kind, (jobs, time) in kinds.items()
            if (kind in RESERVED) == on_reserved
        ]
        arrive, sizes, seconds, batch = (np.concatenate(columns) for columns in zip(*streams, strict=True))
        # One team plans the reserved machines.
        (chances,) = _users_like_helios(accelerators, np.ones(1)) if not on_reserved else [np.ones(1)]
        of_batch = rng.choice(len(chances), int(batch.max()) + 1, p=chances)
        order = np.argsort(arrive, kind="stable")
        jobs = _Load(
            arrive=arrive[order],
            accelerators=sizes[order],
            seconds=seconds[order],
            user=of_batch[batch[order]],
            batch=batch[order],
        )
        waits.append(_waits(jobs, accelerators, unknown.holders, start, days, seed))
    return np.concatenate(waits)


def _kind_stream(
    cluster: PublishedCluster,
    kind: str,
    row: dict[str, float],
    shares: tuple[float, float],
    days: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Arrivals (seconds from the first day), sizes, times and batches of the jobs of one kind."""
    per_day = row["gpu_job_num"] / cluster.days * shares[0]
    if kind == "Eval":
        begin, _ = arrivals(per_day / DATASETS, BEFORE + days, rng)
        batch = np.repeat(np.arange(len(begin)), DATASETS)
    else:
        begin, batch = arrivals(per_day, BEFORE + days, rng, batch=1.0 if kind == "Pretrain" else BATCH)
    mix = KindMix(
        sizes=curves()[cluster.name, kind, "accelerators"],
        seconds=curves()[cluster.name, kind, "seconds"],
        longest=row["max_run_time_gpu"],
        accelerator_seconds=_accelerator_seconds(row) * shares[1] / shares[0],
    )
    sizes, seconds = mix.draw(batch, rng)
    # Batches of another kind have other numbers.
    return begin[batch] - BEFORE * DAY, sizes, seconds, batch * len(KINDS["Seren"]) + list(KINDS["Seren"]).index(kind)


def queue_times(
    cluster: PublishedCluster, seed: int, days: float | None = None, unknown: Unknown | None = None
) -> dict[str, np.ndarray]:
    """Seconds that each job of `days` days (None: see `JOBS`) waited, by the clusters that `cluster` is made of.

    What is not known is drawn where it is not given.
    """
    unknown = unknown or Unknown.draw(seed)
    if days is None:
        days = cluster.days * min(1.0, JOBS / _summary(cluster.name)["gpu_job_num"])
    start = _start(cluster)
    if cluster.name in KINDS:
        waits = {cluster.name: _acme_waits(cluster, unknown, start, days, seed)}
    elif cluster.name == "Philly":
        waits = {cluster.name: _philly_waits(cluster, unknown, start, days, seed)}
    else:
        waits = {
            name: _shared_waits(mix, parts, users, unknown.holders, per_day, start, days, seed)
            for name, per_day, mix, parts, users in _helios(unknown.fullest)
        }
    # The traces hold whole seconds.
    return {name: np.round(wait[~np.isnan(wait)]) for name, wait in waits.items()}


def _start(cluster: PublishedCluster) -> Start:
    """How long a start takes when nothing is waited for.

    Jobs without accelerators wait for the scheduler and the container only, as any job of the cluster must; their
    median and mean are those of a log-normal time.
    """
    row = _summary(cluster.name)
    median, mean = row.get("med_que_time_cpu", 0.0), row.get("avg_que_time_cpu", 0.0)
    if median and mean > median:
        return median, math.sqrt(2 * math.log(mean / median))
    return median + cluster.retry_seconds, START_SIGMA


@cache
def queue_shape(name: str) -> tuple[tuple[float, ...], np.ndarray]:
    """Published seconds and the share of all jobs that wait at most so long (`data/queue_shapes.csv`)."""
    rows = [row for row in read_table("queue_shapes.csv") if row["cluster"] == name]
    read = {row["kind"]: read_curve(row["percent_at_most_seconds"]) for row in rows}
    weights = [KINDS[name][kind][0] for kind in read]
    seconds = next(iter(read.values()))[0]
    return seconds, np.average([share for _, share in read.values()], axis=0, weights=weights)


SHAPE_AT = (64, 1024, 4096)
"""Seconds, about a minute, a quarter of an hour and an hour, that are compared of the published shapes."""


def _shape_rows(cluster: PublishedCluster, waits: list[dict[str, np.ndarray]]) -> Iterator[Row]:
    summary = _summaries()[cluster.name]
    source = f"data/queues.csv, {cluster.name}"
    every = [np.concatenate(list(wait.values())) for wait in waits]
    yield Row(
        figure=f"{cluster.name}: mean queue time, s",
        published=float(summary["avg_que_time_gpu"]),
        simulated=PredictionInterval.of([float(wait.mean()) for wait in every]),
        source=source,
    )
    yield Row(
        figure=f"{cluster.name}: median queue time, s",
        published=float(summary["med_que_time_gpu"]),
        simulated=PredictionInterval.of([float(np.median(wait)) for wait in every]),
        source=source,
    )
    if cluster.name in KINDS:
        seconds, shares = queue_shape(cluster.name)
        for at in SHAPE_AT:
            yield Row(
                figure=f"{cluster.name}: jobs that wait at most {at:,} s",
                published=float(shares[seconds.index(at)]),
                simulated=PredictionInterval.of([float((wait <= at).mean()) for wait in every]),
                source=f"data/queue_shapes.csv, {cluster.name}",
            )
    if cluster.name == "Helios":
        for row in read_table("helios_clusters.csv"):
            yield Row(
                figure=f"{row['name']}: mean queue time, s",
                published=float(row["mean_wait_s"]),
                simulated=PredictionInterval.of([float(wait[row["name"]].mean()) for wait in waits]),
                source="data/helios_clusters.csv",
            )


NOTES = [
    "Most jobs start at once and a few per cent wait for hours: the mean is made by those. It varies by a factor from "
    "run to run, as it does by month in the traces.",
    "What decides waits and is published nowhere is drawn for each run: who holds jobs back, how much Acme keeps for "
    "pretraining, how full a virtual cluster gets. The intervals hold it, and are wide.",
    "At Philly 30 to 55 % of the jobs start within a minute and the next third after three (Jeon et al., figure 3); "
    "here all need about 150 s, so that the median fits and the first minute does not. One of its virtual clusters, in "
    "which a fifth of the small jobs waited for more than 1,000 minutes, makes much of the mean that is missing.",
]


def _queues(seeds: int) -> Result:
    rows: list[Row] = []
    figures: dict[str, PredictionInterval] = {}
    for cluster in CLUSTERS:
        waits = [queue_times(cluster, seed) for seed in range(seeds)]
        rows += _shape_rows(cluster, waits)
        for label, at in (("a_minute", 60), ("ten_minutes", 600), ("an_hour", 3600), ("ten_hours", 36_000)):
            figures[f"{cluster.name.lower()}_started_within_{label}"] = PredictionInterval.of(
                [float((np.concatenate(list(wait.values())) <= at).mean()) for wait in waits]
            )
    return Result(figures=figures, rows=rows, notes=NOTES)


WINDOWS = (62.062, 69.886)
"""Mean utilisation of the GPUs of Kalos in two stretches of time, per cent (AcmeTrace util_gpu_kalos.pkl and
util_gpu_kalos_full.pkl @6d6ac9cd, means of the published curves): how much busier one month is than another."""

ACME = ("Seren", "Kalos")
"""The two clusters whose A100s were measured: activity and power, but never of one accelerator at one time."""


def power_curve(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Activity and watts of the A100s of a cluster at equal ranks (`data/a100_activity.csv`): the busiest draws most.

    The file is from AcmeTrace util_gpu_seren.pkl, util_gpu_kalos_full.pkl (active multiprocessors, DCGM),
    gpu_power_seren.pkl and gpu_power_kalos.pkl (August 2023) @6d6ac9cd, CC BY 4.0. Ranks of one activity share a mean.
    """
    rows = read_table("a100_activity.csv")
    activity = np.array([float(row[f"{name.lower()}_activity"]) for row in rows])
    watts = np.array([float(row[f"{name.lower()}_watts"]) for row in rows])
    levels, rank = np.unique(activity, return_inverse=True)
    return levels, np.bincount(rank, watts) / np.bincount(rank)


def _accelerator_power(name: str, seed: int, accelerators: int = 2048) -> float:
    """Mean watts over accelerators with the published activity of one cluster and the power curve of the other.

    Power was measured in another month than activity: the share of accelerators that are busy differs by as much as
    between two stretches of Kalos.
    """
    rng = np.random.default_rng(seed)
    rows = read_table("a100_activity.csv")
    ranks = [float(row["percent_of_samples"]) / 100 for row in rows]
    levels = [float(row[f"{name.lower()}_activity"]) for row in rows]
    idle = max(rank for rank, level in zip(ranks, levels, strict=True) if level == 0)
    drift = rng.normal(0.0, np.log(WINDOWS[1] / WINDOWS[0]))
    idle_then = 1 - min(1.0, (1 - idle) * np.exp(drift))
    rank = np.interp(rng.random(accelerators), [0.0, idle_then, 1.0], [0.0, idle, 1.0])
    activity = np.interp(rank, [0.0, *ranks], [0.0, *levels])
    (other,) = (each for each in ACME if each != name)
    return float(np.mean(np.interp(activity, *power_curve(other))))


def _power(seeds: int) -> Result:
    published = {
        row["what"].split()[0]: float(row["mean_w"]) for row in read_table("power.csv") if "A100" in row["what"]
    }
    figures = {
        f"{name.lower()}_a100_watts": PredictionInterval.of([_accelerator_power(name, seed) for seed in range(seeds)])
        for name in ACME
    }
    rows = [
        Row(
            figure=f"{name}: mean power of an A100, W",
            published=published[name],
            simulated=figures[f"{name.lower()}_a100_watts"],
            source="data/power.csv (DCGM, August 2023)",
        )
        for name in ACME
    ]
    return Result(
        figures=figures,
        rows=rows,
        notes=[
            "Charging 400 W for every A100 would give 2.1 to 2.4 times the measured energy. A straight line from 60 to "
            "400 W gives 203 and 194 W: half-active multiprocessors draw far less than half.",
            "Activity is of other months than power (August): Seren was the busier cluster in one, and drew less in "
            "the other. No curve of activity can give both, and the interval holds what months differ by.",
        ],
    )


SCENARIOS = (
    Scenario(
        name="queues",
        title="Queue times of Seren, Kalos, Helios and Philly",
        inputs=(
            *(Input(name=c.name, value=f"{c.accelerators:,} GPUs, {c.days:g} days", source=c.source) for c in CLUSTERS),
            Input(name="jobs", value="number and accelerator time", source="data/queues.csv, helios_clusters.csv"),
            Input(
                name="sizes and times",
                value="curves by kind of job or by cluster",
                source="data/cluster_jobs.csv: AcmeTrace, HeliosArtifact; no queue time",
            ),
            Input(name="virtual clusters", value="16 in each of Helios, 11 at Philly", source="HeliosArtifact"),
            Input(
                name="load and jobs between them",
                value="0.01 to 0.91 busy, 1 to 984 jobs a day",
                source="data/virtual_clusters.csv: Earth, May 2020; the others alike (assumption)",
            ),
            Input(
                name="submitted at once",
                value="1.0 to 4.8 on average; Acme 63 evaluations, else 5",
                source="Earth, jobs of one minute; Acme section 6, from memory; assumption",
            ),
            Input(
                name="users",
                value="1,073 at Helios, a few with most of the time",
                source="HeliosArtifact user_cdf_time.pdf; elsewhere as many for the size (assumption)",
            ),
            Input(
                name="who has a batch waiting",
                value="submits no other: users, teams of 54 GPUs, everybody, or one of them for whole nodes",
                source="drawn: five rules in turn; 54: mean virtual cluster of Earth",
            ),
            Input(
                name="kept for pretraining",
                value="46 to 81 % of Seren, 42 to 97 % of Kalos",
                source="drawn: both sides have room for their largest job and are 91 % busy at most (Earth's fullest)",
            ),
            Input(
                name="fullest virtual cluster",
                value="91 % busy at Earth, elsewhere 91 to 100 %",
                source="data/virtual_clusters.csv; drawn",
            ),
            Input(
                name="load of Philly",
                value="0.74; the trace alone is 0.39",
                source="nodes that held a job, HeliosArtifact philly_node_sequence.csv",
            ),
            Input(
                name="start",
                value="1 s (mean 5), 9 s (mean 88), 0 s; 150 s at Philly",
                source="median and mean wait of jobs without accelerators; Jeon et al. 2019",
            ),
        ),
        run=_queues,
        seeds=10,
    ),
    Scenario(
        name="a100-power",
        title="Mean power of the A100s of Seren and Kalos",
        inputs=(
            Input(name="activity", value="21 quantiles each", source="AcmeTrace, active multiprocessors by DCGM"),
            Input(name="watts at an activity", value="62 to 597 W", source="AcmeTrace, the other cluster"),
            Input(
                name="months differ by",
                value="factor 1.13 in busy accelerators (log-normal)",
                source="AcmeTrace, two stretches of Kalos: utilisation of 62.1 and 69.9 %",
            ),
        ),
        run=_power,
    ),
)
