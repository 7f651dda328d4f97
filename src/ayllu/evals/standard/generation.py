"""Greedy text behind prompts, ended as lm-evaluation-harness ends it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ayllu.evals.standard.task import Generation
from ayllu.evals.standard.tokens import Encoder

if TYPE_CHECKING:
    import torch

    from ayllu.model.transformer import Transformer


def continuations(
    model: Transformer,
    encoder: Encoder,
    contexts: Sequence[str],
    settings: Generation,
    *,
    dtype: torch.dtype,
    penalty: float = 1.0,
) -> Iterator[tuple[int, str]]:
    """Yield each context's number and what the model writes behind it.

    `penalty` is the repetition penalty that the model's own generation_config.json states: transformers applies it to
    greedy decoding too, and so does lm-eval without a word.
    A context that leaves no room for the most tokens loses its beginning. Text ends before the first of `until`, at
    an end token, or with the most tokens; special tokens are no text.
    """
    from ayllu.model.generate import Sampling, generate

    greedy = Sampling(temperature=0.0, repetition_penalty=penalty)
    if model.embedding.weight.dtype != dtype:
        model = copy.deepcopy(model).to(dtype)
    tokenizer = encoder.tokenizer
    room = model.config.context - settings.most
    for number, ids in enumerate(encoder.contexts(contexts)):
        written: list[int] = []
        stops = frozenset(tokenizer.stops)
        for token in generate(model, ids[-room:], tokens=settings.most, stop=stops, sampling=greedy):
            written.append(token)
            # A stop text may have begun some tokens before: only what can hold one whole is looked at.
            if settings.until and _ended(tokenizer.decode(written[-LOOK_BACK:]), settings.until):
                break
        yield number, cut(tokenizer.decode(written), settings.until)


LOOK_BACK = 32
"""Tokens that are decoded again after each token to find a stop text: longer than any of them."""


def _ended(text: str, until: Sequence[str]) -> bool:
    return any(stop in text for stop in until)


def cut(text: str, until: Sequence[str]) -> str:
    """The text before the first of `until`."""
    for stop in until:
        text = text.split(stop)[0]
    return text
