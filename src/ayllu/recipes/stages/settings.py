"""What every step on the way to a result was given, for its card."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ayllu.lab.graph import Handle
from ayllu.lab.run import order

NOTED = ("rate", "batch", "length", "steps")
"""Settings that a training works out itself, by their names in its record."""


def settings(results: Iterable[Handle[Any]]) -> list[dict[str, Any]]:
    """Stage, setting and value of each argument on the way to `results`, and of what their trainings noted."""
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for result in results:
        for node in order(result):
            label = " ".join([node.stage.identity, *([node.arguments["method"]] if "method" in node.arguments else [])])
            for name, value in (*node.arguments.items(), *(_noted(node) if node is result else ())):
                if name != "method" and value not in (None, "", (), [], {}):
                    row = {"stage": label, "setting": name.replace("_", " "), "value": _plain(value)}
                    rows.setdefault((label, name, str(value)), row)
    return sorted(rows.values(), key=lambda row: row["stage"])


def _noted(made: Handle[Any]) -> Iterator[tuple[str, Any]]:
    record = made.artifact.record
    yield from ((name, record[name]) for name in NOTED if name in record)


def _plain(value: Any) -> Any:
    """A number or words, short enough for a table."""
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(inner)}" for key, inner in value.items() if inner is not None)
    return ", ".join(str(_plain(inner)) for inner in value) if isinstance(value, list | tuple) else str(value)
