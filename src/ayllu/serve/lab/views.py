"""What the page's parts show, as JSON: a record, a comparison, curves, forecasts and storage."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ayllu.evals.calibration import calibration
from ayllu.evals.comparison.kept import compare_results
from ayllu.lab.error import UserError
from ayllu.lab.shelf import differences
from ayllu.lab.shelf.curves import AXES, Curve
from ayllu.lab.shelf.details import details
from ayllu.lab.shelf.forecasts import all_forecasts, unreadable
from ayllu.lab.shelf.index import Entry
from ayllu.lab.shelf.jobs import RUNNING
from ayllu.lab.shelf.log import lines_of
from ayllu.lab.shelf.storage import removable, removals
from ayllu.lab.visible import visible
from ayllu.serve.lab.shelf import Shelf, Snapshot, thin

MOST_SIDES = 12
"""Results that are compared at once."""
CURVE_POINTS = 600
LOG_LINES = 400
MOST_FORECASTS = 500
MOST_ITEMS = 500
"""Of things that can go: the largest."""
KEPT_DAYS = 7.0
"""As `ayllu gc` when nothing is said."""


def record(shelf: Shelf, snapshot: Snapshot, key: str) -> dict[str, Any]:
    """All that is known of one thing, and the last lines of its log."""
    row = snapshot.row(key)
    lines = lines_of(shelf.store, row)
    return {
        **details(shelf.store, row, snapshot.rows),
        "used_by": [
            {"key": one.key, "name": one.name, "kind": one.kind, "stage": one.stage, "state": one.state}
            for one in snapshot.used_by.get(row.key or "", ())
        ][:MOST_ITEMS],
        "made": _stages(row, snapshot),
        "trainings": [one.name for one in shelf.trainings(row, snapshot)],
        "log": lines[-LOG_LINES:],
        "log_lines": len(lines),
    }


def _stages(row: Entry, snapshot: Snapshot) -> list[dict[str, Any]]:
    """What a run has taken up, made and makes."""
    stages = [*(row.facts.get("stages") or ()), *([now] if (now := row.facts.get("now")) else [])]
    found = []
    for stage in stages if row.kind == "run" else ():
        other = snapshot.by_key.get(str(stage.get("key")))
        found.append(
            {
                "key": stage.get("key"),
                "label": stage.get("label"),
                "made": stage.get("made", True),
                "there": other is not None,
                "state": other.state if other else "gone",
                "seconds": other.seconds if other else None,
            }
        )
    return found


def sides_of(snapshot: Snapshot, keys: Sequence[str]) -> list[Entry]:
    """The rows that are laid beside each other. UserError where that cannot be."""
    if len(keys) > MOST_SIDES:
        raise UserError(f"{len(keys)} things are to be compared; {MOST_SIDES} are the most on one screen")
    return list({row.key: row for row in map(snapshot.row, keys)}.values())


def compared(snapshot: Snapshot, keys: Sequence[str]) -> dict[str, Any]:
    """As `ayllu compare --json`, without curves. UserError where there are less than two."""
    rows = sides_of(snapshot, keys)
    if len(rows) < 2:
        raise UserError("one thing alone cannot be compared; choose two or more")
    return compare_results([differences.behind(row, snapshot.rows) for row in rows], snapshot.rows)


def curves(shelf: Shelf, snapshot: Snapshot, keys: Sequence[str]) -> dict[str, Any]:
    """The losses of all trainings behind each of several rows, also of running ones."""
    rows = sides_of(snapshot, keys)
    return {
        "sides": [
            {
                "key": row.key,
                "name": row.name,
                "state": row.state,
                "curves": [_drawn(curve) for curve in shelf.curves(row, snapshot)],
            }
            for row in rows
        ],
        "live": any(row.state == RUNNING for row in rows),
    }


def _drawn(curve: Curve) -> dict[str, Any]:
    """A curve in as many points as a screen shows."""
    found: dict[str, Any] = {"stage": curve.stage, "key": curve.key, "loss": thin(curve.loss, CURVE_POINTS)}
    for axis in AXES:
        values = getattr(curve, axis)
        found[axis] = None if values is None else thin(values, CURVE_POINTS)
    return found


def predictions(shelf: Shelf, snapshot: Snapshot) -> dict[str, Any]:
    """As `ayllu calibration --json`, with the newest forecasts, and the row that each is about."""
    found = all_forecasts(shelf.store, snapshot.rows)
    rows = []
    for one in found[-MOST_FORECASTS:]:
        about = snapshot.by_key.get(str(one.about.get("key")))
        rows.append(
            {**one.as_json(), "ratio": one.ratio, "of": {"key": about.key, "name": about.name} if about else None}
        )
    left_out = unreadable(shelf.store)
    return {**calibration(found), "forecasts": rows[::-1], "all": len(found), "unreadable": left_out}


def storage(shelf: Shelf, snapshot: Snapshot) -> dict[str, Any]:
    """How much what takes, and what `ayllu gc` would remove, the largest first."""
    kinds: Counter[str] = Counter()
    stages: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for row in snapshot.rows:
        if row.kind != "run":
            kinds[row.kind] += row.bytes
            stages[row.stage] += row.bytes
            counts[row.stage] += 1
    keys = {row.folder: row.key for row in snapshot.rows}
    items = sorted(removable(shelf.store, days=KEPT_DAYS, rows=snapshot.rows), key=lambda item: -item.bytes)
    return {
        "bytes": sum(kinds.values()),
        "kinds": kinds.most_common(),
        "stages": [[stage, size, counts[stage]] for stage, size in stages.most_common()],
        "largest": [
            {"key": row.key, "name": row.name, "kind": row.kind, "bytes": row.bytes}
            for row in sorted(snapshot.rows, key=lambda row: -row.bytes)[:20]
            if row.bytes
        ],
        "can_go": sum(item.bytes for item in items),
        "items": [
            {"name": item.name, "bytes": item.bytes, "why": item.why, "key": keys.get(str(item.path))}
            for item in items[:MOST_ITEMS]
        ],
        "count": len(items),
        "days": KEPT_DAYS,
        "trash": sum(move["bytes"] for removal in removals(shelf.store) for move in removal["items"]),
    }


def plain(value: Any) -> Any:
    """`value` as the page gets it: figures that are no numbers become null, and of texts every character is seen."""
    if isinstance(value, str):
        return visible(value, keep="\n")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {visible(str(name)): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
