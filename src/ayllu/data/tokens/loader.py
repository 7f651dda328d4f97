"""Batches as a pure function of seed and step: nothing to save, nothing to lose when the number of processes changes.

Shapes: B batch, T time.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ayllu.data.tokens.pack import Tokens

PATTERN = 1024
"""Samples after which the mix of sources repeats: weights are met to 1/1024."""
IGNORED = -100
"""Target of an id that is not to be predicted."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step sees."""

    ids_BT: Tensor
    targets_BT: Tensor
    """The next id, or IGNORED."""
    documents_BT: Tensor | None
    """Equal within a document, different between neighbours; None for rows that are one document each."""
    positions_T: Tensor | None = None
    """Where the ids stand in their rows, for a device that has part of each; None for whole rows."""
    mask: Tensor | None = None
    """What each id may see of the whole row (`ayllu.model.attention.attention_mask`), likewise."""

    @property
    def ids(self) -> int:
        """Ids that go in, padding with them."""
        return self.ids_BT.numel()

    @property
    def count(self) -> Tensor:
        """How many ids are to be predicted."""
        return (self.targets_BT != IGNORED).sum()


class Loader:
    """Samples of a mix of sources in an order drawn from a seed.

    Sample i comes from the source that a fixed pattern of 1,024 names, and is that source's next row in an order that
    is drawn anew for each pass over it. So each row is used once per pass, and sample i is known without those before.
    """

    def __init__(self, tokens: Tokens, *, seed: int, weights: Mapping[str, float] | None = None) -> None:
        """`weights` are shares of the samples by source; without them a source has its share of the rows."""
        self._tokens, self._seed = tokens, seed
        rows = {name: facts.rows for name, facts in tokens.header.sources.items()}
        weights = dict(weights) if weights is not None else {name: float(n) for name, n in rows.items()}
        unknown = sorted(set(weights) - set(rows))
        if unknown:
            raise ValueError(f"the mix names {', '.join(unknown)}, which the tokens do not have")
        empty = [name for name, weight in weights.items() if weight > 0 and not rows[name]]
        if empty:
            raise ValueError(f"the mix wants {', '.join(empty)}, which has no rows")
        self._names = sorted(name for name, weight in weights.items() if weight > 0)
        if not self._names:
            raise ValueError("the mix has no source with a weight above 0")
        counts = _apportion(np.array([weights[name] for name in self._names]), PATTERN)
        pattern = np.repeat(np.arange(len(self._names)), counts)
        self._pattern = np.random.default_rng(_number(seed, "pattern")).permutation(pattern)
        self._counts = counts
        before = np.zeros((PATTERN, len(self._names)), dtype=np.int64)
        before[np.arange(PATTERN), self._pattern] = 1
        self._before = np.cumsum(before, axis=0) - before

    @property
    def length(self) -> int:
        """T: ids per row."""
        return self._tokens.header.length

    @functools.cached_property
    def fingerprint(self) -> str:
        """Differs where any sample does."""
        mix = {"seed": self._seed, "names": self._names, "counts": self._counts.tolist()}
        return hashlib.sha256((self._tokens.fingerprint() + json.dumps(mix)).encode()).hexdigest()

    def locate(self, sample: NDArray[np.int64]) -> list[tuple[str, int]]:
        """Source and row of each sample."""
        turn, place = np.divmod(sample, PATTERN)
        which = self._pattern[place]
        nth = turn * self._counts[which] + self._before[place, which]
        found = []
        for source, n in zip(which, nth, strict=True):
            name = self._names[source]
            rows = self._tokens.header.sources[name].rows
            epoch, at = divmod(int(n), rows)
            found.append((name, permute(at, rows, _number(self._seed, f"{name}/{epoch}"))))
        return found

    def batch(self, first: int, size: int) -> Batch:
        """Samples `first` to `first + size - 1`."""
        places = self.locate(np.arange(first, first + size, dtype=np.int64))
        length = self._tokens.header.length
        rows = np.empty((size, length + 1), dtype=np.int64)
        predicted = np.empty((size, length + 1), dtype=bool)
        for name in {name for name, _ in places}:
            mine = [i for i, (source, _) in enumerate(places) if source == name]
            numbers = np.array([places[i][1] for i in mine], dtype=np.int64)
            rows[mine] = self._tokens.rows(name, numbers)
            predicted[mine] = self._tokens.predicted(name, numbers)
        ids = rows[:, :-1]
        targets = np.where(predicted[:, 1:], rows[:, 1:], IGNORED)
        documents = np.cumsum(ids == self._tokens.header.bos, axis=1)
        return Batch(torch.from_numpy(ids.copy()), torch.from_numpy(targets), torch.from_numpy(documents))


def permute(index: int, size: int, key: int) -> int:
    """Place of `index` in a pseudo-random order of `size` things, computed without the order.

    Four Feistel rounds over the next even number of bits, walked until the result is below `size`
    (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002).
    """
    half = max((max(size - 1, 1).bit_length() + 1) // 2, 1)
    mask = (1 << half) - 1
    while True:
        left, right = index >> half, index & mask
        for r in range(4):
            left, right = right, left ^ (_mix(right ^ key ^ (r * 0x9E3779B97F4A7C15)) & mask)
        index = left << half | right
        if index < size:
            return index


def _mix(x: int) -> int:
    """The finaliser of SplitMix64 (Steele, Lea, Flood, 2014)."""
    word = 0xFFFFFFFFFFFFFFFF
    x &= word
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & word
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & word
    return x ^ x >> 31


def _number(seed: int, purpose: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:8], "little")


def _apportion(weights: NDArray[np.float64], places: int) -> NDArray[np.int64]:
    """Share out `places` by `weights`: largest remainders, at least one for each."""
    exact = weights / weights.sum() * places
    counts = np.maximum(np.floor(exact).astype(np.int64), 1)
    order = np.argsort(-(exact - np.floor(exact)), kind="stable")
    for i in range(places - int(counts.sum())):
        counts[order[i % len(order)]] += 1
    while counts.sum() > places:
        counts[counts.argmax()] -= 1
    return counts
