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
_SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=[.!?][\"”’'])\s+|(?<=[。！？])\s*")
_CODE = re.compile(r"^(?:\s*(?:```|~~~)| {4}|\t)", re.MULTILINE)
_FENCE = re.compile(r"^\s*(?:```|~~~)", re.MULTILINE)


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
    unread: dict[str, list[str]] = field(default_factory=dict)
    """Files that were not read, by their ending. Filled by `read`."""


def split_text(text: str, size: int = PART_CHARACTERS) -> list[str]:
    """A text in pieces of about `size` characters, cut between paragraphs, or between sentences of a long paragraph.

    No piece begins with an indented paragraph or inside a fenced block while the one before it has less than four times
    that length, so that code stays whole. What has neither paragraphs nor sentences is cut between words, and a word of
    that length where it stands. A last piece shorter than a quarter of `size` stays with the one before it.
    """
    pieces, fenced, longest = [""], False, max(4 * size, 1000)
    for paragraph in _PARAGRAPH.split(text.strip()):
        begins = True
        code = fenced or _CODE.search(paragraph) is not None
        for part in _parts(paragraph, size, longest, code=code):
            inside = fenced or (begins and paragraph[:1].isspace())
            if len(pieces[-1]) >= (longest if inside else size):
                pieces.append("")
            pieces[-1] += part
            begins = False
        fenced ^= len(_FENCE.findall(paragraph)) % 2 == 1
    if len(pieces) > 1 and len(pieces[-1]) < size // 4:
        pieces[-2:] = [pieces[-2] + pieces[-1]]
    return [piece.strip() for piece in pieces if piece.strip()]


def _parts(paragraph: str, size: int, longest: int, *, code: bool) -> list[str]:
    """A paragraph, or where it is long its sentences, each with the space behind it; of code its lines."""
    if len(paragraph) <= size:
        return [paragraph.rstrip() + "\n\n"]
    if code:
        lines = [part for line in paragraph.rstrip().splitlines(keepends=True) for part in _cut(line, longest)]
        return [*lines[:-1], lines[-1] + "\n\n"]
    parts, start = [], 0
    for end in _SENTENCE.finditer(paragraph):
        if end.end() > start:
            parts += _cut(paragraph[start : end.start()], longest)
            parts[-1] += " " if end.group() else ""
            start = end.end()
    last = _cut(paragraph[start:].rstrip(), longest)
    return [*parts, *last[:-1], last[-1] + "\n\n"]


def _cut(sentence: str, longest: int) -> list[str]:
    """A sentence in parts of at most `longest` characters, cut between words where it has any."""
    parts = []
    while len(sentence) > longest:
        space = max(sentence.rfind(gap, 0, longest) for gap in " \n\t")
        end = space + 1 if space > 0 else longest
        parts.append(sentence[:end])
        sentence = sentence[end:]
    return [*parts, sentence]
