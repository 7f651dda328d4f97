"""Sweeps: results that were asked for with different settings, what came of each, and which is best."""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ayllu.evals.statistics import student_t_quantile
from ayllu.lab.error import UserError
from ayllu.lab.integrity import regular_text, shown
from ayllu.lab.key import canonical
from ayllu.lab.shelf.details import flat, record_of
from ayllu.lab.shelf.index import CURVES
from ayllu.lab.shelf.jobs import FINISHED
from ayllu.lab.store import Store
from ayllu.serve.lab.shelf import Snapshot

MOST = 400
"""Results whose settings are read: the newest."""
SEED = "seed"
"""The setting over which a mean is taken: results that differ in it alone are one try, repeated."""


def sweep(store: Store, snapshot: Snapshot, *, id: str | None, stage: str | None, score: str | None) -> dict[str, Any]:
    """What a recorded sweep (`id`), or else all results of one `stage`, came to.

    `recorded` are the sweeps of the home, `stages` those that were asked for several times; `settings` vary in what is
    shown, `points` are its results, `tries` those that differ in their seed alone, the best first. UserError for a
    sweep, stage or score that is not there, and for an id beside one of the two.
    """
    recorded, unreadable = read_sweeps(store)
    stages = _stages(snapshot)
    chosen = next((one for one in recorded if one["id"] == id), None)
    if id is not None and (stage is not None or score is not None):
        raise UserError("a sweep is asked for by its id alone: it has one score, and no stage")
    if id is not None and chosen is None:
        raise UserError(f"there is no sweep {shown(id)} here")
    if chosen is None and stage is None and score is None and recorded:
        chosen = recorded[0]
    found = _recorded(chosen, snapshot) if chosen else _of_stage(snapshot, stages, stage, score)
    briefly = ("id", "recipe", "state", "started", "metric", "command", "search")
    return {
        "recorded": [{name: one.get(name) for name in briefly} | {"trials": len(one["trials"])} for one in recorded],
        "unreadable": unreadable,
        "stages": [[name, count] for name, count in stages.items()],
        **found,
        "tries": _tries(found["points"], less_is_better=str(found["score"]).startswith(CURVES)),
    }


def read_sweeps(store: Store) -> tuple[list[dict[str, Any]], int]:
    """The records that `ayllu sweep` keeps in the home's folder `sweeps`, the newest first, and how many files there
    cannot be read as one."""
    found, unreadable = [], 0
    for path in (store.home / "sweeps").glob("*.json"):
        try:
            found.append(_checked(json.loads(regular_text(path))))
        except (OSError, ValueError, RecursionError, TypeError, KeyError, OverflowError):
            unreadable += 1
    return sorted(found, key=lambda facts: facts["started"], reverse=True), unreadable


def _checked(facts: Any) -> dict[str, Any]:
    """A record as the page can show it. Raises TypeError, ValueError or KeyError where it is none."""
    words = {name: facts[name] for name in ("id", "recipe", "state", "metric")}
    words |= {name: facts.get(name, "") for name in ("started", "command", "search")}
    if facts["kind"] != "sweep" or not all(isinstance(word, str) for word in words.values()):
        raise TypeError("no record of a sweep")
    return {**words, "trials": [_checked_trial(row) for row in facts["trials"]]}


