"""The curves on a release's card."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#1f6f8b", "#c8553d")


def draw_losses(curves: Mapping[str, Path], path: Path) -> None:
    """Loss by step of each stage, thin, with its running mean."""
    import numpy as np

    figure, axes = _sheet()
    start = 0
    for (name, losses_path), colour in zip(curves.items(), COLOURS, strict=True):
        losses = [json.loads(line)["loss"] or math.nan for line in losses_path.read_text().splitlines()]
        steps = np.arange(start, start + len(losses))
        _curve(axes, steps, losses, window=max(len(losses) // 40, 1), name=name, colour=colour, thin=0.5)
        start += len(losses)
    axes.set(xlabel="step", ylabel="loss (nats per token)")
    axes.legend(frameon=False)
    figure.savefig(path)


def draw_rewards(lines: Sequence[Mapping[str, float]], path: Path) -> None:
    """What each batch of rollouts earned: correct and format apart, thin, with running means."""
    import numpy as np

    figure, axes = _sheet()
    for name, colour in zip(("correct", "format"), COLOURS, strict=True):
        values = [line[name] for line in lines]
        steps = np.arange(1, len(values) + 1)
        _curve(axes, steps, values, window=max(len(values) // 12, 1), name=name, colour=colour, thin=0.6)
    axes.set(xlabel="GRPO step", ylabel="share of the drawn answers", ylim=(-0.02, 1.02))
    axes.legend(frameon=False)
    figure.savefig(path)


def draw_safety(change: Mapping[str, Any], path: Path) -> None:
    """Harmful requests complied with and harmless ones refused, before and after, with their intervals."""
    figure, axes = _sheet()
    told = {"harmful": "harmful requests complied with", "over_refusal": "harmless requests refused"}
    for (name, label), colour, shift in zip(told.items(), COLOURS, (-0.03, 0.03), strict=True):
        sides = [change[name][side] for side in ("before", "after")]
        places = [place + shift for place in range(len(sides))]
        values = [side["value"] for side in sides]
        ends = [
            [max(side["value"] - side["low"], 0) for side in sides],
            [max(side["high"] - side["value"], 0) for side in sides],
        ]
        axes.errorbar(places, values, yerr=ends, color=colour, marker="o", capsize=4, linewidth=1.8, label=label)
    axes.set(ylabel="share of held-out requests", ylim=(-0.02, 1.02), xlim=(-0.4, 1.4))
    axes.set_xticks([0, 1], ["adopted", "final"])
    axes.legend(frameon=False)
    figure.savefig(path)


def _sheet() -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.6), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)
    return figure, axes


def _curve(
    axes: Axes, steps: Any, values: Sequence[float], *, window: int, name: str, colour: str, thin: float
) -> None:
    import numpy as np

    smooth = np.convolve(np.array(values), np.ones(window) / window, mode="valid")
    axes.plot(steps, values, color=colour, linewidth=thin, alpha=0.3)
    axes.plot(steps[window - 1 :], smooth, color=colour, linewidth=1.8, label=name)
