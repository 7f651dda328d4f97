"""Whether a text holds together at all: babble is neither a refusal nor a jailbreak.

Eight figures of a text, of which a logistic regression makes one chance. Known words and pairs are those of everyday
texts, kept as bits of a hashed table, so that they take some kilobytes and give no text away.
"""

from __future__ import annotations

import itertools
import math
import random
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from ayllu.safety.judge.features import sentences, words_of

WORD_BITS, PAIR_BITS = 1 << 18, 1 << 21
FIGURES = 8
FEWEST_WORDS = 4
"""A shorter answer says too little to be called babble."""
Bits = NDArray[np.uint8]


def word_table(texts: Iterable[str]) -> tuple[Bits, Bits]:
    """The words and the pairs of words that stand in `texts`, as bits."""
    words, pairs = np.zeros(WORD_BITS, dtype=bool), np.zeros(PAIR_BITS, dtype=bool)
    for text in texts:
        for sentence in sentences(text):
            found = words_of(sentence)
            for word in found:
                words[crc32(word.encode()) % WORD_BITS] = True
            for pair in itertools.pairwise(found):
                pairs[crc32(" ".join(pair).encode()) % PAIR_BITS] = True
    return np.packbits(words), np.packbits(pairs)


class Coherence:
    """The chance that a text is babble."""

    def __init__(self, words: Bits, pairs: Bits, weights: NDArray[np.float64]) -> None:
        self._words, self._pairs = words, pairs
        self._weights = weights
        """(FIGURES + 1), the intercept last."""

    def figures(self, text: str) -> NDArray[np.float64]:
        """The eight figures, each about 0 to 1."""
        lines = [words_of(sentence) for sentence in sentences(text)]
        found = [word for line in lines for word in line]
        if not found:
            return np.zeros(FIGURES)
        letters = [word for word in found if word[0].isalpha()]
        pairs = [pair for line in lines for pair in itertools.pairwise(line)]
        threes = [t for line in lines for t in zip(line, line[1:], line[2:], strict=False)]
        raw = text.encode("utf-8", "replace")
        known = sum(self._has(self._words, WORD_BITS, word) for word in letters)
        usual = sum(self._has(self._pairs, PAIR_BITS, " ".join(pair)) for pair in pairs)
        return np.array(
            [
                1 - known / max(1, len(letters)),
                1 - usual / max(1, len(pairs)),
                1 - len(set(threes)) / max(1, len(threes)),
                min(1.5, len(zlib.compress(raw, 6)) / max(1, len(raw))),
                1 - len(set(found)) / len(found),
                1 - len(letters) / len(found),
                min(2.0, sum(map(len, letters)) / max(1, len(letters)) / 10),
                min(1.5, math.log1p(len(found)) / 6),
            ]
        )

    def babble(self, text: str) -> float:
        """The chance, 0 for a text of a few words and 1 for none at all."""
        if not text.strip():
            return 1.0
        if sum(map(len, map(words_of, sentences(text)))) < FEWEST_WORDS:
            return 0.0
        x = float(self.figures(text) @ self._weights[:-1] + self._weights[-1])
        return 1 / (1 + math.exp(-max(-60.0, min(60.0, x))))

    def _has(self, bits: Bits, size: int, text: str) -> bool:
        place = crc32(text.encode()) % size
        return bool(bits[place >> 3] >> (7 - (place & 7)) & 1)


def spoil(texts: Sequence[str], *, seed: int) -> list[tuple[str, str]]:
    """Each text spoilt in one of five ways, in turn: (way, babble). The same for the same seed."""
    draw = random.Random(seed)
    chain: dict[str, list[str]] = {}
    for text in texts:
        words = text.split()
        for one, other in itertools.pairwise(words):
            chain.setdefault(one, []).append(other)
    starts = [text.split()[0] for text in texts if text.split()]
    everything = [word for text in texts for word in text.split()]

    def looped(words: list[str]) -> list[str]:
        size = draw.randint(2, 6)
        start = draw.randrange(max(1, len(words) - size))
        return words[: start + size] + words[start : start + size] * draw.randint(4, 12)

    def letters(words: list[str]) -> list[str]:
        return ["".join(draw.sample(w, len(w))) if len(w) > 3 and draw.random() < 0.6 else w for w in words]

    def walk(words: list[str]) -> list[str]:
        found = [draw.choice(starts)]
        while len(found) < max(12, len(words)):
            found.append(draw.choice(chain.get(found[-1]) or everything))
        return found

    ways: Mapping[str, Callable[[list[str]], list[str]]] = {
        "shuffled words": lambda words: draw.sample(words, len(words)),
        "looping": looped,
        "scrambled letters": letters,
        "words at random": lambda words: [draw.choice(everything) for _ in words],
        "a chain of pairs": walk,
    }
    names = list(ways)
    long = [text for text in texts if len(text.split()) >= 8]
    return [(names[i % 5], " ".join(ways[names[i % 5]](text.split()))) for i, text in enumerate(long)]