def _checked_trial(row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise TypeError("no trial")
    numbers = {name: row.get(name) for name in ("number", "seed", "share", "value", "seconds")}
    values: dict[str, Any] = dict(row["values"])
    if not all(value is None or isinstance(value, int | float) for value in numbers.values()):
        raise TypeError("a number of a trial is none")
    if not all(isinstance(value, str | int | float) for value in values.values()):
        raise TypeError("a value of a trial is neither number nor word")
    for value in (*numbers.values(), *values.values()):
        if not isinstance(value, str | None) and not math.isfinite(value):
            raise ValueError("a number of a trial is not finite")
    if not all(isinstance(row[name], str | None) for name in ("state", "key", "error")):
        raise TypeError("what came of a trial is told in no words")
    return {**numbers, "values": values, **{name: row[name] for name in ("state", "key", "error")}}


def _recorded(facts: Mapping[str, Any], snapshot: Snapshot) -> dict[str, Any]:
    points = []
    for row in facts["trials"]:
        shared = {} if row["share"] in (1, None) else {"share of the budget": row["share"]}
        about = snapshot.by_key.get(str(row["key"]))
        points.append(
            {
                "key": about.key if about else None,
                "name": about.name if about else f"trial {row['number']}",
                "settings": {**row["values"], **shared, SEED: row["seed"]},
                "score": row["value"],
                "seconds": row["seconds"],
                "state": row["state"],
                "error": row["error"],
            }
        )
    varied = _varied([point["settings"] for point in points])
    for point in points:
        point["settings"] = {name: point["settings"].get(name) for name in varied}
    score = facts["metric"]
    return {"id": facts["id"], "stage": None, "points": points, "left_out": 0, **_named(varied, [score], score)}


def _stages(snapshot: Snapshot) -> dict[str, int]:
    """Stages of which several models or scores are here: those that make models first, each with its count."""
    rows = [row for row in snapshot.rows if row.state == FINISHED and row.kind in ("model", "release", "scores")]
    models = {row.stage for row in rows if row.kind == "model"}
    counts = [(name, count) for name, count in Counter(row.stage for row in rows).most_common() if count > 1]
    return dict(sorted(counts, key=lambda pair: pair[0] not in models))


def _of_stage(snapshot: Snapshot, stages: Mapping[str, int], stage: str | None, score: str | None) -> dict[str, Any]:
    if stage is not None and stage not in stages:
        raise UserError(f"the stage {shown(stage)} has not made several models or scores here")
    stage = stage or next(iter(stages), None)
    rows = [row for row in snapshot.rows if row.stage == stage and row.state == FINISHED]
    left_out, rows = max(len(rows) - MOST, 0), rows[:MOST]
    given = [flat(record_of(row).get("arguments")) for row in rows]
    varied = _varied(given)
    scores = [name for name, _ in Counter(name for row in rows for name in row.scores).most_common()]
    if score is not None and score not in scores:
        raise UserError(f"nothing of the stage {shown(stage or '')} has the score {shown(score)}")
    score = score or next((name for name in scores if name.startswith(CURVES)), scores[0] if scores else None)
    points = [
        {
            "key": row.key,
            "name": row.name,
            "settings": {name: arguments.get(name) for name in varied},
            "score": row.scores.get(score) if score else None,
            "seconds": row.seconds,
            "state": row.state,
            "error": None,
        }
        for row, arguments in zip(rows, given, strict=True)
    ]
    return {"id": None, "stage": stage, "points": points, "left_out": left_out, **_named(varied, scores, score)}


def _named(varied: Mapping[str, set[bytes]], scores: Sequence[str], score: str | None) -> dict[str, Any]:
    return {"settings": [[name, len(those)] for name, those in varied.items()], "scores": scores, "score": score}


def _varied(given: Sequence[Mapping[str, Any]]) -> dict[str, set[bytes]]:
    """Settings with more than one value, and these; the seed last."""
    names = dict.fromkeys(name for arguments in given for name in arguments)
    values = {name: {canonical(arguments.get(name)) for arguments in given} for name in names}
    found = {name: those for name, those in values.items() if len(those) > 1}
    return dict(sorted(found.items(), key=lambda pair: pair[0].rpartition(".")[2] == SEED))


def _tries(points: Sequence[Mapping[str, Any]], *, less_is_better: bool) -> list[dict[str, Any]]:
    """Points with the same settings but for the seed: mean of their scores and its standard error, the best first.

    `against` says of each whether it is "best", "worse" than that, "same" where this is not shown, or "unknown".
    """
    groups: dict[bytes, list[Mapping[str, Any]]] = {}
    for point in points:
        if point["score"] is not None and math.isfinite(point["score"]):
            settings = {n: v for n, v in point["settings"].items() if n.rpartition(".")[2] != SEED}
            groups.setdefault(canonical(settings), []).append({**point, "settings": settings})
    found = []
    for group in groups.values():
        values = [point["score"] for point in group]
        error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
        found.append(
            {
                "settings": group[0]["settings"],
                "mean": statistics.fmean(values),
                "error": error,
                "keys": [point["key"] for point in group],
                "names": [point["name"] for point in group],
            }
        )
    found.sort(key=lambda one: one["mean"], reverse=not less_is_better)
    for one in found:
        one["against"] = "best" if one is found[0] else _against(one, found[0])
    return found


def _against(one: Mapping[str, Any], best: Mapping[str, Any]) -> str:
    """Whether the 95 % interval of the difference of two means leaves 0 out: Welch's, for seeds are few."""
    if one["error"] is None or best["error"] is None:
        return "unknown"
    parts = [(side["error"] ** 2, len(side["keys"]) - 1) for side in (one, best)]
    variance = sum(part for part, _ in parts)
    if not variance:
        return "worse" if one["mean"] != best["mean"] else "same"
    freedom = variance**2 / sum(part**2 / count for part, count in parts)
    half = student_t_quantile(0.975, max(int(freedom), 1)) * math.sqrt(variance)
    return "worse" if abs(one["mean"] - best["mean"]) > half else "same"
