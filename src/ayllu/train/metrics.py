"""What a run shows of itself while it goes: a line per step, TensorBoard where installed, curves at the end."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from ayllu.lab.store import write_atomically


class Metrics:
    """Writes `metrics.jsonl` (and TensorBoard's events) into a folder; without a folder nothing."""

    def __init__(self, folder: Path | None, first: int) -> None:
        """`first` is the step that the run goes on from: lines of later steps, from before a kill, are dropped."""
        self._file = self._board = None
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "metrics.jsonl"
        if path.exists():
            kept = [row for row in read_metrics(path) if row["step"] <= first]
            write_atomically(path, "".join(json.dumps(row) + "\n" for row in kept))
        self._file = path.open("a", encoding="utf-8")
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ImportError:  # an extra: pip install 'ayllu[tensorboard]'
            return
        self._board = SummaryWriter(str(folder), purge_step=first + 1)

    def write(self, step: int, **values: Any) -> None:
        """One step, counted from 1; a loss that is no number becomes null."""
        if self._file is None:
            return
        clean = {n: None if isinstance(v, float) and not math.isfinite(v) else v for n, v in values.items()}
        self._file.write(json.dumps({"step": step, **clean}) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in clean.items():
                if isinstance(value, int | float):
                    self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Write out everything."""
        for part in (self._file, self._board):
            if part is not None:
                part.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a `metrics.jsonl`; a line that a kill cut short is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def draw(path: Path, picture: Path) -> None:
    """Loss, gradient norm and tokens/s by step of a `metrics.jsonl`, as one picture."""
    from matplotlib.figure import Figure

    rows = read_metrics(path)
    figure = Figure(figsize=(7.2, 6.4), dpi=110, layout="constrained")
    panels = figure.subplots(3, 1, sharex=True)
    names = (("loss", "loss (nats)"), ("norm", "gradient norm"), ("tokens_per_second", "tokens/s"))
    for axes, (name, label) in zip(panels, names, strict=True):
        given = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
        if given:
            axes.plot(*zip(*given, strict=True), color="#1f6f8b", linewidth=1.0)
        for row in rows:
            if row.get("event"):
                axes.axvline(row["step"], color="#c8553d", linewidth=0.8, alpha=0.6)
        axes.set_ylabel(label)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.25)
    panels[-1].set_xlabel("step")
    figure.savefig(picture)
