"""The native engine's model without its scheduler."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ayllu.serve.engines.native.scheduler import Row
from ayllu.serve.engines.native.weights import NativeModel

Make = Callable[..., NativeModel]
"""Folder, bits, threads and compiler flags to a model."""
PAGES = 64


def read(model: NativeModel, ids: Sequence[int], *, first: int = 0, start: int = 0) -> NDArray[np.float32]:
    """Logits after each of `ids`, which stand from position `start` on in pages from `first` on."""
    pages = list(range(first, first + 8))
    rows = [Row(id=token, position=start + at, pages=pages) for at, token in enumerate(ids)]
    model.step(rows, range(len(rows)))
    return np.stack([model.logits(place).copy() for place in range(len(rows))])
