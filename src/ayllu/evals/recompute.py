"""The scores again, from the raw outcomes that an evaluation kept: to read them, and to check what scores.json says."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ayllu.evals.score import DOCUMENTS, ITEMS, SCORES, DocumentBits, Outcome, Scores
from ayllu.evals.standard.answers import read_answers
from ayllu.lab.error import UserError
from ayllu.lab.integrity import unique_names

LATER = ("scores", "not_measured")


def recompute(folder: Path) -> Scores:
    """The scores that the per-item and per-document files in `folder` give.

    Only `about` and `trained_on`, which no outcome tells, are taken from scores.json. Raises UserError where a file is
    missing or damaged.
    """
    stated = _stated(folder)
    trained_on = {name: tuple(entry["trained_on"]) for name, entry in stated["sets"].items()}
    missing = {entry["name"]: entry["reason"] for entry in stated.get("not_measured", ())}
    about = {key: value for key, value in stated["about"].items() if key != "items_digest"}
    return Scores(
        outcomes=tuple(_read(folder / ITEMS, Outcome.from_json)),
        documents=tuple(_read(folder / DOCUMENTS, DocumentBits.from_json)),
        trained_on=trained_on,
        about=about,
        answers=read_answers(folder),
        not_measured=missing,
    )


def discrepancies(folder: Path, *, tolerance: float = 1e-9) -> list[str]:
    """Where scores.json, or a verdict in items.jsonl, differs from what the raw outcomes give: a line each, if any.

    Numbers may differ by `tolerance`, relative to their size. Raises UserError where a file is missing or damaged.
    """
    scores, stated = recompute(folder), _stated(folder)
    # Folders from before there were standard sets lack these two.
    given = {key: value for key, value in scores.as_json().items() if key in stated or key not in LATER}
    found = list(_differences("", stated, given, tolerance))
    for line, outcome in zip(_read(folder / ITEMS, dict), scores.outcomes, strict=True):
        for verdict in ("correct", "correct_norm"):
            if line.get(verdict) is not getattr(outcome, verdict):
                found.append(f"{ITEMS}: {outcome.id} says {verdict} {line.get(verdict)}, its likelihoods the opposite")
    return found


def _stated(folder: Path) -> dict[str, Any]:
    path = folder / SCORES
    try:
        stated = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique_names)
        if all(isinstance(stated[key], dict) for key in ("about", "sets", "bits_per_byte")):
            return stated
    except FileNotFoundError:
        raise UserError(f"{path} is missing: give the folder that an evaluation wrote") from None
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise UserError(f"{path} is not a file of scores: evaluate again")


def _read(path: Path, parse: Any) -> list[Any]:
    entries = []
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    entries.append(parse(json.loads(line, object_pairs_hook=unique_names)))
                except (ValueError, KeyError, TypeError) as error:
                    raise UserError(f"{path} line {number} is damaged ({error}): evaluate again") from error
    except FileNotFoundError:
        raise UserError(f"{path} is missing: give the folder that an evaluation wrote") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: evaluate again") from error
    return entries


def _differences(place: str, stated: Any, found: Any, tolerance: float) -> Iterable[str]:
    if isinstance(stated, dict) and isinstance(found, dict):
        for key in sorted(stated.keys() | found.keys()):
            if key not in stated or key not in found:
                yield f"{SCORES}: {place}/{key} is only {'stated' if key in stated else 'found'}"
            else:
                yield from _differences(f"{place}/{key}", stated[key], found[key], tolerance)
    elif isinstance(stated, float) and isinstance(found, float):
        if not math.isclose(stated, found, rel_tol=tolerance, abs_tol=tolerance):
            yield f"{SCORES}: {place} says {stated}, the raw outcomes give {found}"
    elif isinstance(stated, list) and isinstance(found, list) and len(stated) == len(found):
        for number, (one, other) in enumerate(zip(stated, found, strict=True)):
            yield from _differences(f"{place}/{number}", one, other, tolerance)
    elif stated != found or isinstance(stated, bool) is not isinstance(found, bool):
        yield f"{SCORES}: {place} says {stated}, the raw outcomes give {found}"
