"""Every scenario by its name, and the table of what was reproduced."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from ayllu.fleet.simulate import fleet_year
from ayllu.fleet.simulate.picture import draw_page, draw_png
from ayllu.fleet.simulate.published import published_scenarios
from ayllu.fleet.simulate.run_file import scenario_of_file
from ayllu.fleet.simulate.scenario import Scenario
from ayllu.lab import progress
from ayllu.lab.error import UserError


@cache
def scenarios() -> dict[str, Scenario]:
    """The scenarios of the package, in the order of the reproduction table."""
    every = (*published_scenarios(), *fleet_year.SCENARIOS)
    return {scenario.name: scenario for scenario in every}


def find(name: str) -> Scenario:
    """The scenario of that name, or the run that a JSON file of that name describes. Raises UserError."""
    known = scenarios()
    if name in known:
        return known[name]
    if name.endswith(".json"):
        return scenario_of_file(Path(name))
    raise UserError(
        f"no scenario '{name}'; choose one of {', '.join(known)}, or give a .json file that describes a run"
    )


def simulate(
    name: str,
    *,
    seeds: int | None = None,
    days: float | None = None,
    picture: Path | None = None,
    page: Path | None = None,
) -> dict[str, Any]:
    """What the scenario or the run of that name comes to; `days`, `picture` and `page` go with a fleet's year.

    Raises UserError.
    """
    chosen = find(name)
    if days is None and picture is None and page is None:
        return play(chosen, seeds)
    return play_year(chosen, days=days, seeds=seeds, picture=picture, page=page)


def play(scenario: Scenario, seeds: int | None) -> dict[str, Any]:
    """Run a scenario and return it as one JSON object. `seeds` None takes the scenario's own number."""
    count = scenario.seeds if seeds is None else seeds
    if not 1 <= count <= 10_000:
        raise UserError(f"seeds is {count}; it must lie between 1 and 10,000")
    begin = time.perf_counter()
    result = scenario.run(count)
    return scenario.as_json(result, time.perf_counter() - begin)


def play_year(
    scenario: Scenario, *, days: float | None, seeds: int | None, picture: Path | None, page: Path | None
) -> dict[str, Any]:
    """Run a scenario of a fleet once, for `days` days, and draw it. Raises UserError for a scenario of a single run."""
    if scenario.year is None:
        raise UserError(f"'{scenario.name}' is not a fleet's year; days, picture and page go with meta-2024-year only")
    if seeds not in (None, 1):
        raise UserError("a picture shows one year; leave out seeds")
    days = 365.0 if days is None else days
    if not 1 <= days <= 366:
        raise UserError(f"days is {days}; it must lie between 1 and 366")
    for path, ending in ((picture, ".png"), (page, ".html")):
        if path is not None and path.suffix != ending:
            raise UserError(f"{path}: the name must end in {ending}")
    begin = time.perf_counter()
    year = scenario.year(days, 0)
    scenario = replace(scenario, title=fleet_year.year_title(days))
    seconds = time.perf_counter() - begin
    result = fleet_year.result_of(year)
    figures = {name: interval.mean for name, interval in result.figures.items()}
    if picture is not None:
        draw_png(year, scenario.title, picture)
    if page is not None:
        draw_page(year, scenario.title, figures, page)
    return scenario.as_json(result, seconds)


def reproduce(seeds: int | None = None) -> list[dict[str, Any]]:
    """Every published figure beside the simulated one."""
    rows: list[dict[str, Any]] = []
    known = [scenario for scenario in scenarios().values() if scenario.year is None]
    for scenario in progress.track(known, "reproduce", total=len(known), unit="scenarios"):
        rows.extend({"scenario": scenario.name, **row} for row in play(scenario, seeds)["reproduction"])
    return rows
