"""What size an answer has, and which cells of the given grid each of its cells looks at.

A view belongs to a puzzle when it foretells the size of every answer that is shown; what the colours are is learned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ayllu.evals.arc.components import Things, find_things
from ayllu.evals.arc.describe import COLOURS, NONE, Canvas, Palette, describe
from ayllu.evals.arc.tasks import Grid, Pair

PANELS = 16
"""Most panels between lines."""
Look = Callable[[Grid, Palette], Canvas | None]
"""The canvas of an answer from a given grid; None where the view does not apply."""


@dataclass(frozen=True, kw_only=True)
class View:
    """One way to see a puzzle."""

    name: str
    look: Look


def find_views(shown: Sequence[Pair], palette: Palette) -> list[View]:
    """The views that foretell the size of each answer that is shown, the simplest first."""
    return [view for view in _all_views(shown) if all(_fits(view, pair, palette) for pair in shown)]


def _fits(view: View, pair: Pair, palette: Palette) -> bool:
    canvas = view.look(pair.given, palette)
    return canvas is not None and canvas.shape == pair.wanted.shape


def _all_views(shown: Sequence[Pair]) -> Iterator[View]:
    yield View(name="same size", look=describe)
    yield View(name="transposed", look=lambda grid, palette: describe(grid.T, palette))
    for rows, columns in ((1, 2), (2, 1), (1, 3), (3, 1), (2, 2), (1, 4), (4, 1), (3, 3), (1, 5), (5, 1)):
        yield View(name=f"{rows} × {columns} panels", look=_panels(rows, columns))
    yield View(name="panels between lines", look=_lined_panels)
    yield View(name="a cell for each panel", look=_panel_cells)
    for name, choose in SELECTORS.items():
        yield View(name=f"crop: {name}", look=_crop(choose))
    first = shown[0]
    (height, width), (tall, wide) = first.given.shape, first.wanted.shape
    if tall % height == 0 and wide % width == 0:
        yield View(name=f"{tall // height} × {wide // width} larger", look=_larger(tall // height, wide // width))
    yield View(
        name="as many times larger as it has cells", look=lambda grid, palette: _larger(*grid.shape)(grid, palette)
    )
    yield View(name="as many times larger as it has colours", look=_larger_by_colours)
    if height % tall == 0 and width % wide == 0:
        yield View(name=f"blocks of {height // tall} × {width // wide}", look=_blocks(height // tall, width // wide))
    yield View(name=f"{tall} × {wide}", look=_fixed(tall, wide))


def _larger(down: int, across: int) -> Look:
    """Each cell a block, and beside it the grid as a tile, as it is and mirrored."""

    def look(grid: Grid, palette: Palette) -> Canvas | None:
        height, width = grid.shape
        if down * height > 30 or across * width > 30 or down * across == 1:
            return None
        blocks = np.kron(grid, np.ones((down, across), np.int8)).astype(np.int8)
        canvas = describe(blocks, palette)
        row, column = np.indices(blocks.shape)
        tile_row, tile_column = row // height, column // width
        inner_row, inner_column = row % height, column % width
        canvas.take(grid[inner_row, inner_column], palette, blocks)
        flipped_row, flipped_column = height - 1 - inner_row, width - 1 - inner_column
        canvas.take(grid[flipped_row, inner_column], palette, blocks)
        canvas.take(grid[inner_row, flipped_column], palette, blocks)
        canvas.take(grid[flipped_row, flipped_column], palette, blocks)
        for turned in (grid.T, np.rot90(grid), np.rot90(grid, 3)):
            fits = turned.shape == grid.shape
            canvas.take(turned[inner_row, inner_column] if fits else np.full_like(blocks, NONE), palette, blocks)
        canvas.know(*(tile_row == tile for tile in range(4)), *(tile_column == tile for tile in range(4)))
        canvas.know(tile_row % 2, tile_column % 2, (tile_row + tile_column) % 2)
        canvas.know(row % down == 0, column % across == 0, row % down == column % across)
        return canvas

    return look


def _larger_by_colours(grid: Grid, palette: Palette) -> Canvas | None:
    times = len(set(np.unique(grid).tolist()) - {palette.background})
    return _larger(times, times)(grid, palette) if times else None


def _panels(rows: int, columns: int) -> Look:
    """The grid falls into equal panels, with or without a line of one colour between them."""

    def look(grid: Grid, palette: Palette) -> Canvas | None:
        height, width = grid.shape
        for line in (0, 1):
            tall, wide = (height - line * (rows - 1)) / rows, (width - line * (columns - 1)) / columns
            if tall == int(tall) and wide == int(wide) and tall >= 1 and wide >= 1:
                steps = int(tall) + line, int(wide) + line
                cut = [
                    grid[row * steps[0] :, column * steps[1] :][: int(tall), : int(wide)]
                    for row in range(rows)
                    for column in range(columns)
                ]
                if not line or _are_lines(grid, rows, columns, steps):
                    return _over_each_other(cut, palette)
        return None

    return look


def _are_lines(grid: Grid, rows: int, columns: int, steps: tuple[int, int]) -> bool:
    """Whether what lies between panels has one colour."""
    lines = [grid[row * steps[0] - 1] for row in range(1, rows)]
    lines += [grid[:, column * steps[1] - 1] for column in range(1, columns)]
    return len(set(np.concatenate(lines).tolist())) == 1


def _over_each_other(panels: Sequence[Grid], palette: Palette, most: int = 0) -> Canvas:
    """A cell for each place of a panel; room for `most` panels, so that grids with fewer are described alike."""
    first = panels[0]
    canvas = describe(first, palette)
    drawn = np.stack([panel != palette.background for panel in panels])
    absent = [np.full_like(first, NONE)] * (most - len(panels))
    for panel in [*panels[1:], *absent]:
        canvas.take(panel, palette, first)
    number = drawn.sum(0)
    canvas.know(*(number == times for times in range(max(most, len(panels)))), number == len(panels))
    whole = [int((panel != palette.background).sum()) for panel in panels]
    for choose in (np.argmax, np.argmin):
        canvas.take(panels[int(choose(whole))], palette, first)
    kinds = [len(np.unique(panel)) for panel in panels]
    canvas.take(panels[int(np.argmax(kinds))], palette, first)
    odd = [sum(np.array_equal(panel, other) for other in panels) for panel in panels]
    canvas.take(panels[int(np.argmin(odd))], palette, first)
    canvas.take(panels[int(np.argmax(odd))], palette, first)
    return canvas


def find_lines(grid: Grid) -> tuple[list[tuple[int, int]], list[tuple[int, int]]] | None:
    """Spans of rows and columns between lines of one colour that cross the whole grid; None where there is no line."""
    best = None
    for colour in np.unique(grid):
        rows, columns = (grid == colour).all(1), (grid == colour).all(0)
        spans = _spans(rows), _spans(columns)
        panels = len(spans[0]) * len(spans[1])
        if (rows.any() or columns.any()) and panels > 1 and (best is None or panels < best[0]):
            best = panels, spans
    return best[1] if best else None


def _spans(line: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[True], line, [True]]).astype(np.int8)))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def _lined_panels(grid: Grid, palette: Palette) -> Canvas | None:
    spans = find_lines(grid)
    if spans is None:
        return None
    panels = [grid[top:bottom, left:right] for top, bottom in spans[0] for left, right in spans[1]]
    if len({panel.shape for panel in panels}) != 1 or len(panels) > PANELS:
        return None
    return _over_each_other(panels, palette, PANELS)


def _panel_cells(grid: Grid, palette: Palette) -> Canvas | None:
    spans = find_lines(grid)
    if spans is None:
        return None
    return _summed([[grid[top:bottom, left:right] for left, right in spans[1]] for top, bottom in spans[0]], palette)


def _blocks(tall: int, wide: int) -> Look:
    def look(grid: Grid, palette: Palette) -> Canvas | None:
        height, width = grid.shape
        if height % tall or width % wide or tall * wide == 1:
            return None
        return _summed(
            [
                [grid[row : row + tall, column : column + wide] for column in range(0, width, wide)]
                for row in range(0, height, tall)
            ],
            palette,
        )

    return look


def _summed(blocks: Sequence[Sequence[Grid]], palette: Palette) -> Canvas:
    """A cell for each block: its commonest and rarest colour but the background, and how full it is."""
    counts = np.array([[np.bincount(block.ravel(), minlength=COLOURS) for block in line] for line in blocks])
    drawn = counts.copy()
    drawn[..., palette.background] = 0
    total = drawn.sum(-1)
    most = np.where(total > 0, drawn.argmax(-1), palette.background).astype(np.int8)
    least = np.where(total > 0, np.where(drawn > 0, drawn, 999).argmin(-1), palette.background).astype(np.int8)
    canvas = describe(most, palette)
    canvas.take(least, palette, most)
    canvas.take(counts.argmax(-1).astype(np.int8), palette, most)
    kinds = (drawn > 0).sum(-1)
    for plane in (total, kinds):
        canvas.know(*(plane == number for number in range(6)), plane == plane.max(), plane == plane.min())
    sizes = np.array([[block.size for block in line] for line in blocks])
    canvas.know(total == sizes, total / sizes, (counts == sizes[..., None]).any(-1))
    return canvas


def _fixed(tall: int, wide: int) -> Look:
    """An answer of one size whatever is given: its cells know the whole grid's colours by their numbers."""

    def look(grid: Grid, palette: Palette) -> Canvas:
        base = np.full((tall, wide), palette.background, np.int8)
        canvas = describe(base, palette)
        row, column = np.indices(base.shape)
        canvas.know(*(row == place for place in range(6)), *(column == place for place in range(6)))
        counts = np.bincount(grid.ravel(), minlength=COLOURS)
        counts[palette.background] = 0
        order = [int(colour) for colour in np.argsort(-counts, kind="stable") if counts[colour]]
        things = find_things(grid, palette.background, diagonal=True)
        for place in range(4):
            colour = order[place] if place < len(order) else NONE
            canvas.take(np.full(base.shape, colour, np.int8), palette)
        index = (row * wide + column).ravel()
        listed = np.array([order[i] if i < len(order) else NONE for i in index], np.int8).reshape(base.shape)
        canvas.take(listed, palette)
        number = int((~things.ground).sum())
        canvas.know(*(number == many for many in range(8)), row * wide + column < number, row < number, column < number)
        cells = int(counts.sum())
        canvas.know(row * wide + column < cells, *(len(order) == many for many in range(5)), column < len(order))
        for colour in palette.fixed[1:]:
            many = int((~things.ground & (_colours(things, grid) == colour)).sum())
            canvas.know(column < many, row < many, row * wide + column < many, counts[colour] > row * wide + column)
        for choose in SELECTORS.values():
            box = choose(grid, palette)
            crop = grid[box] if box else base
            canvas.take(crop if crop.shape == base.shape else np.full(base.shape, NONE, np.int8), palette)
        return canvas

    return look


