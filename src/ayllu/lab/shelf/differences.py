"""Why results differ: settings, data, code, libraries and machines behind them, and what they cost."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ayllu.lab.code.reached import Code
from ayllu.lab.error import UserError
from ayllu.lab.shelf.details import lineage
from ayllu.lab.shelf.index import Entry
from ayllu.lab.store import read_manifest

COSTS = ("flops", "tokens", "steps")
MEASURED = ("parameters", "tokens", "steps", "flops", "loss", "final_loss", "tokens_per_second")


@dataclass(frozen=True, kw_only=True)
class Behind:
    """A result and the records of everything that it was made from, by stage, each stage's uses in their order."""

    row: Entry
    rows: Sequence[Entry]
    records: Mapping[str, Mapping[str, Any]]


def behind(row: Entry, rows: Sequence[Entry]) -> Behind:
    """What is kept of how `row` came to be. UserError where it is not finished: it has no record yet."""
    found = lineage(row, rows)
    # What a run that was stopped has finished on the way is not what it was to make.
    if row.state != "finished" or not found or found[-1].state != "finished" or found[-1].kind == "run":
        raise UserError(f"{row.name} is {row.state} and has no record to compare; wait for it, or start it again")
    records: dict[str, Mapping[str, Any]] = {}
    for one in found:
        uses = sum(name.partition("#")[0] == one.stage for name in records)
        records[one.stage if not uses else f"{one.stage}#{uses + 1}"] = read_manifest(Path(one.folder))
    return Behind(row=found[-1], rows=found, records=records)


def settings(sides: Sequence[Behind]) -> list[dict[str, Any]]:
    """Arguments and revisions that are not the same on all sides: `stage`, `name`, `values` in their order.

    A stage that one side has not is one row, `name` empty, with true and false as values.
    """
    found: list[dict[str, Any]] = []
    for stage in _stages(sides):
        manifests = [side.records.get(stage) for side in sides]
        if any(manifest is None for manifest in manifests):
            found.append({"stage": stage, "name": "", "values": [manifest is not None for manifest in manifests]})
            continue
        given = [{**_mapping(m, "arguments"), "rev": (m or {}).get("rev")} for m in manifests]
        names = dict.fromkeys(name for arguments in given for name in arguments)
        for name in names:
            values = [arguments.get(name) for arguments in given]
            found += [{"stage": stage, "name": path, "values": those} for path, those in _unequal(name, values)]
    return found


def _unequal(name: str, values: Sequence[Any]) -> Iterator[tuple[str, list[Any]]]:
    """Where values are not the same, down to the part of a mapping that is not."""
    if len({_said(value) for value in values}) == 1:
        return
    if all(isinstance(value, dict) for value in values):
        for part in dict.fromkeys(part for value in values for part in value):
            yield from _unequal(f"{name}.{part}", [value.get(part) for value in values])
    else:
        yield name, list(values)


def data(sides: Sequence[Behind]) -> list[dict[str, Any]]:
    """Stages that made other bytes on one side than on another, though they were asked for the same."""
    found = []
    for stage in _stages(sides):
        manifests = [side.records[stage] for side in sides if stage in side.records]
        same = len(manifests) == len(sides) and len({_said(_mapping(m, "arguments")) for m in manifests}) == 1
        if same and len({m["digest"] for m in manifests}) > 1:
            keys = len({m["key"] for m in manifests})
            why = "the same settings and inputs made other bytes" if keys == 1 else "its inputs differ"
            found.append({"stage": stage, "digests": [m["digest"][:16] for m in manifests], "why": why})
    return found


def code(sides: Sequence[Behind]) -> list[dict[str, Any]]:
    """By stage which functions, constants and libraries differ from the first side's, for each other side (`of`)."""
    found = []
    for other in sides[1:]:
        for stage in _stages([sides[0], other]):
            codes = [_mapping(side.records.get(stage), "code") for side in (sides[0], other)]
            if not all(entry.get("parts") is not None for entry in codes):
                continue
            first, second = (Code.read(entry) for entry in codes)
            if changed := second.changed(first):
                libraries = [name for name in changed if "→" in name]
                parts = [name for name in changed if "→" not in name]
                found.append({"stage": stage, "of": other.row.name, "parts": parts, "libraries": libraries})
    return found


def machines(sides: Sequence[Behind]) -> list[dict[str, Any]]:
    """What of the machines and versions is not the same: `name` and `values`, of the last stage of each side."""
    machines = [_flat(_mapping(list(side.records.values())[-1], "machine")) for side in sides]
    names = dict.fromkeys(name for machine in machines for name in machine)
    rows = [{"name": name, "values": [machine.get(name) for machine in machines]} for name in names]
    return [row for row in rows if len({_said(value) for value in row["values"]}) > 1]


def costs(sides: Sequence[Behind]) -> list[dict[str, Any]]:
    """What each side has cost: seconds of all its stages, and FLOPs, tokens and steps of its trainings."""
    found = []
    for side in sides:
        records = [_mapping(manifest, "record") for manifest in side.records.values()]
        row: dict[str, Any] = {"of": side.row.name}
        row["seconds"] = round(math.fsum(manifest["seconds"] for manifest in side.records.values()), 1)
        for name in COSTS:
            values = [record[name] for record in records if isinstance(record.get(name), int | float)]
            row[name] = sum(values) if values else None
        row["bytes"] = sum(entry["bytes"] for m in side.records.values() for entry in m["files"].values())
        found.append(row)
    return found


def measured(sides: Sequence[Behind]) -> list[dict[str, Any]]:
    """Figures that the trainings noted and in which sides differ: `stage`, `name`, `values`."""
    found = []
    for stage in _stages(sides):
        records = [_mapping(side.records.get(stage), "record") for side in sides]
        for name in MEASURED:
            values = [record.get(name) for record in records]
            if len({_said(value) for value in values}) > 1 and all(isinstance(v, int | float) for v in values):
                found.append({"stage": stage, "name": name, "values": values})
    return found


def _said(value: Any) -> str:
    """The same for the same value of a record, in which a figure may be no number."""
    return json.dumps(value, sort_keys=True)


def _stages(sides: Sequence[Behind]) -> list[str]:
    return list(dict.fromkeys(stage for side in sides for stage in side.records))


def _mapping(manifest: Mapping[str, Any] | None, part: str) -> Mapping[str, Any]:
    value = (manifest or {}).get(part)
    return value if isinstance(value, dict) else {}


def _flat(value: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: item for name, item in value.items() if not isinstance(item, dict)}
    return found | {
        f"{name} {part}": v for name, item in value.items() if isinstance(item, dict) for part, v in item.items()
    }
