"""Grids that repeat or mirror themselves: what would stand in cells that are covered, and cells that fall to a side."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ayllu.evals.arc.tasks import Grid

NONE = -1
LEAST_OVERLAP = 0.4
"""Share of the grid that has to meet its own image; below, nearly everything is a mirror of something."""
MOST_COVERED = 0.6


def repeated(grid: Grid, covers: tuple[int, ...]) -> Grid:
    """The grid with its covered cells as its smallest period has them; `NONE` everywhere where it does not repeat.

    Which of the colours `covers` is a cover is the one under which the period is smallest.
    """
    best: tuple[int, Grid] | None = None
    for cover in covers:
        open_cells = grid != cover
        if not MOST_COVERED * grid.size > (~open_cells).sum() > 0 or len(np.unique(grid[open_cells])) < 2:
            continue
        for down, right in _periods(grid.shape):
            if best is not None and down * right >= best[0]:
                break
            filled = _tiled(grid, open_cells, down, right)
            if filled is not None:
                best = down * right, filled
                break
    return best[1] if best else np.full_like(grid, NONE)


def _periods(shape: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Heights and widths of a tile of which at least two fit, or which repeats one way, the smallest first."""
    height, width = shape
    sizes = [
        (down, right)
        for down in [*range(1, height // 2 + 1), height]
        for right in [*range(1, width // 2 + 1), width]
        if (down, right) != (height, width)
    ]
    yield from sorted(sizes, key=lambda size: size[0] * size[1])


def _tiled(grid: Grid, open_cells: NDArray[np.bool_], down: int, right: int) -> Grid | None:
    row, column = np.indices(grid.shape)
    index = np.asarray(row % down * right + column % right)
    place = index[open_cells]
    tile = np.full(down * right, NONE, np.int8)
    tile[place] = grid[open_cells]
    if not np.array_equal(tile[place], grid[open_cells]):
        return None
    return tile[index]


def mirrored(grid: Grid, covers: tuple[int, ...]) -> Grid:
    """The grid with its covered cells as its mirror images have them, about the axes under which all open cells agree.

    `NONE` where no image is open, and everywhere where there is no axis.
    """
    best = np.full_like(grid, NONE)
    agreed = 0
    for cover in covers:
        open_cells = grid != cover
        if not MOST_COVERED * grid.size > (~open_cells).sum() > 0 or len(np.unique(grid[open_cells])) < 3:
            continue
        filled, meetings = np.where(open_cells, grid, NONE), 0
        for turned in (0, 1):
            image = _across(filled.T if turned else filled)
            if image is not None:
                image = image.T if turned else image
                meetings += int(((image != NONE) & (filled != NONE)).sum())
                filled = np.where(filled == NONE, image, filled)
        if grid.shape[0] == grid.shape[1] and _agree(filled, filled.T):
            filled = np.where(filled == NONE, filled.T, filled)
            meetings += 1
        if meetings > agreed:
            best, agreed = filled, meetings
    return best


def _across(grid: Grid) -> Grid | None:
    """The image about the left-to-right axis that has the most cells meet and none disagree; `NONE` outside."""
    width = grid.shape[1]
    best, most = None, LEAST_OVERLAP * grid.size
    for twice in range(width // 2, width + width // 2):  # twice the place of the axis
        column = twice - np.arange(width)
        within = (column >= 0) & (column < width)
        image = np.full_like(grid, NONE)
        image[:, within] = grid[:, column[within]]
        meeting = (image != NONE) & (grid != NONE)
        if meeting.sum() > most and (image == grid)[meeting].all():
            best, most = image, float(meeting.sum())
    return best


def _agree(one: Grid, other: Grid) -> bool:
    both = (one != NONE) & (other != NONE)
    return bool((one == other)[both].all() and both.sum() > LEAST_OVERLAP * one.size)


def fallen(grid: Grid, background: int) -> Iterator[Grid]:
    """The grid with all that is drawn fallen down, up, right and left."""
    for lines, back in ((grid.T, True), (grid, False)):
        for far in (True, False):
            moved = np.full_like(lines, background)
            for line, into in zip(lines, moved, strict=True):
                drawn = line[line != background]
                into[len(line) - len(drawn) if far else 0 : len(line) if far else len(drawn)] = drawn
            yield np.ascontiguousarray(moved.T if back else moved)
