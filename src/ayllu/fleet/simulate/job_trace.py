"""JobTrace: when they come, how large they are, and how long they compute."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ayllu.fleet.simulate import libm
from ayllu.lab.error import UserError

HOUR, DAY = 3600.0, 86_400.0


@dataclass(frozen=True, kw_only=True)
class JobTrace:
    """Jobs in order of arrival, one entry of every array for each."""

    arrive: np.ndarray
    """Seconds from the start."""
    accelerators: np.ndarray
    work: np.ndarray
    """Seconds that the job computes when nothing goes wrong."""
    queue: np.ndarray
    """Index of the queue."""
    after: np.ndarray | None = None
    """For each job the index of one that must have started before it is submitted; -1: none."""

    def __len__(self) -> int:
        return len(self.arrive)

    def select(self, chosen: np.ndarray) -> JobTrace:
        """The jobs for which `chosen` is true."""
        return JobTrace(
            arrive=self.arrive[chosen],
            accelerators=self.accelerators[chosen],
            work=self.work[chosen],
            queue=self.queue[chosen],
        )

    @classmethod
    def merge(cls, parts: list[JobTrace]) -> JobTrace:
        """All jobs of `parts` in order of arrival."""
        order = np.argsort(np.concatenate([part.arrive for part in parts]), kind="stable")
        return cls(
            arrive=np.concatenate([part.arrive for part in parts])[order],
            accelerators=np.concatenate([part.accelerators for part in parts])[order],
            work=np.concatenate([part.work for part in parts])[order],
            queue=np.concatenate([part.queue for part in parts])[order],
        )


@dataclass(frozen=True, kw_only=True)
class JobStream:
    """The jobs that come to one queue: sizes are powers of two, times are log-normal, and large jobs run longer."""

    per_day: float
    mean_accelerators: float
    largest: int
    median_seconds: float
    mean_seconds: float
    longest_seconds: float = 14 * DAY
    mean_accelerator_seconds: float | None = None
    """Accelerator-seconds of the mean job; above the product of the means when large jobs run longer."""
    daily_swing: float = 0.4
    """How much more jobs come in the busiest hour than on average, as a part of it."""
    weekend: float = 0.5
    """JobTrace on a day of the weekend over jobs on a working day."""
    batch: float = 1.0
    """Mean number of jobs that are submitted at once (sweeps)."""
    sizes: tuple[int, ...] = ()
    """If given, sizes are drawn from these, all alike, instead of from powers of two."""

    def __post_init__(self) -> None:
        if self.per_day <= 0 or not 1 <= self.mean_accelerators <= self.largest:
            raise UserError(
                f"jobs: {self.per_day} a day of {self.mean_accelerators} accelerators, at most {self.largest}: "
                "give a positive number, and a mean between 1 and the largest"
            )
        if not 0 < self.median_seconds <= self.mean_seconds <= self.longest_seconds:
            raise UserError(
                f"jobs: median {self.median_seconds} s, mean {self.mean_seconds} s, longest {self.longest_seconds} s: "
                "times must be positive and in this order"
            )

    def size_shares(self) -> tuple[np.ndarray, np.ndarray]:
        """Sizes 1, 2, 4, … and their shares: at least half take one accelerator, the tail falls geometrically."""
        if self.sizes:
            return np.array(self.sizes), np.full(len(self.sizes), 1 / len(self.sizes))
        sizes = 2 ** np.arange(int(math.log2(self.largest)) + 1)
        low, high = 1e-6, 2.0
        for _ in range(60):
            factor = (low + high) / 2
            shares = libm.power(factor, np.arange(len(sizes)))
            shares /= shares.sum()
            if shares[0] < 0.5:
                # The median job takes one accelerator in every published trace.
                shares = np.concatenate([[0.5], 0.5 * shares[1:] / shares[1:].sum()])
            if float(shares @ sizes) < self.mean_accelerators:
                low = factor
            else:
                high = factor
        return sizes, shares

    def jobs(self, days: float, queue: int, rng: np.random.Generator) -> JobTrace:
        """The jobs of `days` days."""
        begin, batch = arrivals(
            self.per_day, days, rng, batch=self.batch, daily_swing=self.daily_swing, weekend=self.weekend
        )
        arrive = begin[batch]
        sizes, shares = self.size_shares()
        rank = np.searchsorted(np.cumsum(shares), rng.random(len(arrive)) * (1 - 1e-12))
        accelerators = sizes[np.minimum(rank, len(sizes) - 1)]
        return JobTrace(
            arrive=arrive,
            accelerators=accelerators,
            work=self._work(accelerators, sizes, shares, rng),
            queue=np.full(len(arrive), queue),
        )

    def _work(
        self, accelerators: np.ndarray, sizes: np.ndarray, shares: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Log-normal times; their median grows as a power of the size that gives `mean_accelerator_seconds`."""
        power = self._power(sizes, shares)
        sigma, base = self._shape(sizes, shares, power)
        work = base * libm.power(accelerators, power) * rng.lognormal(0, sigma, len(accelerators))
        return np.clip(work, 1.0, self.longest_seconds)

    def _shape(self, sizes: np.ndarray, shares: np.ndarray, power: float) -> tuple[float, float]:
        """Sigma and the median time of a job of one accelerator, so that the mean and the median of all come out."""
        scale = libm.power(sizes, power)
        low, high = 0.05, 4.0
        for _ in range(25):
            sigma = (low + high) / 2
            base = self._base(libm.log(scale), shares, sigma)
            mean = float(shares @ _clipped_mean(base * scale, sigma, self.longest_seconds))
            low, high = (sigma, high) if mean < self.mean_seconds else (low, sigma)
        return sigma, base

    def _base(self, log_scale: np.ndarray, shares: np.ndarray, sigma: float) -> float:
        low, high = math.log(self.median_seconds) - log_scale.max(), math.log(self.median_seconds)
        for _ in range(25):
            base = (low + high) / 2
            below = float(shares @ _normal((math.log(self.median_seconds) - base - log_scale) / sigma))
            low, high = (base, high) if below > 0.5 else (low, base)
        return math.exp(base)

    def _power(self, sizes: np.ndarray, shares: np.ndarray) -> float:
        if self.mean_accelerator_seconds is None:
            return 0.0
        low, high = 0.0, 1.5
        for _ in range(25):
            power = (low + high) / 2
            sigma, base = self._shape(sizes, shares, power)
            means = _clipped_mean(base * libm.power(sizes, power), sigma, self.longest_seconds)
            if float(shares @ (sizes * means)) < self.mean_accelerator_seconds:
                low = power
            else:
                high = power
        return power


