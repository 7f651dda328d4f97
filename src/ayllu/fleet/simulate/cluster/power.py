"""Watts: of one accelerator by how busy it is, of a cluster by how much of it is busy, and how a cap slows it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ayllu.lab.error import UserError


@dataclass(frozen=True, kw_only=True)
class PowerModel:
    """Power of one accelerator and of what stands around it, in watts.

    An accelerator draws `idle` plus a part of the span up to `limit` that is proportional to the share of its
    multiprocessors that are active. The defaults are an H100 SXM in an eight-way server: 700 W limit and 10.2 kW
    for the server (NVIDIA DGX H100 data sheet), so that (10,200 - 8 x 700) / 8 = 575 W stand around each.
    """

    idle: float = 70.0
    limit: float = 700.0
    busy_activity: float = 0.85
    """Activity of an accelerator that a job holds (assumption)."""
    around: float = 575.0
    """Processors, memory, network, fans and losses, for each accelerator, at full load."""
    around_idle: float = 0.4
    """Part of `around` that is drawn at idle (assumption)."""
    pue: float = 1.09
    """Power of the building over power of the machines."""

    def __post_init__(self) -> None:
        if not 0 <= self.idle <= self.limit or self.pue < 1 or not 0 <= self.busy_activity <= 1:
            raise UserError(
                f"power: idle {self.idle} W must lie between 0 and the limit {self.limit} W, and pue be at least 1"
            )

    def accelerator(self, activity: float) -> float:
        """Watts of one accelerator whose multiprocessors are active for that part of the time."""
        return self.idle + (self.limit - self.idle) * activity

    @property
    def idle_total(self) -> float:
        """Watts at the building's meter for each idle accelerator."""
        return self.pue * (self.idle + self.around * self.around_idle)

    @property
    def busy_total(self) -> float:
        """Watts at the building's meter for each accelerator that a job holds."""
        load = self.around * (self.around_idle + (1 - self.around_idle) * self.busy_activity)
        return self.pue * (self.accelerator(self.busy_activity) + load)

    def total(self, busy: float, idle: float) -> float:
        """Megawatts of a cluster with that many busy and idle accelerators."""
        return (busy * self.busy_total + idle * self.idle_total) / 1e6

    def speed_under_cap(self, busy: float, idle: float, cap_mw: float) -> float:
        """Speed at which the busy accelerators may run so that the cluster keeps under `cap_mw`, at most 1.

        Speed goes as the square root of dynamic power (between the cube root of an ideal clock and the linear part of
        memory and links; assumption). It never falls below a tenth: clocks have a floor.
        """
        floor = (busy + idle) * self.idle_total / 1e6
        need = self.total(busy, idle)
        if need <= cap_mw or busy == 0:
            return 1.0
        return max(max(cap_mw - floor, 0.0) / (need - floor), 0.01) ** 0.5


class Throttle:
    """The power and the speed of a cluster through the day."""

    def __init__(self, model: PowerModel, *, cap_mw: float | None, cap_swing: float, heat: float) -> None:
        self.model, self.cap_mw, self.cap_swing, self.heat = model, cap_mw, cap_swing, heat

    def power(self, hour: float, busy: float, idle: float) -> float:
        """Megawatts that are drawn in an hour with so many busy and idle accelerators."""
        return min(self.model.total(busy, idle), self._cap(hour))

    def speed(self, hour: float, busy: float, idle: float) -> float:
        """The speed for the next hour: heat slows by day and quickens by night; the cap slows everyone alike."""
        heat = 1 - self.heat * (1 + math.sin(2 * math.pi * (hour % 24 - 9) / 24)) / 2
        return heat * self.model.speed_under_cap(busy, idle, self._cap(hour))

    def _cap(self, hour: float) -> float:
        """Lower in the evening, when the grid is short."""
        if self.cap_mw is None:
            return math.inf
        evening = max(math.sin(2 * math.pi * (hour % 24 - 13) / 24), 0.0)
        return self.cap_mw * (1 - self.cap_swing * evening)
