"""How long, on which machines, and at what cost: a training run before it is paid for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ayllu.fleet.catalogue import Fleet, Precision
    from ayllu.fleet.planner.plan_fleet import FleetPlan


def plan(
    recipe: str,
    /,
    *,
    fleet: Fleet | str,
    tokens: float | None = None,
    deadline: float | None = None,
    sequence: int | None = None,
    batch: int | None = None,
    precision: Precision | None = None,
    budget: float | None = None,
    adapter_rank: int | None = None,
    price_hour: float | str | Mapping[str, float] | None = None,
    price_kwh: float | None = None,
    carbon: float | None = None,
    top: int = 5,
    picture: Path | str | None = None,
    accelerators: Path | str | None = None,
) -> FleetPlan:
    """The best layouts of a training run on each pool of a fleet: time, memory, energy, cost, and why.

    `recipe` is one that `run` takes, a model by name, or a folder with a config.json; `fleet` a name, or written as
    64xh100. `tokens` (of the run), `sequence` and `batch` (tokens of each) and `budget` (minutes) take the place of the
    recipe's own; `adapter_rank` trains LoRA of that rank alone; `deadline` is in days, prices are per accelerator and
    hour (one, or each kind's own) and per kWh, `carbon` is grams per kWh. The `top` best layouts are kept.
    `accelerators` is a CSV or JSON file with parts of your own. Raises UserError where it fits no pool, and for figures
    that cannot be.
    """
    from ayllu.fleet.own_accelerators import own_accelerators
    from ayllu.fleet.planner.choice import Prices, read_price_hour
    from ayllu.fleet.planner.plan_fleet import plan_fleet
    from ayllu.recipes.planned import PLANNED

    asked = {"tokens": tokens, "sequence": sequence, "batch": batch, "precision": precision, "budget": budget}
    asked["adapter_rank"] = adapter_rank
    with own_accelerators(accelerators):
        return plan_fleet(
            recipe,
            fleet,
            recipes=PLANNED,
            prices=Prices(per_hour=read_price_hour(price_hour), per_kwh=price_kwh, grid_g_per_kwh=carbon),
            deadline=deadline,
            top=top,
            picture=Path(picture) if picture is not None else None,
            **asked,
        )
