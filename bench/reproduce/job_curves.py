"""Jobs as a published trace has them: sizes and times drawn from curves that were read off its figures.

The curves are in `data/cluster_jobs.csv`; none of them is of a queue time.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from ayllu.fleet.simulate import libm

Curve = tuple[tuple[float, ...], tuple[float, ...]]
"""Values, rising, and the share (0 to 1) of all that is at most so large."""

_Z = np.linspace(-12, 12, 3201)
_PHI = np.array([0.5 * math.erfc(-z / math.sqrt(2)) for z in _Z])
_STEPS = np.interp((np.arange(200) + 0.5) / 200, _PHI, _Z)
"""A standard normal variable at 200 equal steps of its probability."""


def read_table(name: str) -> list[dict[str, str]]:
    """The rows of a CSV file in `data/`."""
    text = (Path(__file__).parent / "data" / name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def read_curve(text: str) -> Curve:
    """A curve from "value:percent value:percent …"."""
    pairs = [point.split(":") for point in text.split()]
    return tuple(float(value) for value, _ in pairs), tuple(float(percent) / 100 for _, percent in pairs)


@cache
def curves() -> dict[tuple[str, str, str], Curve]:
    """Every curve by cluster, kind of job and what is measured."""
    rows = read_table("cluster_jobs.csv")
    return {(row["cluster"], row["kind"], row["what"]): read_curve(row["percent_at_most"]) for row in rows}


def seconds_at(curve: Curve, share: np.ndarray, longest: float) -> np.ndarray:
    """Seconds at that share of a curve of times: straight on a logarithmic scale, `longest` at the end."""
    at, below = curve
    # Half a second stands for the jobs that ended within the first one.
    values = libm.log([0.5, *at[:-1], max(longest, at[-2] * 1.01)])
    shares = np.maximum.accumulate([0.0, *below[:-1], 1.0])
    seconds: np.ndarray = libm.exp(np.interp(share, shares, values))
    return seconds


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedMix:
    """Jobs of a cluster that is cut into virtual clusters, each with sizes and times of its own.

    Behind the time of a job stands a normal variable whose mean depends on the size and the virtual cluster; its rank
    among all jobs is the job's place on the curve of times. So all times together keep their curve, while every size
    and every virtual cluster has its own part of the accelerator time.
    """

    sizes: np.ndarray
    shares: np.ndarray
    """Part of all jobs, by virtual cluster and size."""
    latent: np.ndarray
    """Mean of the normal variable, by virtual cluster and size."""
    rank: np.ndarray
    """Share of all jobs whose variable is at most a value of the grid."""
    seconds: Curve
    longest: float

    def draw(self, part: int, batch: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Sizes and seconds of jobs of one virtual cluster; the jobs of one batch have one size."""
        chances = self.shares[part] / self.shares[part].sum()
        column = rng.choice(len(self.sizes), int(batch.max(initial=-1)) + 1, p=chances)[batch]
        variable = self.latent[part][column] + rng.standard_normal(len(batch))
        return self.sizes[column], seconds_at(self.seconds, np.interp(variable, _Z, self.rank), self.longest)


@dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """The virtual clusters of a cluster, one entry of every array for each."""

    accelerators: np.ndarray
    load: np.ndarray
    """Mean part of them that is busy."""
    jobs: np.ndarray
    """In proportion to the jobs that come."""
    usual_size: np.ndarray
    """Accelerators of a running job, on average over time."""
    batch: np.ndarray
    """Mean number of jobs that come at once."""