def _colours(things: Things, grid: Grid) -> NDArray[np.int8]:
    colours = np.zeros(len(things.size), np.int8)
    colours[things.label.ravel()] = grid.ravel()
    return colours


Box = tuple[slice, slice]
Choose = Callable[[Grid, Palette], Box | None]


def _crop(choose: Choose) -> Look:
    """A part of the grid, which knows of itself and of where the whole grid has its like."""

    def look(grid: Grid, palette: Palette) -> Canvas | None:
        box = choose(grid, palette)
        if box is None:
            return None
        part = grid[box]
        canvas = describe(part, palette)
        whole = describe(grid, palette)
        canvas.sources += [source[box] for source in whole.sources[1:]]
        canvas.features += [feature[box] for feature in whole.features[1 + len(palette.fixed) :]]
        return canvas

    return look


def _box(things: Things, thing: int) -> Box:
    return np.s_[things.top[thing] : things.bottom[thing] + 1, things.left[thing] : things.right[thing] + 1]


def _drawn_box(grid: Grid, palette: Palette) -> Box | None:
    return _around(grid != palette.background)


def _around(cells: NDArray[np.bool_]) -> Box | None:
    rows, columns = np.flatnonzero(cells.any(1)), np.flatnonzero(cells.any(0))
    return np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if rows.size else None


