"""One puzzle: forests are grown on the pairs that it shows, chosen by pairs that were left out, and asked again.

A *reading* of a puzzle is a view, with the grids as they are or in all eight positions. Each is tried on every shown
pair after growing on the others; the readings that foretell the left-out answers best give the two answers. Where no
reading foretells all, it is asked again with its own answers before its eyes, and again: what has to spread over a
grid spreads a stretch further each time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ayllu.evals.arc.describe import Canvas, Palette, describe, read_palette
from ayllu.evals.arc.forest import Cells, ForestConfig, ask_forest, grow_forest
from ayllu.evals.arc.positions import POSITIONS, move, move_back
from ayllu.evals.arc.tasks import Grid, Puzzle
from ayllu.evals.arc.views import View, find_views

ANSWERS = 2
"""How many answers ARC-AGI allows to a grid."""
THRESHOLDS = 10


@dataclass(frozen=True, kw_only=True)
class SolverConfig:
    """How long and how hard a puzzle is tried."""

    seconds: float = 60.0
    """Most time for a puzzle; the first reading is always tried."""
    forest: ForestConfig = field(default_factory=ForestConfig)
    views: int = 3
    """Most views that are tried."""
    rounds: int = 3
    """How often a reading is asked, its own answers before its eyes from the second time on."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What came of a reading: how well it foretold pairs that were left out, and what it answers."""

    name: str
    exact: float
    """Share of left-out pairs whose answer it foretold to the last cell."""
    near: float
    """Share of their cells."""
    foretold: list[Grid]
    answers: list[Grid]


def solve(puzzle: Puzzle, config: SolverConfig, *, seed: int = 0) -> list[list[Grid]]:
    """At most two answers to each grid that is asked: of the readings that foretell best."""
    readings = sorted(read_all(puzzle, config, seed=seed), key=lambda reading: (-reading.exact, -reading.near))
    return [_distinct([reading.answers[place] for reading in readings]) for place in range(len(puzzle.asked))]


def read_all(puzzle: Puzzle, config: SolverConfig, *, seed: int = 0) -> list[Reading]:
    """Every reading that there is time for, the simplest views first."""
    until = time.monotonic() + config.seconds
    palette = read_palette(puzzle.shown)
    views = _different(find_views(puzzle.shown, palette), puzzle, palette)[: config.views]
    readings: list[Reading] = []
    for turns in (1, POSITIONS):
        for view in views:
            before: Reading | None = None
            for _ in range(config.rounds):
                if readings and time.monotonic() > until:
                    break
                found = _read(puzzle, view, palette, turns, before, config, seed, until if readings else None)
                if found is None:
                    break
                readings.append(found)
                if found.exact == 1 or (before and found.near <= before.near):
                    break
                before = found
    return readings


def _different(views: Sequence[View], puzzle: Puzzle, palette: Palette) -> list[View]:
    """The views under which what is asked looks otherwise than under all before."""
    seen: dict[bytes, View] = {}
    for view in views:
        canvases = [view.look(pair.given, palette) for pair in puzzle.asked]
        if all(canvas is not None for canvas in canvases):
            first = b"".join(bytes(canvas.shape) + canvas.sources[0].tobytes() for canvas in canvases if canvas)
            seen.setdefault(first, view)
    return list(seen.values())


def _distinct(grids: Sequence[Grid]) -> list[Grid]:
    kept: list[Grid] = []
    for grid in grids:
        if len(kept) < ANSWERS and not any(np.array_equal(grid, other) for other in kept):
            kept.append(grid)
    return kept


@dataclass(frozen=True, kw_only=True)
class Table:
    """All cells of a reading: those of shown pairs first, grid by grid, position by position."""

    cells: Cells
    starts: list[int]
    shapes: list[tuple[int, int]]

    def rows(self, grids: Sequence[int]) -> NDArray[np.int64]:
        """Rows of the cells of some grids."""
        parts = [np.arange(self.starts[grid], self.starts[grid + 1]) for grid in grids]
        return np.concatenate(parts)

    def part(self, rows: NDArray[np.int64]) -> Cells:
        """Some of the cells."""
        return Cells(bits_PB=self.cells.bits_PB[rows], colours_PS=self.cells.colours_PS[rows])


