"""One training job over days or weeks: it computes, saves, breaks, is found broken, and starts again.

The job is synchronous: when one node fails, all stop, unless replicas recover alone. What is simulated is the wall
clock, from one event to the next; a failure that strikes during a restart makes the restart begin again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ayllu.fleet.simulate.failures import Hazard
from ayllu.lab.error import UserError

HOUR, MINUTE = 3600.0, 60.0

RESTART_TABLE = ((16_384, 200.0), (22_528, 300.0), (65_536, 600.0), (98_304, 900.0))
"""Accelerators and seconds of a cold recovery (FT-HSDP, arXiv:2602.00277): processes, collectives, checkpoint load."""


def restart_seconds(accelerators: int) -> float:
    """Seconds of a cold recovery: interpolated in RESTART_TABLE, and as the square root of the size below it.

    The square root is our assumption: load and start-up have a part that does not shrink with the job.
    """
    first, seconds = RESTART_TABLE[0]
    if accelerators < first:
        return seconds * (accelerators / first) ** 0.5
    last, most = RESTART_TABLE[-1]
    if accelerators > last:
        return most * accelerators / last
    sizes, times = zip(*RESTART_TABLE, strict=True)
    return float(np.interp(accelerators, sizes, times))


@dataclass(frozen=True, kw_only=True)
class Checkpointing:
    """When the state is saved and what that costs. Asynchronous by default; synchronous when `stall` equals `save`."""

    interval: float = 5 * MINUTE
    """Seconds of training between two saves (Kokolis et al. arXiv:2410.21680 recommend 5 minutes at this scale)."""
    stall: float = 0.59
    """Seconds that training stands still for a save (ByteCheckpoint: 0.34 to 0.59 s)."""
    save: float = 51.0
    """Seconds until a save is safe (ByteCheckpoint: 20 to 51 s at up to 8,960 GPUs)."""
    memory_interval: float | None = None
    """Seconds between copies in the memory of other nodes; they serve every failure but silent corruption."""

    def __post_init__(self) -> None:
        if self.interval <= 0 or self.stall < 0 or self.save < self.stall:
            raise UserError(
                f"checkpointing: interval {self.interval} s must be positive and save {self.save} s at least "
                f"the stall of {self.stall} s"
            )

    def lost(self, since_start: float, silent: bool, rng: np.random.Generator) -> float:
        """Seconds of training that are lost when a failure comes `since_start` seconds after the last (re)start.

        A save begins every `interval`, and counts once it is safe; until the first one, all since the start is lost.
        """
        if self.memory_interval is not None and not silent:
            return min(since_start, self.memory_interval * rng.random())
        period = self.interval + self.stall
        done = int(max(since_start - (self.save - self.stall), 0.0) // period)
        return since_start - done * period

    def useful(self, running: float) -> float:
        """Seconds of training in `running` seconds, without the stalls."""
        return running * self.interval / (self.interval + self.stall)


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """How a broken job comes back."""

    detect: tuple[float, float] = (2.0, 60.0)
    """Seconds until a crash is seen, uniform (ByteRobust, arXiv:2509.16293)."""
    hang_timeout: float = 10 * MINUTE
    """Seconds until a hang is seen: the timeout of the collectives (ByteRobust)."""
    diagnose_at_most: float = 10 * MINUTE
    """Seconds to see a crash and find its node, uniform from 0 (MegaScale, NSDI 2024: less than 10 minutes).
    A bound that is published as "less than x" enters this model as uniform between 0 and x, here and below."""
    inspected_share: float = 0.0
    """Failures of a broken part that inspections name with its node: they are seen, and nothing is diagnosed."""
    manual_share_at_most: float = 0.10
    """Failures that need a person, drawn once a run uniformly from 0 (MegaScale: more than 90 % recovered alone)."""
    manual: float = 68 * MINUTE
    """Seconds with a person (Unicron: restart without automation)."""
    silent_latency: float = 10 * MINUTE
    """Mean seconds until wrong numbers are noticed; so long is computed again. Gemini replayed 0.25 % of its steps."""
    restart: float | None = None
    """Seconds of the restart itself; None: by size, see `restart_seconds`."""
    stall: float | None = None
    """Seconds from failure to training again, where a source gives nothing finer; replaces all of the above."""

    def __post_init__(self) -> None:
        spans = (self.hang_timeout, self.diagnose_at_most, self.manual, self.silent_latency)
        if min(*spans, self.restart or 0.0, self.stall or 0.0) < 0 or not 0 <= self.detect[0] <= self.detect[1]:
            raise UserError("recovery: no time may be negative, and the times of detect must be in order")
        for name in ("manual_share_at_most", "inspected_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"recovery: {name} is {getattr(self, name)}; it must lie in [0, 1]")


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """A training job and the machines under it. Raises UserError on figures that cannot be."""

    accelerators: int
    days: float
    hazard: Hazard
    accelerators_per_node: int = 8
    checkpointing: Checkpointing = field(default_factory=Checkpointing)
    recovery: Recovery = field(default_factory=Recovery)
    spares: int | None = None
    """Nodes that wait to take a broken one's place; None: 1 for 32, at least 1 (assumption)."""
    repair_days: float = 3.0
    """Median time of a repair, log-normal with a factor of 2.7 (assumption)."""
    elastic: bool = False
    """Without a spare: go on smaller, instead of waiting for a repair."""
    replicas: int = 1
    """Data-parallel replicas that can fail alone; 1: the whole job stops."""
    planned_per_day: float = 1.0
    """Planned stops: maintenance, new code, another data mix (assumption)."""
    lemon_after: int | None = None
    """A node leaves for good after so many failures; None: lemons stay."""
    straggler_loss: float = 0.0
    """Part of the speed lost to slow nodes (MegaScale: 0.007 until they were excluded)."""
    degraded_per_1000_node_days: float = 0.44
    """Link faults that slow the job without stopping it (Fire-Flyer: about 200 a year on 1,250 nodes)."""
    degraded_loss: float = 0.10
    """Part of the speed lost meanwhile (assumption)."""
    degraded_hours: float = 1.0
    """Mean length of such a time (assumption)."""
    diurnal_swing: float = 0.0
    """Half of the difference between the fastest and the slowest hour of a day, as part of the mean speed."""

    def __post_init__(self) -> None:
        if self.accelerators < 1 or self.accelerators_per_node < 1:
            raise UserError(
                f"run: {self.accelerators} accelerators, {self.accelerators_per_node} in a node; give at least 1"
            )
        if not 0 < self.days <= 3660:
            raise UserError(f"run: days is {self.days}; it must lie between 0 and ten years")
        if self.replicas < 1 or (self.spares or 0) < 0 or self.planned_per_day < 0:
            raise UserError("run: replicas must be at least 1, spares and planned_per_day at least 0")
        if self.repair_days <= 0 or self.degraded_per_1000_node_days < 0 or self.degraded_hours < 0:
            raise UserError("run: repair_days must be above 0, and the rate and hours of degraded links at least 0")
        for name in ("straggler_loss", "degraded_loss", "diurnal_swing"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"run: {name} is {getattr(self, name)}; it is a part and must lie in [0, 1)")
        if self.lemon_after is not None and self.lemon_after < 1:
            raise UserError(f"run: lemon_after is {self.lemon_after} failures; it must be at least 1")

    @property
    def spare_nodes(self) -> int:
        """Spares, as given or by the rule."""
        return max(1, self.nodes // 32) if self.spares is None else self.spares

    @property
    def restart(self) -> float:
        """Seconds of a restart, as given or by size."""
        given = self.recovery.restart
        return restart_seconds(self.accelerators) if given is None else given

    @property
    def nodes(self) -> int:
        """Nodes that the job computes on."""
        return -(-self.accelerators // self.accelerators_per_node)
