"""Runs of the user's own: a training run that a JSON file describes, and a scenario of it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from ayllu.fleet.simulate.failures import Hazard, pooled_rate
from ayllu.fleet.simulate.run_simulation import simulate_run
from ayllu.fleet.simulate.scenario import Input, Result, Scenario, run_figures
from ayllu.fleet.simulate.training_run import Checkpointing, Recovery, TrainingRun
from ayllu.lab import progress
from ayllu.lab.error import UserError


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


def read_training_run(path: Path) -> TrainingRun:
    """The run that a JSON file describes: the fields of `TrainingRun`; `hazard`, `checkpointing`, `recovery` inside.

    Without a hazard the rate of an unknown fleet is taken (`pooled_rate`). Raises UserError on anything amiss.
    """
    return training_run(_read_values(path), str(path))


def _read_values(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give a scenario's name or a .json file that describes a run") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: not a JSON file that can be read ({error})") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: must hold one object with the fields of a run, such as accelerators and days")
    return values


def training_run(values: dict[str, Any], where: str) -> TrainingRun:
    """The run of these fields; `where` they stand is told in a refusal. Raises UserError on anything amiss."""
    values = {"hazard": {"per_1000_node_days": pooled_rate(without="").per_1000_node_days}} | values
    for name, kind in (("hazard", Hazard), ("checkpointing", Checkpointing), ("recovery", Recovery)):
        if name in values:
            if not isinstance(values[name], dict):
                raise UserError(f"{where}: {name} must be an object")
            values[name] = _build(kind, values[name], f"{where}: {name}")
    run: TrainingRun = _build(TrainingRun, values, where)
    return run


def scenario_of_file(path: Path) -> Scenario:
    """A scenario of the run that a JSON file describes. Raises UserError."""
    values = _read_values(path)
    run = training_run(dict(values), str(path))

    def live(seeds: int) -> Result:
        outcomes = [
            simulate_run(run, seed) for seed in progress.track(range(seeds), "simulate", total=seeds, unit="runs")
        ]
        return Result(
            figures=run_figures(outcomes),
            details={"hours": outcomes[0].hours},
            notes=[_spares_note(run)] if run.spares is None else [],
        )

    return Scenario(
        name=path.stem,
        title=f"{run.accelerators:,} accelerators for {run.days:g} days",
        inputs=tuple(_inputs(run, values, path.name)),
        run=live,
    )


def _spares_note(run: TrainingRun) -> str:
    many = f"{run.spare_nodes} spare node{'s' if run.spare_nodes > 1 else ''}"
    return (
        f"Beside its {run.nodes:,} nodes the run is taken to have {many}; say how many in the file, such as spares: 0."
    )


def _inputs(described: Any, given: Any, source: str, part: str = "") -> Iterator[Input]:
    """Every figure of a run; those that are not `given` are defaults, and say so."""
    for item in fields(described):
        value, said = getattr(described, item.name), isinstance(given, dict) and item.name in given
        if is_dataclass(value):
            # The rate of failures has no default of its own class.
            pooled = isinstance(value, Hazard) and not said
            named = "default: the rate of an unknown fleet, pooled" if pooled else source
            yield from _inputs(
                value, {"per_1000_node_days": 1} if pooled else given.get(item.name), named, f"{item.name} "
            )
        else:
            told = _told(described, item.name, value)
            yield Input(name=part + item.name.replace("_", " "), value=told, source=source if said else "default")


def _told(described: Any, name: str, value: Any) -> str:
    """A figure in words; None is what it stands for."""
    if name == "spares" and value is None:
        return f"{described.spare_nodes} (1 for 32 nodes)"
    if value is None:
        return "by size" if name == "restart" else "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
