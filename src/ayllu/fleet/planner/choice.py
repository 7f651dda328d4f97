"""One layout that fits, and what it takes: time, memory, energy, carbon and cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ayllu.fleet.catalogue import Pool, find_accelerator
from ayllu.lab.error import UserError
from ayllu.train.distributed.layout import Layout

BOARD_SHARE, HOST_SHARE = 0.71, 0.20
"""Mean power in training over the TDP: of the accelerator's board, and of its share of host, network and fans.

Together 637 W to an H100, where OLMo 3 reports 624 and 649 W (146 MWh in 234,000 hours, 681 MWh in 1.05 million).
Charging the TDP alone over-counts what fleets draw on average 2.1 to 2.4 times (AcmeTrace), because much of a fleet
waits. """


@dataclass(frozen=True, kw_only=True)
class Prices:
    """What the user pays and burns; None leaves that figure out."""

    per_hour: float | Mapping[str, float] | None = None
    """Per accelerator and hour, in the user's currency: one for all kinds, or each kind's own by its id."""
    per_kwh: float | None = None
    grid_g_per_kwh: float | None = None
    """Grams of CO2 equivalent per kWh of the grid."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            for each in value.values() if isinstance(value, Mapping) else (value,):
                if each is not None and not 0 <= each < math.inf:
                    raise UserError(f"prices: {name} is {each:g}; it must be 0 or more")

    def carbon(self, energy_mwh: float | None) -> float | None:
        """Tonnes of CO2 equivalent; None where the energy or the grid is not known."""
        if energy_mwh is None or self.grid_g_per_kwh is None:
            return None
        return energy_mwh * self.grid_g_per_kwh / 1000

    def cost(self, accelerator: str, hours: float, energy_mwh: float | None) -> float | None:
        """Rent of so many accelerator-hours and energy as far as their prices are known; None where neither is, or
        where only other kinds have a price."""
        each = self.per_hour.get(accelerator) if isinstance(self.per_hour, Mapping) else self.per_hour
        if each is None and self.per_hour is not None:
            return None
        rent = hours * each if each is not None else None
        energy = energy_mwh * 1000 * self.per_kwh if energy_mwh is not None and self.per_kwh is not None else None
        known = [cost for cost in (rent, energy) if cost is not None]
        return sum(known) if known else None


def read_price_hour(given: float | str | Mapping[str, float] | None) -> float | Mapping[str, float] | None:
    """A price for all kinds, or one for each as `h100=2.5,a100=1.1`, by the ids of the catalogue. Raises UserError."""
    if given is None or isinstance(given, (int, float)):
        return given
    pairs = [pair.split("=", 1) for pair in given.split(",")] if isinstance(given, str) else list(given.items())
    try:
        if isinstance(given, str) and "=" not in given:
            return float(given)
        prices = {find_accelerator(str(name)).id: float(amount) for name, amount in pairs}
    except ValueError:
        raise UserError(f"--price-hour {given}: write one number, or h100=2.5,a100-80gb=1.1") from None
    if len(prices) < len(pairs):
        raise UserError(f"--price-hour {given} names one accelerator twice")
    return prices


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One layout that fits, and what it takes. Seconds, bytes, MWh, tonnes, and the user's currency."""

    layout: Layout
    sharding: str
    """`replicated`, `optimizer` (gathered once a step) or `full` (gathered for every micro-batch)."""
    devices: int
    step_s: float
    interval_s: tuple[float, float]
    """Between these lie 80 of 100 runs of software that was held out, at the spread of this layout's own terms."""
    tokens_per_s: float
    mfu: float
    memory_bytes: float
    memory_share: float
    breakdown_s: dict[str, float]
    days: float
    energy_mwh: float | None
    carbon_t: float | None
    cost: float | None

    def as_json(self) -> dict[str, Any]:
        plain = dict(self.__dict__)
        plain["layout"] = dict(self.layout.__dict__)
        return plain


def power(pool: Pool, devices: int) -> float | None:
    """Mean watts of `devices` in training, hosts and building included; None where the part's power is not
    published."""
    if pool.accelerator.tdp_w is None:
        return None
    return devices * pool.accelerator.tdp_w * (BOARD_SHARE + HOST_SHARE) * pool.pue
