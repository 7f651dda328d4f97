"""What `ayllu fleet plan` answers: a recipe or a model on every pool of a fleet, or several with a pool each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ayllu.fleet.catalogue import Fleet, Pool, find_fleet
from ayllu.fleet.experts import ExpertModel
from ayllu.fleet.own_constants import in_use
from ayllu.fleet.planner.choice import Prices
from ayllu.fleet.planner.find_job import find_job
from ayllu.fleet.planner.multi_pool import MultiPoolPlan, across, assign
from ayllu.fleet.planner.plan import MOST_DEVICES, Plan, by_count, fewest_beyond, fewest_that_hold, fewest_within, plan
from ayllu.fleet.planner.training_job import RecipePlan, TrainingJob, parameters_seen
from ayllu.lab.error import UserError

MFU_FORMULA = (
    "tokens/s x (6 x matrix parameters that a token passes + 12 x layers x heads x head width x sequence) / "
    "(devices x dense peak)"
)
PLANNED_ONLY = (
    "a mixture of experts is planned only, with even routing: `ayllu` trains dense models and refuses ep above 1"
)


@dataclass(frozen=True, kw_only=True)
class FleetPlan:
    """One job on each pool of a fleet, the soonest first."""

    job: TrainingJob
    plans: tuple[Plan, ...]
    does_not_fit: Mapping[str, str] = field(default_factory=dict)
    """Why, by the accelerator of the pool."""
    note: str | None = None
    multi_pool: MultiPoolPlan | None = None
    """The same job over all pools at once, where there are several."""
    deadline_days: float | None = None
    met_with: Plan | None = None
    """On the smallest share of the best pool that meets the deadline; None where none does."""
    beyond: tuple[Plan, bool] | None = None
    """Where none does: on how many of the best pool's kind it would be met, or the fastest of all, and which."""
    pictures: tuple[Path, ...] = ()
    recipe: bool = False
    """Whether the job is a recipe's, and not a model by name."""
    asked: Mapping[str, Any] = field(default_factory=dict)
    """What the user said of the job, by the names of `find_job`."""

    def as_json(self) -> dict[str, Any]:
        value = {
            "model": self.job.name,
            "recipe": self.recipe,
            "asked": dict(self.asked),
            "parameters": self.job.model.parameters,
            "active_parameters": parameters_seen(self.job.model),
            "tokens": self.job.tokens,
            "sequence": self.job.sequence,
            "global_batch": self.job.global_batch,
            "precision": self.job.precision,
            "adapter_rank": self.job.adapter_rank,
            "mfu_formula": MFU_FORMULA.replace("6 x", "4 x (frozen)") if self.job.adapter_rank else MFU_FORMULA,
            "note": PLANNED_ONLY if isinstance(self.job.model, ExpertModel) else self.note,
            "pools": [_pool_value(each) for each in self.plans],
            "does_not_fit": dict(self.does_not_fit),
            "own_runs": max((each.own_runs for each in self.plans), default=0),
        }
        if self.multi_pool is not None:
            value["together"] = self.multi_pool.as_json()
        if self.deadline_days is not None:
            met = self.met_with.best.as_json() if self.met_with else None
            value["deadline"] = {"days": self.deadline_days, "met_with": met} | self._would()
        if not self.recipe and Path(self.job.name).exists():
            value["folder"] = str(Path(self.job.name).resolve())
        if self.pictures:
            value["pictures"] = [str(path) for path in self.pictures]
        return value

    def _would(self) -> dict[str, Any]:
        """What a deadline that this fleet does not meet would take."""
        if self.beyond is None:
            return {}
        found, met = self.beyond
        told = {"accelerator": found.pool.accelerator.id} | found.best.as_json()
        return {"would_do": told if met else None, "fastest": told}


def _pool_value(found: Plan) -> dict[str, Any]:
    return {
        "accelerator": found.pool.accelerator.id,
        "count": found.pool.count,
        "accelerators_per_node": found.pool.accelerator.per_node,
        "layouts_considered": found.layouts_considered,
        "layouts_that_fit": found.layouts_that_fit,
        "why": list(found.why),
        "choices": [choice.as_json() for choice in found.choices],
        "unsourced": list(found.pool.unsourced),
    }


