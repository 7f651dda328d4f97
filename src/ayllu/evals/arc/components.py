"""Things on a grid: cells that touch and belong together, and what can be said of each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ayllu.evals.arc.tasks import Grid

Labels = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Things:
    """The things of one grid. Every array but `label` has one entry a thing."""

    label: Labels
    """Which thing each cell belongs to, (H, W)."""
    size: NDArray[np.int64]
    """Cells."""
    top: NDArray[np.int64]
    bottom: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    ground: NDArray[np.bool_]
    """Whether it is made of background."""
    alike: NDArray[np.int64]
    """How many things of the grid have its shape, itself included; 0 for the background."""

    @property
    def edge(self) -> NDArray[np.bool_]:
        """Whether it touches an edge of the grid."""
        height, width = self.label.shape
        return (self.top == 0) | (self.left == 0) | (self.bottom == height - 1) | (self.right == width - 1)


def label_cells(grid: Grid, belongs: NDArray[np.int64], *, diagonal: bool) -> Labels:
    """Number the groups of touching cells whose `belongs` is equal, (H, W), from 0 in reading order."""
    height, width = grid.shape
    label = np.arange(height * width).reshape(height, width)
    steps = [(0, 1), (1, 0), *([(1, 1), (1, -1)] if diagonal else [])]
    joined = []
    for down, right in steps:
        here = (slice(0, height - down), slice(max(0, -right), width - max(0, right)))
        there = (slice(down, height), slice(max(0, right), width + min(0, right)))
        joined.append((here, there, belongs[here] == belongs[there]))
    while True:  # the smallest number of a group spreads over it
        before = label.copy()
        for here, there, same in joined:
            least = np.minimum(label[here], label[there])
            for cells in (here, there):
                np.minimum(label[cells], least, out=label[cells], where=same)
        label = label.reshape(-1)[label]  # and each takes the number that its own number has taken
        if np.array_equal(before, label):
            return np.unique(label, return_inverse=True)[1].reshape(height, width)


def find_things(grid: Grid, background: int, *, diagonal: bool, mixed: bool = False) -> Things:
    """Things of one colour, or, `mixed`, of any but the background."""
    belongs = np.where(grid == background, 0, 1).astype(np.int64) if mixed else grid.astype(np.int64)
    label = label_cells(grid, belongs, diagonal=diagonal)
    count = int(label.max()) + 1
    flat = label.ravel()
    rows, columns = (index.ravel() for index in np.indices(grid.shape))
    top, left = np.full(count, 99), np.full(count, 99)
    bottom, right = np.zeros(count, int), np.zeros(count, int)
    np.minimum.at(top, flat, rows)
    np.minimum.at(left, flat, columns)
    np.maximum.at(bottom, flat, rows)
    np.maximum.at(right, flat, columns)
    ground = np.zeros(count, bool)
    ground[flat] = grid.ravel() == background
    shapes = [
        (label[top[thing] : bottom[thing] + 1, left[thing] : right[thing] + 1] == thing).tobytes()
        + bytes([bottom[thing] - top[thing]])
        for thing in range(count)
    ]
    common = Counter(shape for shape, is_ground in zip(shapes, ground, strict=True) if not is_ground)
    alike = np.array([0 if ground[thing] else common[shapes[thing]] for thing in range(count)])
    return Things(
        label=label,
        size=np.bincount(flat, minlength=count),
        top=top,
        bottom=bottom,
        left=left,
        right=right,
        ground=ground,
        alike=alike,
    )
