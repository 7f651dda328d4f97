"""What the page looks at: the rows of the home as they were a moment ago, and the trainings behind them."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ayllu.lab.error import UserError
from ayllu.lab.integrity import shown
from ayllu.lab.shelf.curves import LOSSES, Curve, curve_of
from ayllu.lab.shelf.details import lineage
from ayllu.lab.shelf.find import LEAST_DIGITS
from ayllu.lab.shelf.index import Entry, entries
from ayllu.lab.shelf.jobs import FINISHED, stages_of
from ayllu.lab.shelf.log import METRICS
from ayllu.lab.store import Store

FRESH_SECONDS = 1.0
"""Rows that are younger are not read again."""
SHARE = 10
"""Reading the rows takes at most one part in so many of the time."""
PATIENCE = 0.3
"""Seconds that an answer waits for rows that are being read again; after that it tells the older ones."""
SPARK_POINTS = 40
MOST_SPARKS = 20_000
"""Small curves that are remembered."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """All rows, newest first, and the number of changes until now."""

    number: int
    rows: Sequence[Entry]

    @cached_property
    def by_key(self) -> Mapping[str, Entry]:
        """The row of each key: of several the finished one."""
        found: dict[str, Entry] = {}
        for row in self.rows:
            if row.key and (row.key not in found or row.state == FINISHED):
                found[row.key] = row
        return found

    @cached_property
    def used_by(self) -> Mapping[str, Sequence[Entry]]:
        """The rows that were made from each key."""
        found: dict[str, list[Entry]] = {}
        for row in self.rows:
            for key in dict.fromkeys(key for _, key in row.inputs.values()):
                found.setdefault(key, []).append(row)
        return found

    def row(self, key: str) -> Entry:
        """The row of a key or of its unique beginning. UserError where there is none (any more)."""
        if key in self.by_key:
            return self.by_key[key]
        found = [one for one in self.by_key if one.startswith(key)] if len(key) >= LEAST_DIGITS else []
        if len(found) != 1:
            told = f"{len(found)} keys begin" if found else "no key here begins"
            raise UserError(f"{told} with {shown(key[:64])}; what it meant may have been removed since")
        return self.by_key[found[0]]

    def sources(self, row: Entry) -> list[Entry]:
        """What a row was made from, each after its inputs, itself last; of a run what it took up, made and makes."""
        if row.kind != "run":
            return lineage(row, [*self._near(row), row])
        keys = [key for _, key in stages_of({"stages": row.facts.get("stages") or [], "now": row.facts.get("now")})]
        return [self.by_key[key] for key in keys if key in self.by_key]

    def _near(self, row: Entry) -> list[Entry]:
        """All that lies behind a row, in no order: few among ten thousand."""
        found: dict[str, Entry] = {}
        waiting = [key for _, key in row.inputs.values()]
        while waiting:
            if (key := waiting.pop()) not in found and key in self.by_key:
                found[key] = self.by_key[key]
                waiting += [other for _, other in found[key].inputs.values()]
        return list(found.values())


class Shelf:
    """The rows of a store, read again in the background as often as they take little of the time."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._snapshot = Snapshot(1, entries(store))
        self._next = time.monotonic() + FRESH_SECONDS
        self._sparks: dict[tuple[object, ...], list[float]] = {}
        self._lock = threading.Lock()
        self._read = threading.Event()

    def look(self) -> Snapshot:
        """The rows of now, or of a moment ago where there are so many that reading them takes longer."""
        if time.monotonic() >= self._next and self._lock.acquire(blocking=False):
            self._read.clear()
            threading.Thread(target=self._again, daemon=True).start()
        if self._lock.locked():
            self._read.wait(PATIENCE)
        return self._snapshot

    def _again(self) -> None:
        began = time.monotonic()
        try:
            rows = entries(self.store)
            if rows != self._snapshot.rows:
                self._snapshot = Snapshot(self._snapshot.number + 1, rows)
        finally:
            ended = time.monotonic()
            self._next = ended + max(FRESH_SECONDS, SHARE * (ended - began))
            self._lock.release()
            self._read.set()

    def trainings(self, row: Entry, snapshot: Snapshot) -> list[Entry]:
        """The rows with a curve behind a row, the last one last."""
        return [one for one in snapshot.sources(row) if any(path.is_file() for path in self._files(one))]

    def spark(self, row: Entry, snapshot: Snapshot) -> list[float]:
        """The course of the last loss behind a row in a few points; empty where it has none."""
        # Of scores and data nobody asks for the course; of ten thousand rows this is asked again and again.
        if row.kind not in ("model", "release", "run") and row.state == FINISHED:
            return []
        found = self.trainings(row, snapshot)
        if not found:
            return []
        training = found[-1]
        known = (training.folder, *(_stamp(path) for path in self._files(training)))
        if known not in self._sparks:
            curve = curve_of(self.store, training.name, training)
            if len(self._sparks) >= MOST_SPARKS:
                self._sparks.clear()
            self._sparks[known] = thin(curve.loss, SPARK_POINTS) if curve else []
        return self._sparks[known]

    def curves(self, row: Entry, snapshot: Snapshot) -> list[Curve]:
        """The losses of all trainings behind a row."""
        found = (curve_of(self.store, training.name, training) for training in self.trainings(row, snapshot))
        return [curve for curve in found if curve is not None]

    def _files(self, row: Entry) -> tuple[Path, Path]:
        folder = Path(row.folder)
        return self.store.home / "logs" / folder.name / METRICS, folder / LOSSES


def thin(values: Sequence[float], most: int) -> list[float]:
    """Means of at most `most` groups of neighbours."""
    size = -(-len(values) // most) or 1
    return [sum(values[n : n + size]) / len(values[n : n + size]) for n in range(0, len(values), size)]


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
