"""The commands that know and plan: `ayllu fleet show`, `calibrate`, `plan` and `validate`."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cyclopts
from cyclopts import Parameter

if TYPE_CHECKING:
    from ayllu.fleet.catalogue import Fleet
    from ayllu.fleet.planner.plan import TrainingJob

app = cyclopts.App(
    name="fleet", help="Know the machines, plan a run on them, and check the predictions against published runs."
)

Json = Annotated[bool, Parameter(negative="")]


@app.command
def show(
    name: str | None = None,
    /,
    *,
    rest: str = "a100-80gb",
    rest_count: int | None = None,
    price: list[str] | None = None,
    workload: str = "llama-3.1-8b",
    json: Json = False,
) -> None:
    """Show the catalogue, one accelerator, or a fleet in H100 equivalents under each convention.

    Parameters
    ----------
    name
        An accelerator, a fleet, or a fleet written as 64xh100+128xa100-80gb; without it everything is listed.
    rest
        For meta-2024: what the accelerators beside the 350,000 H100 are.
    rest_count
        How many of them; without it as many as make the announced 600,000 H100 equivalents at the bf16 peak.
    price
        What one accelerator costs, as h100=33600; may be given several times.
    workload
        The model of the workload convention: tokens/s of its training, each part with its own best layout.
    json
        Print one JSON object.
    """
    from ayllu.cli import shown

    value = shown.shown(
        name, rest=rest, rest_count=rest_count, prices=shown.parse_prices(price or ()), workload=workload
    )
    if json:
        _print_json(value)
    else:
        _print_lines(shown.as_lines(value))


@app.command
def calibrate(
    *,
    training: bool = True,
    compiled: Annotated[bool, Parameter(negative="")] = False,
    power: float | None = None,
    json: Json = False,
) -> None:
    """Measure this machine and add it to the catalogue as `this-machine`.

    Parameters
    ----------
    training
        Also time training steps of three small models: predictions for this machine are then scaled by them.
    compiled
        Compile those steps, as `ayllu run` does from a budget of 1.5 minutes on; takes some minutes.
    power
        Watts that the machine draws at work, where you know them, for energy and carbon.
    json
        Print one JSON object.
    """
    from dataclasses import asdict

    from ayllu.fleet.calibrate import calibrate as measure

    found = asdict(measure(training=training, compiled=compiled, power_w=power))
    if json:
        _print_json(found)
    else:
        _print_lines(f"{name.replace('_', ' '):26} {value}" for name, value in found.items() if value is not None)


@app.command
def plan(
    recipe: str,
    /,
    *,
    fleet: str,
    tokens: float | None = None,
    deadline: float | None = None,
    sequence: int | None = None,
    batch: int | None = None,
    precision: Literal["bf16", "float8", "float32"] | None = None,
    budget: float | None = None,
    price_hour: float | None = None,
    price_kwh: float | None = None,
    carbon: float | None = None,
    top: int = 5,
    picture: Path | None = None,
    json: Json = False,
) -> None:
    """Find the best layouts of a training run: time, memory, days, energy, carbon and cost, and why.

    Parameters
    ----------
    recipe
        A recipe as for `ayllu run` (cria, smol), a model by name (llama-3.1-8b, deepseek-v3, ladder-4x256, …) or a
        folder with a config.json. Several, with commas between, get a part of the fleet each, so that the last one
        ends soonest.
    fleet
        A fleet by name, or written as 64xh100 or 64xh100+128xa100-80gb.
    tokens
        Tokens of the whole run; without it a recipe's minutes, or twenty per parameter that a token passes.
    deadline
        Days within which it must end: the smallest share of the fleet that does it is told.
    sequence
        Tokens per sequence; without it the recipe's, 8,192 or the model's context.
    batch
        Tokens per optimizer step; without it the recipe's, or 1M, 4M or 16M by the size of the model.
    precision
        Type of the matrix products; bf16, or float32 on a machine whose bf16 products are slower.
    budget
        Minutes of a recipe, in place of its own.
    price_hour
        What one accelerator costs per hour.
    price_kwh
        What one kWh costs.
    carbon
        Grams of CO2 equivalent per kWh of your grid.
    top
        How many layouts to print.
    picture
        Draw time against memory, where the time goes and what a shorter run costs, to this name as PNG and as SVG.
    json
        Print one JSON object.
    """
    from ayllu.cli.text import plan_lines, plan_value
    from ayllu.fleet.catalogue import find_fleet
    from ayllu.fleet.planner import plan as planner
    from ayllu.fleet.planner.training_job import find_job
    from ayllu.lab.error import UserError

    found = find_fleet(fleet)
    if deadline is not None and not deadline > 0:
        raise UserError(f"--deadline is {deadline:g} days; it must be above 0")
    if top < 1:
        raise UserError(f"--top is {top}; it must be at least 1")
    main = found.pool()
    asked = {"tokens": tokens, "sequence": sequence, "batch": batch, "precision": precision, "budget": budget}
    (job, note), *others = (find_job(name, main, **asked) for name in recipe.split(","))  # type: ignore[arg-type]
    if others:
        _print_assigned([job, *(other for other, _ in others)], found, json)
        return
    prices = planner.Prices(per_hour=price_hour, per_kwh=price_kwh, grid_g_per_kwh=carbon)
    plans, refused = [], {}
    for pool in found.pools:
        try:
            plans.append(planner.plan(job, pool, prices=prices, top=top))
        except UserError as error:
            refused[pool.accelerator.id] = str(error)
    if not plans:
        raise UserError(next(iter(refused.values())))
    plans.sort(key=lambda each: each.best.days)
    value = plan_value(job, plans, refused, note)
    if len(plans) > 1:
        from ayllu.fleet.planner.multi_pool import across

        value["together"] = across(job, found).as_json()
    if deadline is not None:
        within = planner.fewest_within(job, plans[0].pool, deadline, prices=prices)
        value["deadline"] = {"days": deadline, "met_with": within.best.as_json() if within else None}
    if picture is not None:
        from ayllu.fleet.planner.picture import draw_plan

        scaling = planner.by_count(job, plans[0].pool, prices=prices)
        value["pictures"] = [str(path) for path in draw_plan(plans[0], scaling, picture)]
    if json:
        _print_json(value)
    else:
        _print_lines(plan_lines(job, plans, value))


@app.command
def validate(*, truth: Path | None = None, quick: bool = False, refit: Path | None = None, json: Json = False) -> None:
    """Score the predictions on published runs that they were not fitted on.

    On the packaged table each source is predicted by constants fitted on the other sources only; any other table is
    predicted by the shipped constants, and rows that cannot be used are counted with the reason.

    Parameters
    ----------
    truth
        A CSV of runs; without it the packaged table.
    quick
        Leave out the second protocol, which holds out whole software families.
    refit
        Write constants fitted on the whole packaged table to this file.
    json
        Print one JSON object.
    """
    from ayllu.cli.text import report_lines
    from ayllu.fleet.validation.measured_runs import read_measured_runs
    from ayllu.fleet.validation.validate import validate as score
    from ayllu.fleet.validation.validate import write_constants

    report = score(truth, by_family=not quick)
    if refit is not None:
        write_constants(refit, read_measured_runs(truth), report)
    if json:
        _print_json(report.as_json())
    else:
        _print_lines(report_lines(report))


def _print_assigned(jobs: list[TrainingJob], fleet: Fleet, json: bool) -> None:
    """Which job on which part."""
    from ayllu.cli.text import assigned_lines, plan_value
    from ayllu.fleet.planner.multi_pool import assign

    assigned = assign(jobs, fleet)
    if json:
        _print_json({"jobs": [plan_value(each.job, [each], {}) for each in assigned]})
    else:
        _print_lines(assigned_lines(assigned))


def _print_json(value: Any) -> None:
    sys.stdout.write(json_module.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _print_lines(lines: Iterable[str]) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
