"""Held-out bits per byte: how many bits a model needs for a byte of text that it has not seen.

    bits per byte = -sum of log2 P(token | those before it) / bytes of the text in UTF-8

It does not depend on the tokenizer's size, so that models with different vocabularies compare.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ayllu.evals.likelihood.multiple_choice import Encoder
from ayllu.evals.score import DocumentBits, Scores, bits_per_byte_interval
from ayllu.evals.statistics import ConfidenceInterval
from ayllu.lab import progress
from ayllu.lab.error import UserError

if TYPE_CHECKING:
    import torch

    from ayllu.model.transformer import Transformer

BUFFER = 512
"""Documents that are tokenized and sorted by length together."""


def bits_per_byte(
    model: Transformer,
    tokenizer: Encoder,
    texts: Iterable[tuple[str, str]],
    *,
    context: int | None = None,
    stride: int | None = None,
    dtype: torch.dtype | None = None,
) -> dict[str, ConfidenceInterval]:
    """Bits per byte of each source among the (source, text) pairs, with the delta method's interval over its documents.

    See `document_bits` for the arguments and for what is counted.
    """
    documents = tuple(document_bits(model, tokenizer, texts, context=context, stride=stride, dtype=dtype))
    by_source = Scores(documents=documents).by_source()
    return {source: bits_per_byte_interval(own) for source, own in by_source.items()}


def document_bits(
    model: Transformer,
    tokenizer: Encoder,
    texts: Iterable[tuple[str, str]],
    *,
    context: int | None = None,
    stride: int | None = None,
    dtype: torch.dtype | None = None,
    total: int | None = None,
) -> Iterator[DocumentBits]:
    """The bits of each document, in order; empty ones are left out.

    BOS is given, not counted; the document's end is not predicted; every other token counts exactly once. `context`
    (None: the model's) is the most tokens the model sees at once. Longer documents are read in windows that move by
    `stride` (None: half of `context`), so that each token has at least `context` + 1 - `stride` before it where there
    are as many. `total` documents are announced to the progress bar. Raises ValueError for a context beyond the
    model's, a stride that is not between 1 and the context, and a model that gives no finite number.
    """
    context = context or model.config.context
    stride = stride or max(1, context // 2)
    if context > model.config.context:
        raise ValueError(f"the context of {context} tokens is longer than the model's {model.config.context}")
    stream = ((source, text) for source, text in texts if text)
    with progress.bar("held-out bits per byte", total=total, unit="documents") as bar:
        while batch := list(islice(stream, BUFFER)):
            ids = [[tokenizer.bos, *found] for found in tokenizer.encode_batch([text for _, text in batch])]
            nats = _nats(model, ids, context=context, stride=stride, dtype=dtype)
            for (source, text), found, value in zip(batch, ids, nats, strict=True):
                if not math.isfinite(value):
                    raise ValueError(
                        f"the model has no finite likelihood for a text of {source}: its weights are damaged"
                    )
                raw = text.encode("utf-8", "replace")
                yield DocumentBits(
                    source=source,
                    digest=hashlib.sha256(raw).hexdigest()[:16],
                    bits=value / math.log(2),
                    bytes=len(raw),
                    tokens=len(found) - 1,
                )
                bar.advance()


def _nats(
    model: Transformer, documents: Sequence[Sequence[int]], *, context: int, stride: int, dtype: torch.dtype | None
) -> list[float]:
    """-ln P of each document's ids but the first, added up over its windows."""
    import torch

    from ayllu.evals.likelihood.log_probabilities import segment_log_likelihoods, segments

    windows = [list(segments(ids, 1, context=context, stride=stride)) for ids in documents]
    owners = [number for number, own in enumerate(windows) for _ in own]
    flat = [window for own in windows for window in own]
    nats = [0.0] * len(documents)
    likelihoods = segment_log_likelihoods(model, flat, dtype=dtype or torch.float32)
    for owner, value in zip(owners, likelihoods, strict=True):
        nats[owner] -= value
    return nats


def read_texts(path: Path) -> Iterator[tuple[str, str]]:
    """(source, text) pairs of a file or a folder, read as a recipe's `folder:PATH` is, but uncut and unchanged.

    The file's name stands in for a missing source. Raises UserError, with the line, where the file cannot be read or is
    not what its name says.
    """
    from ayllu.data.sources.local import whole_texts

    found = False
    for pair in whole_texts(path, progress.say):
        found = True
        yield pair
    if not found:
        raise UserError(f"{path} holds no text to measure: give a file or a folder that does")
