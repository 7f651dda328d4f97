"""The picture of a sweep: its surface over two axes, or each axis alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

DOT = "#1f6f8b"
BEST = "#c8553d"


def draw_sweep(record: Mapping[str, Any], path: Path) -> None:
    """Write a PNG of a sweep's record: colour by value for two axes, else value over each axis; the best is ringed."""
    from matplotlib.figure import Figure

    rows = [row for row in record["trials"] if row["value"] is not None and row["share"] == 1.0]
    names = list(record["axes"])
    figure = Figure(
        figsize=(4.6 * max(len(names) if len(names) != 2 else 1.3, 1.3), 3.8), dpi=110, layout="constrained"
    )
    if len(names) == 2:
        axes = figure.subplots()
        x, y = ([row["values"][name] for row in rows] for name in names)
        places_x = _place(axes, "x", record["axes"][names[0]], x)
        places_y = _place(axes, "y", record["axes"][names[1]], y)
        found = axes.scatter(places_x, places_y, c=[row["value"] for row in rows], cmap="viridis_r", s=260, marker="s")
        at = rows.index(min(rows, key=lambda row: row["value"]))
        axes.scatter([places_x[at]], [places_y[at]], s=420, facecolors="none", edgecolors=BEST, linewidths=2)
        axes.set(xlabel=names[0], ylabel=names[1])
        axes.margins(0.2)
        figure.colorbar(found, label=record["metric"].replace("_", " "))
    else:
        for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
            values = _place(axes, "x", record["axes"][name], [row["values"][name] for row in rows])
            axes.plot(values, [row["value"] for row in rows], "o", color=DOT, alpha=0.8)
            at = rows.index(min(rows, key=lambda row: row["value"]))
            axes.plot([values[at]], [rows[at]["value"]], "o", color=BEST, markersize=11, fillstyle="none")
            axes.set(xlabel=name, ylabel=record["metric"].replace("_", " "))
            axes.grid(alpha=0.2)
    figure.savefig(path)


def _place(axes: Any, letter: str, axis: Mapping[str, Any], values: list[Any]) -> list[float]:
    """Where values stand on an axis: numbers by size (logarithms where they span much), words side by side."""
    if all(isinstance(value, int | float) for value in values):
        if min(values) > 0 and max(values) / min(values) >= 4:
            getattr(axes, f"set_{letter}scale")("log")
        return [float(value) for value in values]
    words = list(dict.fromkeys(map(str, axis.get("values", values))))
    getattr(axes, f"set_{letter}ticks")(range(len(words)), words)
    return [float(words.index(str(value))) for value in values]
