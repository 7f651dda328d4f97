"""What the tools of others call a run: a name, settings, figures that came of it, and figures by step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ayllu.lab.shelf.curves import LOSSES, figures_by_step
from ayllu.lab.shelf.details import flat, lineage, record_of
from ayllu.lab.shelf.index import Entry
from ayllu.lab.shelf.jobs import FINISHED
from ayllu.lab.shelf.log import METRICS
from ayllu.lab.store import Store


@dataclass(frozen=True, kw_only=True)
class Point:
    """The figures of one step, and when it ended (seconds since 1970), as far as that is known."""

    step: int
    time: float
    values: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Handed:
    """One result as it is handed over."""

    name: str
    key: str
    stage: str
    started: float
    ended: float
    settings: Mapping[str, Any]
    """Names of those in mappings have a dot: `optimizer.lr`."""
    figures: Mapping[str, float]
    """Scores, and the plain figures of its record."""
    tags: Mapping[str, str]
    points: Sequence[Point]


def trainings(store: Store, row: Entry, rows: Sequence[Entry]) -> list[Handed]:
    """What is handed over of a row: the trainings behind it, or it alone where there are none; of a run the one that it
    is at, or was when it ended, too."""
    going = (row.facts.get("now") or {}).get("key") if row.kind == "run" else None
    behind = [*lineage(row, rows), *(one for one in rows if going and one.key == going and one.state != FINISHED)]
    found = [handed(store, one) for one in behind]
    return [one for one in found if one.points] or found[-1:]


def handed(store: Store, row: Entry) -> Handed:
    """A finished result, or one that is still made, for the tools of others."""
    record = record_of(row)
    began = _time(record.get("started")) or _time(row.created) or 0.0
    figures = {**_figures(record.get("record")), **_figures(row.scores)}
    tags = {"key": row.key or "", "stage": row.stage, "kind": row.kind, "state": row.state, "tags": " ".join(row.tags)}
    return Handed(
        name=row.name,
        key=row.key or "",
        stage=row.stage,
        started=began,
        ended=_time(record.get("finished")) or began,
        settings=flat(record.get("arguments")),
        figures=figures,
        tags={name: value for name, value in tags.items() if value},
        points=list(_points(store, row, began)),
    )


def _points(store: Store, row: Entry, began: float) -> Iterator[Point]:
    """What a training wrote while it went, or else the losses that it left, without lines that a kill cut short."""
    folder = Path(row.folder)
    path = next((p for p in (store.home / "logs" / folder.name / METRICS, folder / LOSSES) if p.is_file()), None)
    time = began
    for values in figures_by_step(path) if path else ():
        if isinstance(step := values.pop("step", None), int):
            figures = _figures(values)
            time += figures.get("seconds", 0.0)
            yield Point(step=step, time=time, values=figures)


def _figures(values: Any) -> dict[str, float]:
    pairs = values.items() if isinstance(values, Mapping) else ()
    plain = {str(n): v for n, v in pairs if isinstance(v, int | float) and not isinstance(v, bool)}
    return {name: float(value) for name, value in plain.items() if math.isfinite(value)}


def _time(text: Any) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError):
        return None
