"""Puzzles that are made here, whose rules no simple program knows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ayllu.evals.arc.tasks import Grid, Pair, Puzzle

Rule = Callable[[Grid], Grid]


def make_puzzle(rule: Rule, *, pairs: int = 3, size: int = 7, seed: int = 0, name: str = "made") -> Puzzle:
    """Random grids of two colours on black, and what the rule makes of each; the last is asked."""
    draw = np.random.default_rng(seed)
    grids = [draw.choice(np.array([0, 0, 0, 2, 5], np.int8), (size, size)) for _ in range(pairs + 1)]
    made = [Pair(given=grid, wanted=rule(grid)) for grid in grids]
    return Puzzle(id=name, shown=tuple(made[:-1]), asked=(made[-1],))


def walled(grid: Grid) -> Grid:
    """Black cells that touch a 2 by a side become 3."""
    padded = np.pad(grid, 1)
    near = np.zeros(grid.shape, bool)
    for down, right in ((0, 1), (2, 1), (1, 0), (1, 2)):
        near |= padded[down : down + grid.shape[0], right : right + grid.shape[1]] == 2
    return np.where((grid == 0) & near, 3, grid).astype(np.int8)


@pytest.fixture
def puzzle() -> Puzzle:
    """A puzzle with a rule of neighbours."""
    return make_puzzle(walled)
