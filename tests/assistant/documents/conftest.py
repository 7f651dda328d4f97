"""Homes with documents, and an encoder that is made of words."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from ayllu.assistant.documents.documents import DIMENSIONS, Documents
from ayllu.serve.embeddings.pooling import Vectors, unit

KINDS = {"car": "vehicle", "automobile": "vehicle", "truck": "vehicle", "cat": "pet", "kitten": "pet", "dog": "pet"}


class Words:
    """Texts as counts of their words; a few words of one meaning count as one."""

    name, aliases, created, licence, fingerprint, vocabulary = "words", (), 0, None, "words", 1 << 20
    longest = 64
    dimensions = DIMENSIONS
    seen = 0
    """Texts that were computed."""

    def encode(self, text: str) -> list[int]:
        words = [KINDS.get(word, word) for word in re.findall(r"\w+", text.lower())]
        return [0, *(1 + zlib.crc32(word.encode()) % (self.vocabulary - 1) for word in words)]

    def starts(self, text: str) -> list[int]:
        return [match.start() for match in re.finditer(r"\w+", text)]

    def embed(self, texts: Sequence[Sequence[int]]) -> Vectors:
        self.seen += len(texts)
        found = np.zeros((len(texts), DIMENSIONS), np.float32)
        for row, ids in enumerate(texts):
            for one in ids[1:]:
                found[row, one % DIMENSIONS] += 1
        return unit(found)


@pytest.fixture
def encoder() -> Words:
    return Words()


@pytest.fixture
def reopened(tmp_path: Path, encoder: Words) -> Callable[[], Documents]:
    """Opens the documents of one home, again and again."""
    return lambda: Documents(tmp_path / "home", encoder=lambda: encoder)


@pytest.fixture
def documents(reopened: Callable[[], Documents]) -> Iterator[Documents]:
    with reopened() as documents:
        yield documents


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Notes, a program and a page."""
    place = tmp_path / "mine"
    (place / "deep").mkdir(parents=True)
    (place / "garage.md").write_text(
        "# Garage\n\nThe automobile needs new tyres before winter.\n\nThe ladder is borrowed."
    )
    (place / "deep/pets.txt").write_text(
        "The kitten eats twice a day.\n" * 3 + "\nThe vet is Dr Quispe, Calle Lima 12.\n"
    )
    (place / "sum.py").write_text("def total(prices):\n    '''Add up the prices.'''\n    return sum(prices)\n")
    (place / "page.html").write_text(
        "<html><body><nav>Menu</nav><p>The bridge was opened in 1931 by the mayor of the town.</p></body></html>"
    )
    return place
