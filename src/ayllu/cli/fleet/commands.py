"""The commands that know and plan: `ayllu fleet show`, `calibrate`, `plan`, `validate`; the rest is in `jobs`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import cyclopts

from ayllu.api import planning
from ayllu.cli.fleet import jobs
from ayllu.cli.options import Flag, Json, print_json, print_lines
from ayllu.lab.error import UserError

app = cyclopts.App(
    name="fleet", help="Know the machines, plan a run on them, and check the predictions against published runs."
)

for _command in (jobs.simulate, jobs.advise, jobs.launch_app):
    app.command(_command)


@app.command
def show(
    name: str | None = None,
    /,
    *,
    rest: str = "a100-80gb",
    rest_count: int | None = None,
    price: list[str] | None = None,
    workload: str = "llama-3.1-8b",
    accelerators: Path | None = None,
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
    accelerators
        A CSV (with the columns of the catalogue) or JSON file of your own parts: id, memory_gb, bf16_tflops, …
    """
    from ayllu.cli.fleet.text import overview_lines
    from ayllu.fleet.overview import overview, parse_prices
    from ayllu.fleet.own_accelerators import own_accelerators

    with own_accelerators(accelerators):
        value = overview(name, rest=rest, rest_count=rest_count, prices=parse_prices(price or ()), workload=workload)
    if json:
        print_json(value, indent=2)
    else:
        print_lines(overview_lines(value))


@app.command
def calibrate(
    *,
    measured: Path | None = None,
    training: bool = True,
    compiled: Flag = False,
    power: float | None = None,
    json: Json = False,
) -> None:
    """Measure this machine and add it to the catalogue as `this-machine`, or let runs of yours correct all plans.

    Parameters
    ----------
    measured
        A CSV with a few runs of yours, its columns as for `validate --truth`: every constant of the planner is moved
        as far as they tell, and intervals become narrower. Nothing is measured then; a second file replaces the
        first.
    training
        Also time training steps of three small models: predictions for this machine are then scaled by them.
    compiled
        Compile those steps, as `ayllu run` does from a budget of 1.5 minutes on; takes some minutes.
    power
        Watts that the machine draws at work, where you know them, for energy and carbon.
    """
    from dataclasses import asdict

    if measured is not None:
        if compiled or power is not None or not training:
            raise UserError("calibrate --measured reads runs and measures nothing; leave out the other options")
        _calibrate_on(measured, json)
        return
    from ayllu.fleet.calibrate import calibrate as measure

    found = asdict(measure(training=training, compiled=compiled, power_w=power))
    if json:
        print_json(found, indent=2)
    else:
        print_lines(f"{name.replace('_', ' '):26} {value}" for name, value in found.items() if value is not None)


def _calibrate_on(path: Path, json: bool) -> None:
    from dataclasses import asdict

    from ayllu.cli.fleet.text import own_run_lines
    from ayllu.fleet.validation.own_runs import calibrate_on

    found = calibrate_on(path)
    if json:
        print_json(asdict(found), indent=2)
    else:
        print_lines(own_run_lines(found))


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
    adapter_rank: int | None = None,
    price_hour: str | None = None,
    price_kwh: float | None = None,
    carbon: float | None = None,
    top: int = 5,
    picture: Path | None = None,
    accelerators: Path | None = None,
    json: Json = False,
) -> None:
    """Find the best layouts of a training run: time, memory, days, energy, carbon and cost, and why.

    Parameters
    ----------
    recipe
        A recipe of `ayllu run` (cria, smol, draft, see), a model by name (llama-3.1-8b, deepseek-v3, ladder-4x256, …)
        or a folder with a config.json. Several, with commas between, get a part of the fleet each, so that the last
        one ends soonest.
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
    adapter_rank
        Train adapters (LoRA) of this rank beside every matrix of a block, all else frozen.
    price_hour
        What one accelerator costs per hour; where kinds differ h100=2.5,a100-80gb=1.1.
    price_kwh
        What one kWh costs.
    carbon
        Grams of CO2 equivalent per kWh of your grid.
    top
        How many layouts to print.
    picture
        Draw time against memory, where the time goes and what a shorter run costs, to this name as PNG and as SVG.
    accelerators
        A CSV (with the columns of the catalogue) or JSON file of your own parts: id, memory_gb, bf16_tflops, …
    """
    from ayllu.cli.fleet.text import assigned_lines, plan_lines
    from ayllu.fleet.own_accelerators import own_accelerators
    from ayllu.fleet.planner.choice import Prices, read_price_hour
    from ayllu.fleet.planner.plan_fleet import plan_several
    from ayllu.recipes.planned import PLANNED

    names = recipe.split(",")
    if len(names) > 1:
        for option, given in (("--deadline", deadline), ("--picture", picture)):
            if given is not None:
                raise UserError(f"{option} is for one job; plan {names[0]} by itself")
        with own_accelerators(accelerators):
            several = plan_several(
                names,
                fleet,
                recipes=PLANNED,
                tokens=tokens,
                sequence=sequence,
                batch=batch,
                precision=precision,
                budget=budget,
                adapter_rank=adapter_rank,
                prices=Prices(per_hour=read_price_hour(price_hour), per_kwh=price_kwh, grid_g_per_kwh=carbon),
            )
        if json:
            print_json({"jobs": [each.as_json() for each in several]}, indent=2)
        else:
            print_lines(assigned_lines(several))
        return
    found = planning.plan(
        recipe,
        fleet=fleet,
        tokens=tokens,
        deadline=deadline,
        sequence=sequence,
        batch=batch,
        precision=precision,
        budget=budget,
        adapter_rank=adapter_rank,
        price_hour=price_hour,
        price_kwh=price_kwh,
        carbon=carbon,
        top=top,
        picture=picture,
        accelerators=accelerators,
    )
    _keep_forecasts(recipe, fleet, found.as_json())
    if json:
        print_json(found.as_json(), indent=2)
    else:
        print_lines(plan_lines(found))


def _keep_forecasts(recipe: str, fleet: str, plan: dict[str, Any]) -> None:
    """Write down what the best layout is expected to do, for `ayllu calibration --measured`."""
    from ayllu.lab.shelf.forecasts import forecast
    from ayllu.lab.store import Store, default_home

    with suppress(UserError):  # there is no home to keep it in
        store = Store(default_home(), writes=False)
        for pool in plan["pools"][:1]:
            best = pool["choices"][0]
            about = {"recipe": recipe, "fleet": fleet, "tokens": plan["tokens"], "layout": best["layout"]}
            low, high = best["interval_s"]
            forecast(
                store, by="fleet plan", what="seconds per step", value=best["step_s"], low=low, high=high, about=about
            )
            forecast(store, by="fleet plan", what="memory bytes", value=best["memory_bytes"], about=about)
            if best.get("energy_mwh"):
                forecast(store, by="fleet plan", what="energy MWh", value=best["energy_mwh"], about=about)


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
    """
    from ayllu.cli.fleet.text import report_lines
    from ayllu.fleet.validation.measured_runs import read_measured_runs
    from ayllu.fleet.validation.validate import validate as score
    from ayllu.fleet.validation.validate import write_constants

    report = score(truth, by_family=not quick)
    if refit is not None:
        write_constants(refit, read_measured_runs(truth), report)
    if json:
        print_json(report.as_json(), indent=2)
    else:
        print_lines(report_lines(report))
