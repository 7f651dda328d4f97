"""One row of the shelf with everything that is known of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ayllu.lab.error import UserError
from ayllu.lab.integrity import regular_text
from ayllu.lab.shelf.index import Entry
from ayllu.lab.shelf.labels import read_labels
from ayllu.lab.shelf.storage import needed
from ayllu.lab.store import Store, read_manifest

PARTS = ("arguments", "record", "predictions", "machine")


def record_of(row: Entry) -> dict[str, Any]:
    """The manifest of a row, or what was kept beside unfinished work; empty where nothing can be read."""
    try:
        if row.kind in ("run", "recipe"):
            return {}
        if row.state == "finished":
            return read_manifest(Path(row.folder))
        begun = json.loads(regular_text(Path(row.folder) / "begun.json"))
        return begun if isinstance(begun, dict) else {}
    except (UserError, OSError, ValueError, RecursionError):
        return {}


def details(store: Store, row: Entry, rows: Sequence[Entry]) -> dict[str, Any]:
    """What `ayllu show --json` prints: the fields of the row, its record, what it was made from and what needs it."""
    record = record_of(row)
    found: dict[str, Any] = {**row.as_json(), **{part: _mapping(record.get(part)) for part in PARTS}}
    names = {other.key: other.name for other in rows if other.key}
    found["inputs"] = {
        name: {"stage": stage, "key": key, "name": names.get(key, f"{stage}-{key[:8]} (gone)")}
        for name, (stage, key) in row.inputs.items()
    }
    found["rev"] = record.get("rev")
    found["files"] = _mapping(record.get("files"))
    found["libraries"] = _mapping(_mapping(record.get("code")).get("libraries"))
    found["notes"] = read_labels(store).get(row.key or "", {}).get("notes", [])
    found["needed_by"] = needed(store, rows).get(row.key or "")
    found["used_by"] = [other.name for other in rows if row.key in {key for _, key in other.inputs.values()}]
    return found


def lineage(row: Entry, rows: Sequence[Entry]) -> list[Entry]:
    """What a row was made from, each after its inputs, and the row itself last; what is gone is left out."""
    by_key = {other.key: other for other in rows if other.key and other.kind != "run" and other.state == "finished"}
    found: dict[str, Entry] = {}

    def visit(one: Entry) -> None:
        if (one.key or one.name) in found:
            return
        for _, key in one.inputs.values():
            if key in by_key:
                visit(by_key[key])
        found[one.key or one.name] = one

    start = row
    if row.kind == "run":  # what it took up or made last
        keys = [str(stage.get("key")) for stage in row.facts.get("stages") or ()]
        start = next((by_key[key] for key in reversed(keys) if key in by_key), row)
    visit(start)
    return list(found.values())


def flat(values: Any, before: str = "") -> dict[str, Any]:
    """Settings by name; those in mappings have their way for a name: `optimizer.lr`."""
    found: dict[str, Any] = {}
    for name, value in _mapping(values).items():
        found |= flat(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}": value}
    return found


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
