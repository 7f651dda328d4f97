"""How the lab's commands write sizes, ages, scores and tables."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from ayllu.lab.shelf.index import CURVES
from ayllu.lab.shelf.index import headline as best
from ayllu.lab.visible import visible


def size(count: int) -> str:
    """Bytes in a unit that leaves three digits: 12.3 MB."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("a loop that ends with its last unit")


def age(created: str) -> str:
    """How long ago a time was: 5 min, 3 h, 12 d; empty where it is unknown."""
    try:
        seconds = max(time.time() - datetime.fromisoformat(created).timestamp(), 0)
    except ValueError:
        return ""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def headline(scores: Mapping[str, float]) -> str:
    """The one score of a row in words."""
    found = best(scores)
    if found is None:
        return ""
    name, value = found
    if name.startswith(CURVES):
        return f"{name.partition(' ')[0].replace('bits_per_byte', 'bits/byte')} {value:.3f}"
    return f"{name} {100 * value:.1f} %"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, fit: int | None = None) -> list[str]:
    """Lines of a table. The column `fit` is cut so that a line fits into the terminal."""
    shown = [[visible(cell) for cell in row] for row in rows]
    widths = [max(len(row[n]) for row in (list(head), *shown)) for n in range(len(head))]
    if fit is not None:
        room = shutil.get_terminal_size((160, 24)).columns - sum(widths) - 2 * (len(widths) - 1) + widths[fit]
        widths[fit] = max(min(widths[fit], room), 12)
    lines = []
    for row in (list(head), *shown):
        cells = [
            cell if len(cell) <= width else f"{cell[: width - 1]}…" for cell, width in zip(row, widths, strict=True)
        ]
        lines.append("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())
    return lines