def plan_fleet(
    recipe: str,
    fleet: Fleet | str,
    *,
    recipes: Mapping[str, RecipePlan],
    prices: Prices | None = None,
    deadline: float | None = None,
    top: int = 5,
    picture: Path | None = None,
    **asked: Any,
) -> FleetPlan:
    """The best layouts of one recipe or model on every pool; `asked` as for `find_job`.

    `picture` is drawn as PNG and as SVG. Raises UserError where it fits no pool, and for figures that cannot be.
    """
    found = find_fleet(fleet) if isinstance(fleet, str) else fleet
    if deadline is not None and not deadline > 0:
        raise UserError(f"--deadline is {deadline:g} days; it must be above 0")
    if top < 1:
        raise UserError(f"--top is {top}; it must be at least 1")
    _check(prices, found)
    job, note = find_job(recipe, found.pool(), recipes=recipes, **asked)
    plans, refused = _on_each_pool(job, found, prices, top, deadline)
    best = plans[0].pool
    met = fewest_within(job, best, deadline, prices=prices) if deadline is not None else None
    return FleetPlan(
        job=job,
        plans=tuple(plans),
        does_not_fit=refused,
        note=note,
        multi_pool=across(job, found, prices=prices) if len(plans) > 1 else None,
        deadline_days=deadline,
        met_with=met,
        beyond=fewest_beyond(job, best, deadline, prices=prices) if deadline is not None and met is None else None,
        pictures=_pictures(plans, prices, picture) if picture is not None else (),
        recipe=recipe in recipes,
        asked={name: value for name, value in asked.items() if value is not None},
    )


def plan_several(
    names: Sequence[str],
    fleet: Fleet | str,
    *,
    recipes: Mapping[str, RecipePlan],
    prices: Prices | None = None,
    **asked: Any,
) -> list[FleetPlan]:
    """A pool for each recipe or model, so that the last one ends soonest. Raises UserError where they do not fit."""
    found = find_fleet(fleet) if isinstance(fleet, str) else fleet
    _check(prices, found)
    jobs = [find_job(name, found.pool(), recipes=recipes, **asked)[0] for name in names]
    said = {name: value for name, value in asked.items() if value is not None}
    return [
        FleetPlan(job=each.job, plans=(each,), recipe=each.job.name in recipes, asked=said)
        for each in assign(jobs, found, prices=prices)
    ]


def _check(prices: Prices | None, fleet: Fleet) -> None:
    """Raise UserError where a price is named of a part that the fleet does not have, or own runs cannot be used."""
    in_use()
    named = prices.per_hour if prices is not None and isinstance(prices.per_hour, Mapping) else {}
    parts = [pool.accelerator.id for pool in fleet.pools]
    for name in named:
        if name not in parts:
            raise UserError(f"--price-hour names {name}, and the fleet has {', '.join(parts)}")


def _on_each_pool(
    job: TrainingJob, fleet: Fleet, prices: Prices | None, top: int, deadline: float | None
) -> tuple[list[Plan], dict[str, str]]:
    plans, refused = list[Plan](), dict[str, str]()
    for pool in fleet.pools:
        try:
            plans.append(plan(job, pool, prices=prices, top=top))
        except UserError as error:
            refused[pool.accelerator.id] = str(error)
    if not plans:
        first = fleet.pools[0]
        raise UserError(refused[first.accelerator.id] + _would_hold(job, first, prices, deadline))
    return sorted(plans, key=lambda each: each.best.days), refused


def _would_hold(job: TrainingJob, pool: Pool, prices: Prices | None, deadline: float | None) -> str:
    """How many of a pool's kind hold a job that the pool does not, and how many meet the deadline."""
    held = fewest_that_hold(job, pool, prices=prices)
    if held is None:
        return f"; no number of these up to {MOST_DEVICES:,} does"
    told = f"; {_in_days(held)}"
    if deadline is None or held.best.days <= deadline:
        return told
    far, met = fewest_beyond(job, held.pool, deadline, prices=prices)
    verdict = "" if met else f"none meets the deadline of {deadline:g} days, the fastest: "
    return f"{told}, {verdict}{_in_days(far)}"


def _in_days(found: Plan) -> str:
    from ayllu.fleet.planner.picture import told_days

    return f"{found.best.devices:,} {found.pool.accelerator.id} do it in {told_days(found.best.days)}"


def _pictures(plans: Sequence[Plan], prices: Prices | None, path: Path) -> tuple[Path, ...]:
    from ayllu.fleet.planner.picture import draw_plans

    return draw_plans([(each, by_count(each.job, each.pool, prices=prices)) for each in plans], path)
