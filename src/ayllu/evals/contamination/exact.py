"""Whether the questions stand in the training text: exact overlap of word n-grams.

An item overlaps when 13 words in a row of its question and right answer stand in one training document, letter case and
punctuation aside. Thirteen is GPT-3's choice (Brown et al. 2020, arXiv:2005.14165, appendix C). Shorter items cannot be
checked this way and are counted as unchecked.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ayllu.evals.item import Item

WORDS = 13
WORD = re.compile(r"[^\W_]+")
MULTIPLIER = 0x9E3779B97F4A7C15
"""Base of the polynomial hash: 2^64 over the golden ratio, odd, so that no bits are lost (Knuth, section 6.4)."""


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Which items share n-grams with the training documents."""

    words: int = WORDS
    checked: frozenset[str] = frozenset()
    """Ids of the items that are long enough."""
    found: Mapping[str, str] = field(default_factory=dict)
    """Id of each overlapping item, with the first words that were found."""

    def of(self, item: str) -> bool | None:
        """Whether the item with this id overlaps; None where it was not checked."""
        return item in self.found if item in self.checked else None


def find_overlap(items: Sequence[Item], texts: Iterable[str], *, words: int = WORDS) -> Overlap:
    """Stream the training documents past the items' n-grams.

    Hashes choose the candidates and a comparison of the words decides, so that a collision cannot count. Memory holds
    the n-grams of the items only. Raises ValueError for n-grams of no words.
    """
    if words < 1:
        raise ValueError(f"n-grams of {words} words: give at least 1")
    index = NGrams(items, words)
    found: dict[str, str] = {}
    for text in texts:
        for item, gram in index.hits(text):
            found.setdefault(item.id, gram)
    checked = frozenset(
        item.id for item, sequence in zip(items, index.sequences, strict=True) if len(sequence) >= words
    )
    return Overlap(words=words, checked=checked, found=found)


def folded_words(text: str) -> list[str]:
    """The words that are compared: runs of letters and digits, case folded, without accents, ligatures and what cannot
    be seen (soft hyphens, zero-width spaces), however the text encodes them."""
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text).translate(_unseen())
    return WORD.findall(text.casefold())


@lru_cache(maxsize=1)
def _unseen() -> dict[int, None]:
    """Marks on letters, and format characters."""
    codes = range(0x80, sys.maxunicode + 1)
    return dict.fromkeys(code for code in codes if unicodedata.category(chr(code)) in ("Mn", "Me", "Cf"))


class NGrams:
    """The n-grams of the items, sorted by hash, each with its item and its place there."""

    def __init__(self, items: Sequence[Item], words: int) -> None:
        self.items, self.words = items, words
        self.sequences = [folded_words(item.plain) for item in items]
        self.numbers: dict[str, int] = {}
        for sequence in self.sequences:
            for word in sequence:
                self.numbers.setdefault(word, len(self.numbers) + 1)
        hashed = [self._hashes(sequence) for sequence in self.sequences]
        hashes = np.concatenate([*hashed, np.zeros(0, np.uint64)])
        owners = np.repeat(np.arange(len(items)), [len(found) for found in hashed])
        places = np.concatenate([*(np.arange(len(found)) for found in hashed), np.zeros(0, np.int64)])
        order = np.argsort(hashes, kind="stable")
        self.hashes, self.owners, self.places = hashes[order], owners[order], places[order]

    def hits(self, text: str) -> Iterator[tuple[Item, str]]:
        """Each item that shares an n-gram with `text`, with the n-gram."""
        sequence = folded_words(text)
        for place, owner, _ in self.places_in(sequence):
            yield self.items[owner], " ".join(sequence[place : place + self.words])

    def places_in(self, sequence: Sequence[str]) -> Iterator[tuple[int, int, int]]:
        """Each n-gram of `sequence` that an item has: its place, the item's number, and its place in the item."""
        hashes = self._hashes(sequence)
        starts = np.searchsorted(self.hashes, hashes, side="left")
        ends = np.searchsorted(self.hashes, hashes, side="right")
        for place in map(int, np.flatnonzero(starts < ends)):
            gram = sequence[place : place + self.words]
            for entry in range(starts[place], ends[place]):
                owner, start = int(self.owners[entry]), int(self.places[entry])
                if self.sequences[owner][start : start + self.words] == gram:
                    yield place, owner, start

    def _hashes(self, sequence: Sequence[str]) -> NDArray[np.uint64]:
        """The polynomial hash, modulo 2^64, of each n-gram; words that no item has all count as 0."""
        numbers = np.fromiter((self.numbers.get(word, 0) for word in sequence), np.uint64, len(sequence))
        count = max(0, len(sequence) - self.words + 1)
        total = np.zeros(count, np.uint64)
        for offset in range(self.words):
            total = total * np.uint64(MULTIPLIER) + numbers[offset : offset + count]
        return total
