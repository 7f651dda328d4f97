"""Something to learn, and a plain loop to drive objectives with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ayllu.data.tokens.loader import IGNORED, Batch
from ayllu.model.transformer import Transformer

PAIRS = [
    ([1, 2, 3], [10, 11, 12], [20]),
    ([4], [13, 14], [21, 22, 23, 24]),
    ([5, 6, 7, 8, 9], [15], [25, 26]),
]
"""Prompt, chosen and rejected answer."""


def gradients(model: Transformer, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def same_gradients(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    """Every one of them, to 1e-4."""
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-4, atol=1e-4, msg=name)


def conversations() -> Batch:
    """Packed rows of several documents, of which some ids are to be predicted."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 600, (2, 17), generator=generator)
    targets = torch.where(torch.rand(2, 16, generator=generator) < 0.4, ids[:, 1:], IGNORED)
    return Batch(ids[:, :-1], targets, torch.tensor([[0] * 9 + [1] * 7, [0] * 16]))


def log_softmax_of(model: Transformer, prompt: list[int], answer: list[int]) -> Tensor:
    """Log-probabilities of the ids of `answer` by torch's own functions on whole logits."""
    logits_TV = model(torch.tensor([prompt + answer]))[0, len(prompt) - 1 : -1]
    return logits_TV.log_softmax(-1)[range(len(answer)), answer]


def descend(
    model: Transformer,
    loss: Callable[[Any, Any, torch.dtype], Tensor],
    source: Any,
    *,
    steps: int,
    size: int,
    lr: float,
) -> list[float]:
    """Adam on what asks for gradients."""
    optimizer = torch.optim.Adam([w for w in model.parameters() if w.requires_grad], lr=lr)
    values = []
    for step in range(steps):
        batch = source.batch(step * size, size)
        mean = loss(model, batch, torch.float32) / batch.count
        optimizer.zero_grad()
        mean.backward()
        optimizer.step()
        values.append(float(mean.detach()))
    return values
