"""Curves of trainings over each other: by step, token, FLOP and second."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ayllu.lab.error import UserError
from ayllu.lab.shelf.index import Entry
from ayllu.lab.shelf.log import METRICS
from ayllu.lab.store import Store

Axis = Literal["step", "token", "flop", "second"]
AXES: tuple[Axis, ...] = ("step", "token", "flop", "second")
LOSSES = "losses.jsonl"
MOST_POINTS = 2000
"""Of a curve that is drawn or sent: more are averaged in groups."""
LARGEST = 2**63 - 1
"""Of whole numbers: of steps in the files of other tools, too."""
COLOURS = ("#1f6f8b", "#c8553d", "#3d7a3d", "#7a4fa3", "#b8860b", "#555555", "#d16ba5", "#2a9d8f")


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The loss of one training: `loss` in nats per token at each of its axes, None where an axis is unknown."""

    name: str
    stage: str
    key: str
    loss: tuple[float, ...]
    step: tuple[float, ...]
    token: tuple[float, ...] | None
    flop: tuple[float, ...] | None
    second: tuple[float, ...] | None

    def as_json(self) -> dict[str, Any]:
        axes: dict[str, Any] = {axis: getattr(self, axis) for axis in AXES}
        return {"name": self.name, "stage": self.stage, "key": self.key, "loss": self.loss, **axes}


def curves(store: Store, name: str, rows: Sequence[Entry]) -> list[Curve]:
    """The curves of all trainings among `rows`, called `name`, in their order."""
    found = (curve_of(store, name, row) for row in rows if row.kind != "run")
    return [curve for curve in found if curve is not None]


def curve_of(store: Store, name: str, row: Entry) -> Curve | None:
    """Of one training: what it wrote while it went, or else the losses that it left."""
    lines = list(figures_by_step(store.home / "logs" / Path(row.folder).name / METRICS))
    lines = lines or list(figures_by_step(Path(row.folder) / LOSSES))
    points = [line for line in lines if isinstance(line.get("step"), int) and _finite(line.get("loss"))]
    if not points:
        return None
    facts = row.facts
    steps = [float(point["step"]) for point in points]
    rate = _number(facts, "batch") * _number(facts, "length")
    total, last = _number(facts, "flops"), _number(facts, "steps")
    seconds, elapsed = [point.get("seconds") for point in points], 0.0
    timed: list[float] | None = []
    for value in seconds:
        if not isinstance(value, int | float) or timed is None:
            timed = None
            break
        elapsed += value
        timed.append(elapsed)
    if timed is None and _number(facts, "seconds") and last:
        timed = [step / last * _number(facts, "seconds") for step in steps]
    return Curve(
        name=name,
        stage=row.stage,
        key=row.key or "",
        loss=_thin([float(point["loss"]) for point in points]),
        step=_thin(steps),
        token=_thin([step * rate for step in steps]) if rate else None,
        flop=_thin([step / last * total for step in steps]) if total and last else None,
        second=_thin(timed) if timed else None,
    )


def _thin(values: Sequence[float]) -> tuple[float, ...]:
    """The means of at most `MOST_POINTS` groups of neighbours: noise goes, the course stays."""
    size = -(-len(values) // MOST_POINTS)
    if size == 1:
        return tuple(values)
    return tuple(sum(values[n : n + size]) / len(values[n : n + size]) for n in range(0, len(values), size))


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _number(facts: Mapping[str, Any], name: str) -> float:
    value = facts.get(name)
    return float(value) if isinstance(value, int | float) else 0.0


def figures_by_step(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file of metrics, without lines that a kill cut short and without numbers that none can be."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict):
                yield {n: v for n, v in value.items() if not isinstance(v, int) or abs(v) <= LARGEST}


def draw(found: Sequence[Curve], picture: Path, *, by: Axis | None = None) -> None:
    """One panel for each axis (or for `by` alone) with a line for each curve. UserError where there is none to draw."""
    from matplotlib.figure import Figure

    axes = [axis for axis in ([by] if by else AXES) if any(getattr(curve, axis) for curve in found)]
    if not axes:
        raise UserError("there is no curve to draw: neither side has kept the losses of a training")
    wide = 2 if len(axes) > 1 else 1
    figure = Figure(figsize=(5.4 * wide, 3.6 * -(-len(axes) // wide)), dpi=110, layout="constrained")
    panels = figure.subplots(-(-len(axes) // wide), wide, squeeze=False, sharey=True).flat
    for panel, axis in zip(panels, axes, strict=False):
        for curve, colour in zip(found, (COLOURS * (1 + len(found) // len(COLOURS))), strict=False):
            if (values := getattr(curve, axis)) is not None:
                panel.plot(values, curve.loss, color=colour, linewidth=1.0, label=f"{curve.name} ({curve.stage})")
        panel.set_xlabel({"token": "tokens", "flop": "FLOPs", "second": "seconds"}.get(axis, axis))
        panel.set_ylabel("loss (nats per token)")
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(axis="y", alpha=0.25)
    figure.axes[0].legend(frameon=False, fontsize="small")
    figure.savefig(picture, format=picture.suffix.lstrip(".") or "png")
