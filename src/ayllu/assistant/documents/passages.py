"""Pages cut into passages of about one length, at the ends of paragraphs, lines and sentences where that can be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

LENGTH = 900
"""Characters of a passage, at most: about 200 tokens of English, for the encoder reads 256."""
OVERLAP = 150
"""Characters that a passage may have in common with the one before it, in whole sentences or lines."""
_PARAGRAPH = re.compile(r"\n[ \t]*\n\s*")
_LINE = re.compile(r"\n+")
_SENTENCE = re.compile(r"(?<=[.!?。！？])[\"'”’)\]]*\s+")
_WORD = re.compile(r"\s+")


def spans(text: str, *, length: int = LENGTH, overlap: int = OVERLAP) -> list[tuple[int, int]]:
    """Where passages of `text` begin and end, in characters: every word is in one, and none is longer than `length`."""
    pieces = [piece for piece in _pieces(text, 0, len(text), length, 0) if text[piece[0] : piece[1]].strip()]
    found: list[tuple[int, int]] = []
    first = 0
    while first < len(pieces):
        last = first
        while last + 1 < len(pieces) and pieces[last + 1][1] - pieces[first][0] <= length:
            last += 1
        found.append(_stripped(text, pieces[first][0], pieces[last][1]))
        if last + 1 >= len(pieces):
            break
        # The next one begins with the last pieces of this one, as far as they are short and something new fits in.
        begin = last + 1
        while (
            begin - 1 > first
            and pieces[last][1] - pieces[begin - 1][0] <= overlap
            and pieces[last + 1][1] - pieces[begin - 1][0] <= length
        ):
            begin -= 1
        first = begin
    return found


def _pieces(text: str, start: int, end: int, length: int, level: int) -> Iterator[tuple[int, int]]:
    """Parts of a text that are not to be cut if that can be helped: paragraphs, then lines, sentences and words."""
    kinds = (_PARAGRAPH, _LINE, _SENTENCE, _WORD)
    if level == len(kinds):
        for at in range(start, end, length):
            yield at, min(at + length, end)
        return
    cuts = [match.end() for match in kinds[level].finditer(text, start, end)]
    for begin, stop in pairwise([start, *(cut for cut in cuts if start < cut < end), end]):
        if stop - begin > length // (3 if level < 2 else 1):
            yield from _pieces(text, begin, stop, length, level + 1)
        else:
            yield begin, stop


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    part = text[start:end]
    return start + len(part) - len(part.lstrip()), end - (len(part) - len(part.rstrip()))
