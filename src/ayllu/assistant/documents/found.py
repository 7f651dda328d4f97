"""What a search gives, and what supports an answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

NOTHING = "not in your documents"
"""What is said where nothing supports an answer."""
NEAR = 0.33
"""Cosine of all-MiniLM-L6-v2 from which a passage is taken to be about a question.

Measured by `bench/retrieval/retrieval.py` on 151 questions with an answer and 40 without: 0.331 turns away 5 % of
those and 87.5 % of these. No cosine tells the two apart without error."""
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A passage that was found, and how to cite it."""

    citation: str
    path: str
    page: str
    """What the page is called: a number, a slide, a sheet; empty in a file without pages."""
    text: str
    score: float
    """0 to 1; 1 is first by words and by meaning."""
    cosine: float | None
    """None where it was found by words alone."""

    @property
    def source(self) -> str:
        """The file and the page, as a person reads them."""
        name = PurePath(self.path).name
        return f"{name}, {f'page {self.page}' if self.page.isdigit() else self.page}" if self.page else name

    def told(self) -> dict[str, Any]:
        """As JSON says it."""
        return {
            "citation": self.citation,
            "path": self.path,
            "page": self.page or None,
            "source": self.source,
            "text": self.text,
            "score": round(self.score, 4),
            "cosine": None if self.cosine is None else round(self.cosine, 4),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """The passages that were found, the best first."""

    query: str
    passages: tuple[Found, ...]
    supported: bool
    """Whether one of them is near enough to support an answer; where not, an answer is `NOTHING`."""

    def told(self) -> dict[str, Any]:
        """As JSON says it."""
        return {
            "query": self.query,
            "supported": self.supported,
            "said": None if self.supported else NOTHING,
            "passages": [one.told() for one in self.passages],
        }


def supports(query: str, passages: Sequence[Found]) -> bool:
    """Whether a passage is near enough in meaning; where there are no vectors, whether one has most of the words."""
    cosines = [one.cosine for one in passages if one.cosine is not None]
    if cosines:
        return max(cosines) >= NEAR
    words = {word.lower() for word in _WORD.findall(query) if len(word) > 3}
    return any(
        2 * len(words & {word.lower() for word in _WORD.findall(one.text)}) >= len(words) > 0 for one in passages
    )
