"""Simple programs, the anchor of ARC-AGI: a rule out of a short list that holds for every pair that is shown.

These results are inductive: a rule is found, checked on what is shown, and then applied to what is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from ayllu.evals.arc.complete import NONE, fallen, mirrored, repeated
from ayllu.evals.arc.describe import COLOURS, Palette, read_palette
from ayllu.evals.arc.positions import POSITIONS, move
from ayllu.evals.arc.tasks import Grid, Puzzle
from ayllu.evals.arc.views import SELECTORS, Choose

Program = Callable[[Grid, Palette], Grid | None]
Recolour = dict[int, int]
LARGEST = 30


def solve_by_programs(puzzle: Puzzle, *, answers: int = 2) -> list[list[Grid]]:
    """The answers of the first programs that hold, at most `answers` different ones to each grid that is asked.

    Where fewer hold, the grid itself is handed in, as good a guess as any.
    """
    palette = read_palette(puzzle.shown)
    found: list[list[Grid]] = [[] for _ in puzzle.asked]
    for program, colours in _that_hold(puzzle, palette):
        for place, pair in enumerate(puzzle.asked):
            answer = program(pair.given, palette)
            if answer is not None and len(found[place]) < answers:
                _add(found[place], _recoloured(answer, colours))
    for place, pair in enumerate(puzzle.asked):
        if len(found[place]) < answers:
            _add(found[place], pair.given)
    return found


def _add(grids: list[Grid], grid: Grid) -> None:
    if not any(np.array_equal(grid, other) for other in grids):
        grids.append(grid)


def _that_hold(puzzle: Puzzle, palette: Palette) -> Iterator[tuple[Program, Recolour]]:
    for program in _programs(puzzle):
        colours: Recolour = {}
        if all(_explains(program(pair.given, palette), pair.wanted, colours) for pair in puzzle.shown):
            yield program, colours


def _explains(made: Grid | None, wanted: Grid, colours: Recolour) -> bool:
    """Whether a grid is the wanted one under one exchange of colours, which is filled in as it becomes known."""
    if made is None or made.shape != wanted.shape or (made == NONE).any():
        return False
    for colour in range(COLOURS):
        becomes = np.unique(wanted[made == colour])
        if len(becomes) > 1 or (len(becomes) and colours.setdefault(colour, int(becomes[0])) != becomes[0]):
            return False
    return True


def _recoloured(grid: Grid, colours: Recolour) -> Grid:
    table = np.array([colours.get(colour, colour) for colour in range(COLOURS)], np.int8)
    return table[grid]


def _programs(puzzle: Puzzle) -> Iterator[Program]:
    for first in _parts():
        for position in range(POSITIONS):
            yield _then(first, position)
    for down, across in sorted(_ratios(puzzle)):
        yield partial(_larger, down=down, across=across)
        for rows in (False, True):
            for columns in (False, True):
                yield partial(_tiled, down=down, across=across, rows=rows, columns=columns)


def _parts() -> Iterator[Program]:
    """What the grid is turned into before it is moved."""
    yield lambda grid, palette: grid
    yield lambda grid, palette: repeated(grid, palette.fixed)
    yield lambda grid, palette: mirrored(grid, palette.fixed)
    for side in range(4):
        yield partial(_fallen, side=side)
    for choose in SELECTORS.values():
        yield partial(_cut, choose=choose)
    for at in ((0, 0), (0, 1), (1, 0), (1, 1)):
        for rows, columns in ((2, 1), (1, 2), (2, 2), (3, 1), (1, 3), (3, 3)):
            yield partial(_panel, at=at, rows=rows, columns=columns)


def _then(first: Program, position: int) -> Program:
    def program(grid: Grid, palette: Palette) -> Grid | None:
        made = first(grid, palette)
        return None if made is None else move(made, position)

    return program


def _fallen(grid: Grid, palette: Palette, *, side: int) -> Grid:
    return list(fallen(grid, palette.background))[side]


def _cut(grid: Grid, palette: Palette, *, choose: Choose) -> Grid | None:
    box = choose(grid, palette)
    return None if box is None else grid[box]


def _panel(grid: Grid, palette: Palette, *, at: tuple[int, int], rows: int, columns: int) -> Grid | None:
    """The first or last panel each way."""
    height, width = grid.shape[0] // rows, grid.shape[1] // columns
    if at[0] >= rows or at[1] >= columns or not height or not width:
        return None
    row, column = at[0] * (grid.shape[0] - height), at[1] * (grid.shape[1] - width)
    return grid[row : row + height, column : column + width]


def _ratios(puzzle: Puzzle) -> set[tuple[int, int]]:
    (height, width), (tall, wide) = puzzle.shown[0].given.shape, puzzle.shown[0].wanted.shape
    return {(tall // height, wide // width)} if tall % height == 0 and wide % width == 0 else set()


def _larger(grid: Grid, palette: Palette, *, down: int, across: int) -> Grid | None:
    return _within(np.kron(grid, np.ones((down, across), np.int8)).astype(np.int8))


def _tiled(grid: Grid, palette: Palette, *, down: int, across: int, rows: bool, columns: bool) -> Grid | None:
    """The grid as a tile, every other one mirrored where `rows` or `columns` says so."""
    lines = [
        np.concatenate(
            [_flipped(grid, rows and row % 2 == 1, columns and column % 2 == 1) for column in range(across)], 1
        )
        for row in range(down)
    ]
    return _within(np.concatenate(lines))


def _flipped(grid: Grid, rows: bool, columns: bool) -> Grid:
    return grid[:: -1 if rows else 1, :: -1 if columns else 1]


def _within(grid: Grid) -> Grid | None:
    return grid if max(grid.shape) <= LARGEST else None
