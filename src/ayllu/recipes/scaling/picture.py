"""The picture of a ladder: loss by compute, each rung a line, the forecast of the largest beside what came; tasks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_scaling(report: Mapping[str, Any], path: Path) -> None:
    """Write a PNG of the object that `ayllu scale --json` prints."""
    import numpy as np
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    tasks = report.get("tasks", {})
    figure = Figure(figsize=(12.9 if tasks else 8.6, 3.8), dpi=110, layout="constrained")
    left, right, *rest = figure.subplots(1, 3 if tasks else 2)
    law, rungs = report["fit"], report["rungs"]
    colours = colormaps["viridis"](np.linspace(0.05, 0.85, len(rungs)))
    for number, (rung, colour) in enumerate(zip(rungs, colours, strict=True), start=1):
        tokens = np.geomspace(rung["tokens"][0] * 0.8, rung["tokens"][-1] * 1.25, 60)
        curve = law["floor"] + law["a"] * rung["parameters"] ** -law["alpha"] + law["b"] * tokens ** -law["beta"]
        points = [point for point in report["points"] if point["rung"] == number]
        held = number == len(rungs)
        per_token = rung["flops"][-1] / rung["tokens"][-1]
        for axes, scale in ((left, per_token), (right, 1.0)):
            axes.plot(tokens * scale, curve, color=colour, linewidth=1, linestyle="--" if held else "-")
            x = [point["tokens"] * scale for point in points]
            axes.plot(x, [p["loss"] for p in points], "x" if held else "o", color=colour, markersize=6,
                      label=f"{rung['parameters'] / 1e6:.2f}M{' (held out)' if held else ''}")  # fmt: skip
            if held:
                bars = report["predicted"]["losses"]
                axes.vlines(
                    x, [b["low"] for b in bars], [b["high"] for b in bars], color=colour, alpha=0.45, linewidth=4
                )
    left.set(xscale="log", xlabel="compute of the training, FLOP", ylabel=report["metric"].replace("_", " "))
    right.set(xscale="log", xlabel="tokens")
    right.legend(frameon=False, fontsize=8)
    for axes in rest:
        _draw_tasks(axes, tasks, report["metric"])
    for axes in (left, right, *rest):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.2)
    for axes in (left, right):
        axes.xaxis.set_minor_formatter(NullFormatter())
    right.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    right.xaxis.set_major_formatter(EngFormatter(sep=""))
    figure.savefig(path)


def _draw_tasks(axes: Axes, tasks: Mapping[str, Any], metric: str) -> None:
    """Bits per byte of the right answers against the loss, and what was foretold of the largest rung."""
    for number, (name, task) in enumerate(tasks.items()):
        colour, points = f"C{number}", task["points"]
        *below, last = points
        axes.plot([p["loss"] for p in below], [p["value"] for p in below], "o", color=colour, label=name)
        axes.plot([last["loss"]], [last["value"]], "x", color=colour, markersize=7)
        expected = task["predicted"]
        axes.vlines([last["loss"]], [expected["low"]], [expected["high"]], color=colour, alpha=0.45, linewidth=4)
    axes.set(xlabel=metric.replace("_", " "), ylabel="bits per byte of the right answer")
    axes.legend(frameon=False, fontsize=8)
