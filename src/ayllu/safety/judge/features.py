"""Text as hashed n-grams, counted sentence by sentence so that an answer can be judged while it is written.

Three blocks, each of length one: words with their pairs (no pair crosses a sentence's end), the pieces of four
characters of words, and what stands in the opening. All share one table of 2^17 places; no text stays in it.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections import Counter
from collections.abc import Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

PLACES = 1 << 17
"""Places of the table."""
OPENING = 25
"""Words of the opening, whose n-grams go up to three words."""
FEWEST = 3
"""Texts that must have an n-gram for it to count."""
PIECES = (4,)
LONGEST_WORD = 40
"""Characters of a word that are looked at."""
BLOCKS = ("words", "pieces", "opening")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*|[^\w\s]")
_END = re.compile(r"(?<=[.!?…。])\s+|\n+")

Vector = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Places, each once, and their values."""
Places = tuple[list[int], list[int], list[int]]
"""Of a sentence's n-grams, by block, as often as they stand there."""


def sentences(text: str) -> list[str]:
    """The sentences of a text; a line's end is an end too."""
    return [part for part in _END.split(text) if part and not part.isspace()]


def words_of(sentence: str) -> list[str]:
    """Lower-case words and punctuation, one by one."""
    return [word.replace("’", "'") for word in _WORD.findall(sentence.lower())]


class NGrams:
    """The places of a text's n-grams, sentence by sentence: words and pairs, pieces, opening."""

    def __init__(self) -> None:
        self._opening: list[str] = []

    def places(self, sentence: str) -> Places:
        """Of one more sentence, as often as they stand there."""
        words = words_of(sentence)
        whole: list[int] = []
        pieces: list[int] = []
        for word in words:
            place, parts = _pieces(word[:LONGEST_WORD])
            whole.append(place)
            pieces += parts
        whole += [_pair(*pair) for pair in itertools.pairwise(words)]
        return whole, pieces, self._opening_places(words) if len(self._opening) < OPENING else []

    def _opening_places(self, words: list[str]) -> list[int]:
        before = len(self._opening)
        self._opening += words[: OPENING - before]
        return [
            _place("o", " ".join(self._opening[end - size : end]))
            for size in (1, 2, 3)
            for end in range(max(before + 1, size), len(self._opening) + 1)
        ]


class Counts:
    """The n-grams of the sentences so far."""

    def __init__(self) -> None:
        self.blocks: tuple[Counter[int], Counter[int], Counter[int]] = (Counter(), Counter(), Counter())
        self._ngrams = NGrams()

    def add(self, sentence: str) -> None:
        """Count one more sentence."""
        for block, places in zip(self.blocks, self._ngrams.places(sentence), strict=True):
            block.update(places)

    def vector(self, rarity: NDArray[np.floating]) -> Vector:
        """Places and values: 1 + ln(count), times `rarity` (PLACES), each block of length one."""
        places, values = [], []
        for block in self.blocks:
            if block:
                place = np.fromiter(block.keys(), dtype=np.int64, count=len(block))
                value = 1 + np.log(np.fromiter(block.values(), dtype=np.float64, count=len(block)))
                value *= rarity[place]
                length = float(np.sqrt(value @ value))
                places.append(place)
                values.append(value / length if length else value)
        if not places:
            return np.zeros(0, dtype=np.int64), np.zeros(0)
        return np.concatenate(places), np.concatenate(values)


def _damped(count: int) -> tuple[float, float]:
    """1 + ln(count), and that of the next; 0 for none."""
    return 1 + math.log(count) if count else 0.0, 1 + math.log(count + 1)


_DAMPED = [_damped(count) for count in range(64)]


class Running:
    """The score of one head for the sentences so far, at the cost of the newest: sums are kept, not vectors."""

    def __init__(self, weights: Sequence[float], squares: Sequence[float], intercept: float) -> None:
        """`weights` and `squares` (PLACES): rarity times weight, and rarity squared."""
        self._weights, self._squares, self._intercept = weights, squares, intercept
        self._ngrams = NGrams()
        self._counts: tuple[dict[int, int], ...] = ({}, {}, {})
        self._sums = [[0.0, 0.0] for _ in BLOCKS]
        """Of each block: the product with the weights, and the squared length."""

    def add(self, sentence: str) -> Places:
        """Count one more sentence; gives its places."""
        found = self._ngrams.places(sentence)
        self.add_places(found)
        return found

    def add_places(self, found: Places) -> None:
        """Count a sentence whose places are known."""
        weights, squares = self._weights, self._squares
        for counts, sums, places in zip(self._counts, self._sums, found, strict=True):
            product, square = sums
            for place in places:
                rare = squares[place]
                if not rare:
                    continue
                count = counts.get(place, 0)
                counts[place] = count + 1
                old, new = _DAMPED[count] if count < len(_DAMPED) else _damped(count)
                product += (new - old) * weights[place]
                square += (new * new - old * old) * rare
            sums[:] = product, square

    @property
    def log_odds(self) -> float:
        """The score of all that was added."""
        return self._intercept + sum(product / math.sqrt(square) for product, square in self._sums if square > 0)


def counts_of(text: str) -> Counts:
    """The n-grams of a text."""
    counts = Counts()
    for sentence in sentences(text):
        counts.add(sentence)
    return counts


def rarity_of(many: Sequence[Counts]) -> NDArray[np.float64]:
    """ln((1 + n) / (1 + texts that have it)) + 1 for each place; 0 for what fewer than FEWEST texts have."""
    seen = np.zeros(PLACES, dtype=np.int64)
    for counts in many:
        for block in counts.blocks:
            seen[np.fromiter(block.keys(), dtype=np.int64, count=len(block))] += 1
    return np.where(seen >= FEWEST, np.log((1 + len(many)) / (1 + seen)) + 1, 0.0)


def dense(vectors: Sequence[Vector], places: NDArray[np.int64]) -> NDArray[np.float32]:
    """Vectors as rows (texts, places) of the `places` that matter."""
    column = np.full(PLACES, -1, dtype=np.int64)
    column[places] = np.arange(len(places))
    found = np.zeros((len(vectors), len(places)), dtype=np.float32)
    for row, (place, value) in zip(found, vectors, strict=True):
        inside = column[place] >= 0
        np.add.at(row, column[place][inside], value[inside].astype(np.float32))
    return found


@functools.lru_cache(maxsize=1 << 16)
def _pieces(word: str) -> tuple[int, tuple[int, ...]]:
    framed = f" {word} "
    return _place("w", word), tuple(
        _place("c", framed[i : i + size]) for size in PIECES for i in range(len(framed) - size + 1)
    )


@functools.lru_cache(maxsize=1 << 16)
def _pair(one: str, other: str) -> int:
    return _place("p", f"{one} {other}")


def _place(block: str, text: str) -> int:
    return crc32(f"{block}\x00{text}".encode()) & (PLACES - 1)
