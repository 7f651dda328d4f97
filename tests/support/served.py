"""A model too small to be clever, but real in every part: vocabulary, weights, files."""

from __future__ import annotations

from pathlib import Path

import torch

from ayllu.model.config import ModelConfig
from ayllu.model.files import hf
from ayllu.model.transformer import Transformer
from ayllu.text.tokenizer import Tokenizer

SENTENCES = (
    "The llama walks up the hill to eat the green grass in the morning.",
    "A boy asks his mother where the sun goes at night, and she smiles.",
    "They cook rice and beans, and then they sit down and eat together.",
    "Grüße aus Köln, дорогой друг! 你好，世界。 🦙🏔️",
)


def save_tiny_model(path: Path) -> Path:
    """Weights that a random draw made: they say nothing sensible, but always the same for the same seed."""
    torch.set_num_threads(1)
    path.mkdir()
    tokenizer = Tokenizer.learn(SENTENCES * 20, 600)
    shape = ModelConfig(
        vocabulary=tokenizer.size, layers=2, width=32, heads=4, kv_heads=2, feed_forward=64, context=256, tied=True
    )
    model = Transformer(shape)
    model.initialise(3)
    hf.save(path, model)
    tokenizer.save(path)
    return path
