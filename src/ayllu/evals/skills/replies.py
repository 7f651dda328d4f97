"""What a model replies to many prompts: the likeliest reply to each, computed in batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ayllu.lab.progress import bar

if TYPE_CHECKING:
    import torch

    from ayllu.model.transformer import Transformer
    from ayllu.text.tokenizer import Tokenizer

BATCH_PROMPTS = 16
"""Prompts answered at a time."""


def greedy_replies(
    model: Transformer,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[int]],
    *,
    tokens: int,
    dtype: torch.dtype,
    title: str,
) -> list[str]:
    """The likeliest reply to each prompt, computed in batches of like length."""
    from ayllu.model.sample import in_type, sample

    model = in_type(model, dtype)
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    found = [""] * len(prompts)
    with bar(title, total=len(prompts), unit="prompts") as progress:
        for start in range(0, len(order), BATCH_PROMPTS):
            part = order[start : start + BATCH_PROMPTS]
            answers = sample(model, [prompts[i] for i in part], tokens=tokens, stop=tokenizer.stops, temperature=0.0)
            for i, (answer,) in zip(part, answers, strict=True):
                found[i] = tokenizer.decode(answer.ids)
            progress.advance(len(part))
    return found
