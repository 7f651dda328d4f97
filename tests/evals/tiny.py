"""Real but tiny: English to learn a tokenizer from, and a model with random weights."""

from __future__ import annotations

import torch

from ayllu.model.config import ModelConfig
from ayllu.model.transformer import Transformer

ENGLISH = [
    "A man is sitting on a roof. He starts pulling up roofing on a roof.",
    "Question: How do you keep a door open? Answer: Put a stone in front of the door, then let go of the door.",
    "The children walked to the river in the morning, and when they came back they were tired, wet and happy.",
    "She was a much better surgeon than her sister, so she always got the harder cases at the hospital.",
    "Pour the water into the pot, add salt, and wait until it boils. Then put the noodles in for nine minutes.",
]


def random_model(vocabulary: int, *, context: int = 96, seed: int = 0) -> Transformer:
    """A model whose logits are far from uniform, so that a wrong position or token shows."""
    config = ModelConfig(
        vocabulary=vocabulary, layers=2, width=32, heads=4, kv_heads=2, feed_forward=64, context=context, tied=False
    )
    model = Transformer(config)
    model.initialise(seed)
    with torch.no_grad():
        model.embedding.weight.mul_(40)
        model.output.weight.mul_(25)
    return model
