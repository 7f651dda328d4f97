"""What a run said, and how the training behind a result went, also while it goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ayllu.lab.shelf.details import lineage
from ayllu.lab.shelf.index import Entry, entries
from ayllu.lab.shelf.jobs import RUNNING
from ayllu.lab.store import Store

LOOK_SECONDS = 0.5
METRICS = "metrics.jsonl"


def log_file(store: Store, row: Entry) -> Path | None:
    """What is written while a row is made: words of a run, metrics of a training; None where there is none."""
    place = Path(row.folder)
    own = place.with_suffix(".log") if row.kind == "run" else store.home / "logs" / place.name / METRICS
    if own.is_file() or (row.state != "finished" and row.kind != "run"):
        return own if own.is_file() else None
    # The training that a release, its scores or an old run come from: the last one on the way.
    for source in reversed(lineage(row, entries(store))):
        path = store.home / "logs" / Path(source.folder).name / METRICS
        if path.is_file():
            return path
    return None


def lines_of(store: Store, row: Entry) -> list[str]:
    """All lines of it as people read them."""
    path = log_file(store, row)
    if path is None:
        return [f"{row.name} has no log: only runs have, and trainings"]
    return [_told(line) for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]


def follow(store: Store, row: Entry, *, last: int) -> Iterator[str]:
    """The last lines of it, and then each new one, until nothing makes it any more."""
    path, place, rest = log_file(store, row), 0, b""
    if path is not None:
        text = path.read_bytes()
        place = len(text)
        *lines, rest = text.split(b"\n")  # a line that is being written is told when it is whole
        yield from (_told(_text(line)) for line in lines[-last:] if last)
    while True:
        alive = _alive(store, row)
        path = path or log_file(store, row)
        if path is not None and path.is_file():
            with path.open("rb") as file:
                file.seek(place)
                new = file.read()
            place += len(new)
            *lines, rest = (rest + new).split(b"\n")
            yield from (_told(_text(line)) for line in lines)
        if not alive:
            if rest:
                yield _told(_text(rest))
            return
        time.sleep(LOOK_SECONDS)


def _text(line: bytes) -> str:
    return line.decode("utf-8", errors="replace").rstrip("\r")


def _alive(store: Store, row: Entry) -> bool:
    return any(other.key == row.key and other.state == RUNNING for other in entries(store))


def _told(line: str) -> str:
    """A line of metrics in words; others as they are."""
    try:
        values: Any = json.loads(line)
    except (ValueError, RecursionError):
        return line
    if not isinstance(values, dict) or not isinstance(values.get("step"), int):
        return line
    parts = [f"step {values.pop('step'):,}"]
    parts += [f"{name.replace('_', ' ')} {_figure(value)}" for name, value in values.items() if value is not None]
    return " · ".join(parts)


def _figure(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
