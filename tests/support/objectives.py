"""A small random model, and a plain loop to drive objectives with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ayllu.model.config import ModelConfig
from ayllu.model.transformer import Transformer

CONFIG = ModelConfig(vocabulary=600, layers=2, width=32, heads=4, kv_heads=2, feed_forward=64, context=128, tied=True)


def small_model(seed: int = 0, config: ModelConfig = CONFIG) -> Transformer:
    model = Transformer(config)
    model.initialise(seed)
    # Sharper than a fresh model, or every distribution is nearly uniform and errors hide.
    model.embedding.weight.data.mul_(20)
    return model


def gradients(model: Transformer, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


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