def _best(score: Callable[[Things, Grid, int], float], *, mixed: bool) -> Choose:
    """The box of the only thing that has the highest score."""

    def choose(grid: Grid, palette: Palette) -> Box | None:
        things = find_things(grid, palette.background, diagonal=True, mixed=mixed)
        drawn = np.flatnonzero(~things.ground)
        if not 1 < len(drawn) < 60:
            return None
        scores = np.array([score(things, grid, int(thing)) for thing in drawn])
        best = np.flatnonzero(scores == scores.max())
        return _box(things, int(drawn[best[0]])) if len(best) == 1 else None

    return choose


def _kinds(things: Things, grid: Grid, thing: int) -> int:
    return len(np.unique(grid[things.label == thing]))


def _is_mirrored(things: Things, grid: Grid, thing: int) -> bool:
    part = grid[_box(things, thing)]
    return np.array_equal(part, part[:, ::-1]) or np.array_equal(part, part[::-1])


def _rarity(things: Things, grid: Grid, thing: int) -> float:
    colours = _colours(things, grid)
    return -float((colours[~things.ground] == colours[thing]).sum())


def _unlike(things: Things, grid: Grid, thing: int) -> float:
    return -float(things.alike[thing])


def _holed(things: Things, grid: Grid, thing: int) -> float:
    part = things.label[_box(things, thing)] != thing
    return float(part.sum()) / part.size


