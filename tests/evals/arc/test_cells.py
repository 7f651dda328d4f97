"""What cells know: things, canvases, images, positions."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ayllu.evals.arc.complete import NONE, fallen, mirrored, repeated
from ayllu.evals.arc.components import find_things, label_cells
from ayllu.evals.arc.describe import Palette, describe, read_palette
from ayllu.evals.arc.positions import POSITIONS, move, move_back
from ayllu.evals.arc.tasks import Grid, Pair
from ayllu.evals.arc.views import find_lines, find_views

SIZES = st.tuples(st.integers(1, 8), st.integers(1, 8))
GRIDS = st.tuples(SIZES, st.integers(0, 2**32 - 1), st.integers(2, 5)).map(
    lambda drawn: np.random.default_rng(drawn[1]).integers(0, drawn[2], drawn[0]).astype(np.int8)
)


def flooded(grid: Grid, diagonal: bool) -> np.ndarray:
    """Numbers of groups by a search from cell to cell."""
    label = np.full(grid.shape, -1)
    steps = [(0, 1), (1, 0), (0, -1), (-1, 0)] + ([(1, 1), (1, -1), (-1, 1), (-1, -1)] if diagonal else [])
    count = 0
    for start in np.ndindex(grid.shape):
        if label[start] < 0:
            label[start] = count
            queue = deque([start])
            while queue:
                row, column = queue.popleft()
                for down, right in steps:
                    near = row + down, column + right
                    inside = 0 <= near[0] < grid.shape[0] and 0 <= near[1] < grid.shape[1]
                    if inside and label[near] < 0 and grid[near] == grid[row, column]:
                        label[near] = count
                        queue.append(near)
            count += 1
    return label


@given(GRIDS, st.booleans())
@settings(max_examples=150, deadline=None)
def test_touching_cells_are_grouped_as_a_search_groups_them(grid: Grid, diagonal: bool) -> None:
    assert np.array_equal(label_cells(grid, grid.astype(np.int64), diagonal=diagonal), flooded(grid, diagonal))


def test_a_thing_knows_its_box_its_likes_and_the_edge() -> None:
    grid = np.array([[0, 0, 0, 0, 0], [0, 2, 0, 3, 0], [0, 2, 0, 3, 0], [0, 0, 0, 0, 0], [4, 4, 4, 4, 4]], np.int8)
    things = find_things(grid, 0, diagonal=True)
    two, four = things.label[1, 1], things.label[4, 0]
    assert (things.size[two], things.top[two], things.bottom[two], things.left[two]) == (2, 1, 2, 1)
    assert things.alike[two] == 2 and things.alike[four] == 1
    assert things.edge[four] and not things.edge[two]
    assert things.ground[things.label[0, 0]] and things.alike[things.label[0, 0]] == 0


@given(SIZES, st.integers(0, 2**32 - 1), st.integers(3, 9), st.integers(3, 9))
@settings(max_examples=60, deadline=None)
def test_a_colour_that_means_nothing_has_no_feature_of_its_own(
    shape: tuple[int, int], seed: int, colour: int, other: int
) -> None:
    palette = Palette(background=0, fixed=(0, 2))
    drawn = np.random.default_rng(seed).integers(0, 3, shape)
    one, two = (describe(np.array([0, 2, which], np.int8)[drawn], palette) for which in (colour, other))
    assert all(np.array_equal(a, b) for a, b in zip(one.features, two.features, strict=True))
    for a, b in zip(one.sources, two.sources, strict=True):
        assert np.array_equal(np.where(a == colour, other, a), b)


@given(GRIDS, st.integers(0, POSITIONS - 1))
def test_every_position_is_undone(grid: Grid, position: int) -> None:
    assert np.array_equal(move_back(move(grid, position), position), grid)


def test_the_eight_positions_differ() -> None:
    grid = np.arange(6, dtype=np.int8).reshape(2, 3)
    assert (
        len({move(grid, position).tobytes() + bytes(move(grid, position).shape) for position in range(POSITIONS)}) == 8
    )


@given(st.integers(0, 2**32 - 1), st.integers(2, 4), st.integers(2, 4))
@settings(deadline=None)
def test_a_pattern_is_seen_through_a_cover(seed: int, down: int, across: int) -> None:
    draw = np.random.default_rng(seed)
    tile = draw.permutation(np.arange(1, 1 + down * across) % 8 + 1).reshape(down, across).astype(np.int8)
    whole = np.tile(tile, (4, 4))
    covered = whole.copy()
    covered[1:3, 1:4] = 0
    assert np.array_equal(repeated(covered, (0,)), whole)


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_a_mirror_image_is_seen_through_a_cover(seed: int) -> None:
    half = np.random.default_rng(seed).integers(1, 9, (10, 5)).astype(np.int8)
    half[0, :3] = (1, 2, 3)
    whole = np.concatenate([half, half[:, ::-1]], 1)
    covered = whole.copy()
    covered[2:5, 1:4] = 0
    assert np.array_equal(mirrored(covered, (0,)), whole)


def test_what_does_not_repeat_has_no_pattern() -> None:
    grid = np.arange(1, 10, dtype=np.int8).reshape(3, 3)
    assert (repeated(grid, (0,)) == NONE).all() and (mirrored(grid, (0,)) == NONE).all()


def test_what_is_drawn_falls_to_each_side() -> None:
    grid = np.array([[1, 0, 2], [0, 0, 3]], np.int8)
    down, up, right, left = fallen(grid, 0)
    assert down.tolist() == [[0, 0, 2], [1, 0, 3]] and up.tolist() == [[1, 0, 2], [0, 0, 3]]
    assert right.tolist() == [[0, 1, 2], [0, 0, 3]] and left.tolist() == [[1, 2, 0], [3, 0, 0]]


def test_lines_part_a_grid_into_panels() -> None:
    grid = np.array([[1, 5, 2, 3], [5, 5, 5, 5], [0, 5, 1, 1]], np.int8)
    assert find_lines(grid) == ([(0, 1), (2, 3)], [(0, 1), (2, 4)])
    assert find_lines(np.array([[1, 2], [2, 1]], np.int8)) is None


@pytest.mark.parametrize(
    ("view", "made"),
    [
        ("same size", lambda grid: grid),
        ("2 × 2 larger", lambda grid: np.tile(grid, (2, 2))),
        ("1 × 2 panels", lambda grid: grid[:, :3]),
        ("crop: all that is drawn", lambda grid: grid[1:5, 1:4]),
    ],
)
def test_a_view_is_found_by_the_sizes_of_answers(view: str, made: object) -> None:
    assert callable(made)
    shown = []
    for seed in range(3):
        grid = np.zeros((6, 6), np.int8)
        grid[1:5, 1:4] = np.random.default_rng(seed).integers(1, 4, (4, 3))
        shown.append(Pair(given=grid, wanted=made(grid)))
    assert view in [found.name for found in find_views(shown, read_palette(shown))]
