"""Texts that exports are measured on, and texts that say which weights matter; the two have nothing in common."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from ayllu.text.tokenizer import Tokenizer

MEASURED, CALIBRATED = 4096, 2048
"""Tokens of our own texts, in all."""
LONGEST = 256
"""Tokens of one text."""
PASSAGES, DOCUMENTS = 64, 128
"""As many are looked at for so many tokens."""


def held_out(tokenizer: Tokenizer, path: Path | None, most: int = MEASURED) -> list[tuple[str, str]]:
    """(source, text) pairs to measure on: all of the file or folder `path`, or `most` tokens of BoolQ, validation part.

    No recipe learns from the latter. Raises UserError when they cannot be had.
    """
    from ayllu.evals.likelihood.heldout import read_texts
    from ayllu.evals.suite import load_suite

    if path is not None:
        return list(read_texts(path))
    items = load_suite("boolq", items_per_set=PASSAGES).items
    return [("boolq", text) for text in _cut(tokenizer, (item.plain for item in items), most)]


def calibration(tokenizer: Tokenizer, path: Path | None) -> list[str]:
    """Texts to see on which columns of a matrix the model leans: of `path`, or everyday English of our corpus.

    Of `path` too only the beginning is read. Raises UserError when they cannot be had.
    """
    from ayllu.data.archive import default_cache
    from ayllu.data.sources.everyday import read_everyday
    from ayllu.evals.likelihood.heldout import read_texts

    if path is not None:
        return _cut(tokenizer, (text for _, text in read_texts(path)), CALIBRATED)
    documents = islice(read_everyday(default_cache()), DOCUMENTS)
    return _cut(tokenizer, (document.text for document in documents), CALIBRATED)


def _cut(tokenizer: Tokenizer, texts: Iterator[str], most: int) -> list[str]:
    """Beginnings of texts, of `LONGEST` tokens each, until there are `most`."""
    kept, count = [], 0
    for text in texts:
        ids = tokenizer.encode(text)[: min(LONGEST, most - count)]
        # A cut within a letter leaves a replacement sign, which no text holds.
        kept.append(tokenizer.decode(ids).rstrip("\ufffd"))
        count += len(ids)
        if count >= most:
            break
    return [text for text in kept if text]
