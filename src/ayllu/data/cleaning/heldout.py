"""Which documents of a source are held out: whole groups by their keys, and never more than a tenth.

Documents that belong together (the pieces of one book, texts that resemble one another) form a unit and fall on one
side, so that nothing held out is half known. A unit that is itself more than a tenth of its source is learnt from; if
no others are to be had, its last documents are held out, which share one border with the rest and no more.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

HELDOUT_MIN = 16
"""Documents held out of a source where the percentage gives fewer, though never more than a tenth of the source."""
TENTH = 0.1


def choose_heldout(keys: np.ndarray, sizes: np.ndarray, percent: float) -> tuple[np.ndarray, int]:
    """Which of a source's documents are held out, as [documents] bool, and how many of them were cut off a unit.

    `keys` is [documents] uint64, the same for all documents of a unit and otherwise spread evenly below 2^64; `sizes`
    is [documents], their bytes. Documents whose key lies in the lowest `percent` of all are held out, so that what is
    added later moves nothing, or the `HELDOUT_MIN` lowest; of documents and of bytes never more than `ceiling` of all.
    """
    count, most = len(keys), ceiling(percent)
    least = min(HELDOUT_MIN, count // 10)
    wanted = max(int(np.count_nonzero(keys < np.uint64(int(percent / 100 * 2**64)))), least)
    documents, bytes_ = int(most * count), most * float(sizes.sum())
    heldout = np.zeros(count, dtype=bool)
    held, too_large = 0, []
    order = np.argsort(keys, kind="stable")
    edges = [0, *(np.flatnonzero(np.diff(keys[order])) + 1).tolist(), count]
    for start, end in pairwise(edges):
        if held >= wanted:
            break
        unit = order[start:end]
        size = float(sizes[unit].sum())
        if held + len(unit) <= documents and size <= bytes_:
            heldout[unit] = True
            held, bytes_ = held + len(unit), bytes_ - size
        else:
            too_large.append(unit)
    missing = min(max(int(percent / 100 * count), least), documents) - held
    cut = _last_of(too_large, sizes, missing, bytes_)
    heldout[cut] = True
    return heldout, len(cut)


def ceiling(percent: float) -> float:
    """The largest share of a source that may be held out: a tenth, or what was asked for with half as much again."""
    share = percent / 100
    return TENTH if share <= TENTH else min(1.5 * share, (1 + share) / 2)


def _last_of(units: list[np.ndarray], sizes: np.ndarray, count: int, bytes_: float) -> np.ndarray:
    """Up to `count` documents, of `bytes_` at most, from the end of the first unit that has some to spare."""
    for unit in units:
        last = np.sort(unit)[1:][::-1][: max(0, count)]
        fits = last[np.cumsum(sizes[last]) <= bytes_]
        if len(fits):
            return fits
    return np.zeros(0, dtype=np.intp)
