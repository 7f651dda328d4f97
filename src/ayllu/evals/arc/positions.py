"""The eight positions of a grid: four quarter turns, each as it is and mirrored."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

POSITIONS = 8


def move(grid: NDArray[Any], position: int) -> NDArray[Any]:
    """The grid turned by `position` % 4 quarters, and then mirrored about its diagonal from 4 on."""
    turned = np.rot90(grid, position % 4)
    return np.ascontiguousarray(turned.T if position >= 4 else turned)


def move_back(grid: NDArray[Any], position: int) -> NDArray[Any]:
    """Undo `move`."""
    return np.ascontiguousarray(np.rot90(grid.T if position >= 4 else grid, -(position % 4)))
