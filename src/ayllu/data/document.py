"""A document, and the source that it comes from."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ayllu.data.archive import Archive

PART_CHARACTERS = 3000
"""Characters after which a long text is cut, at the next end of a paragraph or sentence."""

_PARAGRAPH = re.compile(r"\n\s*\n")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=[.!?][\"”’'])\s+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A piece of text with its provenance."""

    text: str
    source: str
    """Name of the source."""
    id: str
    """Stable within the source."""
    group: str = ""
    """Documents of one group (one article, one book chapter) fall on the same side of the held-out split.

    Empty: the document stands alone.
    """


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where raw documents come from."""

    name: str
    title: str
    licence: str
    """SPDX identifier or a few words, with where it was read."""
    description: str
    archives: tuple[Archive, ...] = ()
    """What is fetched to read it."""
    required: bool = False
    """Whether a corpus that names it must have it; another is left out, with a line, when it cannot be fetched."""
    read: Callable[[Path], Iterator[Document]]
    """Stream the documents, given the cache folder."""
    notes: list[str] = field(default_factory=list)
    """What the reading met and the report should say, such as a file that is not UTF-8. Filled by `read`."""


def split_text(text: str, size: int = PART_CHARACTERS) -> list[str]:
    """A text in pieces of about `size` characters, cut between paragraphs, or between sentences of a long paragraph.

    A last piece shorter than a quarter of `size` stays with the one before it.
    """
    parts: list[str] = []
    for paragraph in _PARAGRAPH.split(text.strip()):
        sentences = _SENTENCE.split(paragraph) if len(paragraph) > size else [paragraph]
        parts += [sentence.strip() + " " for sentence in sentences[:-1]]
        parts.append(sentences[-1].strip() + "\n\n")
    pieces = [""]
    for part in parts:
        if len(pieces[-1]) >= size:
            pieces.append("")
        pieces[-1] += part
    if len(pieces) > 1 and len(pieces[-1]) < size // 4:
        pieces[-2:] = [pieces[-2] + pieces[-1]]
    return [piece.strip() for piece in pieces if piece.strip()]
