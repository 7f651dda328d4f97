"""Texts in chunks of equally many tokens, which overlap."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

Starts = Callable[[str], Sequence[int]]
"""Where in a text each of its tokens begins, in characters and in order."""

BLOCK = 1 << 16
"""Characters that a tokenizer gets at a time."""


def token_starts(text: str, starts: Starts) -> list[int]:
    """Where each token of a long text begins, the text taken in blocks that end before a space or a new line."""
    found: list[int] = []
    at = 0
    while at < len(text):
        end = at + BLOCK
        if end < len(text):
            space = max(text.rfind(" ", at + 1, end), text.rfind("\n", at + 1, end))
            end = space if space > at else end
        found += [at + start for start in starts(text[at:end])]
        at = end
    return found


def chunk(text: str, starts: Sequence[int], *, size: int, overlap: int) -> list[str]:
    """`text` in chunks of `size` tokens, each beginning `overlap` tokens before the end of the one before it.

    Every character is in a chunk: what stands between tokens goes with the token before it. The last chunk may have
    fewer tokens. Raises ValueError where `overlap` is not smaller than `size`.
    """
    if not 0 <= overlap < size:
        raise ValueError(f"chunks of {size} tokens cannot overlap by {overlap}")
    if not text:
        return []
    chunks: list[str] = []
    first = 0
    while True:
        last = first + size
        begin = starts[first] if 0 < first < len(starts) else 0
        end = starts[last] if last < len(starts) else len(text)
        if end > begin:
            chunks.append(text[begin:end])
        if last >= len(starts):
            return chunks
        first += size - overlap


def windows(text: str, starts: Sequence[int], *, most: int) -> list[str]:
    """`text` in pieces of at most `most` tokens of about one length, without overlap."""
    count = max(1, -(-len(starts) // most))
    cuts = [starts[len(starts) * i // count] for i in range(1, count)]
    edges = sorted({0, *cuts, len(text)})
    return [text[a:b] for a, b in itertools.pairwise(edges)]
