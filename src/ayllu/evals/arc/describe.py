"""What each cell of a grid can know of the grid: features, and colours that it could take.

Nothing here is learned. Colours that differ from pair to pair have no feature of their own: a cell knows whether two of
them are equal, and may take one from where it stands, so that a rule holds for colours that were never shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ayllu.evals.arc.complete import fallen, mirrored, repeated
from ayllu.evals.arc.components import Things, find_things
from ayllu.evals.arc.tasks import Grid, Pair

Plane = NDArray[np.float32]
COLOURS = 10
NONE = -1
"""Where a cell has no colour to take."""
SIDES = ((-1, 0), (1, 0), (0, -1), (0, 1))
CORNERS = ((-1, -1), (-1, 1), (1, -1), (1, 1))


@dataclass(frozen=True, kw_only=True)
class Palette:
    """What the colours of one puzzle are."""

    background: int
    fixed: tuple[int, ...]
    """Colours that mean themselves: the background, those in every given grid, and those that a rule puts in."""


def read_palette(shown: Sequence[Pair]) -> Palette:
    """The palette of a puzzle from the pairs that it shows."""
    counts = sum(np.bincount(pair.given.ravel(), minlength=COLOURS) for pair in shown)
    black = all((pair.given == 0).any() for pair in shown)
    background = 0 if black else int(np.argmax(counts))
    given = [set(np.unique(pair.given).tolist()) for pair in shown]
    made = set().union(*(set(np.unique(pair.wanted).tolist()) - has for pair, has in zip(shown, given, strict=True)))
    fixed = (set.intersection(*given) | made) - {background}
    return Palette(background=background, fixed=(background, *sorted(fixed)))


@dataclass
class Canvas:
    """A grid of the size of the answer, with all that its cells know. Planes are (H, W)."""

    shape: tuple[int, int]
    features: list[Plane] = field(default_factory=list)
    sources: list[Grid] = field(default_factory=list)
    """Colours that a cell could take, or `NONE`."""

    def know(self, *planes: object) -> None:
        """Add features."""
        for plane in planes:
            self.features.append(np.broadcast_to(np.asarray(plane, dtype=np.float32), self.shape))

    def take(self, plane: NDArray[np.int8], palette: Palette, own: Grid | None = None) -> None:
        """Add a colour to take, and what it is in words of the palette; of another grid's, whether it is its own."""
        self.sources.append(np.broadcast_to(plane, self.shape).astype(np.int8))
        self.know(plane == NONE, *(plane == colour for colour in palette.fixed))
        if own is not None:
            self.know(plane == own)


def describe(grid: Grid, palette: Palette) -> Canvas:
    """All that can be said of the cells of one grid."""
    canvas = Canvas(shape=grid.shape)
    canvas.take(grid, palette)
    _places(canvas)
    _neighbours(canvas, grid, palette)
    _rays(canvas, grid, palette)
    _mirrors(canvas, grid, palette)
    _lines(canvas, grid, palette)
    _counts(canvas, grid, palette)
    _things(canvas, grid, palette)
    _whole(canvas, grid, palette)
    return canvas


def _places(canvas: Canvas) -> None:
    height, width = canvas.shape
    row, column = np.indices(canvas.shape)
    up, left = height - 1 - row, width - 1 - column
    canvas.know(row / 30, column / 30, up / 30, left / 30)
    canvas.know(*(place == near for place in (row, column, up, left) for near in (0, 1)))
    canvas.know(row % 2, column % 2, (row + column) % 2, up % 2, left % 2)
    canvas.know(row % 3 == 0, row % 3 == 1, column % 3 == 0, column % 3 == 1)
    canvas.know(row == column, row == left, row == up, column == left, row > up, column > left)
    canvas.know(row > column, row > left, np.minimum(np.minimum(row, up), np.minimum(column, left)) / 15)


def _shifted(grid: Grid, down: int, right: int) -> Grid:
    """The cell `down` rows and `right` columns away, or `NONE` outside."""
    height, width = grid.shape
    moved = np.full_like(grid, NONE)
    if abs(down) >= height or abs(right) >= width:
        return moved
    moved[max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)] = grid[
        max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)
    ]
    return moved