def _colour_box(place: int) -> Choose:
    """The box of all cells of one colour: the commonest but the background (0), the rarest (-1), …"""

    def choose(grid: Grid, palette: Palette) -> Box | None:
        counts = np.bincount(grid.ravel(), minlength=COLOURS)
        counts[palette.background] = 0
        order = [colour for colour in np.argsort(-counts, kind="stable") if counts[colour]]
        return _around(grid == order[place]) if len(order) > max(place, 0) else None

    return choose


def _named_box(place: int) -> Choose:
    def choose(grid: Grid, palette: Palette) -> Box | None:
        return _around(grid == palette.fixed[place]) if place < len(palette.fixed) else None

    return choose


def _largest(things: Things, grid: Grid, thing: int) -> float:
    return float(things.size[thing])


def _smallest(things: Things, grid: Grid, thing: int) -> float:
    return -float(things.size[thing])


def _area(things: Things, grid: Grid, thing: int) -> float:
    return float((things.bottom[thing] - things.top[thing] + 1) * (things.right[thing] - things.left[thing] + 1))


def _within(choose: Choose) -> Choose:
    """What lies inside the frame of a box."""

    def inner(grid: Grid, palette: Palette) -> Box | None:
        box = choose(grid, palette)
        if box is None or min(grid[box].shape) < 3:
            return None
        return np.s_[box[0].start + 1 : box[0].stop - 1, box[1].start + 1 : box[1].stop - 1]

    return inner


SELECTORS: dict[str, Choose] = {
    "all that is drawn": _drawn_box,
    "the largest thing": _best(_largest, mixed=True),
    "the largest of one colour": _best(_largest, mixed=False),
    "the smallest thing": _best(_smallest, mixed=True),
    "the smallest of one colour": _best(_smallest, mixed=False),
    "the widest box": _best(_area, mixed=False),
    "the most colours": _best(lambda *of: float(_kinds(*of)), mixed=True),
    "the only colour": _best(_rarity, mixed=False),
    "the only shape": _best(_unlike, mixed=False),
    "the only shape of several colours": _best(_unlike, mixed=True),
    "the commonest shape": _best(lambda things, grid, thing: float(things.alike[thing]), mixed=True),
    "the mirrored one": _best(lambda *of: float(_is_mirrored(*of)), mixed=True),
    "the one that is not mirrored": _best(lambda *of: -float(_is_mirrored(*of)), mixed=True),
    "the one with holes": _best(_holed, mixed=False),
    **{f"the colour of rank {place}": _colour_box(place) for place in (0, 1, -1)},
    **{f"fixed colour {place}": _named_box(place) for place in (1, 2, 3)},
}
SELECTORS |= {
    f"within {name}": _within(SELECTORS[name])
    for name in (
        "the largest of one colour",
        "the widest box",
        "the colour of rank -1",
        "fixed colour 1",
        "fixed colour 2",
    )
}
