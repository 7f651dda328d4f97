"""What a model replies to many prompts: the likeliest reply to each, computed in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ayllu.lab.progress import bar

if TYPE_CHECKING:
    import torch

    from ayllu.model.transformer import Transformer
    from ayllu.text.tokenizer import Tokenizer

BATCH_PROMPTS = 64
"""Most prompts answered at a time."""
BATCH_IDS = 1 << 16
"""Most ids of prompts and replies at a time, padding too: what is kept of SmolLM2 for them takes 1.5 GB in bf16."""


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
    found = [""] * len(prompts)
    with bar(title, total=len(prompts), unit="prompts") as progress:
        for part in batches([len(prompt) + tokens for prompt in prompts]):
            answers = sample(model, [prompts[i] for i in part], tokens=tokens, stop=tokenizer.stops, temperature=0.0)
            for i, (answer,) in zip(part, answers, strict=True):
                found[i] = tokenizer.decode(answer.ids)
            progress.advance(len(part))
    return found


def batches(sizes: Sequence[int]) -> Iterator[list[int]]:
    """The numbers of prompts that are answered together, those of like size, the smallest first."""
    part: list[int] = []
    for number in sorted(range(len(sizes)), key=sizes.__getitem__):
        if part and (len(part) == BATCH_PROMPTS or (len(part) + 1) * sizes[number] > BATCH_IDS):
            yield part
            part = []
        part.append(number)
    if part:
        yield part
