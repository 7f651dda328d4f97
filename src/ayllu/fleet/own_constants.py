"""The constants that plans are made with: the shipped ones, or those that the user's own runs have moved.

They lie in `$AYLLU_CACHE` (or `~/.cache/ayllu`) as `fleet/own-runs.json`; deleting the file goes back to the shipped
ones."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ayllu.fleet.catalogue import cache_folder
from ayllu.fleet.planner.constants import CONSTANTS, OWN_SOFTWARE, Constants, shipped
from ayllu.lab.error import UserError


def own_file() -> Path:
    return cache_folder() / "fleet" / "own-runs.json"


def save_own(constants: Constants) -> Path:
    """Keep `constants` for later plans. Raises UserError where the cache cannot be written."""
    path = own_file()
    content = {
        "fitted_on": shipped_values(),
        "own_runs": constants.own_runs,
        "values": {name: float(constants[name]) for name in CONSTANTS},
        "software": constants.effects[OWN_SOFTWARE[0]],
        "covariance": constants.covariance,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise UserError(
            f"calibrate: {path.parent} cannot be used ({error}); set AYLLU_CACHE to a folder that you can write to"
        ) from error
    return path


def in_use() -> Constants:
    """The constants of plans. Raises UserError where the file of one's own runs cannot be used."""
    path = own_file()
    if not path.is_file():
        return shipped()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["fitted_on"] != shipped_values():
            raise ValueError("it was made from the constants of another version")
        return _read(found)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path} cannot be used ({error}); give your runs to ayllu fleet calibrate --measured again, or delete it"
        ) from error


def shipped_values() -> dict[str, Any]:
    """What own runs moved away from: a later version's constants are others."""
    return {name: shipped().values[name] for name in CONSTANTS}


def _read(found: Mapping[str, Any]) -> Constants:
    values = {name: float(found["values"][name]) for name in CONSTANTS}
    left = tuple(tuple(float(value) for value in row) for row in found["covariance"])
    software, size = float(found["software"]), len(CONSTANTS) + 1
    numbers = (*values.values(), software, *(value for row in left for value in row))
    if not all(map(math.isfinite, numbers)) or min(values.values()) <= 0:
        raise ValueError("a number in it is none")
    if len(left) != size or any(len(row) != size for row in left):
        raise ValueError("its spreads are not those of these constants")
    return replace(
        shipped(),
        values={**shipped().values, **values},
        effects={**shipped().effects, OWN_SOFTWARE[0]: software, OWN_SOFTWARE[1]: 0.0},
        covariance=left,
        own_runs=int(found["own_runs"]),
    )
