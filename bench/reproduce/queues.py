"""How long jobs queued at Seren, Kalos, Helios and Philly: `python bench/reproduce/queues.py [--seeds 10] [--json]`.

A cluster starts from its size, the number of its jobs, and the published curves of their sizes and times
(`job_curves`), never from the queue time of a job with accelerators. What is not published is drawn for each run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import record
from clusters import (
    CLUSTERS,
    KINDS,
    RESERVED,
    PublishedCluster,
    Start,
    Unknown,
    accelerator_seconds,
    cluster_named,
    earth,
    kept_for_pretraining,
    parts_like_earth,
    start_of,
    summaries,
    summary,
    users_like_helios,
    users_of_parts,
)
from job_curves import KindMix, Parts, SharedMix, curves, read_curve, read_table, shared_mix

from ayllu.fleet.simulate.cluster.config import Cluster, Queue
from ayllu.fleet.simulate.cluster.simulation import simulate_cluster
from ayllu.fleet.simulate.job_trace import DAY, JobTrace, arrivals, hold_back

JOBS = 200_000
"""Jobs after which a simulation ends where the trace goes on: 55 days of Seren, 23 of Helios, all of Kalos."""

BEFORE = 50.0
"""Days before the first, whose jobs still run when it begins: jobs last up to 50 days, and hold much of a cluster."""

BATCH = 5.0
"""Mean number of jobs submitted at once at Acme, but for pretraining (1) and evaluation (assumption)."""

DATASETS = 63
"""Evaluation jobs submitted at once (assumption): Acme evaluates a 7B model on so many data sets (arXiv:2403.07648,
section 6.2; read in a summary, not in the paper itself)."""


PHILLY_NODES = (64, 64, 64, 32, 32, 32, 16, 16, 16, 8, 8)
"""Nodes of the virtual clusters of Philly (HeliosArtifact philly_vc.csv); they are scaled to its 2,490 GPUs."""

PHILLY_LOAD = 312.988 / 423.459
"""Nodes of Philly that held a job over all nodes, mean of each minute from October 2017 (HeliosArtifact
philly_node_sequence.csv). The jobs of the trace, a part of all, would fill only 39 % of the GPUs: more come, alike."""


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
    teams = max(1, round(accelerators / float(earth()["accelerators"].mean())))
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
    longest = summary("Helios")["max_run_time_gpu"]
    for row in read_table("helios_clusters.csv"):
        total, jobs = float(row["accelerators"]), float(row["jobs"])
        sizes = earth()["accelerators"]
        load = float(row["accelerator_seconds"]) / (total * cluster_named("Helios").days * DAY)
        most = 0.0 if row["name"] == "Earth" else fullest
        parts = parts_like_earth(sizes * total / sizes.sum(), load, np.arange(len(sizes)), most)
        mix = shared_mix(row["name"], parts, float(row["accelerator_seconds"]) / jobs, longest)
        users = users_of_parts([row["name"]], int(row["users"]), parts.load * parts.accelerators)
        found.append((row["name"], jobs / cluster_named("Helios").days, mix, parts, users))
    return found


def _philly_waits(cluster: PublishedCluster, unknown: Unknown, start: Start, days: float, seed: int) -> np.ndarray:
    row = summary("Philly")
    # Nothing is published of what the virtual clusters of Philly do: they get the habits of Earth's by lot.
    like = np.random.default_rng([seed, 1]).permutation(len(earth()["accelerators"]))[: len(PHILLY_NODES)]
    nodes = np.array(PHILLY_NODES)
    parts = parts_like_earth(nodes * cluster.accelerators / nodes.sum(), PHILLY_LOAD, like, unknown.fullest)
    mix = shared_mix("Philly", parts, accelerator_seconds(row), row["max_run_time_gpu"])
    users = users_like_helios(cluster.accelerators, parts.load * parts.accelerators)
    per_day = PHILLY_LOAD * cluster.accelerators * DAY / accelerator_seconds(row)
    return _shared_waits(mix, parts, users, unknown.holders, per_day, start, days, seed)


def _acme_waits(cluster: PublishedCluster, unknown: Unknown, start: Start, days: float, seed: int) -> np.ndarray:
    """Waits at Seren or Kalos: pretraining has machines of its own."""
    row, kinds = summary(cluster.name), KINDS[cluster.name]
    rng = np.random.default_rng(seed)
    total = [sum(each[column] for each in kinds.values()) for column in (0, 1)]
    reserved = kept_for_pretraining(cluster, unknown)
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
        (chances,) = users_like_helios(accelerators, np.ones(1)) if not on_reserved else [np.ones(1)]
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
        accelerator_seconds=accelerator_seconds(row) * shares[1] / shares[0],
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
        days = cluster.days * min(1.0, JOBS / summary(cluster.name)["gpu_job_num"])
    start = start_of(cluster)
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


def _targets(cluster: PublishedCluster, waits: list[dict[str, np.ndarray]]) -> Iterator[record.Target]:
    published = summaries()[cluster.name]
    every = [np.concatenate(list(wait.values())) for wait in waits]
    for label, key, measure in (("mean", "avg_que_time_gpu", np.mean), ("median", "med_que_time_gpu", np.median)):
        yield record.Target(
            figure=f"{cluster.name}: {label} queue time, s",
            published=float(published[key]),
            values=[float(measure(wait)) for wait in every],
            source=f"bench/reproduce/data/queues.csv, {cluster.name}",
        )
    if cluster.name in KINDS:
        seconds, shares = queue_shape(cluster.name)
        for at in SHAPE_AT:
            yield record.Target(
                figure=f"{cluster.name}: jobs that wait at most {at:,} s",
                published=float(shares[seconds.index(at)]),
                values=[float((wait <= at).mean()) for wait in every],
                source=f"bench/reproduce/data/queue_shapes.csv, {cluster.name}",
            )
    if cluster.name == "Helios":
        for row in read_table("helios_clusters.csv"):
            yield record.Target(
                figure=f"{row['name']}: mean queue time, s",
                published=float(row["mean_wait_s"]),
                values=[float(wait[row["name"]].mean()) for wait in waits],
                source="bench/reproduce/data/helios_clusters.csv",
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


def queues(seeds: int) -> record.Reproduction:
    """Queue times of the four clusters over so many runs."""
    targets: list[record.Target] = []
    figures: dict[str, list[float]] = {}
    for cluster in CLUSTERS:
        waits = [queue_times(cluster, seed) for seed in range(seeds)]
        targets += _targets(cluster, waits)
        every = [np.concatenate(list(wait.values())) for wait in waits]
        for label, at in (("a_minute", 60), ("ten_minutes", 600), ("an_hour", 3600), ("ten_hours", 36_000)):
            name = f"{cluster.name.lower()}_started_within_{label}"
            figures[name] = [float((wait <= at).mean()) for wait in every]
    return record.Reproduction(figures=figures, targets=targets, notes=NOTES)


if __name__ == "__main__":
    record.main({"queues": (queues, 10)})