def _neighbours(canvas: Canvas, grid: Grid, palette: Palette) -> None:
    around = [_shifted(grid, *step) for step in (*SIDES, *CORNERS)]
    for near in around:
        canvas.take(near, palette, grid)
    canvas.know(sum((near == grid).astype(int) for near in around) / 8)
    canvas.know(around[0] == around[1], around[2] == around[3], around[4] == around[7], around[5] == around[6])


def _rays(canvas: Canvas, grid: Grid, palette: Palette) -> None:
    """In eight directions: the first cell that has neither the background's colour nor one's own."""
    reached = []
    for down, right in (*SIDES, *CORNERS):
        colour, steps = _look(grid, palette.background, down, right)
        canvas.take(colour, palette, grid)
        canvas.know(np.where(colour == NONE, 0, 1 / np.maximum(steps, 1)), steps == 1, steps == 2)
        reached.append((colour, steps))
    for one, other in ((0, 1), (2, 3), (4, 7), (5, 6), (0, 2), (1, 3)):
        (colour, steps), (facing, back) = reached[one], reached[other]
        both = (colour == facing) & (colour != NONE)
        canvas.know(both, both & (steps == back), both & (steps < back))


def _look(grid: Grid, background: int, down: int, right: int) -> tuple[Grid, NDArray[np.int64]]:
    """Colour of the first other cell in a direction, and steps to it (0 where there is none)."""
    colour, steps = np.full_like(grid, NONE), np.zeros(grid.shape, np.int64)
    for away in range(1, max(grid.shape)):
        there = _shifted(grid, down * away, right * away)
        found = (colour == NONE) & (there != NONE) & (there != background) & (there != grid)
        colour = np.where(found, there, colour)
        steps = np.where(found, away, steps)
    return colour, steps


def _mirrors(canvas: Canvas, grid: Grid, palette: Palette) -> None:
    """The cells where this one would be if the grid were turned or mirrored; of a grid that is no square, only some."""
    number = np.arange(grid.size).reshape(grid.shape)
    turns = [number[::-1], number[:, ::-1], number[::-1, ::-1]]
    square = grid.shape[0] == grid.shape[1]
    turned = [number.T, number[::-1, ::-1].T, np.rot90(number), np.rot90(number, 3)] if square else [number] * 4
    for place in (*turns, *turned):
        canvas.take(grid.ravel()[place], palette, grid)


def _lines(canvas: Canvas, grid: Grid, palette: Palette) -> None:
    """Of row and column: the commonest colour but the background, the ends, and whether it is of one colour."""
    for along in (1, 0):
        lines = grid if along else grid.T
        counts = np.stack([(lines == colour).sum(1) for colour in range(COLOURS)], 1)
        drawn = counts.copy()
        drawn[:, palette.background] = 0
        commonest = np.where(drawn.any(1), drawn.argmax(1), NONE).astype(np.int8)
        kinds = (drawn > 0).sum(1)
        shape = (-1, 1) if along else (1, -1)
        for colour in (commonest, lines[:, 0], lines[:, -1]):
            canvas.take(np.broadcast_to(colour.reshape(shape), grid.shape), palette, grid)
        length = lines.shape[1]
        for plane in (kinds == 0, kinds == 1, drawn.sum(1) == length, (counts == length).any(1)):
            canvas.know(plane.reshape(shape))
        total = drawn.sum(1)
        canvas.know((total / length).reshape(shape), (total == total.max()).reshape(shape))
        canvas.know(((total == total[total > 0].min()) if total.any() else total < 0).reshape(shape))


def _counts(canvas: Canvas, grid: Grid, palette: Palette) -> None:
    """Of the whole grid: its colours from the commonest to the rarest, without the background."""
    counts = np.bincount(grid.ravel(), minlength=COLOURS)
    counts[palette.background] = 0
    order = [int(colour) for colour in np.argsort(-counts, kind="stable") if counts[colour]]
    for place in (0, 1, -1):
        colour = order[place] if len(order) > (1 if place == 1 else 0) else NONE
        canvas.take(np.full(grid.shape, colour, np.int8), palette, grid)


def _whole(canvas: Canvas, grid: Grid, palette: Palette) -> None:
    """What the grid would be if it repeated or mirrored itself everywhere, and if what is drawn fell to a side."""
    for plane in (repeated(grid, palette.fixed), mirrored(grid, palette.fixed)):
        canvas.take(plane, palette, grid)
    for plane in fallen(grid, palette.background):
        canvas.take(plane, palette, grid)


