"""What was measured of results that the store keeps, compared in pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ayllu.evals.comparison.compare import compare_scores
from ayllu.evals.recompute import recompute
from ayllu.evals.score import SCORES
from ayllu.lab.channel import check_listed
from ayllu.lab.error import UserError
from ayllu.lab.shelf import differences
from ayllu.lab.shelf.differences import Behind
from ayllu.lab.shelf.index import Entry


def compare_results(sides: Sequence[Behind], rows: Sequence[Entry]) -> dict[str, Any]:
    """Why results differ: the object of `ayllu compare --json` without its curves.

    Raises UserError where the first and another were measured on different items.
    """
    measured = [(side.row.name, scores_of(side.row, rows, side.rows)) for side in sides]
    return {
        "names": [side.row.name for side in sides],
        "keys": [side.row.key for side in sides],
        "settings": differences.settings(sides),
        "data": differences.data(sides),
        "code": differences.code(sides),
        "machine": differences.machines(sides),
        "measured": differences.measured(sides),
        "scores": [row for other in measured[1:] for row in compare_kept(measured[0], other)],
        "cost": differences.costs(sides),
    }


def scores_of(row: Entry, rows: Sequence[Entry], behind: Sequence[Entry]) -> dict[str, Path]:
    """Folders of scores by the stage that measured: of `row` itself, of what it was made from, and of its model.

    `behind` is what `row` was made from, itself last. Of a stage that measured several times the last one counts.
    """
    models = {one.key for one in behind if one.kind == "model"}
    last = next((one.key for one in reversed(behind) if one.kind == "model"), None)
    mine = {one.key for one in behind}
    found: dict[str, Path] = {}
    for one in sorted(rows, key=lambda one: one.created):
        of = one.inputs.get("model", ["", ""])[1]
        if one.kind == "scores" and one.state == "finished" and (one.key in mine or (of in models and of == last)):
            found[one.stage] = Path(one.folder)
    if not found and (Path(row.folder) / "release" / "scores" / SCORES).is_file():
        found["release"] = Path(row.folder) / "release" / "scores"
    return found


def compare_kept(first: tuple[str, Mapping[str, Path]], second: tuple[str, Mapping[str, Path]]) -> list[dict[str, Any]]:
    """Each score of two results on the same items: `score`, `of` (the second), `first`, `second`, `difference` (second
    minus first), `low` and `high` (95 %), `items`, `better` (None where the interval holds 0), `p` where there is one.

    Raises UserError where the two were measured on different items, or what was measured is not as it was written.
    """
    (name, mine), (other, theirs) = first, second
    found = []
    for stage in sorted(mine.keys() & theirs.keys()):
        for folder in (mine[stage], theirs[stage]):
            check_listed(folder)
        sides = recompute(mine[stage]), recompute(theirs[stage])
        try:
            compared = compare_scores(*sides)
        except UserError as error:
            raise UserError(f"{name} and {other}: {error}") from None
        values = [side.as_json() for side in sides]
        for test, entry in compared["sets"].items():
            quoted = entry["headline"]
            pair = [value["sets"][test][quoted]["value"] for value in values]
            row = _row(f"{test} {quoted}", other, pair, entry["accuracy"], entry["items"], more=True)
            found.append(row | {"p": entry["accuracy"]["p"], "stage": stage})
        for source, entry in compared["bits_per_byte"].items():
            pair = [value["bits_per_byte"][source]["value"] for value in values]
            row = _row(f"bits_per_byte {source}", other, pair, entry, entry["documents"], more=False)
            found.append(row | {"p": None, "stage": stage})
    return found


def _row(
    score: str, other: str, pair: Sequence[float], entry: Mapping[str, Any], items: int, *, more: bool
) -> dict[str, Any]:
    low, high = entry["low"], entry["high"]
    shown = low is not None and (low > 0 or high < 0)
    return {
        "score": score,
        "of": other,
        "first": pair[0],
        "second": pair[1],
        "difference": entry["value"],
        "low": low,
        "high": high,
        "items": items,
        "better": ("second" if (entry["value"] > 0) == more else "first") if shown else None,
    }
