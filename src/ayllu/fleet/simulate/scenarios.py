"""Every scenario by its name, runs of the user's own, and the table of what was reproduced."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from ayllu.fleet.simulate import fleet_year, published_clusters, published_runs
from ayllu.fleet.simulate.failures import Hazard, pooled_rate
from ayllu.fleet.simulate.picture import draw_page, draw_png
from ayllu.fleet.simulate.prediction_interval import PredictionInterval
from ayllu.fleet.simulate.run_simulation import simulate_run
from ayllu.fleet.simulate.scenario import Input, Result, Scenario
from ayllu.fleet.simulate.training_run import HOUR, Checkpointing, Recovery, TrainingRun
from ayllu.lab import progress
from ayllu.lab.error import UserError


@cache
def scenarios() -> dict[str, Scenario]:
    """The scenarios of the package, in the order of the reproduction table."""
    every = (*published_runs.SCENARIOS, *published_clusters.SCENARIOS, *fleet_year.SCENARIOS)
    return {scenario.name: scenario for scenario in every}


def find(name: str) -> Scenario:
    """The scenario of that name, or the run that a JSON file of that name describes. Raises UserError."""
    known = scenarios()
    if name in known:
        return known[name]
    if name.endswith(".json"):
        return _from_file(Path(name))
    raise UserError(
        f"no scenario '{name}'; choose one of {', '.join(known)}, or give a .json file that describes a run"
    )


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


def _build(kind: type, values: dict[str, Any], where: str) -> Any:
    """`kind` from the values of a JSON object. Raises UserError on an unknown, a missing or an ill-typed field."""
    known = {item.name: item for item in fields(kind)}
    hints = get_type_hints(kind)
    for name, value in values.items():
        if name not in known:
            raise UserError(f"{where}: unknown field '{name}'; known are {', '.join(sorted(known))}")
        if wanted := _unlike(value, hints[name]):
            raise UserError(f"{where}: {name} is {json.dumps(value)}; it must be {wanted}")
    lacking = [name for name, item in known.items() if item.default is MISSING and item.default_factory is MISSING]
    if lacking := [name for name in lacking if name not in values]:
        raise UserError(f"{where}: {', '.join(lacking)} is missing")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def _unlike(value: Any, hint: Any) -> str:
    """What a field of the type `hint` must be, where `value` is something else; else nothing."""
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if (value is None and NoneType in kinds) or any(is_dataclass(kind) for kind in kinds):
        return ""
    if bool in kinds:
        return "" if isinstance(value, bool) else "true or false"
    if any(get_origin(kind) is tuple for kind in kinds):
        pair = isinstance(value, list) and len(value) == 2 and not any(_unlike(each, float) for each in value)
        return "" if pair else "a pair of numbers"
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return "a number"
    return "" if float in kinds or isinstance(value, int) else "a whole number"


def read_run(path: Path) -> TrainingRun:
    """The run that a JSON file describes: the fields of `TrainingRun`; `hazard`, `checkpointing`, `recovery` inside.

    Without a hazard the rate of an unknown fleet is taken (`pooled_rate`). Raises UserError on anything amiss.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give a scenario's name or a .json file that describes a run") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: not a JSON file that can be read ({error})") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: must hold one object with the fields of a run, such as accelerators and days")
    values.setdefault("hazard", {"per_1000_node_days": pooled_rate(without="").per_1000_node_days})
    for name, kind in (("hazard", Hazard), ("checkpointing", Checkpointing), ("recovery", Recovery)):
        if name in values:
            if not isinstance(values[name], dict):
                raise UserError(f"{path}: {name} must be an object")
            values[name] = _build(kind, values[name], f"{path}: {name}")
    run: TrainingRun = _build(TrainingRun, values, str(path))
    return run


def _from_file(path: Path) -> Scenario:
    run = read_run(path)

    def live(seeds: int) -> Result:
        outcomes = [
            simulate_run(run, seed) for seed in progress.track(range(seeds), "simulate", total=seeds, unit="runs")
        ]
        return Result(
            figures={
                "unexpected_interruptions": PredictionInterval.of([o.unexpected_interruptions for o in outcomes]),
                "effective_training_time": PredictionInterval.of([o.effective_training_time for o in outcomes]),
                "goodput": PredictionInterval.of([o.goodput for o in outcomes]),
                "mean_time_to_failure_hours": PredictionInterval.of([o.mean_time_to_failure / HOUR for o in outcomes]),
            },
            rows=[],
            details={"hours": outcomes[0].hours},
        )

    return Scenario(
        name=path.stem,
        title=f"{run.accelerators:,} accelerators for {run.days:g} days",
        inputs=tuple(_inputs(run, path.name)),
        run=live,
    )


def _inputs(described: Any, source: str) -> Iterator[Input]:
    """Every figure of a run that is not its default."""
    for item in fields(described):
        value = getattr(described, item.name)
        if is_dataclass(value):
            yield from _inputs(value, source)
        elif value != item.default:
            yield Input(
                name=item.name.replace("_", " "),
                value=f"{value:.6g}" if isinstance(value, float) else str(value),
                source=source,
            )