def _things(canvas: Canvas, grid: Grid, palette: Palette) -> None:
    """Of the thing that a cell belongs to, of one colour or of several."""
    ground = palette.background
    sides = find_things(grid, ground, diagonal=False)
    corners = find_things(grid, ground, diagonal=True)
    mixed = find_things(grid, ground, diagonal=True, mixed=True)
    for things in (sides, corners, mixed):
        _say_of(canvas, things)
    _say_of_holes(canvas, grid, palette, sides)
    _say_of_colours(canvas, grid, palette, mixed)


def _say_of(canvas: Canvas, things: Things) -> None:
    label, drawn = things.label, ~things.ground
    height, width = things.bottom - things.top + 1, things.right - things.left + 1
    row, column = np.indices(label.shape)
    sizes = things.size[drawn]
    largest, smallest = (sizes.max(), sizes.min()) if sizes.size else (0, 0)
    facts = [
        np.log2(things.size) / 8,
        drawn & (things.size == largest),
        drawn & (things.size == smallest),
        things.size == 1,
        things.size == 2,
        things.size % 2 == 0,
        things.edge,
        height == width,
        height > width,
        height == 1,
        width == 1,
        things.size == height * width,
        things.alike == 1,
        things.alike == (things.alike.max() if things.alike.size else 0),
        height / 10,
        width / 10,
        np.bincount(sizes, minlength=things.size.max() + 1)[things.size] == 1,
    ]
    canvas.know(*(np.asarray(fact, np.float32)[label] for fact in facts))
    top, bottom = row - things.top[label], things.bottom[label] - row
    left, right = column - things.left[label], things.right[label] - column
    canvas.know(*(place == 0 for place in (top, bottom, left, right)))
    canvas.know(
        top == bottom,
        left == right,
        (top + left) % 2,
        np.minimum(np.minimum(top, bottom), np.minimum(left, right)) == 1,
    )


def _say_of_holes(canvas: Canvas, grid: Grid, palette: Palette, things: Things) -> None:
    """Background that is shut in: by what colour; and how many holes a thing has."""
    shut = things.ground & ~things.edge
    around = np.full(len(things.size), NONE, np.int8)
    holes = np.zeros(len(things.size), np.int64)
    for hole in np.flatnonzero(shut):
        row, column = np.argwhere(things.label == hole)[0]
        keeper = things.label[row - 1, column]  # what lies above the first cell of a hole in reading order is not of it
        around[hole] = grid[row - 1, column]
        holes[keeper] += 1
    canvas.take(around[things.label], palette, grid)
    canvas.know(
        shut[things.label], *((holes == number)[things.label] for number in (1, 2, 3)), (holes > 0)[things.label]
    )
    canvas.know((holes == holes.max())[things.label] if holes.any() else 0)
    square = (things.bottom - things.top) == (things.right - things.left)
    canvas.know((shut & square & (things.size == (things.bottom - things.top + 1) ** 2))[things.label])


def _say_of_colours(canvas: Canvas, grid: Grid, palette: Palette, things: Things) -> None:
    """Of a thing of several colours: how many, the commonest and rarest; and the thing in whose box a cell is."""
    kinds = np.zeros((len(things.size), COLOURS), np.int64)
    np.add.at(kinds, (things.label.ravel(), grid.ravel()), 1)
    kinds[things.ground] = 0
    several = (kinds > 0).sum(1)
    most = np.where(several > 0, kinds.argmax(1), NONE).astype(np.int8)
    least = np.where(several > 0, np.where(kinds > 0, kinds, 999).argmin(1), NONE).astype(np.int8)
    box_most, box_least = np.full(grid.shape, NONE, np.int8), np.full(grid.shape, NONE, np.int8)
    within, nested = np.zeros(grid.shape), np.zeros(grid.shape)
    for thing in np.argsort(-things.size):
        if not things.ground[thing] and things.size[thing] > 1:
            box = np.s_[things.top[thing] : things.bottom[thing] + 1, things.left[thing] : things.right[thing] + 1]
            box_most[box], box_least[box] = most[thing], least[thing]
            within[box] = 1
            nested[box] += 1
    for colour in (most[things.label], least[things.label], box_most, box_least):
        canvas.take(colour, palette, grid)
    kind_count = several[things.label]
    canvas.know(within, nested > 1, kind_count > 1, kind_count == 2, kind_count / 5)
    canvas.know((several == several.max())[things.label] if several.any() else 0)
    canvas.know(box_most != box_least)
