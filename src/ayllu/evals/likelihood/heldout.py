"""Held-out bits per byte: how many bits a model needs for a byte of text that it has not seen.

    bits per byte = -sum of log2 P(token | those before it) / bytes of the text in UTF-8

It does not depend on the tokenizer's size, so that models with different vocabularies compare.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from ayllu.evals.likelihood.multiple_choice import Encoder
from ayllu.evals.score import DocumentBits
from ayllu.evals.statistics import Interval, ratio_interval
from ayllu.lab import progress

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
) -> dict[str, Interval]:
    """Bits per byte of each source among the (source, text) pairs, with the delta method's interval over its documents.

    See `document_bits` for the arguments and for what is counted.
    """
    sources: dict[str, list[DocumentBits]] = {}
    for document in document_bits(model, tokenizer, texts, context=context, stride=stride, dtype=dtype):
        sources.setdefault(document.source, []).append(document)
    return {
        source: ratio_interval([document.bits for document in documents], [document.bytes for document in documents])
        for source, documents in sources.items()
    }


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
    import torch

    from ayllu.evals.likelihood.log_probabilities import segment_log_likelihoods, segments

    context = context or model.config.context
    stride = stride or max(1, context // 2)
    if context > model.config.context:
        raise ValueError(f"the context of {context} tokens is longer than the model's {model.config.context}")
    stream = ((source, text) for source, text in texts if text)
    with progress.bar("held-out bits per byte", total=total, unit="documents") as bar:
        while batch := list(islice(stream, BUFFER)):
            ids = [[tokenizer.bos, *found] for found in tokenizer.encode_batch([text for _, text in batch])]
            cut = [list(segments(found, 1, context=context, stride=stride)) for found in ids]
            owners = [number for number, pieces in enumerate(cut) for _ in pieces]
            nats = [0.0] * len(batch)
            for owner, value in zip(
                owners,
                segment_log_likelihoods(
                    model, [piece for pieces in cut for piece in pieces], dtype=dtype or torch.float32
                ),
                strict=True,
            ):
                nats[owner] -= value
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