def shared_mix(cluster: str, parts: Parts, accelerator_seconds: float, longest: float) -> SharedMix:
    """The mix of a cluster whose sizes are published by number and by accelerator time.

    `accelerator_seconds` are those of the mean job. A virtual cluster prefers sizes near its usual one.
    """
    at, by_number = curves()[cluster, "all", "accelerators"]
    _, by_time = curves()[cluster, "all", "accelerator_seconds"]
    number, time = np.diff(by_number, prepend=0.0), np.diff(by_time, prepend=0.0)
    known = (number > 0) & (time > 0)
    sizes = np.minimum(np.array(at)[known], parts.accelerators.max()).astype(int)
    number, time = number[known] / number[known].sum(), time[known] / time[known].sum()
    fits = sizes[None, :] <= parts.accelerators[:, None]
    near = libm.exp(-np.abs(libm.log2(sizes[None, :] / parts.usual_size[:, None])))
    shares = _with_margins((near + 1e-12) * fits, parts.jobs / parts.jobs.sum(), number)
    part_time = parts.load * parts.accelerators
    part_time = part_time / part_time.sum() * accelerator_seconds
    seconds = curves()[cluster, "all", "seconds"]
    of_part, of_size = np.zeros(len(parts.jobs)), np.zeros(len(sizes))
    for _ in range(200):
        latent = of_part[:, None] + of_size[None, :]
        rank = np.zeros(len(_Z))
        for weight, mean in zip(shares.ravel(), latent.ravel(), strict=True):
            rank += weight * np.interp(_Z - mean, _Z, _PHI, left=0.0, right=1.0)
        places = np.interp(latent[..., None] + _STEPS, _Z, rank)
        times = shares * sizes * seconds_at(seconds, places, longest).mean(axis=-1)
        # Both margins are pulled towards what is published; only differences of the means count.
        of_part = of_part + 0.3 * np.clip(libm.log(part_time / times.sum(axis=1)), -2, 2)
        of_size = of_size + 0.3 * np.clip(libm.log(time * accelerator_seconds / times.sum(axis=0)), -2, 2)
        of_part = np.clip(of_part - of_part.mean(), -5, 5)
        of_size = np.clip(of_size - of_size.mean(), -5, 5)
    return SharedMix(sizes=sizes, shares=shares, latent=latent, rank=rank, seconds=seconds, longest=longest)


def _with_margins(start: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The table nearest to `start` whose rows and columns have these sums (iterative proportional fitting)."""
    table = start.copy()
    for _ in range(300):
        table *= (rows / np.maximum(table.sum(axis=1), 1e-300))[:, None]
        table *= (columns / np.maximum(table.sum(axis=0), 1e-300))[None, :]
    return table / table.sum()


@dataclass(frozen=True, kw_only=True)
class KindMix:
    """Jobs of one kind, such as evaluation: a curve of sizes, one of times, and how far large ones run longer."""

    sizes: Curve
    seconds: Curve
    longest: float
    accelerator_seconds: float
    """Of the mean job."""

    def draw(self, batch: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Sizes and seconds of jobs; the jobs of one batch have one size."""
        return self._draw(batch, rng, _coupling(self))

    def _draw(self, batch: np.ndarray, rng: np.random.Generator, coupling: float) -> tuple[np.ndarray, np.ndarray]:
        of_size = rng.standard_normal(int(batch.max(initial=-1)) + 1)[batch]
        of_time = coupling * of_size + math.sqrt(1 - coupling**2) * rng.standard_normal(len(batch))
        at, below = self.sizes
        sizes = 2 ** np.round(np.interp(np.interp(of_size, _Z, _PHI), below, libm.log2(at)))
        return sizes.astype(int), seconds_at(self.seconds, np.interp(of_time, _Z, _PHI), self.longest)


@cache
def _coupling(mix: KindMix) -> float:
    """Correlation of size and time, as normal ranks, that gives the mean job its accelerator-seconds."""
    low, high = -0.99, 0.99
    for _ in range(16):
        middle = (low + high) / 2
        sizes, seconds = mix._draw(np.arange(40_000), np.random.default_rng(0), middle)
        low, high = (middle, high) if float((sizes * seconds).mean()) < mix.accelerator_seconds else (low, middle)
    return (low + high) / 2