def _read(
    puzzle: Puzzle,
    view: View,
    palette: Palette,
    turns: int,
    before: Reading | None,
    config: SolverConfig,
    seed: int,
    until: float | None,
) -> Reading | None:
    """One reading, once; None where the view does not fit a grid that is asked or turned, and when time is up."""
    pairs = [*puzzle.shown, *puzzle.asked]
    guessed = [*before.foretold, *before.answers] if before else [None] * len(pairs)
    canvases = []
    for pair, guess in zip(pairs, guessed, strict=True):
        for position in range(turns):
            canvas = view.look(move(pair.given, position), palette)
            if canvas is None:
                return None
            if guess is not None:
                turned = move(guess, position)
                if turned.shape != canvas.shape:
                    return None
                seen = describe(turned, palette)
                canvas.features += seen.features
                canvas.sources += seen.sources
            canvases.append(canvas)
    wanted = [move(pair.wanted, position) for pair in puzzle.shown for position in range(turns)]
    if any(canvas.shape != grid.shape for canvas, grid in zip(canvases, wanted, strict=False)):
        return None
    table = _table(canvases, palette)
    shown = len(puzzle.shown)
    wanted_P = np.concatenate([grid.ravel() for grid in wanted])
    foretold = []
    for left in range(shown):
        if until is not None and time.monotonic() > until:
            return None
        train = table.rows([grid for grid in range(shown * turns) if grid // turns != left])
        foretold += _answers(table, train, wanted_P[train], [left], turns, config, seed)
    train = table.rows(range(shown * turns))
    answers = _answers(table, train, wanted_P, range(shown, len(pairs)), turns, config, seed)
    same = [(one == pair.wanted) for one, pair in zip(foretold, puzzle.shown, strict=True)]
    return Reading(
        name=f"{view.name}, {turns}",
        exact=float(np.mean([cells.all() for cells in same])),
        near=float(np.mean([cells.mean() for cells in same])),
        foretold=foretold,
        answers=answers,
    )


def _answers(
    table: Table,
    train: NDArray[np.int64],
    wanted_P: NDArray[np.int8],
    asked: Sequence[int],
    turns: int,
    config: SolverConfig,
    seed: int,
) -> list[Grid]:
    """Grow on some cells, and answer for some pairs: of all positions the colours with the most votes."""
    known = table.part(train)
    forest = grow_forest(known, wanted_P, config.forest, seed=seed)
    common_S = (known.colours_PS == wanted_P[:, None]).mean(0).astype(np.float32)
    answers = []
    for pair in asked:
        total = None
        for position in range(turns):
            grid = pair * turns + position
            votes_PC = ask_forest(forest, table.part(table.rows([grid])), common_S)
            height, width = table.shapes[grid]
            colours = [move_back(plane, position) for plane in votes_PC.T.reshape(-1, height, width)]
            total = np.stack(colours) if total is None else total + np.stack(colours)
        assert total is not None
        answers.append(total.argmax(0).astype(np.int8))
    return answers


def _table(canvases: Sequence[Canvas], palette: Palette) -> Table:
    """Features as yes and no, those that say the same left out; sources and the colours that mean themselves."""
    planes_PF = np.concatenate([np.stack([plane.ravel() for plane in canvas.features], 1) for canvas in canvases])
    colours_PS = np.concatenate([np.stack([plane.ravel() for plane in canvas.sources], 1) for canvas in canvases])
    fixed_PK = np.broadcast_to(np.array(palette.fixed, np.int8), (len(colours_PS), len(palette.fixed)))
    colours_PS = np.concatenate([colours_PS, fixed_PK], 1)
    seen: dict[bytes, NDArray[np.bool_]] = {}
    for plane_P in planes_PF.T:
        for cut in _cuts(plane_P):
            bit_P = plane_P > cut
            bit_P = bit_P ^ bit_P[0]
            seen.setdefault(np.packbits(bit_P).tobytes(), bit_P)
    sources = {colours_PS[:, source].tobytes(): source for source in reversed(range(colours_PS.shape[1]))}
    bits = list(seen.values()) or [np.zeros(len(planes_PF), np.bool_)]
    return Table(
        cells=Cells(
            bits_PB=np.stack(bits, 1).astype(np.float32),
            colours_PS=np.ascontiguousarray(colours_PS[:, sorted(sources.values())]),
        ),
        starts=np.cumsum([0, *(canvas.shape[0] * canvas.shape[1] for canvas in canvases)]).tolist(),
        shapes=[canvas.shape for canvas in canvases],
    )


def _cuts(plane_P: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where a feature is cut in two: between its values, at most `THRESHOLDS` times."""
    values = np.unique(plane_P)
    between = (values[1:] + values[:-1]) / 2
    if len(between) > THRESHOLDS:
        between = np.unique(np.quantile(between, np.linspace(0.02, 0.98, THRESHOLDS)))
    return np.asarray(between, np.float32)