def arrivals(
    per_day: float,
    days: float,
    rng: np.random.Generator,
    *,
    batch: float = 1.0,
    daily_swing: float = 0.4,
    weekend: float = 0.5,
) -> tuple[np.ndarray, np.ndarray]:
    """Seconds at which batches are submitted, and for every job the number of its batch; see `JobStream`."""
    hours = np.arange(math.ceil(days * 24))
    rate = 1 + daily_swing * libm.sin(2 * np.pi * (hours % 24 - 9) / 24)
    rate = rate * np.where((hours // 24) % 7 >= 5, weekend, 1.0)
    rate *= per_day / 24 / batch / rate.mean()
    counts = rng.poisson(rate)
    begin = np.sort(np.repeat(hours * HOUR, counts) + rng.uniform(0, HOUR, counts.sum()))
    begin = begin[begin < days * DAY]
    sizes = rng.geometric(1 / batch, len(begin)) if batch > 1 else np.ones(len(begin), dtype=int)
    return begin, np.repeat(np.arange(len(begin)), sizes)


def hold_back(user: np.ndarray, batch: np.ndarray) -> np.ndarray:
    """`JobTrace.after` where a user who has a batch waiting submits no other: the last job of the batch before, or -1.

    `user` and `batch` number the jobs in order of arrival.
    """
    after = np.full(len(user), -1)
    last: dict[int, int] = {}
    gate: dict[int, tuple[int, int]] = {}
    for job, (who, which) in enumerate(zip(user.tolist(), batch.tolist(), strict=True)):
        if who not in gate or gate[who][0] != which:
            gate[who] = (which, last.get(who, -1))
        after[job] = gate[who][1]
        last[who] = job
    return after


def _clipped_mean(median: np.ndarray, sigma: float, longest: float) -> np.ndarray:
    """Mean of min(X, longest) for X log-normal."""
    z = (math.log(longest) - libm.log(median)) / sigma
    below = libm.exp(libm.log(median) + sigma**2 / 2) * _normal(z - sigma)
    return below + longest * (1 - _normal(z))


def _normal(z: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.array([math.erf(value / math.sqrt(2)) for value in np.atleast_1d(z)]))
