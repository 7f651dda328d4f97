"""Questions that stand in the training text nearly word for word: a few words changed, left out or put in.

Of an item's word triples, the largest share that stands together in one training document, in a stretch of at most
twice the item's words. One word in eight changed leaves two thirds of the triples and no thirteen words in a row
(`ayllu.evals.contamination.exact`). A paraphrase in other words is not found: that needs a model of meaning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ayllu.evals.contamination.exact import NGrams, folded_words
from ayllu.evals.item import Item

WORDS = 3
SHARE = 0.4
"""Least share of an item's triples that counts as a near-duplicate. `bench/measuring/planted.py` measures what it finds
of planted ones, and what of shuffled ones."""
FEWEST = 8
"""Fewest triples of an item that is checked: of short ones any text holds some."""
STRETCH = 2
"""Words of a document that are looked at together, in lengths of the item."""


@dataclass(frozen=True, kw_only=True)
class NearDuplicates:
    """The largest share of each item's triples that stands together in a training document."""

    checked: frozenset[str] = frozenset()
    """Ids of the items that are long enough."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Id to share; without those of which nothing was found."""

    @property
    def found(self) -> frozenset[str]:
        """Ids of the near-duplicates."""
        return frozenset(key for key, share in self.shares.items() if share >= SHARE)

    def of(self, item: str) -> bool | None:
        """Whether the item with this id has a near-duplicate; None where it was not checked."""
        return item in self.found if item in self.checked else None


def find_near_duplicates(items: Sequence[Item], texts: Iterable[str]) -> NearDuplicates:
    """Stream the training documents past the items' triples; memory holds those of the items only."""
    index = NGrams(items, WORDS)
    triples = [
        len({tuple(words[at : at + WORDS]) for at in range(len(words) - WORDS + 1)}) for words in index.sequences
    ]
    best: dict[int, int] = {}
    for text in texts:
        sequence = folded_words(text)
        found: dict[int, list[int]] = {}
        for place, owner, _ in index.places_in(sequence):
            places = found.setdefault(owner, [])
            # A triple that an item has twice is met twice at one place.
            if triples[owner] >= FEWEST and (not places or places[-1] != place):
                places.append(place)
        for owner, places in found.items():
            if len(places) > best.get(owner, 0):
                together = _together(sequence, places, STRETCH * len(index.sequences[owner]))
                best[owner] = max(best.get(owner, 0), together)
    return NearDuplicates(
        checked=frozenset(item.id for item, count in zip(items, triples, strict=True) if count >= FEWEST),
        shares={items[owner].id: count / triples[owner] for owner, count in best.items()},
    )


def _together(sequence: Sequence[str], places: Sequence[int], stretch: int) -> int:
    """The most different triples, of those that begin at `places`, within `stretch` words."""
    most, first = 0, 0
    seen: dict[tuple[str, ...], int] = {}
    for place in places:
        triple = tuple(sequence[place : place + WORDS])
        seen[triple] = seen.get(triple, 0) + 1
        while places[first] <= place - stretch:
            old = tuple(sequence[places[first] : places[first] + WORDS])
            seen[old] -= 1
            if not seen[old]:
                del seen[old]
            first += 1
        most = max(most, len(seen))
    return most
