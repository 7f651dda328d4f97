"""States of a model as one vector."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ayllu.model.transformer import Transformer

Vectors: TypeAlias = "NDArray[np.float32]"
PIECE = 256
"""Tokens that are read at a time."""
SAMPLE = 1 << 16
"""Bytes of each end of a file that tell it from others."""


def fingerprint(files: Sequence[Path]) -> str:
    """What tells weights from others without reading gigabytes: sizes, beginnings and ends of their files."""
    digest = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        with path.open("rb") as file:
            digest.update(b"%d " % size + file.read(SAMPLE))
            file.seek(max(0, size - SAMPLE))
            digest.update(file.read(SAMPLE))
    return digest.hexdigest()[:32]


def unit(vectors: Vectors) -> Vectors:
    """Vectors (…, D) scaled to length 1; what has no direction stays 0."""
    import numpy as np

    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / np.maximum(lengths, np.finfo(np.float32).tiny)).astype(np.float32)


def mean_state(
    model: Transformer,
    ids: Sequence[int],
    *,
    bos: int,
    piece: int = PIECE,
    turn: AbstractContextManager[object] | None = None,
) -> Vectors:
    """The mean (D,) of the normed states of `ids`, of length 1; each piece is read within a `turn`.

    The state of BOS is the same before every text, and far longer than others, so that it is left out where more
    follows. Raises ValueError for a state that is no number.
    """
    import torch

    from ayllu.model.transformer import Cache

    with torch.inference_mode():
        device = model.embedding.weight.device
        row = torch.tensor([list(ids)], device=device)
        cache = Cache(model.config, batch=1, capacity=len(ids), dtype=torch.float32, device=device)
        total = torch.zeros(model.config.width, device=device)
        first = 1 if len(ids) > 1 and ids[0] == bos else 0
        for start in range(0, len(ids), piece):
            with turn or nullcontext():
                states_TD = model.hidden(row[:, start : start + piece], cache=cache)[0]
            total += states_TD[first if start == 0 else 0 :].sum(0)
        if not torch.isfinite(total).all():
            raise ValueError("the model's hidden states are no numbers")
        return unit(cast("Vectors", (total / (len(ids) - first)).cpu().numpy()))
