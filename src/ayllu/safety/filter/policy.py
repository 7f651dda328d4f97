"""What the filter does: a JSON file.

    {
      "name": "school",
      "default": "block",                          off, log or block: for every hazard that is not named
      "categories": {"S10": "log", "S12": "off"},  by the codes of `ayllu.safety.hazards`
      "requests": "block",                         off, log or block: for what is asked, whatever its hazard
      "stop": 0.9, "request": 0.95                 chances from which on it acts, instead of the judge's own
    }

Whatever is left out is block, and the settings are those that the judge was measured at. The judge tells some hazards
apart and no others: a file that names another is refused, for it would promise what nothing keeps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from ayllu.lab.error import UserError
from ayllu.lab.integrity import regular_bytes, strict_json
from ayllu.safety.hazards import HAZARDS
from ayllu.safety.judge.judge import Judge

Action = Literal["off", "log", "block"]
ACTIONS = ("off", "log", "block")
FIELDS = ("name", "default", "categories", "requests", "stop", "request")


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What is done about each hazard, and from which chance on."""

    name: str
    stop: float
    """From this chance on an answer is acted on."""
    request: float
    """From this chance on a request is."""
    default: Action = "block"
    categories: Mapping[str, Action] = field(default_factory=dict)
    requests: Action = "block"
    digest: str = ""
    """sha256 of the file."""

    def action(self, category: str) -> Action:
        """What is done about an answer of a hazard."""
        return self.categories.get(category, self.default)


def read_filter_policy(path: Path, judge: Judge) -> Policy:
    """The policy of a file; UserError in one sentence for what is none."""
    try:
        text = regular_bytes(path)
        given = strict_json(text)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); name a policy file") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no JSON ({error}); write an object with name, default and categories") from error
    if not isinstance(given, dict) or not isinstance(given.get("name"), str) or not given["name"]:
        raise UserError(f"{path} has no name; write an object with name, default and categories")
    if unknown := sorted(set(given) - set(FIELDS)):
        raise UserError(f"{path} has a field {unknown[0]!r}; the fields are {', '.join(FIELDS)}")
    settings = judge.about["settings"]
    return Policy(
        name=given["name"],
        default=_action(given.get("default", "block"), "default", path),
        categories=_categories(given.get("categories", {}), path, judge),
        requests=_action(given.get("requests", "block"), "requests", path),
        stop=_chance(given.get("stop", settings["stop"]), "stop", path),
        request=_chance(given.get("request", settings["request"]), "request", path),
        digest=hashlib.sha256(text).hexdigest(),
    )


def _action(value: Any, where: str, path: Path) -> Action:
    if value not in ACTIONS:
        raise UserError(f"{path}: {where} is {value!r}; choose off, log or block")
    return cast(Action, value)


def _categories(given: Any, path: Path, judge: Judge) -> dict[str, Action]:
    if not isinstance(given, dict):
        raise UserError(f"{path}: categories is no object; name hazards with off, log or block")
    for code in given:
        if code not in HAZARDS:
            raise UserError(f"{path}: there is no hazard {code!r}; the codes are {', '.join(HAZARDS)}")
        if code not in judge.categories:
            known = ", ".join(judge.categories)
            raise UserError(f"{path}: the judge does not tell {code} from other hazards; it knows {known}; use default")
    return {code: _action(value, code, path) for code, value in given.items()}


def _chance(value: Any, where: str, path: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise UserError(f"{path}: {where} is {value!r}; give a chance above 0 and at most 1")
    return float(value)
